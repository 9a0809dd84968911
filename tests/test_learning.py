"""Learning curves against independent simulations, closed forms and conserved quantities."""

import functools

import jax
import numpy as np
import optax
import pytest

import overlaps as ov
from overlaps.learning import _descent, _flow
from tests.systems import exponential, full_network, published
from tests.test_filters import oscillating_task

EXPONENTIAL = ov.tasks.exponential_filter(0.2, horizon=None)
OSCILLATION = ov.tasks.damped_oscillation(horizon=None)
FINITE, EULER = ov.tasks.exponential_filter(horizon=5.0), ov.RNN(dt=0.1)


def largest_difference(one, other):
    return max(float(np.abs(one[name] - other[name]).max()) for name in ("sigma", "loss"))


def signature_spectrum(net):
    """Eigenvalues of J G, J = +1 on m, u and -1 on v, z: conserved by the flow of linear networks."""
    signs = np.repeat([1, -1], [net.inputs + net.rank, net.rank + net.outputs])
    return np.sort_complex(np.linalg.eigvals(signs[:, None] * net.gram))


@pytest.mark.parametrize(("sizes", "tau"), [((1, 1, 1), 1.0), ((2, 3, 2), 0.8), ((3, 1, 2), 1.0)])
def test_descent_against_a_full_network_in_plain_numpy(sizes, tau):
    inputs, rank, outputs = sizes
    network = ov.Overlaps.random(0, rank=rank, inputs=inputs, outputs=outputs, n=50).sample(50, 1)
    dt, samples, steps, learning_rate = 0.1, 40, 100, 5e-3
    task = oscillating_task(inputs, outputs, samples * dt)
    target = task.impulse_response(dt * np.arange(samples))
    vectors = (network.m, network.u, network.v, network.z)
    losses, grams = full_network.train(vectors, target, dt, tau, learning_rate, steps)

    rnn, rule = ov.RNN(dt=dt, tau=tau), ov.GradientDescent(learning_rate, steps)
    pairs = network.layout.pairs
    expected = grams[:, [pair.row for pair in pairs], [pair.column for pair in pairs]]
    for state in (network.overlaps(), network):
        dataset = ov.learn(state, task, rnn, rule, saves=steps + 1)
        np.testing.assert_allclose(dataset["sigma"], expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(dataset["loss"], losses, rtol=0, atol=1e-10)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(("dt", "horizon"), [(None, 10.0), (0.1, None)])
def test_theory_is_the_network_for_every_kind_of_time(dt, horizon):
    network = ov.Overlaps.random(1, rank=2, inputs=2).sample(30, 0)
    run = functools.partial(
        ov.learn, task=oscillating_task(2, 1, horizon), rnn=ov.RNN(dt=dt, tau=1.2), rule=ov.GradientDescent(1e-2, 100)
    )
    assert largest_difference(run(network), run(network.overlaps())) < 1e-10


@pytest.mark.parametrize(("rank", "equations"), [(1, published.rank_one), (2, published.rank_two)])
@pytest.mark.slow
def test_one_formula_gives_the_published_equations(rank, equations):
    net, task, rnn = ov.Overlaps.random(2, rank=rank), ov.tasks.damped_oscillation(horizon=5.0), ov.RNN()
    # One step of descent is G - eta (S G + G S) + eta^2 S G S: two learning rates give its linear part without error.
    first, second = (
        ov.learn(net, task, rnn, ov.GradientDescent(eta, 1), saves=2)["sigma"].diff("time").isel(time=0) / eta
        for eta in (0.25, 0.5)
    )
    flow = 2 * first - second

    gamma = jax.jit(jax.grad(lambda gram: task.loss(ov.Overlaps(gram, rank=rank), rnn)))(net.gram)
    slopes = {
        pair.label: float(gamma[pair.row, pair.column] + gamma[pair.column, pair.row])
        for pair in net.layout.pairs
        if pair.label in net.visible(rnn)
    }
    overlaps = {**net.visible(rnn), **net.invisible(rnn)}
    expected = equations(overlaps, slopes)
    assert set(expected) == set(flow["overlap"].values)
    for label, value in expected.items():
        assert float(flow.sel(overlap=label)) == pytest.approx(value, abs=1e-13)


def test_descent_is_the_exact_quadratic_map_of_the_overlap_matrix():
    net, task, rnn = ov.Overlaps.random(3, rank=2), ov.tasks.exponential_filter(), ov.RNN(dt=0.05)
    eta, G = 0.1, net.gram
    slope = jax.jit(jax.grad(lambda gram: task.loss(ov.Overlaps(gram, rank=2), rnn)))
    for _ in range(20):
        gamma = np.asarray(slope(G))
        step = np.eye(len(G)) - eta * (gamma + gamma.T)
        G = step @ G @ step
    trained = ov.final_state(ov.learn(net, task, rnn, ov.GradientDescent(eta, 20)))
    np.testing.assert_allclose(trained.gram, G, atol=1e-13)


@pytest.mark.slow
def test_flow_and_descent_follow_the_logistic_curve():
    start, times = 0.1, np.linspace(0.0, 4.0, 41)
    gram = np.zeros((4, 4))
    gram[np.ix_([0, 3], [0, 3])] = start
    net = ov.Overlaps(gram)
    flow = ov.learn(net, EXPONENTIAL, ov.RNN(), ov.GradientFlow(4.0, rtol=1e-10, atol=1e-12), saves=41)
    expected = exponential.logistic(start, 1.0, 0.2, times)
    for label in ("zm", "mm", "zz"):
        np.testing.assert_allclose(flow["sigma"].sel(overlap=label), expected, rtol=1e-8)
    descent = ov.learn(net, EXPONENTIAL, ov.RNN(), ov.GradientDescent(0.05, 80), saves=81)
    np.testing.assert_allclose(
        descent["sigma"].sel(overlap="zm"), exponential.logistic_descent(start, 1.0, 0.2, 0.05, 80), rtol=1e-12
    )
    np.testing.assert_allclose(flow["sigma"].sel(overlap=["vu", "uu", "vv", "zu"]), 0.0, atol=1e-15)


@pytest.mark.slow
def test_flow_to_convergence_finds_the_known_solution_and_conserves_the_spectrum():
    net = ov.Overlaps.random(0)
    rule = ov.GradientFlow(300.0, rtol=1e-9, atol=1e-11)
    dataset = ov.learn(net, EXPONENTIAL, ov.RNN(), rule)
    end = ov.final_state(dataset)
    assert end["zm"].item() == pytest.approx(1.0, abs=1e-6)
    assert (end["zu"] @ end["vm"]).item() == pytest.approx(0.8, abs=1e-6)
    assert end["vu"].item() == pytest.approx(0.8, abs=1e-6)
    np.testing.assert_allclose(signature_spectrum(end), signature_spectrum(net), atol=1e-7)
    assert np.all(np.diff(dataset["loss"]) < 1e-12)
    assert dataset.attrs["solver_num_steps"] > 1000


@pytest.mark.slow
def test_rank_two_oscillation_conserves_the_spectrum():
    net = ov.Overlaps.random(0, rank=2)
    dataset = ov.learn(net, OSCILLATION, ov.RNN(), ov.GradientFlow(100.0, rtol=1e-9, atol=1e-11))
    end = ov.final_state(dataset)
    np.testing.assert_allclose(signature_spectrum(end), signature_spectrum(net), atol=1e-7)
    # The poles of the filter, and both channels into it, are learned.
    poles = np.sort_complex(np.linalg.eigvals(end["vu"]) - 1)
    np.testing.assert_allclose(poles, [-0.3 - 2j, -0.3 + 2j], atol=1e-6)
    assert float(dataset["loss"][-1]) < 1e-12


@pytest.mark.slow
def test_overlap_matrix_stays_positive_semi_definite_from_a_singular_start():
    net = ov.Overlaps.random(0, rank=2, n=3)  # D = 6 vectors of three neurons
    for rule in (ov.GradientDescent(2e-2, 500), ov.GradientFlow(10.0)):
        end = ov.final_state(ov.learn(net, OSCILLATION, ov.RNN(), rule))
        assert np.linalg.matrix_rank(end.gram, tol=1e-12) == 3
        assert np.linalg.eigvalsh(end.gram).min() > -1e-14


@pytest.mark.slow
def test_flow_is_the_limit_of_descent():
    net = ov.Overlaps.random(4)
    flow = ov.learn(net, FINITE, EULER, ov.GradientFlow(1.0), saves=11)["sigma"].values
    runs = [ov.learn(net, FINITE, EULER, ov.GradientDescent(1 / steps, steps), saves=11) for steps in (400, 800)]
    errors = [float(np.abs(descent["sigma"].values - flow).max()) for descent in runs]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.05)


