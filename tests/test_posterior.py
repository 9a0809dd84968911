"""Draws from the posterior of overlaps, against the Wishart distribution and the Fisher information."""

import sys
import warnings

import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from overlaps.inference._posterior import log_prior
from overlaps.inference._straight import Straight, points_inside

TRUTH, RNN = ov.Overlaps.random(3, n=50), ov.RNN(dt=0.25)
PHASE = ov.Phase("A", ov.tasks.exponential_filter(0.2, horizon=5.0), ov.GradientDescent(2e-2, steps=60))
DRAWS, WARMUP = 400, 50


def test_the_prior_is_a_wishart_distribution():
    layout, spread, rng = TRUTH.layout, 0.7, np.random.default_rng(0)
    factors = rng.standard_normal((5, 4, 4))
    grams = factors.swapaxes(1, 2) @ factors
    known = scipy.stats.wishart(5, spread**2 * np.eye(4))
    apart = [known.logpdf(gram) - float(log_prior(layout.listed(gram), layout, np.array(spread))) for gram in grams]
    np.testing.assert_allclose(apart, apart[0], atol=1e-10)


def test_the_map_to_straight_coordinates_keeps_volumes():
    rng, number = np.random.default_rng(0), np.arange(4)
    behind = (number[:, None, None] < number[:, None]) & (number[:, None, None] < number)
    coordinates = Straight(rng.standard_normal(4), np.eye(4), np.where(behind, rng.standard_normal((4, 4, 4)), 0.0))
    for z in rng.standard_normal((3, 4)):
        steps = 1e-2 * np.eye(4)  # central differences of a quadratic function are exact
        slopes = [
            (np.asarray(coordinates.overlaps(z + one)) - np.asarray(coordinates.overlaps(z - one))) / 2e-2 for one in steps
        ]
        assert abs(np.linalg.det(slopes) - 1) < 1e-10


def test_chains_start_at_positive_definite_matrices():
    layout, count = TRUTH.layout, len(TRUTH.layout.pairs)
    coordinates = Straight(layout.listed(np.eye(4)), np.eye(count), np.zeros((count,) * 3))
    far = 5 * np.random.default_rng(0).standard_normal((20, count))
    points = points_inside(coordinates, layout, far)
    smallest = [np.linalg.eigvalsh(layout.matrix(np.asarray(coordinates.overlaps(z))))[0] for z in points]
    assert np.all(np.array(smallest) > 0)
    np.testing.assert_array_equal(points_inside(coordinates, layout, points), points)


def test_without_the_sampler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"overlaps\[inference\]"):
        ov.inference.posterior(None, PHASE, RNN)


def drawn(noise, **arguments):
    data = ov.inference.observations(TRUTH, PHASE, RNN, noise=noise, noise_key=1, saves=4)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        found = ov.inference.posterior(data, PHASE, RNN, start=TRUTH, noise=noise, draws=DRAWS, warmup=WARMUP, **arguments)
    warned = [str(one.message) for one in given if "The draws may not represent" in str(one.message)]
    assert len(warned) == (np.any(found["r_hat"] > 1.01) or np.any(found["effective_sample_size"] < 400))
    return found


def agree(draws, independent, known):
    """Whether the means and the standard deviations of two samples agree within 4.5 errors."""
    spread = known.std()
    error = spread * np.sqrt(1 / independent + 1 / len(known))
    kurtosis = np.mean((known - known.mean()) ** 4) / spread**4
    return abs(draws.mean() - known.mean()) < 4.5 * error and abs(draws.std() - spread) < 4.5 * error * np.sqrt(
        (kurtosis - 1) / 4
    )


@pytest.mark.slow
def test_draws_follow_the_prior_where_the_data_say_nothing():
    pytest.importorskip("blackjax")
    found = drawn(1e6, scale=1.2)
    assert found["sigma"].dims == ("chain", "draw", "overlap")
    assert np.all(found["r_hat"] < 1.1)
    factors = 1.2 / np.sqrt(5) * np.random.default_rng(0).standard_normal((20000, 5, 4))
    known = TRUTH.layout.listed(factors.swapaxes(1, 2) @ factors)
    independent = found["effective_sample_size"].values.min()
    for index, label in enumerate(found["overlap"].values):
        assert agree(found["sigma"].values[..., index], independent, known[:, index]), label


@pytest.mark.slow
def test_with_small_noise_draws_are_as_the_fisher_information_says():
    pytest.importorskip("blackjax")
    found = drawn(1e-8)  # larger errors along J bend the others
    assert np.all(found["r_hat"] < 1.05)
    halves = found["combination"].values.reshape(8, DRAWS // 2, 10)  # Gelman and Rubin, 1992
    within, between = halves.var(axis=1, ddof=1).mean(axis=0), halves.mean(axis=1).var(axis=0, ddof=1)
    np.testing.assert_allclose(found["r_hat"], np.sqrt(1 - 2 / DRAWS + between / within), rtol=1e-9)
    assert not found["null"].any()
    shift = (found["sigma"].values - found["fitted_sigma"].values) @ found["component"].values.T
    scaled = (shift * found["singular_value"].values).reshape(-1, 10)
    independent = found["effective_sample_size"].values
    assert np.all(np.abs(scaled.mean(axis=0)) < 4.5 / np.sqrt(independent))
    assert np.all(np.abs(scaled.var(axis=0) - 1) < 4.5 * np.sqrt(2 / independent))
    assert np.all(np.abs(np.corrcoef(scaled.T) - np.eye(10)) < 4.5 / np.sqrt(independent.min()))


@pytest.mark.slow
def test_along_j_the_prior_speaks():
    pytest.importorskip("blackjax")
    found = drawn(1e-5)
    assert np.all(found["r_hat"] < 1.1)
    weakest = found["component"].values[-1]
    assert abs(weakest @ TRUTH.layout.listed(np.diag([1.0, 1.0, -1.0, -1.0])) / 2) > 0.999
    # On the line G + eps J the trace is the same, so eps is uniform up to the ends, where G is singular.
    gram, unfelt = TRUTH.layout.matrix(found["fitted_sigma"].values), np.diag([1.0, 1.0, -1.0, -1.0])
    roots = 1 / np.linalg.eigvals(-np.linalg.solve(gram, unfelt)).real
    low, high = np.max(roots[roots < 0]), np.min(roots[roots > 0])
    moves = np.einsum("cdij,ji->cd", TRUTH.layout.matrix(found["sigma"].values) - gram, unfelt) / 4
    ranks = (moves.ravel() - low) / (high - low)
    below = np.abs([np.mean(ranks < one) - one for one in np.linspace(0.05, 0.95, 19)])
    assert np.max(below) < 2 / np.sqrt(found["effective_sample_size"].values[-1])  # Kolmogorov
