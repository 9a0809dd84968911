"""Fits of overlaps to learning curves, against known networks, against SciPy, and against the statistics of known noise."""

import functools

import jax
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.inference import _fit
from overlaps.inference._fit_result import goodness, of_overlaps
from overlaps.inference._levenberg_marquardt import least_squares
from overlaps.inference._measurements import measurements_of
from tests.figure_checks import faults

RNN = ov.RNN(dt=0.25)
TRUTH = ov.Overlaps.random(3, n=50)
FILTERS = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
SLOTS = 8


def protocol(optimizer=None):
    """Two tasks in sequence. The input weights do not learn the second one, so that the curves show all directions, also J."""
    rules = [ov.GradientDescent(2e-2, 60, optimizer, rates=rates) for rates in (None, {"m": 0.0})]
    return [ov.Phase(name, task, rule) for (name, task), rule in zip(FILTERS.items(), rules, strict=True)]


def observed(state=TRUTH, phases=None, **arguments):
    return ov.inference.observations(state, phases or protocol(), RNN, **{"saves": 7, **arguments})


@pytest.fixture(autouse=True)
def _few_slots(monkeypatch):
    """One compiled program serves fits of eight starts, and of many subjects."""
    monkeypatch.setattr(_fit, "SLOTS", SLOTS)


def standardised(dataset, truth):
    """The sum of the squared errors in units of their standard error; the sign of the latent is free."""
    sizes = np.where(dataset["null"].values, 0.0, dataset["singular_value"].values)
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    grams = [np.asarray(truth.gram), flip @ np.asarray(truth.gram) @ flip]
    apart = [truth.layout.listed(dataset["gram"].values - gram) @ dataset["component"].values.T * sizes for gram in grams]
    return min(np.sum(one**2) for one in apart)


def valley(parameters, owners):
    """The residuals of Rosenbrock's valley, with another end for each owner; not finite for x > 3."""
    x, y = parameters.T
    residuals = np.stack([10 * (y - x**2), owners + 1 - x], axis=1)
    return np.where(x[:, None] > 3, np.nan, residuals)


def slopes(parameters, owners):
    x = parameters[:, 0]
    rows = [[-20 * x, np.full_like(x, 10.0)], [np.full_like(x, -1.0), np.zeros_like(x)]]
    return valley(parameters, owners), np.moveaxis(np.array(rows), -1, 0)


def test_minima_are_those_of_scipy_and_a_lost_start_stays_alone():
    starts = np.array([[-1.2, 1.0], [4.0, 0.0], [0.5, 2.0], [-1.0, -1.0], [2.0, 2.0]])
    owners = np.array([0, 0, 1, 1, 0])
    found = least_squares(valley, slopes, starts, owners, slots=2, most_steps=300)
    for start, owner, end, chi2 in zip(starts, owners, found.parameters, found.chi2, strict=True):
        if start[0] > 3:
            assert np.isinf(chi2)
            continue
        other = scipy.optimize.least_squares(
            lambda one, owner=owner: valley(one[None], owner)[0], start, xtol=1e-14, ftol=1e-14
        )
        np.testing.assert_allclose(end, other.x, atol=5e-3)  # a sum of squares of 1e-6 leaves 4e-3
        assert chi2 < 1e-6


def test_fewer_numbers_than_parameters_are_fitted_exactly():
    def line(parameters, owners):
        return parameters @ np.array([[1.0], [2.0], [0.5]]) - 3

    def slope(parameters, owners):
        return line(parameters, owners), np.tile([[[1.0, 2.0, 0.5]]], (len(parameters), 1, 1))

    found = least_squares(line, slope, np.zeros((1, 3)), np.zeros(1, int), slots=1, most_steps=50)
    np.testing.assert_allclose(line(found.parameters, None), 0, atol=1e-3)


def test_derivatives_with_respect_to_overlaps_follow_from_those_of_the_factor():
    rng = np.random.default_rng(0)
    factor, weights, layout = rng.standard_normal((4, 4)), rng.standard_normal((3, 10)), TRUTH.layout

    def curve(entries):
        one = entries.reshape(4, 4)
        return weights @ layout.listed(one.T @ one)

    step = 1e-6 * np.eye(16)
    jacobian = np.array([(curve(factor.ravel() + one) - curve(factor.ravel() - one)) / 2e-6 for one in step]).T
    np.testing.assert_allclose(of_overlaps(jacobian, factor, layout), weights, atol=1e-7)


@pytest.mark.parametrize(("chi2", "words"), [(100.0, "describes"), (160.0, "does not describe"), (40.0, "too large")])
def test_the_goodness_of_fit_in_words(chi2, words):
    p, message = goodness(chi2, 100)
    assert words in message
    np.testing.assert_allclose(p, 1 - scipy.stats.gamma.cdf(chi2 / 2, 50), rtol=1e-10)


