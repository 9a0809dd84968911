"""Draws from the posterior of overlaps, against the prior, against the Fisher information, and against random matrices."""

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
def test_draws_spread_as_the_fisher_information_says_where_the_data_are_strong():
    pytest.importorskip("blackjax")
    noise = 1e-3
    data = ov.inference.observations(TRUTH, PHASE, RNN, noise=noise, noise_key=1, saves=7)
    found = ov.inference.posterior(data, PHASE, RNN, start=TRUTH, noise=noise, draws=200, warmup=200)
    assert found["sigma"].dims == ("chain", "draw", "overlap")
    strong = 1 / found["singular_value"].values < 3e-3
    assert strong.sum() >= 2
    assert np.all(found["r_hat"].values[strong] < 1.1)
    spread = found["combination"].std(("chain", "draw")).values * found["singular_value"].values
    error = 4 / np.sqrt(2 * found["effective_sample_size"].values)  # of a standard deviation, 4 times
    assert np.all(np.abs(spread - 1)[strong] < error[strong] + 0.1)
    assert found["divergences"].sum() < 0.05 * 800
