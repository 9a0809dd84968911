"""Draws from the posterior of overlaps, against the Wishart distribution, weighted draws of it, and the Fisher information."""

import sys
import warnings
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from overlaps.inference._measurements import Model, measurements_of
from overlaps.inference._nearest_twins import group, nearest, nearest_twins, twin_maps
from overlaps.inference._posterior import log_prior, random_factor
from overlaps.inference._straight import Straight, points_inside, probable

TRUTH, RNN = ov.Overlaps.random(3, n=50), ov.RNN(dt=0.25)
TASK = ov.tasks.exponential_filter(0.2, horizon=5.0)
PHASE = ov.Phase("A", TASK, ov.GradientDescent(4e-2, steps=30))
DRAWS, WARMUP = 400, 50
LABELS = [pair.label for pair in TRUTH.layout.pairs]
VU = LABELS.index("vu")


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
        with jax.enable_x64(True):
            np.testing.assert_allclose(coordinates.coordinates(coordinates.overlaps(z)), z, atol=1e-12)


def test_random_factors_belong_to_their_overlaps_and_have_no_direction():
    gram = np.asarray(TRUTH.gram)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 4000)
        factors = np.asarray(jax.jit(jax.vmap(random_factor, in_axes=(0, None)))(keys, gram))
    np.testing.assert_allclose(factors.swapaxes(1, 2) @ factors, np.broadcast_to(gram, (4000, 4, 4)), atol=1e-12)
    columns = factors[..., 0] / np.sqrt(gram[0, 0])  # a random point on the unit sphere in five dimensions
    assert np.all(np.abs(columns.mean(axis=0)) < 4 / np.sqrt(5 * 4000))
    square = scipy.stats.beta(0.5, 2)  # of the square of a coordinate
    assert np.all(np.abs(np.mean(columns**2, axis=0) - square.mean()) < 4 * square.std() / np.sqrt(4000))


def test_chains_start_at_networks_that_learn():
    layout, count = TRUTH.layout, len(TRUTH.layout.pairs)
    coordinates = Straight(layout.listed(np.eye(4)), np.eye(count), np.zeros((count,) * 3))

    def residuals(factors, owners):  # diverges where vu > 0.1
        grams = factors.reshape(-1, 4, 4).swapaxes(1, 2) @ factors.reshape(-1, 4, 4)
        return np.where(layout.listed(grams)[:, [VU]] > 0.1, np.inf, 1.0)

    model: Any = SimpleNamespace(layout=layout, residuals=residuals)
    far = 5 * np.random.default_rng(0).standard_normal((20, count))
    points = points_inside(coordinates, model, far)
    sigma = np.array([coordinates.overlaps(z) for z in points])
    assert np.all(np.linalg.eigvalsh(layout.matrix(sigma))[:, 0] > 0)
    assert np.all(sigma[:, VU] <= 0.1)
    np.testing.assert_array_equal(points_inside(coordinates, model, points), points)


def test_the_coordinates_start_from_the_probable_network():
    """If G itself is measured, and the measured T is diagonal, the density is highest at max(T - noise^2 / (2 spread^2), 0)."""
    layout, noise, spread = TRUTH.layout, 0.1, 0.25
    measured = np.array([1.0, 0.05, 0.4, 2.0])

    def residuals(places, owners):
        factors = places.reshape(-1, 4, 4)
        return layout.listed(factors.swapaxes(1, 2) @ factors - np.diag(measured)) / noise

    def jacobians(places, owners):
        steps = 1e-2 * np.eye(16)  # central differences of a quadratic function are exact
        slopes = [(residuals(places + step, owners) - residuals(places - step, owners)) / 2e-2 for step in steps]
        return residuals(places, owners), np.stack(slopes, axis=-1)

    model: Any = SimpleNamespace(layout=layout, residuals=residuals, jacobians=jacobians)
    found = probable(model, np.asarray(TRUTH.gram), spread)
    expected = np.maximum(measured - noise**2 / (2 * spread**2), 0)
    np.testing.assert_allclose(found, np.diag(expected), atol=2e-3)
    near = np.diag(expected + 0.5 * noise)  # -2 log density differs by 0.5^2 for each of four overlaps
    np.testing.assert_array_equal(probable(model, near, spread), near)


def test_draws_become_the_nearest_of_their_twins():
    rng = np.random.default_rng(0)
    maps = group(twin_maps(TRUTH.layout), 10)
    assert len(maps) == 4  # sign, transposition, both, neither
    sigma, centre, slopes = rng.standard_normal((2, 5, 10)), rng.standard_normal(10), rng.standard_normal((12, 10))
    found = nearest(sigma, maps, centre, slopes)
    np.testing.assert_allclose(invariants(found), invariants(sigma), atol=1e-12)
    for one in maps:
        np.testing.assert_array_equal(nearest(sigma @ one.T, maps, centre, slopes), found)
        assert np.all(
            np.linalg.norm((found - centre) @ slopes.T, axis=-1)
            <= np.linalg.norm((sigma @ one.T - centre) @ slopes.T, axis=-1) + 1e-12
        )