def test_adam_sees_the_vectors_themselves():
    network = ov.Overlaps.random(7, n=20).sample(20, 0)
    dt, samples, rate, steps = 0.1, 30, 1e-2, 15
    task = ov.tasks.exponential_filter(horizon=samples * dt)
    dataset = ov.learn(network, task, ov.RNN(dt=dt), ov.GradientDescent(rate, steps, optimizer=optax.adam))
    target = task.impulse_response(dt * np.arange(samples))
    vectors = [np.asarray(x) for x in (network.m, network.u, network.v, network.z)]
    first, second = [0.0] * 4, [0.0] * 4
    for step in range(1, steps + 1):
        gradients = full_network.loss_and_gradients(vectors, target, dt, 1.0)[1]
        first = [0.9 * a + 0.1 * g for a, g in zip(first, gradients, strict=True)]
        second = [0.999 * b + 0.001 * g**2 for b, g in zip(second, gradients, strict=True)]
        vectors = [
            x - rate * (a / (1 - 0.9**step)) / (np.sqrt(b / (1 - 0.999**step)) + 1e-8)
            for x, a, b in zip(vectors, first, second, strict=True)
        ]
    np.testing.assert_allclose(dataset["final_vectors"], np.concatenate(vectors, axis=1), atol=1e-9)


