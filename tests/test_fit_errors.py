"""Errors of fits where curves bend: against a parabola that is known, and against the scatter of fits of known networks."""

import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from overlaps.inference import _fit
from overlaps.inference._bends import bends
from overlaps.inference._spectrum import spectrum

RNN = ov.RNN(dt=0.25)
TRUTH = ov.Overlaps.random(3, n=50)
LAYOUT = TRUTH.layout
SIGMA = LAYOUT.listed(np.asarray(TRUTH.gram))


def bends_of(sizes, direction, bend):
    """The bends of curves that are straight in the overlaps, but for a bend of the first one along `direction`."""
    slopes, factor = np.diag(sizes), np.asarray(TRUTH.factor)

    def residuals(factors):
        one = factors.reshape(-1, LAYOUT.size, LAYOUT.size)
        away = LAYOUT.listed(one.swapaxes(-1, -2) @ one) - SIGMA
        found = away @ slopes
        found[:, 0] += bend * (away @ direction) ** 2 / 2
        return found

    shown = spectrum(slopes, {}, np.eye(len(sizes)), 1e-6)
    return bends(residuals, LAYOUT, factor, slopes, shown, shown.sizes > 0)


def test_the_bend_of_a_parabola_adds_its_mean_square():
    sizes, direction = np.geomspace(1e6, 1e3, 10), np.eye(10)[9]
    bent = bends_of(sizes, direction, bend := 1e7)
    error = 1 / sizes[9]
    expected = np.zeros((10, 10))
    expected[0, 0] = 3 * (bend * error**2 / 2) ** 2 / sizes[0] ** 2  # E t^4 = 3 error^4 for a Gaussian t
    np.testing.assert_allclose(bent.T @ bent, expected, rtol=1e-5, atol=1e-9 * expected[0, 0])


def test_a_network_moves_along_an_unknown_direction_as_far_as_its_overlaps_are_those_of_vectors():
    zz = np.eye(10)[9]
    assert LAYOUT.pairs[9].label == "zz"
    sizes = np.append(np.full(9, 1e6), 1e-6)
    bent = bends_of(sizes, zz, bend := 1e3)
    # zz can grow for ever, so the distance is sqrt(3) errors; it can shrink by 1 / (G^-1)_zz.
    np.testing.assert_allclose(np.linalg.norm(bent), np.sqrt(3) / 2 * bend * 1e12 / 1e6, rtol=1e-6)
    unlike = np.eye(10)[LAYOUT.pairs.index(next(pair for pair in LAYOUT.pairs if pair.label == "vu"))]
    sizes = np.where(unlike > 0, 1e-6, 1e6)
    away = np.linspace(-3, 3, 60001)
    allowed = np.linalg.eigvalsh(np.asarray(TRUTH.gram) + away[:, None, None] * LAYOUT.matrix(unlike))[:, 0] >= 0
    farthest = np.max(np.abs(away[allowed]))
    bent = bends_of(sizes, unlike, bend)
    largest = np.max(np.linalg.norm(bent, axis=1))
    np.testing.assert_allclose(largest, bend * farthest**2 / 2 / 1e6 / np.sqrt(3), rtol=1e-3)


def curves_at(overlaps, phases):
    state = ov.Overlaps(LAYOUT.matrix(overlaps), *LAYOUT)
    return ov.inference.observations(state, phases, RNN, saves=7)


@pytest.mark.slow
def test_errors_hold_where_curves_bend(monkeypatch):
    """All vectors learn at the same rate, so that J is unknown, and curves bend within the errors."""
    monkeypatch.setattr(_fit, "SLOTS", 8)
    tasks = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
    phases = [ov.Phase(name, task, ov.GradientDescent(2e-2, 60)) for name, task in tasks.items()]
    noise, number, step = 2e-4, 48, 1e-4
    clean = curves_at(SIGMA, phases)
    data = clean.expand_dims(subject=number)
    data = data.copy(data=data.values + noise * np.random.default_rng(0).standard_normal(data.shape))
    fits = ov.inference.fit(data, phases, RNN, start=TRUTH, noise=noise, steps=30)  # what follows moves along J
    shown = ~fits["null"].values
    assert np.all(shown.sum(axis=1) == 9)
    directions, straight = fits["component"].values[:, :9], 1 / fits["singular_value"].values[:, :9]
    errors = np.einsum("nki,ni->nk", directions, fits["sigma"].values - SIGMA)
    bent = np.sqrt(np.einsum("nki,nij,nkj->nk", directions, fits["covariance"].values, directions))
    assert np.mean(np.abs(errors[:, 0]) < 1.96 * straight[:, 0]) < 0.75  # what the bends are for
    covered = np.abs(errors) < 1.96 * bent
    assert abs(np.mean(covered) - 0.95) < 0.03
    assert np.all(scipy.stats.binom.cdf(covered.sum(axis=0), number, 0.95) > 1e-3)
    within = np.abs(fits["sigma"].values - SIGMA) < 1.96 * fits["standard_error"].values
    assert np.all(scipy.stats.binom.cdf(within.sum(axis=0), number, 0.95) > 1e-3)
    # In coordinates in which the curves are straight, the errors are those of the Fisher information.
    slopes = [(curves_at(SIGMA + one, phases) - curves_at(SIGMA - one, phases)) / (2 * step) for one in step * np.eye(10)]
    frame = np.linalg.svd(np.reshape(slopes, (10, -1)).T / noise, full_matrices=False)[0][:, :9]
    away = (fits["predicted"] - clean).transpose("subject", *clean.dims).values.reshape(number, -1) / noise @ frame
    lower, upper = scipy.stats.chi2.ppf([0.005, 0.995], away.size)
    assert lower < np.sum(away**2) < upper
