"""Trial tasks: timelines, losses, noise, and learning against networks that share no code with the library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from tests.systems import nonlinear, published
from tests.test_activity import DT, GAINS, PHI, TAU, problem
from tests.test_transfer import SLOPES


def trials_problem(rank, inputs, outputs):
    """A network, and trials with a mask that differs between trials, times and outputs."""
    network, x = problem(rank, inputs, outputs)
    rng = np.random.default_rng(5)
    targets, mask = rng.standard_normal((2, 25, outputs)), rng.integers(0, 3, (2, 25, outputs))
    return network, ov.tasks.Trials(x, targets, mask, DT)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("phi", ["erf", "tanh", "relu"])
def test_learning_of_networks_against_backpropagation_through_all_units(phi, rank):
    network, task = trials_problem(rank, 2, 2)
    slope = SLOPES[phi]
    vectors, losses = [network.m, network.u, network.v, network.z], []
    for _ in range(21):
        loss, gradients = nonlinear.network_gradients(vectors, PHI[phi], slope, task.inputs, task.targets, task.mask, DT, TAU)
        final, losses = vectors, [*losses, loss]
        vectors = [x - 0.05 * network.n * g for x, g in zip(vectors, gradients, strict=True)]
    dataset = ov.learn(network, task, ov.RNN(phi, TAU, DT), ov.GradientDescent(0.05, 20), saves=21)
    np.testing.assert_allclose(dataset["loss"], losses, rtol=1e-11)
    np.testing.assert_allclose(dataset["final_vectors"], np.concatenate(final, axis=1), atol=1e-10)


def tanh_gain(variance):
    """The gain of tanh by the trapezoidal rule, which a Gaussian makes exact to rounding at this spacing."""
    x = np.linspace(-9, 9, 2001)
    return np.sum(np.exp(-(x**2) / 2) / np.cosh(np.sqrt(variance) * x) ** 2) * (x[1] - x[0]) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(("phi", "gain"), [("erf", GAINS["erf"]), ("tanh", tanh_gain), ("relu", GAINS["relu"])])
def test_learning_of_overlaps_against_an_independent_closure(phi, gain, rank):
    network, task = trials_problem(rank, 2, 2)
    net = network.overlaps()
    dataset = ov.learn(net, task, ov.RNN(phi, TAU, DT), ov.GradientDescent(0.05, 5), saves=6)
    gram = net.gram.copy()
    for _ in range(5):
        gradient = nonlinear.closure_gradient(gram, net.layout, gain, task.inputs, task.targets, task.mask, DT, TAU)
        S = np.zeros_like(gram)
        for (row, column), slope in gradient.items():
            S[row, column] = S[column, row] = slope * (2 if row == column else 1)
        step = np.eye(len(gram)) - 0.05 * S
        gram = step @ gram @ step
    np.testing.assert_allclose(ov.final_state(dataset).gram, gram, atol=1e-8)


@pytest.mark.parametrize("phi", ["erf", "relu"])
def test_at_rank_one_the_formula_gives_the_published_nonlinear_equations(phi):
    network, x = problem(1, 1, 1)
    net, rnn = network.overlaps(), ov.RNN(phi, TAU, DT)
    task = ov.tasks.Trials(x, np.ones((2, 25, 1)), None, DT)
    gradient = nonlinear.closure_gradient(net.gram, net.layout, GAINS[phi], x, task.targets, task.mask, DT, TAU)
    slopes = {pair.label: gradient[min(pair.row, pair.column), max(pair.row, pair.column)] for pair in net.layout.pairs}
    assert all(abs(slopes[label]) < 1e-9 for label in net.invisible(rnn))
    assert all(abs(slopes[label]) > 1e-5 for label in net.visible(rnn))
    overlaps = {pair.label: net[pair.label].item() for pair in net.layout.pairs}
    expected = published.rank_one_nonlinear(overlaps, slopes)
    step = 1e-6
    dataset = ov.learn(net, task, rnn, ov.GradientDescent(step, 1), saves=2)
    found = (dataset["sigma"][-1] - dataset["sigma"][0]) / step
    np.testing.assert_allclose(found, [expected[label] for label in dataset["overlap"].values], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("phi", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("size", [None, 12])
def test_the_flow_keeps_the_gauge_charge_and_not_the_others(phi, size):
    net = ov.Overlaps.random(1, rank=2, n=40)
    task = ov.tasks.flip_flop(0, trials=3, duration=8.0, dt=0.2)
    state = net if size is None else net.sample(size, 0)
    rnn = ov.RNN(phi, dt=0.2)
    dataset = ov.learn(state, task, rnn, ov.GradientFlow(2.0, rtol=1e-11, atol=1e-13), saves=5)
    assert set(ov.conserved(state, rnn)) == {"gauge"}
    gauge = ov.conserved(dataset)["gauge"]
    assert np.abs(gauge - gauge[0]).max() < 1e-10
    end = ov.final_state(dataset).overlaps().gram
    signs = np.array([1, 1, 1, -1, -1, -1])
    spectra = [np.sort(np.linalg.eigvals(signs[:, None] * gram).real) for gram in (net.gram, end)]
    balances = [gram[0, 0] - gram[5, 5] for gram in (net.gram, end)]
    assert np.abs(end - net.gram).max() > 1e-2
    if phi != "relu":
        assert np.abs(spectra[1] - spectra[0]).max() > 1e-6
        assert abs(balances[1] - balances[0]) > 1e-6


@pytest.mark.slow
def test_relu_networks_keep_a_charge_per_neuron():
    net, rnn = ov.Overlaps.random(1, rank=2, n=40), ov.RNN("relu", dt=0.2)
    task = ov.tasks.flip_flop(0, trials=3, duration=8.0, dt=0.2)
    rule = ov.GradientFlow(2.0, rtol=1e-11, atol=1e-13)
    signs = np.array([1, 1, 1, -1, -1, -1])
    network = ov.learn(net.sample(12, 0), task, rnn, rule, saves=2)
    before, after = (np.sum(signs * network[name].values ** 2, axis=1) for name in ("initial_vectors", "final_vectors"))
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert np.abs(network["final_vectors"] - network["initial_vectors"]).max() > 1e-2
    theory = ov.final_state(ov.learn(net, task, rnn, rule, saves=2))
    spectra = [np.sort(np.linalg.eigvals(signs[:, None] * state.gram).real) for state in (net, theory)]
    np.testing.assert_allclose(spectra[1], spectra[0], atol=1e-9)


@pytest.mark.slow
def test_white_noise_trials_have_the_closed_form_as_their_expectation():
    net = ov.Overlaps.random(0, rank=2, inputs=2, outputs=2)
    rng = np.random.default_rng(0)
    task = ov.tasks.linear_filter(-np.diag([0.3, 1.0]), rng.standard_normal((2, 2)), rng.standard_normal((2, 2)), horizon=5.0)
    rnn = ov.RNN(dt=0.1)
    exact = task.loss(net, rnn)
    errors = []
    for trials in (100, 6400):
        sampled = [ov.tasks.white_noise(task, seed, trials, dt=0.1).loss(net, rnn) for seed in range(20)]
        errors.append(np.sqrt(np.mean((np.array(sampled) - exact) ** 2)))
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.5)  # 1 / sqrt(trials); 20 draws know a deviation to 16 %
    assert errors[1] < 0.03 * exact
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
    for rnn in (ov.RNN("tanh", dt=0.1), ov.RNN("tanh")):
        teacher = ov.Overlaps.random(0, rank=2, inputs=2)
        task = ov.tasks.teacher(teacher, rnn, 0, trials=3, duration=4.0, dt=0.1)
        assert task.loss(teacher, rnn) < 1e-20
        assert task.loss(ov.Overlaps.random(1, rank=2, inputs=2), rnn) > 1e-6
        np.testing.assert_allclose(task.targets, rnn.output(teacher, task.inputs, dt=0.1), atol=1e-13)
    network = teacher.sample(50, 0)
    assert ov.tasks.teacher(network, ov.RNN("erf", dt=0.1), 0, duration=4.0).loss(network, ov.RNN("erf", dt=0.1)) < 1e-20


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
    noisy = ov.learn(net, ov.tasks.label_noise(task, 0.1), rnn, rule, saves=11, key=7)
    again = ov.learn(net.sample(20, 0), ov.tasks.label_noise(task, 0.1), rnn, rule, saves=11, key=7)
    np.testing.assert_allclose(noisy["sigma"], again["sigma"], atol=1e-12)
    assert np.abs(noisy["sigma"] - theory["sigma"]).max() > 1e-4
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


def test_batches_of_trials_and_of_states():
    network, task = trials_problem(1, 1, 1)
    rnn, rule = ov.RNN("tanh", TAU, DT), ov.GradientDescent(0.05, 5)
    tasks = ov.tasks.Trials(np.stack([task.inputs] * 2), np.stack([task.targets, -task.targets]), task.mask, DT)
    batch = ov.learn(network.overlaps(), tasks, rnn, rule, saves=6)
    mirrored = ov.tasks.Trials(task.inputs, -task.targets, task.mask, DT)
    for lane, single in enumerate((task, mirrored)):
        alone = ov.learn(network.overlaps(), single, rnn, rule, saves=6)
        np.testing.assert_allclose(batch["sigma"][lane], alone["sigma"], atol=1e-12)


@pytest.mark.slow
def test_long_trials_are_cut_up_without_changing_anything():
    net, rnn = ov.Overlaps.random(0), ov.RNN("erf", dt=0.1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2100, 1))
    long, short = rnn.output(net, x)[0], rnn.output(net, x[:, :1500])[0]
    np.testing.assert_allclose(long[:1500], short, atol=1e-13)
    expected = nonlinear.closure(net.gram, net.layout, GAINS["erf"], x, 0.1, 1.0)
    np.testing.assert_allclose(long, expected[0], atol=1e-12)
    task = ov.tasks.Trials(x, np.zeros((1, 2100, 1)), None, 0.1)
    slope = jax.grad(lambda gram: task.loss(ov.Overlaps(gram), rnn))(net.gram)
    step = np.zeros((4, 4))
    step[3, 0] = step[0, 3] = 1e-5
    difference = (task.loss(ov.Overlaps(net.gram + step), rnn) - task.loss(ov.Overlaps(net.gram - step), rnn)) / 2e-5
    np.testing.assert_allclose(slope[3, 0] + slope[0, 3], difference, rtol=1e-6)
    network = net.sample(8, 0)
    _, gradients = nonlinear.network_gradients(
        (network.m, network.u, network.v, network.z), PHI["erf"], SLOPES["erf"], x, task.targets, task.mask, 0.1, 1.0
    )
    found = jax.grad(lambda state: task.loss(state, rnn))(jax.tree.map(jnp.asarray, network))
    for one, expected in zip((found.m, found.u, found.v, found.z), gradients, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-12)


@pytest.mark.slow
def test_continuous_time_trials_learn_and_agree_with_small_steps():
    net = ov.Overlaps.random(0)
    task = ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.5)
    fine = ov.tasks.Trials(*(np.repeat(x, 50, axis=1) for x in (task.inputs, task.targets, task.mask)), dt=0.01)
    ends = np.zeros(600)
    ends[49::50] = 1  # the coarse samples
    fine = ov.tasks.Trials(fine.inputs, fine.targets, fine.mask * ends[None, :, None], 0.01)
    rule = ov.GradientDescent(0.5, 5)
    exact, euler = ov.learn(net, task, ov.RNN("erf"), rule, 6), ov.learn(net, fine, ov.RNN("erf", dt=0.01), rule, 6)
    np.testing.assert_allclose(exact["sigma"], euler["sigma"], atol=2e-3)  # first order in dt
    assert np.abs(exact["sigma"][-1] - exact["sigma"][0]).max() > 0.01


@pytest.mark.slow
def test_runs_on_trials_can_be_run_again_from_their_file(tmp_path):
    net = ov.Overlaps.random(0)
    runs = {
        "own": (trials_problem(1, 1, 1)[1], ov.RNN("tanh", TAU, DT)),
        "flip-flop": (ov.tasks.flip_flop(trials=2, duration=6.0, dt=0.2), ov.RNN(jax.nn.gelu, dt=0.2)),
        "decision": (ov.tasks.decision_making(0, trials=2, dt=0.5), ov.RNN("relu", dt=0.5)),
        "teacher": (ov.tasks.teacher(net, ov.RNN("erf", dt=0.2), trials=2, duration=4.0, length=0.4), ov.RNN("erf", dt=0.2)),
        "transfer": (ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.2), ov.RNN(ov.Transfer(jnp.tanh), dt=0.2)),
        "white noise": (ov.tasks.white_noise(ov.tasks.exponential_filter(horizon=4.0), trials=300), ov.RNN("erf", dt=0.05)),
    }
    for name, (task, rnn) in runs.items():
        dataset = ov.learn(net, task, rnn, ov.GradientDescent(0.01, 3), saves=4, key=0)
        dataset.to_netcdf(tmp_path / "run.nc")
        with xr.open_dataset(tmp_path / "run.nc") as stored:
            again = ov.rerun(stored.load())
        np.testing.assert_array_equal(again["sigma"], dataset["sigma"], err_msg=name)


def test_a_run_with_a_gain_that_cannot_be_written_down_says_so_when_run_again():
    task = ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.2)
    phi = ov.Transfer(jax.nn.relu, lambda variance: 0.5 * jnp.ones_like(variance))
    dataset = ov.learn(ov.Overlaps.random(0), task, ov.RNN(phi, dt=0.2), ov.GradientDescent(0.01, 2), saves=3)
    with pytest.raises(ValueError, match="hold only what can be written down, but it holds <function"):
        ov.rerun(dataset)


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
