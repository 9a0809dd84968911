"""What gradient flow conserves, what breaks it, the metric, and what training history leaves behind."""

import diffrax
import jax
import numpy as np
import pytest

import overlaps as ov
from tests.test_filters import oscillating_task

pytestmark = pytest.mark.slow

RATES = {"m": 0.7, "u": 2.0, "v": 0.3, "z2": 1.5}
RATES_ONE = {"m": 0.7, "u": 2.0, "v": 0.3}
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def drift(charges, name):
    """The largest change of a charge from its initial value."""
    return float(np.abs(charges[name] - charges[name].isel(time=0)).max())


@pytest.mark.parametrize(("rates", "dt"), [(None, 0.1), (RATES, None)])
def test_flow_conserves_every_charge_with_any_rates(rates, dt):
    net = ov.Overlaps.random(0, rank=2, inputs=2, outputs=2)
    dataset = ov.learn(net, oscillating_task(2, 2, 5.0), ov.RNN(dt=dt), ov.GradientFlow(1.0, rates=rates, **TIGHT), saves=11)
    charges = ov.conserved(dataset)
    for name in ("spectrum", "gauge", "balance"):
        assert drift(charges, name) < 1e-8, name
    if rates is not None:  # the charges of equal rates are not conserved then
        plain = ov.conserved(dataset, rates={})
        assert all(drift(plain, name) > 1e-2 for name in ("spectrum", "gauge", "balance"))


def test_charges_of_networks_and_of_their_overlaps():
    network, rnn, rates = ov.Overlaps.random(0, rank=2).sample(15, 0), ov.RNN(dt=0.1), {"m": 0.7, "u": 2.0}
    whole, reduced = ov.conserved(network, rnn, rates), ov.conserved(network.overlaps(), rnn, rates)
    for name in ("spectrum", "gauge", "balance"):
        np.testing.assert_allclose(whole[name], reduced[name], atol=1e-13)
    # By hand: K in neuron space, whose non-zero eigenvalues are those of -J M^-1 G.
    m, u, v, z = network.m, network.u, network.v, network.z
    K = (v @ v.T + z @ z.T - m @ m.T / 0.7 - u @ u.T / 2.0) / 15
    np.testing.assert_allclose(whole["K"], K, atol=1e-14)
    signed = np.diag([1 / 0.7, 0.5, 0.5, -1, -1, -1]) @ network.overlaps().gram
    np.testing.assert_allclose(reduced["spectrum"], np.sort(np.linalg.eigvals(signed).real), atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(-K)
    np.testing.assert_allclose(np.sort(eigenvalues[np.abs(eigenvalues) > 1e-10]), reduced["spectrum"], atol=1e-12)
    np.testing.assert_allclose(reduced["gauge"], (u.T @ u / 2.0 - v.T @ v) / 15, atol=1e-13)
    np.testing.assert_allclose(reduced["balance"], (np.sum(m**2) / 0.7 - np.sum(z**2)) / 15, atol=1e-13)
    trained = ov.learn(network, ov.tasks.exponential_filter(horizon=4.0), rnn, ov.GradientFlow(1.0, rates=rates, **TIGHT))
    np.testing.assert_allclose(ov.conserved(ov.final_state(trained), rnn, rates)["K"], K, atol=1e-8)


def test_frozen_and_unequal_vectors_take_their_charges_away():
    net, rnn = ov.Overlaps.random(0, rank=2), ov.RNN(dt=0.1)
    frozen = ov.conserved(net, rnn, {"u1": 0.0})
    assert set(frozen) == {"gauge", "balance"}
    np.testing.assert_array_equal(np.isnan(frozen["gauge"]), [[True, True], [True, False]])
    assert set(ov.conserved(net, rnn, {"z": 0.0})) == {"gauge"}
    unequal = {"u1": 2.0, "v2": 0.5}
    np.testing.assert_array_equal(np.isnan(ov.conserved(net, rnn, unequal)["gauge"]), [[False, True], [True, False]])
    task = ov.tasks.damped_oscillation(horizon=5.0)
    for rates in ({"u1": 0.0}, unequal):
        charges = ov.conserved(ov.learn(net, task, rnn, ov.GradientFlow(2.0, rates=rates, **TIGHT), saves=5))
        for name, values in charges.items():
            assert np.nanmax(np.abs(values - values.isel(time=0))) < 1e-8, name


def test_descent_drifts_at_first_order_in_the_learning_rate():
    net, task, rnn = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=5.0), ov.RNN(dt=0.1)
    learning_rates = np.array([4e-3, 2e-3, 1e-3, 5e-4])
    drifts = {"spectrum": [], "gauge": [], "balance": []}
    for rate in learning_rates:
        charges = ov.conserved(ov.learn(net, task, rnn, ov.GradientDescent(rate, round(2 / rate)), saves=3))
        for name, values in drifts.items():
            values.append(drift(charges, name))
    for name, values in drifts.items():
        exponent = np.polyfit(np.log(learning_rates), np.log(values), 1)[0]
        assert exponent == pytest.approx(1.0, abs=0.05), name


