"""Draws from the posterior of overlaps, against the Wishart distribution of SciPy and its moments."""

import sys

import jax
import numpy as np
import pytest
import scipy.stats

import overlaps as ov
from overlaps.inference._posterior import log_prior, triangular

TRUTH, RNN = ov.Overlaps.random(3, n=50), ov.RNN(dt=0.25)
PHASE = ov.Phase("A", ov.tasks.exponential_filter(0.2, horizon=5.0), ov.GradientDescent(5e-2, steps=20))


def test_the_prior_is_a_wishart_distribution():
    size, spread, places = 3, 0.7, np.triu_indices(3)
    rng = np.random.default_rng(0)

    def density(coordinates):
        """That of the coordinates, by the density of G and the determinant of its derivative."""

        def gram(one):
            factor = triangular(one, size)
            return (factor.T @ factor)[places]

        change = np.linalg.slogdet(np.asarray(jax.jacfwd(gram)(coordinates)))[1]
        factor = np.asarray(triangular(coordinates, size))
        return scipy.stats.wishart(size, spread**2 * np.eye(size)).logpdf(factor.T @ factor) + change

    points = rng.standard_normal((5, 6)) / 2
    apart = [density(one) - float(log_prior(one, size, spread)) for one in points]
    np.testing.assert_allclose(apart, apart[0], atol=1e-10)


def test_without_the_sampler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"overlaps\[inference\]"):
        ov.inference.posterior(None, PHASE, RNN)


@pytest.mark.slow
def test_draws_follow_the_prior_where_the_data_say_nothing():
    pytest.importorskip("blackjax")
    task = ov.tasks.exponential_filter(0.2, horizon=1.0)
    phase, scale = ov.Phase("A", task, ov.GradientDescent(1e-6, steps=2)), 1.5
    data = ov.inference.observations(TRUTH, phase, RNN, saves=2)
    found = ov.inference.posterior(data, phase, RNN, start=TRUTH, noise=1e6, scale=scale, draws=500, warmup=300)
    assert found["sigma"].dims == ("chain", "draw", "overlap")
    assert found["divergences"].sum() < 20
    assert np.all(found["r_hat"] < 1.05)
    independent = found["effective_sample_size"].values.min()
    assert independent > 200
    for label in found["overlap"].values:
        draws = found["sigma"].sel(overlap=label).values
        alone = len(set(label)) == 1  # a Wishart matrix has the variances 2 s^4 / D on the diagonal, and s^4 / D elsewhere
        mean, spread = scale**2 * alone, scale**2 * np.sqrt((2 if alone else 1) / 4)
        assert abs(draws.mean() - mean) < 4.5 * spread / np.sqrt(independent), label
        assert abs(draws.std() / spread - 1) < 4.5 * np.sqrt(2 / independent), label
