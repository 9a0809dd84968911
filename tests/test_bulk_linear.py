"""The theory of linear networks with a bulk against networks in plain NumPy (tests/systems/bulk.py, docs/bulk.md)."""

import functools
import itertools

import jax
import numpy as np
import optax
import pytest
import scipy
import xarray as xr

import overlaps as ov
from tests.systems import bulk

DT = 0.2
RNN = ov.RNN(dt=DT)
TASK = ov.tasks.exponential_filter(0.2, horizon=25 * DT)
TARGET = np.exp(-0.2 * DT * np.arange(25))[:, None, None]
SIZES = (1, 1, 1)
NET = ov.Overlaps(np.eye(4)).replace(zm=0.3, vu=0.2, mu=0.2)


def plain(network, rate, steps, momentum, saves):
    """Losses and overlaps along the learning of a network of the library, by the plain program."""
    losses, grams, _ = bulk.descend(network.bulk, network.vectors, SIZES, TARGET, DT, rate, steps, momentum, saves)
    return losses, grams


def learned(state, rate, steps, momentum, saves):
    optimizer = functools.partial(optax.sgd, momentum=momentum) if momentum else None
    run = ov.learn(state, TASK, RNN, ov.GradientDescent(rate, steps, optimizer), saves=saves)
    grams = np.zeros((saves, 4, 4))
    for pair, values in zip(NET.layout.pairs, run["sigma"].values.T, strict=True):
        grams[:, pair.row, pair.column] = grams[:, pair.column, pair.row] = values
    return run["loss"].values, grams


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "momentum"), [(0.02, 0.0), (0.002, 0.9)])
def test_the_error_of_krylov_falls_as_the_radius_to_the_power_two_orders_plus_two(rate, momentum):
    radii, errors = (0.025, 0.05, 0.1, 0.3, 0.6), {}
    for g in radii:
        network = NET.sample(300, 0, bulk=g)
        truth = plain(network, rate, 100, momentum, 6)
        for order in range(3):
            found = learned(network.krylov(order), rate, 100, momentum, 6)
            errors[order, g] = [np.max(np.abs(one - other)) for one, other in zip(truth, found, strict=True)]
    table = np.array([[errors[order, g] for g in radii] for order in range(3)])  # order, radius, loss or overlaps
    exponents = np.diff(np.log(table), axis=1) / np.diff(np.log(radii))[:, None]
    for order in range(3):
        np.testing.assert_allclose(exponents[order, 0], 2 * order + 2, atol=0.2)
        assert np.all(exponents[order, -1] < 2 * order + 1.5)  # from 0.3 to 0.6 the power law is over


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_networks_approach_the_limit_of_infinitely_many_neurons(correlation):
    """The overlaps after learning: deviations of single networks fall as 1 / sqrt(N), and their mean as 1 / N.

    The networks learn in the library (tests/test_bulk.py checks how), many of them at once.
    """
    net, g, spread = NET.replace(zm=0.5, zu=0.5, vm=0.5), 0.4, []
    task, rule = ov.tasks.exponential_filter(0.2, horizon=12 * DT), ov.GradientDescent(0.02, 30)
    limit = ov.learn(net.with_bulk(g, 4, correlation), task, RNN, rule, saves=2)["sigma"][-1].values
    for n, draws in ((60, 150), (240, 60)):
        keys = jax.random.split(jax.random.key(n), draws)
        many = ov.Overlaps(np.broadcast_to(net.gram, (draws, 4, 4)))
        networks = many.sample(n, keys, bulk=ov.RandomBulk(g, keys, correlation))
        run = ov.learn(networks, task, RNN, rule, saves=2)
        off = run["sigma"].isel(time=-1).transpose("batch", "overlap").values - limit
        assert np.all(np.abs(off.mean(0)) < 5 * off.std(0) / np.sqrt(draws) + 1 / n)
        spread.append(np.sqrt(np.mean(off**2)))
    assert np.log(spread[0] / spread[1]) / np.log(4) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.5, 1.0])
def test_the_words_of_a_limit_are_free_words(correlation):
    """x^T w(J, J^T) y is exact for all words of up to 2 order + 1 letters, and wrong for some of one letter more."""
    g, order = 0.7, 1
    state = NET.with_bulk(g, order, correlation)
    free = bulk.free_words(g, correlation, 4)
    moments, found = [], []
    for length in range(2 * order + 3):
        for letters in itertools.product((free, free.T), repeat=length):
            moments.append(functools.reduce(lambda right, J: J @ right, letters, np.eye(len(free))[:, 0])[0])
        for letters in itertools.product((state.dense_bulk, state.dense_bulk.T), repeat=length):
            reached = functools.reduce(lambda right, J: J @ right, letters, state.vectors)
            found.append(state.vectors.T @ reached / state.n)
    off = np.max(np.abs(np.array(found) - np.array(moments)[:, None, None] * NET.gram), axis=(1, 2))
    exact = sum(2**length for length in range(2 * order + 2))
    assert off[:exact].max() < 1e-14
    assert off[exact:].max() > 0.1


