"""Difficult cases of learning on trials: kinks of phi, negative losses, float32, trials in which no output counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import overlaps as ov
from tests.systems import nonlinear
from tests.test_transfer import hard_tanh
from tests.test_trials import trials_problem

DT = 0.1


def test_a_network_with_kinks_learns_as_by_backpropagation_and_keeps_its_trajectory():
    network, task = trials_problem(1, 1, 1)
    vectors, losses = [network.m, network.u, network.v, network.z], []
    for _ in range(6):
        slope = lambda x: (np.abs(x) < 1) * 1.0  # noqa: E731
        arguments = task.inputs, task.targets, task.mask, task.dt, 1.0
        loss, gradients = nonlinear.network_gradients(vectors, lambda x: np.clip(x, -1, 1), slope, *arguments)
        losses.append(loss)
        vectors = [x - 0.05 * network.n * g for x, g in zip(vectors, gradients, strict=True)]
    rnn = ov.RNN(hard_tanh, dt=task.dt)
    dataset = ov.learn(network, task, rnn, ov.GradientDescent(0.05, 5), saves=6)
    np.testing.assert_allclose(dataset["loss"], losses, rtol=1e-11)
    assert set(dataset["overlap"].values[~dataset["visible"].values]) == {"zv", "vv", "zz"}
    with pytest.raises(ValueError, match=r"`phi` must be .* for overlaps"):
        ov.learn(network.overlaps(), task, rnn, ov.GradientDescent(0.05, 5))


def test_a_negative_loss_of_the_users_own_is_kept_and_may_stop_a_run():
    network, task = trials_problem(1, 1, 1)

    def correlation(outputs, targets, mask):
        return -jnp.sum(mask * outputs * targets) / jnp.sum(mask)

    own = ov.tasks.Trials(task.inputs, task.targets, task.mask, task.dt, loss=correlation)
    rnn, rule = ov.RNN("erf", dt=task.dt), ov.GradientDescent(0.05, 40)
    dataset = ov.learn(network, own, rnn, rule, saves=41)
    loss = dataset["loss"].values
    assert loss[0] == pytest.approx(own.loss(network, rnn), rel=1e-12)
    assert loss[-1] == pytest.approx(own.loss(ov.final_state(dataset), rnn), rel=1e-12)
    assert loss[-1] < loss[0] - 1e-3 < 0
    limit = loss[20]
    for stopping in (ov.GradientDescent(0.05, 40, stop_loss=limit), ov.GradientFlow(4.0, stop_loss=limit)):
        stopped = ov.learn(network, own, rnn, stopping)
        assert stopped.attrs["endings"] == '["stop_loss"]'
        assert stopped["loss"][-1] <= limit < stopped["loss"][0]
    line = ov.plots.plot_learning(dataset).lines[0]
    np.testing.assert_array_equal(line.get_ydata(), loss)
    assert line.axes.get_yscale() == "linear"


def test_rounding_leaves_no_negative_loss_of_a_filter():
    task, rnn = ov.tasks.exponential_filter(0.2, horizon=None), ov.RNN()
    solution = ov.Overlaps(100 * np.eye(4)).replace(zm=1.0, zu=1.0, vm=0.8, vu=0.8)
    for scale in 1 + 1e-9 * np.arange(-20, 20):
        near = solution.replace(zm=scale, zu=1 / scale)
        assert 0 <= task.loss(near, rnn) < 1e-14
        dataset = ov.learn(near, task, rnn, ov.GradientDescent(1e-6, 1), saves=2)
        assert np.all(dataset["loss"] >= 0)


@pytest.mark.slow
def test_trials_learn_in_single_precision():
    net, rule = ov.Overlaps.random(0), ov.GradientDescent(0.02, 10)
    filtered = ov.tasks.exponential_filter(horizon=4.0)
    for task, key in (
        (ov.tasks.white_noise(filtered, 0, trials=20, dt=DT), None),
        (ov.tasks.flip_flop(trials=3, duration=6.0, dt=DT), 1),
        (ov.tasks.decision_making(trials=3, dt=DT), 1),
    ):
        rnn = ov.RNN("erf", dt=DT)
        single = ov.learn(net, task, rnn, rule, saves=3, key=key, precision="float32")
        assert single["sigma"].dtype == np.float32
        if key is None:  # the numbers that a key draws depend on the precision
            np.testing.assert_allclose(single["sigma"], ov.learn(net, task, rnn, rule, saves=3)["sigma"], atol=1e-4)
        assert np.all(np.isfinite(single["loss"]))


@pytest.mark.parametrize("trials", [1, 11])
def test_every_coherence_is_as_likely_as_the_others_for_any_number_of_trials(trials):
    levels = [-16, -8, -4, -2, 2, 4, 8, 16]
    task = ov.tasks.decision_making(trials=trials, dt=1.0)
    draw = jax.jit(jax.vmap(lambda key: task.generator.trials(key).targets[:, -1, 0] * 16))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 1000)))
    most, least = -(-trials // 8), trials // 8
    counts = np.stack([(np.abs(drawn - level) < 1e-9).sum(axis=1) for level in levels])
    assert counts.max() == most
    assert counts.min() == least
    for place in (0, trials - 1):  # neither is the place in a set told by the level
        share = [(np.abs(drawn[:, place] - level) < 1e-9).mean() for level in levels]
        np.testing.assert_allclose(share, 1 / 8, atol=5 * np.sqrt(7 / 64 / 1000))


class NothingCounts(ov.tasks.TrialGenerator):
    """Trials whose mask is zero, so that no output counts in the loss."""

    def trials(self, key):
        return ov.tasks.Trials(jax.random.normal(key, (2, 5, 1)), jnp.ones((2, 5, 1)), jnp.zeros((2, 5, 1)), DT)


def test_draws_in_which_nothing_counts_are_named():
    nothing = "`mask` must be weights, some of them positive, but it is zero everywhere"
    for key in (0, None):
        with pytest.raises(ValueError, match=nothing):
            NothingCounts().task(key)
    short = r"`interval\[1\]` must be at least pulse \+ delay \+ dt = 2.55, so that a pulse is answered before the next one"
    for key in (0, None):
        with pytest.raises(ValueError, match=short):
            ov.tasks.flip_flop(key, interval=(1.0, 1.0), delay=2.0)
    task = ov.tasks.flip_flop(0, interval=(2.55, 2.55), delay=2.0)
    assert np.all(task.mask.sum(axis=(1, 2)) > 0)
