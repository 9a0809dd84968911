"""Correlated noise of observations, against SciPy, and fits under label noise whose samples are not known."""

import json

import jax
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.inference._correlated import Correlated
from overlaps.learning import describe, restore

RNN = ov.RNN(dt=0.25)
TRUTH = ov.Overlaps.random(3, n=50)
FILTERS = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
STD = 1e-3


def protocol(label_noise=0.0, steps=60):
    tasks = {name: ov.tasks.LabelNoise(task, label_noise) if label_noise else task for name, task in FILTERS.items()}
    return [ov.Phase(name, task, ov.GradientDescent(2e-2, steps)) for name, task in tasks.items()]


def observed(state, phases, **arguments):
    return ov.inference.observations(state, phases, RNN, **{"saves": 7, "noise": STD} | arguments)


def test_whitened_deviations_have_the_likelihood_of_scipy_also_with_gaps():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((2, 6, 6))
    covariance = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(6)
    data, expected = rng.standard_normal((2, 3, 2)), rng.standard_normal((2, 3, 2))
    data[1, 1, 0] = data[1, 2, 1] = np.nan
    described = json.dumps(describe(Correlated(covariance)))  # as `fit` writes it down, for `rerun`
    noise = restore(json.loads(described)).whitening(data)
    np.testing.assert_allclose(noise.std.reshape(2, 6) ** 2, np.einsum("sii->si", covariance))
    for subject in range(2):
        one = jax.tree.map(lambda array, subject=subject: array[subject], noise)
        residuals = np.asarray(one.residuals(expected[subject], data[subject]))
        seen = ~np.isnan(data[subject]).ravel()
        assert np.all(residuals[~seen] == 0)
        density = scipy.stats.multivariate_normal(expected[subject].ravel()[seen], covariance[subject][np.ix_(seen, seen)])
        values = data[subject].ravel()[seen]
        apart = density.logpdf(density.mean) - density.logpdf(values)
        np.testing.assert_allclose(np.sum(residuals**2) / 2, apart, rtol=1e-5)  # JAX has 32 bits here


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.ones(3), "`covariance` must be a symmetric matrix"),
        (np.ones((3, 2)), "`covariance` must be a symmetric matrix"),
        ([[1.0, 0.5], [0.4, 1.0]], "it is not symmetric"),
        (np.eye(3), "`noise` must have a covariance of shape"),
        (np.ones((2, 2)), "`noise` must have a positive definite covariance"),
    ],
)
def test_matrices_that_are_no_covariance(covariance, message):
    with pytest.raises(ValueError, match=message):
        Correlated(covariance).whitening(np.zeros((1, 2)))


def curves():
    times = np.linspace(0, 2.4, 7)
    dims = ("time", "lag", "readout", "input")
    return xr.DataArray(np.zeros((7, 3, 1, 1)), {"time": times, "lag": [0.0, 1.0, 2.0]}, dims, "impulse_response")


def test_what_correlated_noise_is_not_for():
    data, noise = curves(), Correlated(np.eye(21))
    with pytest.raises(ValueError, match="`noise` must be independent from number to number here"):
        ov.inference.identifiability(TRUTH, protocol(), RNN, noise=noise)
    for phases, other in ((protocol(), noise), (protocol(0.1), STD)):
        with pytest.raises(ValueError, match="`noise` must be independent from number to number, but"):
            ov.inference.choose_rank(data, phases, RNN, noise=other)
    counts = ov.inference.Counts(20.0, jax.nn.sigmoid)
    with pytest.raises(ValueError, match="`noise` must be Gaussian, if label noise is not known"):
        ov.inference.fit(data, protocol(0.1), RNN, noise=counts)
    with pytest.raises(ValueError, match="`noise` must be Gaussian, but Counts came"):
        ov.inference.path_noise(TRUTH, protocol(0.1), RNN, noise=counts)


@pytest.mark.slow
def test_path_noise_is_the_covariance_of_curves_over_keys():
    phases = protocol(0.1, steps=4)
    noise = ov.inference.path_noise(TRUTH, phases, RNN, noise=STD, saves=2, key=5, draws=4)
    paths = [observed(TRUTH, phases, saves=2, key=key).values.ravel() for key in jax.random.split(jax.random.key(5), 4)]
    np.testing.assert_allclose(noise.covariance, np.cov(np.array(paths).T) + STD**2 * np.eye(80), rtol=1e-9, atol=1e-16)


@pytest.mark.slow
@pytest.mark.parametrize("label_noise", [0.01, 0.1])
def test_a_network_under_unknown_label_noise_gives_its_overlaps(label_noise, tmp_path):
    phases = protocol(label_noise)
    data = observed(TRUTH.sample(500, key=0), phases, noise_key=1, key=7)
    found = ov.inference.fit(data, phases, RNN, noise=STD, starts=6)
    assert found["message"].item() == "The model describes the data."
    if label_noise == 0.1:
        found.to_netcdf(tmp_path / "fit.nc")
        xr.testing.assert_identical(ov.rerun(xr.load_dataset(tmp_path / "fit.nc")), found)
    # The statistics of Wilks: chi2 of the truth, above that of the fit, has the chi2 distribution of the shown directions.
    state = ov.Overlaps(found["gram"].values, *TRUTH.layout)
    covariance = ov.inference.path_noise(state, phases, RNN, noise=STD, saves=7, key=11).covariance
    predicted = {"truth": observed(TRUTH, protocol()).values, "fit": found["predicted"].values}
    deviations = {name: (data.values - curve).ravel() for name, curve in predicted.items()}
    chi2 = {name: one @ np.linalg.solve(covariance, one) for name, one in deviations.items()}
    shown = int((~found["null"]).sum())
    lower, upper = scipy.stats.chi2.ppf([0.0005, 0.9995], shown)
    assert lower < chi2["truth"] - chi2["fit"] < upper
    # A fit with independent noise of the measurement alone is far from this.
    wrong = ov.inference.fit(data, protocol(), RNN, start=state, noise=STD)
    assert "does not describe" in wrong["message"].item()
    assert np.sum((deviations["truth"] / STD) ** 2) - wrong["chi2"].item() > upper