def test_training_history_leaves_a_holonomy_and_nothing_else():
    rnn = ov.RNN()
    A, B = (ov.tasks.exponential_filter(rate, horizon=None) for rate in (0.2, 0.4))
    net = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
    ends = {}
    for rtol in (1e-7, 1e-8):
        rule = ov.GradientFlow(600.0, rtol=rtol, atol=rtol / 100, stop_gradient=1e-10, solver=diffrax.Kvaerno5())
        dataset = ov.learn(net, [ov.Phase("A", A, rule), ov.Phase("B", B, rule), ov.Phase("A again", A, rule)], rnn, saves=21)
        first, last = (dataset["sigma"].isel(time=np.flatnonzero(dataset["phase"] == name)[-1]) for name in ("A", "A again"))

        def fixed(sigma):
            zm, zu, vm, vu = (float(sigma.sel(overlap=name)) for name in ("zm", "zu", "vm", "vu"))
            return np.array([zm, zu * vm, vu])

        np.testing.assert_allclose(fixed(last), fixed(first), atol=1e-8)
        ends[rtol] = last - first
    holonomy = float(np.abs(ends[1e-8].where(~dataset["visible"], drop=True)).max())
    # It is a property of the flow: a solver ten times as exact finds the same to a thousandth of it, and so does an explicit
    # one, which takes 28,000 steps a phase where this one takes 1,000.
    np.testing.assert_allclose(ends[1e-7], ends[1e-8], atol=1e-3 * holonomy)
    assert holonomy == pytest.approx(2.3232e-4, rel=1e-3)


@pytest.mark.parametrize(("sizes", "rates"), [((1, 1, 1), None), ((2, 2, 1), {"m": 0.3, "u": 2.0, "z": 0.0})])
def test_metric_turns_the_loss_gradient_into_the_flow(sizes, rates):
    inputs, rank, outputs = sizes
    net = ov.Overlaps.random(1, rank=rank, inputs=inputs, outputs=outputs)
    task, rnn = oscillating_task(inputs, outputs, 5.0), ov.RNN(dt=0.1)
    gamma = np.asarray(jax.jit(jax.grad(lambda gram: task.loss(ov.Overlaps(gram, *sizes), rnn)))(net.gram))
    gradient = np.array(
        [gamma[p.row, p.column] + (gamma[p.column, p.row] if p.row != p.column else 0) for p in net.layout.pairs]
    )
    first, second = (
        ov.learn(net, task, rnn, ov.GradientDescent(eta, 1, rates=rates), saves=2)["sigma"].diff("time").isel(time=0) / eta
        for eta in (0.01, 0.02)
    )
    np.testing.assert_allclose(-ov.metric(net, rnn, rates).values @ gradient, 2 * first - second, atol=1e-10)


def test_metric_against_the_definition_and_its_published_pattern():
    net, rnn = ov.Overlaps.random(2, n=30), ov.RNN()
    network = net.sample(30, 0)
    pairs = net.layout.pairs

    def sigma(vectors):
        gram = vectors.T @ vectors / 30
        return gram[np.array([p.row for p in pairs]), np.array([p.column for p in pairs])]

    slopes = np.asarray(jax.jacobian(sigma)(network.vectors)).reshape(10, -1)
    metric = ov.metric(net, rnn)
    np.testing.assert_allclose(metric, 30 * slopes @ slopes.T, atol=1e-12)
    # [GB26] at rank 1: two overlaps are coupled if and only if they share a vector.
    shares = [[bool(set(one) & set(other)) for other in metric["source"].values] for one in metric["overlap"].values]
    np.testing.assert_array_equal(metric.values != 0, shares)
    np.testing.assert_array_equal(metric, metric.values.T)
    assert float(metric.sel(overlap="zm", source="zu")) == pytest.approx(net["mu"].item())


