"""Correlated noise, against SciPy, and fits under label noise whose samples are not known, against networks in plain NumPy."""

import functools
import json

import jax
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.inference import _fit, _path_noise
from overlaps.inference._correlated import Correlated
from overlaps.inference._measurements import measurements_of
from overlaps.learning import describe, restore
from tests.systems import label_noise as systems

RNN = ov.RNN(dt=0.25)
TRUTH = ov.Overlaps.random(3, n=50)
FILTERS = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
GRAM = np.asarray(TRUTH.gram)
STRENGTHS = [(1e-3, 1e-4), (0.1, 1e-3)]  # standard deviations of label noise and of the measurement
SUBJECTS = 4


def protocol(label_noise=0.0):
    """Two tasks in sequence. The input weights do not learn the second one, so that the curves show all directions, also J."""
    rules = [ov.GradientDescent(2e-2, 60, rates=rates) for rates in (None, {"m": 0.0})]
    tasks = [ov.tasks.LabelNoise(task, label_noise) if label_noise else task for task in FILTERS.values()]
    return [ov.Phase(name, task, rule) for name, task, rule in zip(FILTERS, tasks, rules, strict=True)]


def numpy_curves(vectors, label_noise=0.0, seed=0):
    """What `protocol` shows of networks with these vectors, (4, networks, neurons): (networks, numbers)."""
    lags = RNN.dt * np.arange(20)
    targets, frozen = [np.exp(-rate * lags) for rate in (0.2, 0.8)], [(), (0,)]
    found = systems.curves(vectors, targets, frozen, RNN.dt, 2e-2, 60, 10, label_noise, np.random.default_rng(seed))
    return found.reshape(len(found), -1)


def small_networks(*grams):
    """One network of four neurons for each overlap matrix."""
    return np.array([2 * np.linalg.cholesky(gram) for gram in grams]).swapaxes(0, 1)


@functools.cache
def path_covariance(label_noise, number=4000):
    """The covariance of curves over random paths of learning, in plain NumPy."""
    return np.cov(numpy_curves(np.repeat(small_networks(GRAM), number, axis=1), label_noise, 1).T)


@functools.cache
def measured(label_noise, std):
    """Curves of a network of 500 neurons in plain NumPy. Each subject is the same network on another path."""
    network, rng = TRUTH.sample(500, key=0), np.random.default_rng(3)
    vectors = np.array([np.asarray(getattr(network, letter)).T for letter in "muvz"])
    paths = numpy_curves(np.repeat(vectors, SUBJECTS, axis=1), label_noise, 2)
    template = ov.inference.observations(TRUTH, protocol(), RNN, saves=7).expand_dims(subject=SUBJECTS)
    return template.copy(data=(paths + std * rng.normal(size=paths.shape)).reshape(template.shape))


@pytest.fixture(autouse=True)
def _few_slots(monkeypatch):
    """One compiled program serves four starts, and four subjects."""
    monkeypatch.setattr(_fit, "SLOTS", SUBJECTS)


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


def test_a_matrix_that_rounding_makes_asymmetric_is_a_covariance():
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30))).Q
    rounded = turn @ np.linalg.inv(turn)
    assert not np.array_equal(rounded, rounded.T)
    found = Correlated(rounded).whitening(np.zeros((1, 30))).matrix[0]
    np.testing.assert_allclose(found, np.eye(30), atol=1e-13)


def curves():
    times = np.linspace(0, 2.4, 7)
    dims = ("time", "lag", "readout", "input")
    return xr.DataArray(np.zeros((7, 3, 1, 1)), {"time": times, "lag": [0.0, 1.0, 2.0]}, dims, "impulse_response")


def test_what_correlated_noise_is_not_for():
    data, noise = curves(), Correlated(np.eye(21))
    with pytest.raises(ValueError, match="`noise` must be independent from number to number here"):
        ov.inference.identifiability(TRUTH, protocol(), RNN, noise=noise)
    for phases, other in ((protocol(), noise), (protocol(0.1), 1e-3)):
        with pytest.raises(ValueError, match="`noise` must be independent from number to number, but"):
            ov.inference.choose_rank(data, phases, RNN, noise=other)
    counts = ov.inference.Counts(20.0, jax.nn.sigmoid)
    with pytest.raises(ValueError, match="`noise` must be Gaussian, if label noise is not known"):
        ov.inference.fit(data, protocol(0.1), RNN, noise=counts)
    with pytest.raises(ValueError, match="`noise` must be Gaussian, but Counts came"):
        ov.inference.path_noise(TRUTH, protocol(0.1), RNN, noise=counts)


