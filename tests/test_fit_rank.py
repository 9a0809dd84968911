"""Fits of rank 2, and the choice of the rank, against known networks and a plain computation of the held-out likelihood."""

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.inference import _choose_rank, _fit

RNN = ov.RNN(dt=0.25)
TRUTHS = {1: ov.Overlaps.random(3, n=50), 2: ov.Overlaps.random(1, 2, n=6)}
SLOTS = 8


def protocol():
    """Two tasks in sequence. The input weights do not learn the second one, so that the curves show all directions, also J."""
    tasks = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
    rules = [ov.GradientDescent(2e-2, 60, rates=rates) for rates in (None, {"m": 0.0})]
    return [ov.Phase(name, task, rule) for (name, task), rule in zip(tasks.items(), rules, strict=True)]


def observed(state, **arguments):
    return ov.inference.observations(state, protocol(), RNN, saves=7, **arguments)


@pytest.fixture(autouse=True)
def _few_slots(monkeypatch):
    monkeypatch.setattr(_fit, "SLOTS", SLOTS)


def apart(one, other):
    """The largest difference of two overlap matrices of m, u, u, v, v, z, with names of the latents that make it smallest.

    Other names are u -> u a and v -> v a with a rotation a, or a reflection and a rotation.
    """

    def difference(angle, mirror):
        a = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1.0, mirror])
        turn = scipy.linalg.block_diag(1.0, a, a, 1.0)
        return np.max(np.abs(turn.T @ one @ turn - other))

    smallest = []
    for mirror in (1.0, -1.0):
        angles = np.linspace(-np.pi, np.pi, 100)
        near = angles[np.argmin([difference(angle, mirror) for angle in angles])]
        bounded = {"bounds": (near - 0.1, near + 0.1), "method": "bounded", "options": {"xatol": 1e-12}}
        smallest.append(scipy.optimize.minimize_scalar(difference, args=(mirror,), **bounded).fun)
    return min(smallest)


@pytest.mark.slow
def test_noiseless_curves_give_back_a_network_of_rank_two_up_to_names_of_its_latents():
    found = ov.inference.fit(observed(TRUTHS[2]), protocol(), RNN, noise=1e-8, rank=2, starts=SLOTS, steps=60)
    assert found["arrived"].any()
    assert found["why"].values[found["null"].values].tolist() == ["rotation of latents"]
    assert apart(np.asarray(TRUTHS[2].gram), found["gram"].values) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2])
def test_the_rank_is_that_of_the_network_by_the_likelihood_of_hidden_points(rank, monkeypatch):
    noise, fits = 1e-4, []

    def recorded(*arguments):
        fits.append(ov.inference.fit(*arguments, steps=50))
        return fits[-1]

    monkeypatch.setattr(_choose_rank, "fit", recorded)
    data = observed(TRUTHS[rank], noise=noise, noise_key=1)
    found = ov.inference.choose_rank(data, protocol(), RNN, noise=noise, starts=SLOTS)
    assert found["chosen"] == rank
    hidden = np.isnan(fits[0]["observed"].transpose(*data.dims).values)
    assert 1e-4 < scipy.stats.binom.cdf(hidden.sum(), hidden.size, 0.2) < 1 - 1e-4
    predicted = [one["predicted"].transpose(*data.dims).values[hidden] for one in fits]
    each = np.array([scipy.stats.norm.logpdf(data.values[hidden], one, noise) for one in predicted])
    below = each[np.argmax(each.sum(axis=1))] - each
    np.testing.assert_allclose(found["difference"], below.sum(axis=1), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found["difference_error"], below.std(axis=1) * np.sqrt(hidden.sum()), rtol=1e-7, atol=1e-7)
    shared = hidden.sum() * np.log(noise * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found["log_likelihood"] - shared, each.sum(axis=1), rtol=1e-7)


@pytest.mark.slow
def test_counts_of_errors_are_compared_by_their_binomial_likelihood(monkeypatch):
    phase = ov.Phase("A", ov.tasks.exponential_filter(0.2, horizon=2.0), ov.GradientDescent(5e-2, steps=12))
    counts = ov.inference.Counts(20.0, jax.nn.sigmoid)
    nets = {1: ov.Overlaps.random(0), 2: ov.Overlaps.random(1, 2, n=6)}
    seen = []

    def known(observations, _protocol, _rnn, _start, _noise, rank, *_):
        seen.append(observations)
        gram = (("vector", "vector_"), np.asarray(nets[rank].gram))
        return xr.Dataset({"gram": gram, "chi2": 0.0, "p_value": 1.0}, attrs={"fit": "{}"})

    monkeypatch.setattr(_choose_rank, "fit", known)
    data = ov.inference.observations(nets[1], phase, RNN, noise=counts, noise_key=3, saves=5)
    found = ov.inference.choose_rank(data.transpose("lag", ...), phase, RNN, noise=counts, starts=1)
    hidden = np.isnan(seen[0].transpose(*data.dims).values)
    assert 0 < hidden.sum() < hidden.size
    curves = [ov.inference.observations(net, phase, RNN, saves=5).values[hidden] for net in nets.values()]
    each = np.array([scipy.stats.binom.logpmf(data.values[hidden], 20, scipy.special.expit(one)) for one in curves])
    below = each[np.argmax(each.sum(axis=1))] - each
    np.testing.assert_allclose(found["difference"], below.sum(axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["difference_error"], below.std(axis=1) * np.sqrt(hidden.sum()), rtol=1e-9, atol=1e-9)