@pytest.mark.slow
def test_rates_mean_the_same_in_flow_descent_overlaps_and_network():
    network = ov.Overlaps.random(8).sample(20, 0)
    rates = {"m": 0.0, "u": 2.0, "v": 0.3}
    flow = ov.GradientFlow(1.0, rates=rates)
    theory = ov.learn(network.overlaps(), FINITE, EULER, flow, saves=11)
    np.testing.assert_allclose(ov.learn(network, FINITE, EULER, flow, saves=11)["sigma"], theory["sigma"], atol=1e-8)
    np.testing.assert_allclose(theory["sigma"].sel(overlap="mm"), network.overlaps()["mm"].item(), atol=1e-15)
    coarse, fine = (
        ov.learn(network.overlaps(), FINITE, EULER, ov.GradientDescent(1 / steps, steps, rates=rates), saves=11)["sigma"]
        for steps in (1000, 2000)
    )
    np.testing.assert_allclose(2 * fine.values - coarse.values, theory["sigma"], atol=1e-5)  # what is left is of second order


@pytest.mark.slow
def test_float32_on_request():
    network = ov.Overlaps.random(9).sample(20, 0)
    descent, flow = ov.GradientDescent(1e-2, 100), ov.GradientFlow(0.7, rtol=1e-5, atol=1e-6)
    for state, rule in ((network, descent), (network.overlaps(), flow)):
        single, double = (ov.learn(state, FINITE, EULER, rule, saves=11, precision=name) for name in ("float32", "float64"))
        assert single["sigma"].dtype == np.float32
        np.testing.assert_allclose(single["sigma"], double["sigma"], atol=1e-4)
        np.testing.assert_allclose(single["time"], double["time"], rtol=1e-6)


@pytest.mark.slow
def test_results_do_not_depend_on_the_options_of_the_compiler(monkeypatch):
    def runs():
        for module in (_flow, _descent):
            module._compiled.cache_clear()
        rules = ov.GradientFlow(1.0), ov.GradientDescent(1e-2, steps=20)
        return [ov.learn(ov.Overlaps.random(0), FINITE, EULER, rule, saves=3) for rule in rules]

    with_options = runs()
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))  # which gets none
    for one, other in zip(with_options, runs(), strict=True):
        assert largest_difference(one, other) < 1e-9
    for module in (_flow, _descent):
        module._compiled.cache_clear()
