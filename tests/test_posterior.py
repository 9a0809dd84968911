"""Draws from the posterior of overlaps, against the Wishart distribution, importance sampling and the Fisher information."""

import sys

import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from overlaps.inference._measurements import Model, measurements_of
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
    apart = [known.logpdf(gram) - float(log_prior(layout.listed(gram), layout, spread)) for gram in grams]
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
    found = ov.inference.posterior(data, PHASE, RNN, start=TRUTH, noise=noise, draws=DRAWS, warmup=WARMUP, **arguments)
    return data, found


def agree(draws, weights, independent, known):
    """Whether means and standard deviations of draws are those of weighted draws, within 4.5 errors of sampling."""
    mean, number = weights @ known, 1 / np.sum(weights**2)
    spread = np.sqrt(weights @ (known - mean) ** 2)
    error = spread * np.sqrt(1 / independent + 1 / number)
    kurtosis = weights @ (known - mean) ** 4 / spread**4
    return abs(draws.mean() - mean) < 4.5 * error and abs(draws.std() - spread) < 4.5 * error * np.sqrt((kurtosis - 1) / 4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The draws may not represent")
@pytest.mark.parametrize("noise", [1e6, 1.0])
def test_draws_are_those_of_the_prior_with_the_weights_of_the_likelihood(noise):
    """Importance sampling, of overlaps that no twin changes."""
    pytest.importorskip("blackjax")
    data, found = drawn(noise, scale=1.2)
    assert found["sigma"].dims == ("chain", "draw", "overlap")
    assert np.all(found["r_hat"] < 1.1)
    vectors = 1.2 / np.sqrt(5) * np.random.default_rng(0).standard_normal((20000, 5, 4))
    factors = np.linalg.qr(vectors).R.reshape(-1, 16)
    model = Model(measurements_of(data, PHASE, RNN, noise, None, None), TRUTH.layout, 1000)
    chi2 = np.nan_to_num(np.sum(model.residuals(factors, 0) ** 2, axis=1), nan=np.inf)
    weights = np.exp((np.min(chi2) - chi2) / 2)
    weights /= weights.sum()
    assert 1 / np.sum(weights**2) > 1000
    factors = factors.reshape(-1, 4, 4)
    known = TRUTH.layout.listed(factors.swapaxes(1, 2) @ factors)
    independent = found["effective_sample_size"].values.min()
    for label in ("zm", "vu", "mm", "uu", "vv", "zz"):
        index = found["overlap"].values.tolist().index(label)
        assert agree(found["sigma"].values[..., index], weights, independent, known[:, index]), label


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The draws may not represent")
def test_with_small_noise_draws_are_as_the_fisher_information_says():
    pytest.importorskip("blackjax")
    found = drawn(1e-6)[1]
    assert np.all(found["r_hat"] < 1.05)
    assert not found["null"].any()
    shift = (found["sigma"].values - found["fitted_sigma"].values) @ found["component"].values.T
    scaled = (shift * found["singular_value"].values).reshape(-1, 10)
    independent = found["effective_sample_size"].values
    assert np.all(np.abs(scaled.mean(axis=0)) < 4.5 / np.sqrt(independent))
    assert np.all(np.abs(scaled.var(axis=0) - 1) < 4.5 * np.sqrt(2 / independent))
    assert np.all(np.abs(np.corrcoef(scaled.T) - np.eye(10)) < 4.5 / np.sqrt(independent.min()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The draws may not represent")
def test_along_j_the_prior_speaks():
    pytest.importorskip("blackjax")
    found = drawn(1e-4)[1]
    null = found["null"].values
    assert found["why"].values[null].tolist() == ["J"]
    assert np.all(found["r_hat"] < 1.1)
    # On the line G + eps J the trace is the same, so eps is uniform up to the ends, where G is singular.
    gram, unfelt = TRUTH.layout.matrix(found["fitted_sigma"].values), np.diag([1.0, 1.0, -1.0, -1.0])
    roots = 1 / np.linalg.eigvals(-np.linalg.solve(gram, unfelt)).real
    low, high = np.max(roots[roots < 0]), np.min(roots[roots > 0])
    moves = np.einsum("cdij,ji->cd", TRUTH.layout.matrix(found["sigma"].values) - gram, unfelt) / 4
    ranks = (moves.ravel() - low) / (high - low)
    below = np.abs([np.mean(ranks < one) - one for one in np.linspace(0.05, 0.95, 19)])
    assert np.max(below) < 2 / np.sqrt(found["effective_sample_size"].values[null].item())  # Kolmogorov
