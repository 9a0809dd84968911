"""Trial tasks do what they promise: timelines, losses, noise, random draws, files and errors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning._describe import describe, restore
from tests.test_activity import DT, TAU
from tests.test_trials import trials_problem


@pytest.mark.slow
def test_white_noise_trials_have_the_closed_form_as_their_expectation():
    net = ov.Overlaps.random(0, rank=2, inputs=2, outputs=2)
    rng = np.random.default_rng(0)
    task = ov.tasks.linear_filter(-np.diag([0.3, 1.0]), rng.standard_normal((2, 2)), rng.standard_normal((2, 2)), horizon=5.0)
    rnn = ov.RNN(dt=0.1)
    exact = task.loss(net, rnn)
    errors = []
    for trials in (100, 1600):
        generator = ov.tasks.white_noise(task, trials=trials, dt=0.1).generator
        sampled = jax.vmap(lambda key, one=generator: one.trials(key).loss(net, rnn))(jax.random.split(jax.random.key(0), 40))
        errors.append(np.sqrt(np.mean((sampled - exact) ** 2)))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.5)  # 1 / sqrt(trials); 40 draws know a deviation to 11 %
    assert errors[1] < 0.06 * exact
    average = ov.tasks.white_noise(task, 0, 500, dt=0.1, when="always").loss(net, rnn)
    assert average < 0.9 * exact


def test_flip_flop_trials_against_their_description():
    task = ov.tasks.flip_flop(3, trials=50, dt=0.05)
    times = 0.05 * np.arange(400)
    for x, target, mask in zip(task.inputs[..., 0], task.targets[..., 0], task.mask[..., 0], strict=True):
        assert set(np.unique(np.abs(x))) == {0.0, 1.0}
        starts = times[(np.abs(x) > 0) & (np.abs(np.insert(x, 0, 0)[:-1]) == 0)]
        assert starts[0] == pytest.approx(0.5)
        gaps = np.diff(starts)
        assert np.all((gaps > 4 - 0.051) & (gaps < 10 + 0.051))
        for start, end in zip(starts, [*starts[1:], 20.0], strict=True):
            during = (times > start - 0.01) & (times < end - 0.01)
            sign = np.sign(x[during][0])
            np.testing.assert_array_equal(x[during], sign * (times[during] < start + 0.5 - 0.01))
            np.testing.assert_array_equal(target[during], 0.5 * sign)
            # Onsets lie between samples: the first sample that counts may come one earlier or later.
            edge = np.abs(times[during] - start - 2.5) < 0.051
            np.testing.assert_array_equal(mask[during][~edge], (times[during] > start + 2.5)[~edge])
    assert 0.4 < np.mean(task.inputs[task.inputs != 0] > 0) < 0.6
    channels = ov.tasks.flip_flop(3, trials=50, bits=2)
    assert channels.inputs.shape == channels.targets.shape == (50, 400, 2)
    assert np.any(channels.inputs[..., 0] != channels.inputs[..., 1])


def test_decision_trials_against_their_description():
    task = ov.tasks.decision_making(0, trials=16, dt=0.1)
    assert task.inputs.shape == (16, 200, 1)
    stimulus, response = task.inputs[:, 10:100, 0], task.targets[:, 110:, 0]
    coherences = np.sort(response[:, 0] * 16)
    np.testing.assert_allclose(coherences, np.repeat([-16, -8, -4, -2, 2, 4, 8, 16], 2))
    assert np.all(task.targets[:, :110] == 0)
    np.testing.assert_array_equal(task.mask[0, :, 0], np.arange(200) >= 110)
    # The mean of 90 samples with noise of 0.03 is known to 0.0032.
    np.testing.assert_allclose(stimulus.mean(1), response[:, 0] * 16 * 0.032, atol=0.015)
    noise = np.concatenate([task.inputs[:, :10], task.inputs[:, 100:]], axis=1)
    assert noise.std() == pytest.approx(0.03, rel=0.1)


@pytest.mark.slow
def test_a_teacher_is_imitated_perfectly_by_itself():
    teacher, other = (ov.Overlaps.random(seed, rank=2, inputs=2) for seed in (0, 1))
    for state, rnn in (
        (teacher, ov.RNN("erf", dt=0.1)),
        (teacher, ov.RNN("erf")),
        (teacher.sample(50, 0), ov.RNN("tanh", dt=0.1)),
    ):
        task = ov.tasks.teacher(state, rnn, 0, trials=3, duration=4.0, dt=0.1)
        assert task.loss(state, rnn) < 1e-20
        assert task.loss(other if state is teacher else other.sample(50, 0), rnn) > 1e-6
        np.testing.assert_allclose(task.targets, rnn.output(state, task.inputs, dt=0.1), atol=1e-13)


def test_the_loss_is_the_masked_mean_or_the_users_own():
    network, task = trials_problem(1, 1, 2)
    rnn = ov.RNN("erf", TAU, DT)
    outputs = rnn.output(network, task.inputs).values
    expected = np.sum(task.mask * (outputs - task.targets) ** 2) / np.sum(task.mask)
    assert task.loss(network, rnn) == pytest.approx(expected, rel=1e-12)

    def absolute(outputs, targets, mask):
        return jnp.mean(mask * jnp.sqrt(1e-6 + (outputs - targets) ** 2))

    own = ov.tasks.Trials(task.inputs, task.targets, task.mask, DT, loss=absolute)
    assert own.loss(network, rnn) == pytest.approx(float(absolute(outputs, task.targets, task.mask)), rel=1e-12)
    by_time = ov.tasks.Trials(task.inputs, task.targets, np.arange(25) > 10, DT)
    assert by_time.loss(network, rnn) == pytest.approx(np.mean((outputs - task.targets)[:, 11:] ** 2), rel=1e-12)


@pytest.mark.slow
def test_fresh_trials_are_those_of_their_key_for_every_state():
    net, rnn = ov.Overlaps.random(0, n=20), ov.RNN(dt=0.2)
    task = ov.tasks.flip_flop(trials=4, duration=8.0, dt=0.2)
    rule = ov.GradientDescent(0.05, 10)
    theory = ov.learn(net, task, rnn, rule, saves=11, key=7)
    network = ov.learn(net.sample(20, 0), task, rnn, rule, saves=11, key=7)
    np.testing.assert_allclose(theory["sigma"], network["sigma"], atol=1e-12)  # linear: the closure is exact
    first = task.sample(jax.random.fold_in(jax.random.key(7), 0))
    assert theory["loss"][0] == pytest.approx(first.loss(net, rnn), rel=1e-12)
    with pytest.raises(ValueError, match=r"`key` must be a .* key or an integer seed for a task that draws samples"):
        ov.learn(net, task, rnn, rule)
    with pytest.raises(ValueError, match="`rule` must be a GradientDescent for a task that draws samples"):
        ov.learn(net, task, rnn, ov.GradientFlow(), key=0)


def test_label_noise_on_trials_is_noise_on_the_targets():
    network, task = trials_problem(1, 1, 1)
    net, rnn = network.overlaps(), ov.RNN("erf", TAU, DT)
    one = ov.learn(net, ov.tasks.label_noise(task, 0.3), rnn, ov.GradientDescent(0.1, 1), saves=2, key=0)
    noise = 0.3 * np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), 0), task.targets.shape))
    shifted = ov.tasks.Trials(task.inputs, task.targets + noise, task.mask, DT)
    same = ov.learn(net, shifted, rnn, ov.GradientDescent(0.1, 1), saves=2)
    np.testing.assert_allclose(one["sigma"], same["sigma"], atol=1e-13)
    assert one["loss"][0] == pytest.approx(task.loss(net, rnn))


@pytest.mark.slow
def test_runs_on_trials_can_be_run_again_from_their_file(tmp_path):
    net = ov.Overlaps.random(0)
    task, rnn = ov.tasks.flip_flop(trials=2, duration=6.0, dt=0.2), ov.RNN(jax.nn.gelu, dt=0.2)
    dataset = ov.learn(net, task, rnn, ov.GradientDescent(0.01, 3), saves=4, key=0)
    dataset.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as stored:
        again = ov.rerun(stored.load())
    np.testing.assert_array_equal(again["sigma"], dataset["sigma"])


def test_every_kind_of_trials_can_be_written_down():
    exponential = ov.tasks.exponential_filter(horizon=4.0)
    for thing in (
        trials_problem(1, 1, 1)[1],
        ov.tasks.flip_flop(trials=2, duration=6.0, dt=0.2),
        ov.tasks.decision_making(trials=2, dt=0.5),
        ov.tasks.teacher(ov.Overlaps.random(0), ov.RNN("erf", dt=0.2), trials=2, duration=4.0, length=0.4),
        ov.tasks.white_noise(exponential, trials=2),
        ov.tasks.white_noise(exponential, 0, trials=20),  # arrays large enough to be packed
    ):
        again = restore(json.loads(json.dumps(describe(thing))))
        one, other = (task.sample(3) if task.random else task for task in (thing, again))
        for name in ("inputs", "targets", "mask", "dt", "loss_function"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    own = ov.Transfer(jax.nn.relu, lambda variance: 0.5 * jnp.ones_like(variance))
    with pytest.raises(ValueError, match="hold only what can be written down, but it holds <function"):
        restore(describe(ov.RNN(own, dt=0.2)))


X, Y = np.zeros((2, 10, 1)), np.ones((2, 10, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ov.tasks.Trials(X, Y, np.zeros(10), 0.1),
            "`mask` must be weights, some of them positive, but it is zero everyw",
        ),
        (
            lambda: ov.tasks.Trials(X, Y, -np.ones(10), 0.1),
            "`mask` must be weights, some of them positive, but it has negative",
        ),
        (lambda: ov.tasks.Trials(X, Y, np.ones(9), 0.1), r"`mask` must broadcast to the shape \(2, 10, 1\) of `targets`"),
        (lambda: ov.tasks.Trials(X, Y[:, :9], None, 0.1), r"`targets` must have shape \(2, 10\) and then outputs"),
        (lambda: ov.tasks.Trials(X[0], Y, None, 0.1), r"`inputs` must have shape \(trials, time, inputs\)"),
        (lambda: ov.tasks.Trials(X, Y), "`dt` must be a number greater than 0, but None came"),
        (lambda: ov.tasks.Trials(X, Y, None, 0.1, loss=lambda y, t, w: jnp.log(t - y).sum()), "`loss` must be a function of"),
        (
            lambda: ov.tasks.Trials(X, Y, None, 0.1, loss=lambda y, t, w: y),
            "`loss` must be a function of .* differentiating it",
        ),
        (
            lambda: ov.tasks.Trials(X, Y, None, 0.1).loss(ov.Overlaps.random(0), ov.RNN("erf", dt=0.2)),
            "`dt` must be the step 0.2",
        ),
        (
            lambda: ov.tasks.Trials(X, Y, None, 0.1).loss(ov.Overlaps.random(0, inputs=2), ov.RNN("erf", dt=0.1)),
            "have 1 inputs",
        ),
        (
            lambda: ov.tasks.flip_flop(0, duration=2.0),
            "`duration` must be at least first .* = 3.05, so that a pulse is answered",
        ),
        (lambda: ov.tasks.flip_flop(0, pulse=0.01), "`pulse` must last at least one sample of dt = 0.05, but 0.01 came"),
        (lambda: ov.tasks.flip_flop(0, duration=20.01), "`duration` must be a whole multiple of dt"),
        (lambda: ov.tasks.flip_flop(0, interval=(0.2, 4.0)), r"`interval\[0\]` must be a number of at least 0.55"),
        (lambda: ov.tasks.decision_making(0, stimulus=0.0), "`stimulus` must be greater than 0"),
        (lambda: ov.tasks.decision_making(0, coherences=[]), "`coherences` must be one or more numbers"),
        (
            lambda: ov.tasks.teacher(ov.Overlaps.random(0), ov.RNN("erf", dt=0.1), 0, duration=1.0, length=2.0),
            "`length` must be at most the duration 1 of a trial",
        ),
        (
            lambda: ov.tasks.teacher(ov.Overlaps(np.eye(4) * 50 + 49), ov.RNN(dt=0.1), 0, duration=200.0),
            "`state` must have activity that stays finite",
        ),
        (lambda: ov.tasks.white_noise(ov.tasks.exponential_filter(horizon=None), 0), "`task` must have a finite horizon"),
        (
            lambda: ov.tasks.label_noise(ov.tasks.flip_flop(), 0.1).loss(ov.Overlaps.random(0), ov.RNN(dt=0.05)),
            "be fixed to hav",
        ),
    ],
)
def test_bad_trials_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