def curves(**coordinates):
    times = np.linspace(0, 2.4, 7)
    dims = ("time", "lag", "readout", "input")
    return xr.DataArray(np.zeros((7, 3, 1, 1)), {"time": times, "lag": [0.0, 1.0, 2.0]} | coordinates, dims, "impulse_response")


def test_error_bars_broadcast_to_the_data_of_all_subjects():
    data = curves().expand_dims(subject=2)
    bars = xr.DataArray([1.0, 2.0, 3.0], {"lag": data["lag"]}, ("lag",))
    (one,) = measurements_of(data, protocol(), RNN, bars, None, None)
    assert one.noise.std.shape == (2, 7, 3, 1, 1)
    np.testing.assert_array_equal(one.noise.std[1, 4, :, 0, 0], [1, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observations": np.zeros(3)}, "`observations` must be a DataArray, or a list of them, but ndarray came"),
        ({"observations": curves().rename("rate")}, "must have the name of what is observed"),
        ({"observations": curves().isel(lag=0)}, "must have the dims time, lag, readout, input"),
        ({"observations": curves() * np.nan}, "a subject has gaps alone"),
        ({"observations": curves() * np.inf}, "`observations` must be numbers"),
        ({"observations": curves(time=np.linspace(0, 9, 7))}, "must have learning times that increase"),
        ({"observations": [curves()] * 3}, "`protocol` must be"),
        ({"observations": curves().astype(str)}, "`observations` must be real numbers, but an array of type <U"),
        ({"observations": curves().expand_dims(day=2)}, "must have the dims time, lag, readout, input, but it has day"),
        ({"observations": []}, "`observations` must be a DataArray, or a list of them, but list came"),
        ({"observations": curves(lag=[0.0, 1.1, 2.0])}, "must be whole multiples of dt = 0.25, but 1.1 came"),
        ({"observations": curves(lag=[0.0, 1.0, 7.0])}, "must have lags up to 5, the horizon of the task, but the lag 7 came"),
        ({"observations": curves() - 1, "noise": ov.inference.Counts(5, jax.nn.sigmoid)}, "between 0 and the number of trials"),
        ({"noise": ov.inference.Counts(np.ones((5, 1, 1)), jax.nn.sigmoid)}, "`noise` must broadcast to the shape"),
        ({"noise": xr.DataArray(np.ones(4), dims="lag")}, "`noise` must have dims and coordinates of the observations"),
        ({"rnn": ov.RNN("erf", dt=0.25), "start": TRUTH}, "must have a linear phi to have an impulse response"),
        ({"start": ov.Overlaps.random(0, 1, 2, 1)}, "`start` must have 1 inputs and 1 readouts"),
        ({"start": TRUTH.gram}, "`start` must be an Overlaps without readout bias"),
        ({"noise": np.ones(5)}, "`noise` must broadcast to the shape"),
        ({"noise": 0.0}, "`noise` must be above 0"),
        ({"starts": 0}, "`starts` must be"),
        ({"rank": 0}, "`rank` must be"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        ov.inference.fit(**{"observations": curves(), "protocol": protocol(), "rnn": RNN} | arguments)


@pytest.mark.slow
def test_noiseless_curves_give_back_the_network_from_random_starts_and_gaps_do_not_matter():
    data = observed()
    data = data.where((data["lag"] != 1.0) | (data["time"] < 1.0))
    found = ov.inference.fit(data, protocol(), RNN, noise=1e-8, starts=16, steps=300)
    assert found["arrived"].any()
    assert not found["null"].any()
    grams = [found["gram"].values, *found["twin_gram"].values[found["alike"].values]]
    assert min(np.max(np.abs(gram - np.asarray(TRUTH.gram))) for gram in grams) < 1e-6
    assert found["twin"].values[found["alike"].values].tolist() == found["twin"].values[:1].tolist()
    assert found["degrees_of_freedom"].item() == int(data.notnull().sum()) - 10
    figure = ov.plots.plot_fit(found, TRUTH)
    assert faults(figure) == []
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == found["overlap"].values.tolist()


@pytest.mark.slow
def test_if_all_starts_diverge_the_error_says_so():
    huge = ov.Overlaps(1e6 * np.tile(np.eye(4), (SLOTS, 1, 1)), 1, 1, 1)
    with pytest.raises(RuntimeError, match=r"All starts diverge in this protocol\. Lower its learning rate, or pass other"):
        ov.inference.fit(observed(), protocol(), RNN, start=huge)


@pytest.mark.slow
def test_errors_are_as_the_fisher_information_says():
    noise, number = 1e-4, 100
    data = observed().expand_dims(subject=number + 1)
    draws = np.random.default_rng(0).normal(size=data.shape)
    draws[0] = 0  # the first subject has no noise, and its fit the directions of the truth
    data = data.copy(data=data.values + noise * draws)
    fits = ov.inference.fit(data, protocol(), RNN, start=TRUTH, noise=noise)
    truth, found = fits.isel(subject=0), fits.isel(subject=slice(1, None))
    assert not fits["null"].any()
    basis, sizes = truth["component"].values, truth["singular_value"].values
    errors = (found["sigma"].values - TRUTH.layout.listed(np.asarray(TRUTH.gram))) @ basis.T
    lower, upper = scipy.stats.chi2.ppf([0.005, 0.995], number * len(sizes))
    assert lower < np.sum((errors * sizes) ** 2) < upper
    each = np.sum((errors * sizes) ** 2, axis=0)
    assert np.all(np.abs(scipy.stats.norm.ppf(scipy.stats.chi2.cdf(each, number))) < 4)
    spread = np.sqrt(np.einsum("ki,nij,kj->nk", basis, found["covariance"].values, basis))
    # Of 1000 intervals, 95 % hold the truth, with a standard deviation of sqrt(0.95 * 0.05 / 1000) = 0.7 %.
    assert abs(np.mean(np.abs(errors) < 1.96 * spread) - 0.95) < 0.03
    assert scipy.stats.kstest(found["p_value"].values, "uniform").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [None, functools.partial(optax.sgd, momentum=0.5)])
def test_a_network_is_recovered_and_another_learning_rule_is_flagged(optimizer, tmp_path):
    noise = 1e-4
    data = observed(TRUTH.sample(500, key=0), protocol(optimizer), noise=noise, noise_key=1)
    found = ov.inference.fit(data, protocol(), RNN, noise=noise, starts=8, steps=60)
    if optimizer is not None:
        assert "does not describe" in found["message"].item()
        return
    assert "The model describes the data" in found["message"].item()
    assert standardised(found, TRUTH) < scipy.stats.chi2.ppf(0.9999, 10)
    of_truth = float((((data - observed()) / noise) ** 2).sum())
    assert 0 < of_truth - found["chi2"].item() < scipy.stats.chi2.ppf(0.9999, 10)  # Wilks
    found.to_netcdf(tmp_path / "fit.nc")
    again = ov.rerun(xr.load_dataset(tmp_path / "fit.nc"))
    xr.testing.assert_identical(again, found)


@pytest.mark.slow
def test_two_protocols_and_counts_of_errors_recover_the_networks_of_two_subjects():
    task, noises = FILTERS["A"], [1e-5, ov.inference.Counts(1e7)]  # curves are straight within the errors
    rules = [ov.GradientDescent(2e-2, 60, rates=rates) for rates in (None, {"m": 0.0})]
    phases = [ov.Phase("A", task, rule) for rule in rules]
    networks, data = [TRUTH, ov.Overlaps.random(4, n=50)], []
    for phase, observe, noise in zip(phases, ("impulse_response", "loss"), noises, strict=True):
        rows = [ov.inference.observations(one, phase, RNN, observe, noise, 1, saves=7) for one in networks]
        data.append(xr.concat(rows, "subject"))
    start = ov.Overlaps(np.stack([np.asarray(one.gram) for one in networks * 4]), 1, 1, 1)
    found = ov.inference.fit(data, phases, RNN, start=start, noise=noises)
    assert found["observed_2"].dims == ("subject", "time_2")
    assert np.all(found["p_value"] > 1e-4)
    for number, one in enumerate(networks):
        part = found.isel(subject=number)
        shown = int((~part["null"]).sum())
        assert shown >= 9
        assert standardised(part, one) < scipy.stats.chi2.ppf(0.9999, shown)
    xr.testing.assert_identical(ov.rerun(found), found)


@pytest.mark.slow
def test_an_erf_network_is_flagged_and_a_linear_one_is_not():
    rng = np.random.default_rng(1)
    task = ov.tasks.Trials(rng.standard_normal((4, 12, 1)), rng.standard_normal((4, 12, 1)) / 2, dt=0.25)
    phase = ov.Phase("trials", task, ov.GradientDescent(5e-2, 40))
    network = TRUTH.sample(500, key=0)
    for phi, words in (("linear", "The model describes"), ("erf", "does not describe")):
        rnn = ov.RNN(phi, dt=0.25)
        data = ov.inference.observations(network, phase, rnn, "output", 1e-3, 1, saves=7)
        found = ov.inference.fit(data, phase, RNN, noise=1e-3, starts=6)
        assert words in found["message"].item(), phi
