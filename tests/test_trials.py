"""Learning on trials, against networks and closures that share no code with the library, and what it conserves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize(("phi", "rank"), [("erf", 2), ("tanh", 1), ("relu", 2)])
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
    """The gain of tanh by the trapezoidal rule, which is exact up to rounding for a Gaussian integrand at this spacing."""
    x = np.linspace(-9, 9, 301)
    return np.sum(np.exp(-(x**2) / 2) / np.cosh(np.sqrt(variance) * x) ** 2) * (x[1] - x[0]) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize(
    ("phi", "gain", "rank"), [("erf", GAINS["erf"], 1), ("tanh", tanh_gain, 2), ("relu", GAINS["relu"], 1)]
)
def test_learning_of_overlaps_against_an_independent_closure(phi, gain, rank):
    network, task = trials_problem(rank, 2, 2)
    net = network.overlaps()
    dataset = ov.learn(net, task, ov.RNN(phi, TAU, DT), ov.GradientDescent(0.05, 3), saves=4)
    gram = net.gram.copy()
    for _ in range(3):
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
@pytest.mark.parametrize(("phi", "size"), [("tanh", None), ("erf", 12)])
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