@pytest.mark.parametrize("correlation", [0.0, -1.0])
def test_the_first_speeds_of_learning_are_those_of_a_kernel_of_bessel_type(correlation):
    """d f_k / d z . d f_l / d z = h_k . h_l is the sum of g^(2 q) phi_q(k) phi_q(l) for independent vectors at the start.

    The filters phi_q(k) = binom(k, q) dt^q (1 - dt)^(k - q) are q + 1 leaky integrators in a row, in Euler steps. For a J that
    is antisymmetric, signs (-1)^(p - q) appear: (J^p m) . (J^q m) = (-1)^p m . J^(p + q) m / N. The first words that are left
    out have 2 order + 2 letters.
    """
    g, order, samples = 0.6, 3, 8
    state = ov.Overlaps(np.eye(4)).with_bulk(g, order, correlation)
    E = np.eye(state.n) * (1 - DT) + DT * state.dense_bulk
    activity = [state.m[:, 0]]
    for _ in range(samples - 1):
        activity.append(E @ activity[-1])
    kernel = np.array(activity) @ np.array(activity).T / state.n
    k = np.arange(samples)
    filters = np.array([scipy.special.binom(k, q) * DT**q * (1 - DT) ** np.maximum(k - q, 0) for q in range(samples)])
    catalan = [scipy.special.comb(2 * q, q, exact=True) // (q + 1) for q in range(samples)]  # moments of a semicircle
    expected = np.zeros((samples, samples))
    for p, q in np.ndindex(samples, samples):
        if correlation == 0:
            moment = g ** (2 * q) * (p == q)
        else:
            moment = 0.0 if (p + q) % 2 else (-1) ** p * (-1) ** ((p + q) // 2) * g ** (p + q) * catalan[(p + q) // 2]
        expected += moment * np.outer(filters[p], filters[q])
    kept = np.add.outer(k, k) <= 2 * order + 1
    np.testing.assert_allclose(kernel[kept], expected[kept], rtol=0, atol=1e-14)


@pytest.mark.slow
def test_a_cycle_of_two_tasks_leaves_more_behind_with_a_bulk_but_little():
    """Gradient flow learns A, B and A again. The charges say that mm - zz and uu - vv return in any case."""
    A, B = (ov.tasks.exponential_filter(rate, horizon=10.0) for rate in (0.2, 0.4))
    net, flow = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8), ov.GradientFlow(30.0, rtol=1e-7, atol=1e-9)
    phases = [ov.Phase("A", A, flow), ov.Phase("B", B, flow), ov.Phase("A again", A, flow)]
    run = ov.learn(net.with_bulk([0.0, 0.3, 0.6], 2), phases, RNN, saves=2)
    first, other, last = (run["sigma"].isel(time=np.flatnonzero(run["phase"] == phase.name)[-1]) for phase in phases)
    left, moved = last - first, abs(other - first).max("overlap")
    for one, two in (("mm", "zz"), ("uu", "vv")):
        np.testing.assert_allclose(left.sel(overlap=one), left.sel(overlap=two), rtol=0, atol=1e-6)
    assert abs(left[0].sel(overlap=["zm", "vu"])).max() < 1e-7  # without a bulk the function fixes these overlaps ...
    assert np.all(abs(left[1:].sel(overlap=["zm", "vu"])) > 1e-4)  # ... and with one it does not
    sizes = (abs(left).max("overlap") / moved).values
    np.testing.assert_allclose(sizes, [1.0e-3, 4.3e-3, 1.7e-2], rtol=0.05)


@pytest.mark.slow
def test_speed_over_the_radius_of_a_bulk():
    net, radii = NET.replace(zu=0.3, vm=0.3), [0.0, 0.5]
    found = ov.bulk.speed(net, TASK, RNN, ov.GradientDescent(0.01, 300), radii, order=2, saves=301)
    for index, g in enumerate(radii):
        J, P = np.kron(bulk.free_words(g, 0.0, 2), np.eye(4)), np.zeros((28, 4))
        P[:4] = np.sqrt(28) * np.linalg.cholesky(net.gram).T
        losses, grams, _ = bulk.descend(J, P, SIZES, TARGET, DT, 0.01, 300, saves=301)
        np.testing.assert_allclose(found["loss"][index], losses, rtol=1e-9)
        assert float(found["final_loss"][index]) == pytest.approx(losses[-1] / losses[0])
        assert float(found["sigma"].sel(overlap="mm")[index]) == pytest.approx(grams[-1][0, 0])
        for fraction in (0.5, 0.01):
            step = float(found["learning_time"].sel(fraction=fraction)[index]) / 0.01
            before, after = losses[int(step)], losses[int(step) + 1]
            assert before > fraction * losses[0] >= after
    assert float(found["loss_change"][0]) < 1e-12 < 1e-3 < float(found["loss_change"][1])
    few = ov.bulk.speed(net, TASK, RNN, ov.GradientDescent(0.01, 10), 0.5, order=2)
    assert np.all(np.isinf(few["learning_time"]))  # the loss did not come down so far


@pytest.mark.slow
def test_a_figure_of_the_speed(tmp_path):
    net = NET.replace(zu=0.3, vm=0.3)
    found = ov.bulk.speed(net, TASK, RNN, ov.GradientDescent(0.01, 20), [0.0, 0.5], order=1)
    found.to_netcdf(tmp_path / "speed.nc")
    xr.testing.assert_identical(ov.rerun(xr.load_dataset(tmp_path / "speed.nc")), found)
    ax = ov.plots.plot_bulk_speed(found)
    assert [line.get_label() for line in ax.lines] == ["to 50% of the loss", "to 1% of the loss"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), found["learning_time"].sel(fraction=0.5))
    assert np.all(np.isnan(ax.lines[1].get_ydata()))
    with pytest.raises(ValueError, match=r"be a result of `bulk\.speed`"):
        ov.plots.plot_bulk_speed(found[["loss"]])
    with pytest.raises(ValueError, match="be a single Overlaps"):
        ov.bulk.speed(net.sample(20, 0), TASK, RNN, ov.GradientDescent())
    with pytest.raises(ValueError, match="`order` must"):
        ov.bulk.speed(net, TASK, RNN, ov.GradientDescent(), order=0)