def stack(states):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def test_metric_of_batches_and_networks():
    states, rates = [ov.Overlaps.random(seed, rank=2) for seed in range(3)], {"u": 0.5}
    together = ov.metric(stack(states), ov.RNN(), rates)
    assert together.dims == ("batch", "overlap", "source")
    for index, state in enumerate(states):
        np.testing.assert_array_equal(together[index], ov.metric(state, ov.RNN(), rates))
    network = states[0].sample(9, 0)
    np.testing.assert_allclose(ov.metric(network, ov.RNN(), rates), together[0], atol=1e-14)


@pytest.mark.filterwarnings("ignore:1 of 3 networks diverged")
def test_charges_of_a_network_that_diverged_are_nan():
    net, task, rnn = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1)
    dataset = ov.learn(net, task, rnn, ov.GradientDescent([1e-2, 0.9, 2e-2], 200), saves=5)
    charges = ov.conserved(dataset)
    alone = ov.conserved(ov.learn(net, task, rnn, ov.GradientDescent(2e-2, 200), saves=5))
    for name in ("spectrum", "gauge", "balance"):
        assert np.all(np.isnan(charges[name][1, -1]))
        np.testing.assert_allclose(charges[name][2], alone[name], rtol=0, atol=1e-11)


def test_charges_along_phases_take_the_rates_of_the_phases():
    net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.1)
    tasks = [ov.tasks.exponential_filter(decay, horizon=4.0) for decay in (0.2, 0.5)]
    flow, plain = ov.GradientFlow(0.5, rates=RATES_ONE, **TIGHT), ov.GradientFlow(0.5, **TIGHT)
    dataset = ov.learn(net, [ov.Phase(name, task, flow) for name, task in zip("AB", tasks, strict=True)], rnn, saves=3)
    charges = ov.conserved(dataset)
    for name in ("spectrum", "gauge", "balance"):
        assert drift(charges, name) < 1e-8
        assert drift(ov.conserved(dataset, rates={}), name) > 1e-3
    mixed = ov.learn(net, [ov.Phase("A", tasks[0], flow), ov.Phase("B", tasks[1], plain)], rnn, saves=3)
    with pytest.raises(ValueError, match="`rates` must be given for phases that differ in theirs"):
        ov.conserved(mixed)
    first = ov.conserved(mixed, rates=RATES_ONE).isel(time=mixed["phase"].values == "A")
    assert drift(first, "spectrum") < 1e-8


def test_equal_products_of_rates_are_equal_whatever_their_rounding():
    rates = {"u1": 0.1, "v1": 3.0, "u2": 0.3, "v2": 1.0}
    assert rates["u1"] * rates["v1"] != rates["u2"] * rates["v2"]
    assert np.all(np.isfinite(ov.conserved(ov.Overlaps.random(0, rank=2), ov.RNN(), rates)["gauge"]))


def test_bad_arguments_of_charges_and_metric():
    net, rnn = ov.Overlaps.random(0), ov.RNN()
    dataset = ov.learn(net, ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1), ov.GradientDescent(1e-2, 2), saves=2)
    for act, message in (
        (lambda: ov.conserved(net, {"m": 0.5}), "`rnn` must be an RNN, but dict came"),
        (lambda: ov.conserved(net.gram, rnn), "`state` must be a network, or a Dataset of `learn`, but ndarray came"),
        (lambda: ov.conserved(net), "`rnn` must be given with a state"),
        (lambda: ov.conserved(net, rnn, {"m": -1.0}), r"`rates\['m'\]` must be a number of at least 0"),
        (lambda: ov.conserved(dataset, rates={"m": -1.0}), r"`rates\['m'\]` must be a number of at least 0"),
        (lambda: ov.metric(net, rnn, {"m": -1.0}), r"`rates\['m'\]` must be a number of at least 0"),
        (lambda: ov.metric(net, rnn, {"w": 1.0}), "`rates` must name letters or labels"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