def test_only_networks_with_equal_chi2_are_twins():
    layout = TRUTH.layout

    def residuals(places, owners):  # mm and zu^2 change under the transposition, and not with signs
        factors = places.reshape(-1, 4, 4)
        sigma = layout.listed(factors.swapaxes(1, 2) @ factors)
        return np.stack([sigma[:, LABELS.index("mm")], sigma[:, LABELS.index("zu")] ** 2], axis=-1)

    def jacobians(places, owners):
        slopes = [(residuals(places + step, owners) - residuals(places - step, owners)) / 2e-4 for step in 1e-4 * np.eye(16)]
        return residuals(places, owners), np.stack(slopes, axis=-1)

    model: Any = SimpleNamespace(layout=layout, residuals=residuals, jacobians=jacobians)
    factors = np.random.default_rng(0).standard_normal((2, 6, 5, 4))
    sigma, centre = layout.listed(factors.swapaxes(-1, -2) @ factors), layout.listed(np.asarray(TRUTH.gram))
    found, flipped = nearest_twins(sigma, model, centre), np.array([label in ["zu", "vm", "mu", "zv"] for label in LABELS])
    np.testing.assert_array_equal(found[..., ~flipped], sigma[..., ~flipped])
    np.testing.assert_array_equal(np.abs(found), np.abs(sigma))
    zu = LABELS.index("zu")
    assert np.all(found[..., zu] * centre[zu] > 0)  # the sign in which zu is nearer
    assert np.any(found != sigma)


def test_without_the_sampler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"overlaps\[inference\]"):
        ov.inference.posterior(None, PHASE, RNN)


def drawn(noise, phase=PHASE, **arguments):
    data = ov.inference.observations(TRUTH, phase, RNN, noise=noise, noise_key=1, saves=4)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        found = ov.inference.posterior(data, phase, RNN, start=TRUTH, noise=noise, draws=DRAWS, warmup=WARMUP, **arguments)
    warned = [str(one.message) for one in given if "The draws may not represent" in str(one.message)]
    assert len(warned) == (np.any(found["r_hat"] > 1.01) or np.any(found["effective_sample_size"] < 400))
    return found


def invariants(sigma):
    """Functions of overlaps that are the same for all twins: u, v -> -u, -v, and m <-> z, u <-> v."""
    one = {"".join(sorted(label)): sigma[..., index] for index, label in enumerate(LABELS)}
    values = {
        "zm": one["mz"],
        "vu": one["uv"],
        "size of m and z": one["mm"] + one["zz"],
        "size of u and v": one["uu"] + one["vv"],
        "mm zz": one["mm"] * one["zz"],
        "uu vv": one["uu"] * one["vv"],
        "zu mv": one["uz"] * one["mv"],
        "zu^2 + mv^2": one["uz"] ** 2 + one["mv"] ** 2,
        "mu zv": one["mu"] * one["vz"],
        "mu^2 + zv^2": one["mu"] ** 2 + one["vz"] ** 2,
    }
    return np.stack(list(values.values()), axis=-1)


@pytest.fixture(scope="module")
def prior_draws():
    """Draws of the Wishart distribution, and their curves."""
    factors = np.random.default_rng(0).standard_normal((20000, 5, 4)) / np.sqrt(5)
    grams = factors.swapaxes(1, 2) @ factors
    data = ov.inference.observations(TRUTH, PHASE, RNN, saves=4)
    model = Model(measurements_of(data, PHASE, RNN, 1.0, None, None), TRUTH.layout, 500)
    roots = np.linalg.cholesky(grams).swapaxes(1, 2)
    return TRUTH.layout.listed(grams), model.curves(roots.reshape(-1, 16), 0)[1][0]


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "scale"), [(0.3, 1.0), (1e6, 1.2)])
def test_draws_follow_weighted_draws_of_the_prior(prior_draws, noise, scale):
    """Draws of the prior, weighted by the likelihood, have the posterior distribution: its means and its quantiles."""
    diagnostics = pytest.importorskip("blackjax.diagnostics")
    found = drawn(noise, scale=scale)
    assert found["sigma"].dims == ("chain", "draw", "overlap")
    assert np.all(found["r_hat"] < 1.02)
    sigma, curves = prior_draws  # of scale 1; with the larger noise, all curves are as likely
    data = ov.inference.observations(TRUTH, PHASE, RNN, noise=noise, noise_key=1, saves=4).values
    chi2 = np.sum(((curves - data) / noise) ** 2, axis=(1, 2, 3, 4))
    weights = np.exp(-(chi2 - np.nanmin(chi2)) / 2)  # NaN or 0 for the few networks that diverge
    weights = np.where(np.isfinite(weights), weights, 0.0) / np.nansum(weights)
    known, drawn_values = invariants(scale**2 * sigma), invariants(found["sigma"].values)
    effective = 1 / np.sum(weights**2)
    assert effective > 500
    independent = np.asarray(diagnostics.effective_sample_size(drawn_values))
    assert np.all(independent > 400)
    for index in range(known.shape[1]):
        values, ours, error = known[:, index], drawn_values[..., index], np.sqrt(1 / independent[index] + 1 / effective)
        mean = weights @ values
        assert abs(ours.mean() - mean) < 4 * error * np.sqrt(weights @ (values - mean) ** 2)
        order = np.argsort(values)
        for part in (0.1, 0.25, 0.5, 0.75, 0.9):
            edge = values[order][np.searchsorted(np.cumsum(weights[order]), part)]
            assert abs(np.mean(ours < edge) - part) < 4 * error * np.sqrt(part * (1 - part))


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
    # Finite steps feel J. The curves of smaller ones do so less.
    found = drawn(1e-5, ov.Phase("A", TASK, ov.GradientDescent(2e-2, steps=60)))
    assert np.any(found["effective_sample_size"] < 400)  # `drawn` saw the warning
    assert found["r_hat"][-1] < 1.02
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
