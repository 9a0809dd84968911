"""What an experiment would see: the noise of observations, and the rows of a protocol."""

import jax
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.inference._experiment import Experiment, phase_of_rows

EXPECTED, STD = np.array([0.3, 1.0, 2.5]), np.array([0.1, 0.5, 2.0])
GAUSSIAN, COUNTS = ov.inference.Gaussian(STD), ov.inference.Counts([40.0, 50.0, 60.0])
SHARES = scipy.stats.norm.cdf(-1 / np.sqrt(EXPECTED))


def test_gaussian_noise_has_the_likelihood_and_the_information_of_scipy():
    observed = np.array([0.5, np.nan, -3.0])
    residuals = GAUSSIAN.residuals(EXPECTED, observed)
    assert residuals[1] == 0.0
    log_likelihoods = scipy.stats.norm.logpdf(observed, EXPECTED, STD) - scipy.stats.norm.logpdf(EXPECTED, EXPECTED, STD)
    np.testing.assert_allclose(-(residuals**2) / 2, np.where(np.isnan(observed), 0.0, log_likelihoods), rtol=1e-12)
    np.testing.assert_allclose(GAUSSIAN.weights(EXPECTED), 1 / STD, rtol=1e-14)
    assert np.all(np.isfinite(jax.jacfwd(lambda expected: GAUSSIAN.residuals(expected, observed))(EXPECTED)))


def test_counts_of_errors_have_the_likelihood_and_the_information_of_scipy():
    trials, observed = np.asarray(COUNTS.trials), np.array([0.0, 25.0, 60.0])
    np.testing.assert_allclose(COUNTS.mean(EXPECTED), trials * SHARES, rtol=1e-12)
    residuals = COUNTS.residuals(EXPECTED, observed)
    likelihood, best = (scipy.stats.binom.logpmf(observed, trials, share) for share in (SHARES, observed / trials))
    np.testing.assert_allclose(-(residuals**2) / 2, likelihood - best, rtol=1e-10)
    np.testing.assert_array_equal(np.sign(residuals), np.sign(observed - trials * SHARES))
    assert COUNTS.residuals(EXPECTED, np.array([3.0, np.nan, 4.0]))[1] == 0.0
    for index, (count, share) in enumerate(zip(trials, SHARES, strict=True)):
        outcomes, step = np.arange(count + 1), 1e-4
        scores = [
            scipy.stats.binom.logpmf(outcomes, count, scipy.stats.norm.cdf(-1 / np.sqrt(EXPECTED[index] + sign * step)))
            for sign in (-1, 1)
        ]
        information = np.sum(scipy.stats.binom.pmf(outcomes, count, share) * ((scores[1] - scores[0]) / (2 * step)) ** 2)
        assert COUNTS.weights(EXPECTED)[index] == pytest.approx(np.sqrt(information), rel=1e-4)


@pytest.mark.slow
def test_the_derivative_of_residuals_of_counts_is_continuous_at_the_observed_share():
    counts = ov.inference.Counts(100.0, lambda probability: probability)
    slope = jax.vmap(jax.grad(lambda probability: counts.residuals(probability, 30.0)))
    distances = np.array([-1e-2, -1e-4, -2e-6, -1.1e-6, -1e-7, -1e-12, 0.0, 1e-12, 1e-7, 1.1e-6, 2e-6, 1e-4, 1e-2])
    slopes = np.asarray(slope(0.3 + distances))
    exact = -np.sqrt(100 / (0.3 * 0.7))
    np.testing.assert_allclose(slopes, exact, rtol=2e-2)
    np.testing.assert_allclose(slopes[1:-1], exact, rtol=1e-3)
    near = np.array([-1.0001e-6, -0.9999e-6, 0.9999e-6, 1.0001e-6])
    values = jax.vmap(lambda probability: counts.residuals(probability, 30.0))(0.3 + near)
    np.testing.assert_allclose(values, exact * near, rtol=1e-4)
    for share in (0.0, 100.0):  # all trials right, or all wrong
        assert np.isfinite(jax.grad(lambda probability, share=share: counts.residuals(probability, share))(0.3))