@pytest.mark.parametrize(("rows", "least"), [(6, 1024), (61, 2 * 122 * 6)])
def test_there_are_more_paths_than_numbers(rows, least, monkeypatch):
    def paths(_experiment, _state, _key, draws):
        taken.append(draws)
        return np.random.default_rng(0).standard_normal((draws, 2 * rows * 6))

    taken = []
    monkeypatch.setattr(_path_noise, "_paths", paths)
    times = np.concatenate([np.linspace(0, 1.2, rows), np.linspace(1.2, 2.4, rows)])
    coordinates = {"time": times, "lag": np.arange(6) * RNN.dt}
    data = xr.DataArray(np.zeros((2 * rows, 6, 1, 1)), coordinates, curves().dims, "impulse_response")
    measured = measurements_of(data, protocol(0.1), RNN, 1e-3, None, None)
    _path_noise.with_path_noise(measured, [TRUTH], jax.random.key(0))
    assert taken == [least]


@pytest.mark.slow
def test_path_noise_is_the_covariance_of_paths_in_numpy():
    label_noise, std = STRENGTHS[1]
    found = ov.inference.path_noise(TRUTH, protocol(label_noise), RNN, noise=std, saves=7, key=5, draws=1024).covariance
    found, expected = found - std**2 * np.eye(len(found)), path_covariance(label_noise)
    variance = np.diag(expected)
    moving = variance > 1e-12 * variance.max()  # before the first step nothing moves
    assert moving.sum() == 13 * 20
    np.testing.assert_allclose(found[~moving], 0, atol=1e-12 * std**2)
    # An entry of the covariance of n Gaussian vectors has the variance (C_ii C_jj + C_ij^2) / (n - 1).
    spread = np.sqrt((np.outer(variance, variance) + expected**2) * (1 / 1023 + 1 / 3999))
    standardised = ((found - expected) / np.where(spread > 0, spread, 1))[np.ix_(moving, moving)]
    assert np.max(np.abs(standardised)) < 5.5  # of 33930 entries


@pytest.mark.slow
def test_networks_under_unknown_label_noise_give_the_overlaps_that_they_have():
    label_noise, std = STRENGTHS[0]
    data = measured(label_noise, std)
    found = ov.inference.fit(data, protocol(label_noise), RNN, start=TRUTH, noise=std)
    lower, upper = scipy.stats.chi2.ppf([0.0005, 0.9995], found["degrees_of_freedom"].sum().item())
    assert lower < found["chi2"].sum().item() < upper

    # Combinations that the curves show: whitened curves along their derivatives with respect to the overlaps, at the truth.
    layout, step = TRUTH.layout, 1e-6
    moves = step * layout.matrix(np.eye(len(layout.pairs)))
    quiet = numpy_curves(small_networks(GRAM, *(GRAM + moves), *(GRAM - moves)))
    derivatives = (quiet[1:11] - quiet[11:]).T / (2 * step)
    white = np.linalg.inv(np.linalg.cholesky(path_covariance(label_noise) + std**2 * np.eye(len(derivatives))))
    along, sizes, directions = np.linalg.svd(white @ derivatives, full_matrices=False)
    errors = (found["predicted"].values.reshape(SUBJECTS, -1) - quiet[0]) @ white.T @ along
    assert_standard(errors)
    # The errors are small, so curves are straight within them, and these are the combinations V sigma of the overlaps.
    assert_standard((found["sigma"].values - layout.listed(GRAM)) @ directions.T * sizes)


def assert_standard(errors):
    """Errors (subjects, combinations) are independent numbers of the standard normal distribution."""
    lower, upper = scipy.stats.chi2.ppf([0.0005, 0.9995], errors.size)
    assert lower < np.sum(errors**2) < upper
    each = scipy.stats.chi2.cdf(np.sum(errors**2, axis=0), len(errors))
    assert np.all(np.abs(scipy.stats.norm.ppf(each)) < 4)


@pytest.mark.slow
def test_a_network_under_unknown_label_noise_is_found_from_random_starts(tmp_path):
    label_noise, std = STRENGTHS[1]
    data = measured(label_noise, std).isel(subject=0)
    found = ov.inference.fit(data, protocol(label_noise), RNN, noise=std, starts=SUBJECTS)
    assert found["message"].item() == "The model describes the data."
    # The statistics of Wilks: chi2 of the truth, above that of the fit, has the chi2 distribution of the shown directions.
    weights = np.linalg.inv(path_covariance(label_noise) + std**2 * np.eye(data.size))
    curves = {"truth": numpy_curves(small_networks(GRAM)), "fit": found["predicted"].values}
    deviations = {name: data.values.ravel() - curve.ravel() for name, curve in curves.items()}
    chi2 = {name: one @ weights @ one for name, one in deviations.items()}
    lower, upper = scipy.stats.chi2.ppf([0.0005, 0.9995], int((~found["null"]).sum()))
    assert lower < chi2["truth"] - chi2["fit"] < upper
    found.to_netcdf(tmp_path / "fit.nc")
    xr.testing.assert_identical(ov.rerun(xr.load_dataset(tmp_path / "fit.nc")), found)
