"""The theory of linear networks with a bulk against networks in plain NumPy (tests/systems/bulk.py, docs/bulk.md)."""

import functools
import itertools

import jax
import numpy as np
import optax
import pytest

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
        for letters in itertools.product((state.bulk, state.bulk.T), repeat=length):
            reached = functools.reduce(lambda right, J: J @ right, letters, state.vectors)
            found.append(state.vectors.T @ reached / state.n)
    off = np.max(np.abs(np.array(found) - np.array(moments)[:, None, None] * NET.gram), axis=(1, 2))
    exact = sum(2**length for length in range(2 * order + 2))
    assert off[:exact].max() < 1e-14
    assert off[exact:].max() > 0.1