@pytest.mark.parametrize("noise", [GAUSSIAN, COUNTS])
def test_draws_have_the_mean_and_the_variance_of_the_noise(noise):
    draws = jax.vmap(lambda key: noise.draw(key, EXPECTED))(jax.random.split(jax.random.key(0), 4000))
    variance = STD**2 if noise is GAUSSIAN else np.asarray(COUNTS.trials) * SHARES * (1 - SHARES)
    np.testing.assert_array_less(np.abs(draws.mean(0) - noise.mean(EXPECTED)), 5 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(draws.var(0), variance, rtol=5 * np.sqrt(2.1 / 4000))


FILTER, EULER, DESCENT = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.RNN(dt=0.2), ov.GradientDescent(0.01, 50)


def seen(observe="impulse_response", rule=DESCENT, **more):
    return ov.inference.observations(ov.Overlaps.random(0), ov.Phase("A", FILTER, rule), EULER, observe, saves=3, **more)


@pytest.mark.slow
def test_observations_have_the_names_and_the_noise_of_their_experiment():
    std = np.array([0.1, 1e-9, 1e-9])
    expected, drawn = seen("loss"), seen("loss", noise=std, noise_key=1)
    known = ov.learn(ov.Overlaps.random(0), FILTER, EULER, DESCENT, saves=3)["loss"]
    np.testing.assert_allclose(expected, known, rtol=1e-12)
    assert 0 < abs(drawn - expected)[0] < 0.5
    np.testing.assert_allclose(drawn[1:], expected[1:], atol=1e-8)
    assert drawn.attrs == {"long_name": "loss", "units": "1 / time"}
    assert drawn["phase"].values.tolist() == ["A"] * 3
    counts = seen("loss", noise=COUNTS)
    assert counts.attrs == {"long_name": "number of errors", "units": "1"}
    np.testing.assert_allclose(counts, np.asarray(COUNTS.trials) * scipy.stats.norm.cdf(-1 / np.sqrt(known)), rtol=1e-10)
    for message, arguments in {
        r"`noise` must broadcast to what is observed, with the shape \(3,\), but its shape is \(2,\)": {"noise": [0.1, 0.2]},
        r"broadcast to what is observed, with the shape \(3,\), but its shape is \(2, 3\)": {"noise": np.ones((2, 3))},
        r"`protocol` must be one in which the network learns, but the network diverges": {"rule": ov.GradientDescent(3.0, 50)},
    }.items():
        with pytest.raises(ValueError, match=message):
            seen("loss", **arguments)


def test_experiments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"`protocol` must have phases of known duration, without stop_loss"):
        seen(rule=ov.GradientDescent(0.01, 50, stop_loss=1.0))
    with pytest.raises(ValueError, match=r"`noise` must have a link that fits what is observed, but `error_probability` takes"):
        seen(noise=COUNTS)
    with pytest.raises(ValueError, match=r"`link` must be a function"):
        ov.inference.Counts(10, 0.5)


def test_noise_has_to_be_positive():
    for make in (ov.inference.Gaussian, ov.inference.Counts):
        with pytest.raises(ValueError, match=r"must be above 0, but 0 came"):
            make([1.0, 0.0])


def test_rows_belong_to_phases():
    rows = phase_of_rows(np.array([0.0, 1.0, 1.0, 1.5, 3.0]), [1.0, 2.0])
    assert rows.tolist() == [0, 0, 1, 1, 1]
    assert phase_of_rows(np.array([0.5, 2.0]), [1.0, 2.0]).tolist() == [0, 1]
    assert phase_of_rows(np.array([0.5, 1.0]), [1.0, 2.0], ["A", "B"], ["A", "B"]).tolist() == [0, 1]
    for times, named in (([0.0, 3.5], None), ([-1.0], None), ([0.5, 0.2], None), ([0.5, 2.0], ["A", "C"])):
        with pytest.raises(ValueError, match=r"must have learning times that increase from 0 to 3, the end of the protocol"):
            phase_of_rows(np.array(times), [1.0, 2.0], named, ["A", "B"])


@pytest.mark.slow
def test_an_experiment_is_seen_at_the_times_and_lags_of_its_data():
    task, rule = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.GradientDescent(0.01, 50)
    protocol = [ov.Phase("A", task, rule), ov.Phase("B", task, rule)]
    experiment = Experiment.checked(protocol, ov.RNN(dt=0.2))
    data = xr.DataArray(
        np.zeros((4, 2, 1, 1)),
        {"time": [0.0, 0.5, 0.5, 0.75], "phase": ("time", list("AABB")), "lag": [0.0, 0.4]},
        ("time", "lag", "readout", "input"),
    )
    seen = experiment.seen_at(data)
    np.testing.assert_allclose(np.concatenate(seen.saves), [0.0, 0.5, 0.0, 0.25])
    np.testing.assert_allclose(seen.times, [0.0, 0.4])
    with pytest.raises(ValueError, match=r"there is none in B"):
        experiment.seen_at(data[:2])
    course = seen.trajectory(ov.Overlaps.random(0))
    np.testing.assert_allclose(course.time, data["time"], atol=1e-12)
    assert course.impulse_response.shape == data.shape
