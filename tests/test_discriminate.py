import json

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import binom, norm

import overlaps as ov
from overlaps.inference._noise import noise_of
from overlaps.inference._power import Ratio, simulated_scores
from tests.figure_checks import faults

RNN = ov.RNN(dt=0.1)
NET = ov.Overlaps.random(0).replace(zm=0.5, zu=0.4, vm=0.3, vu=0.5)
GAUGE = ov.studies.gauge(NET, 1.3)  # the same function in other latent coordinates
J = np.diag([1.0, 1.0, -1.0, -1.0])  # m, u, v, z
STD, STEPS, RATE = 0.05, 30, 0.02


def protocol(rate=0.4, rule=None):
    task = ov.tasks.exponential_filter(rate, horizon=5.0)
    return ov.Phase("test", task, ov.GradientDescent(RATE, STEPS) if rule is None else rule)


def compared(hypotheses=None, protocols=None, **options):
    hypotheses = {"fresh": NET, "gauge copy": GAUGE} if hypotheses is None else hypotheses
    protocols = {"test": protocol()} if protocols is None else protocols
    return ov.inference.discriminate(hypotheses, protocols, RNN, **{"noise": STD, "saves": 4, "draws": 200} | options)


def within_binomial_band(share, probability, draws):
    """Whether an observed share lies in the central 99.9 % of a binomial distribution."""
    low, high = binom.interval(0.999, draws, probability)
    return np.all((low <= share * draws) & (share * draws <= high))


@pytest.fixture(scope="module")
def dataset():
    return compared(draws=4000, repetitions=[1, 3, 9, 27])


def descended(state, lags, rate=0.4, samples=50, dt=0.1):
    """Impulse responses (saves, lags) of four neurons' vectors that learn by plain NumPy descent; h steps by Euler."""
    m, u, v, z = (np.array(column, float) for column in np.linalg.cholesky(np.asarray(state.gram)))
    vectors, target = np.stack([m, u, v, z]), np.exp(-rate * dt * np.arange(samples))
    seen = []
    for _ in range(STEPS + 1):
        m, u, v, z = vectors  # overlaps are plain scalar products of these
        hs = [m.copy()]
        for _k in range(samples - 1):
            hs.append(hs[-1] + dt * (-hs[-1] + u * (v @ hs[-1])))
        response = np.array([z @ h for h in hs])
        seen.append(response[np.round(np.asarray(lags) / dt).astype(int)])
        error = 2 * dt * (response - target)
        adjoint, du, dv = np.zeros(4), np.zeros(4), np.zeros(4)
        for k in reversed(range(samples)):
            if k < samples - 1:
                du, dv = du + dt * adjoint * (v @ hs[k]), dv + dt * (u @ adjoint) * hs[k]
                adjoint = adjoint + dt * (-adjoint + v * (u @ adjoint))
            adjoint = adjoint + error[k] * z
        dz = sum(e * h for e, h in zip(error, hs, strict=True))
        vectors = vectors - RATE * np.stack([adjoint, du, dv, dz])
    return np.array(seen)[[0, 10, 20, 30]]


def test_d_prime_is_that_of_a_plain_descent_of_neurons(dataset):
    curves = [descended(state, dataset["lag"].values) for state in (NET, GAUGE)]
    np.testing.assert_allclose(dataset["mean"][0, 0, :, :, 0, 0], curves[0], atol=1e-12)
    expected = np.sum((curves[0] - curves[1]) ** 2, axis=1) / STD**2
    np.testing.assert_allclose(dataset["information"].sum(["lag", "readout", "input"])[0, 0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dataset["d_prime"], np.sqrt(expected.sum()), rtol=1e-9)
    np.testing.assert_allclose(dataset["accumulated"][0, 0], np.cumsum(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        dataset["divergence"].sel(hypothesis="fresh", alternative="gauge copy"), expected.sum() / 2, rtol=1e-5
    )


def test_networks_of_equal_function_differ_only_while_they_learn(dataset):
    assert dataset["d_prime_without_learning"].item() < 1e-10
    assert dataset["d_prime"].item() > 0.1


def test_power_is_that_of_a_normal_test_and_of_simulated_experiments(dataset):
    d_prime, number = dataset["d_prime"].item(), dataset["repetition"].values
    expected = norm.sf(norm.isf(0.05) - np.sqrt(number) * d_prime)
    np.testing.assert_allclose(dataset["predicted_power"][0, 0], expected, rtol=1e-12)
    assert within_binomial_band(dataset["simulated_power"][0, 0].values, expected, 4000)
    assert within_binomial_band(dataset["simulated_level"][0, 0].values, 0.05, 4000)
    # the most likely of two hypotheses is right if its difference to the mean is below half of d'
    assert within_binomial_band(dataset["accuracy"][0].values, norm.cdf(np.sqrt(number) * d_prime / 2), 8000)
    needed = dataset["needed"].item()
    assert needed == np.ceil(((norm.isf(0.05) + norm.isf(0.2)) / d_prime) ** 2)


@pytest.mark.slow
def test_d_prime_scales_with_the_noise_and_with_the_root_of_repetitions(dataset):
    doubled = compared(noise=2 * STD)
    np.testing.assert_allclose(doubled["d_prime"], dataset["d_prime"] / 2, rtol=1e-12)
    four = compared(noise=STD / 2)  # the noise of the mean of four repetitions
    np.testing.assert_allclose(four["d_prime"], np.sqrt(4) * dataset["d_prime"], rtol=1e-12)
    power = compared(repetitions=[4], noise=STD)["predicted_power"]
    np.testing.assert_allclose(power.values, compared(repetitions=[1], noise=STD / 2)["predicted_power"].values, rtol=1e-12)


def test_equal_hypotheses_cannot_be_told_apart():
    same = compared({"one": NET, "other": NET})
    assert same["d_prime"].item() == 0
    assert same["needed"].item() == np.inf
    np.testing.assert_allclose(same["predicted_power"], 0.05)
    np.testing.assert_allclose(same["simulated_power"], 0.05)
    np.testing.assert_allclose(same["accuracy"], 0.5)


@pytest.mark.slow
def test_perfect_twins_stay_hidden_from_every_flow():
    """G and G + eps J obey the same flow; a descent feels eps at first order of its rate."""
    twin = ov.Overlaps(np.asarray(NET.gram) + 0.2 * J)
    flow = ov.GradientFlow(2.0, rtol=1e-10, atol=1e-12)
    protocols = {"flows": [protocol(0.4, flow), protocol(0.1, flow)]}
    for steps in (STEPS, 2 * STEPS):
        protocols[f"{steps} steps"] = protocol(rule=ov.GradientDescent(RATE * STEPS / steps, steps))
    found = compared({"G": NET, "G + eps J": twin}, protocols, noise=1.0, observe="loss")["d_prime"][:, 0].values
    assert found[0] < 1e-9  # a multiple of the tolerance of the solver
    assert found[2] > 1e-8
    np.testing.assert_allclose(found[1] / found[2], 2, rtol=0.1)


@pytest.mark.slow
def test_three_hypotheses_and_protocols_of_other_lengths():
    hypotheses = {"fresh": NET, "gauge copy": GAUGE, "trained": (NET, protocol(0.1))}
    protocols = {"one phase": protocol(), "two phases": [protocol(), protocol(0.2)]}
    three = compared(hypotheses, protocols)
    assert three.sizes["pair"] == 3
    assert three["pair"].values.tolist() == ["fresh / gauge copy", "fresh / trained", "gauge copy / trained"]
    assert three["time"].sel(protocol="one phase").isnull().sum() == 4
    assert three["phase"].sel(protocol="one phase").values.tolist() == ["test"] * 4 + [""] * 4
    final = ov.trajectory(NET, protocol(0.1).task, RNN, protocol(0.1).rule, saves=2).final
    plain = compared({"fresh": NET, "trained": final})
    np.testing.assert_allclose(three["d_prime"].sel(protocol="one phase")[1], plain["d_prime"][0, 0], rtol=1e-12)
    assert np.all(three["accuracy"] >= 1 / 3 - 4 * np.sqrt(2 / 9 / 600))


def test_power_below_the_level_takes_one_repetition():
    ratio = Ratio(-0.005, 0.01, 0.005, 0.01)  # d' = 0.1
    assert ratio.power(1, 0.05) > 0.04
    assert ratio.repetitions(0.04, 0.05) == 1


@pytest.mark.slow
def test_counts_of_errors():
    """Mean and variance of the log likelihood ratio by summation over all outcomes, and simulated experiments."""
    trials, losses = 20, np.array([[0.5, 0.8, 1.5], [0.6, 0.7, 1.0]])
    noise = ov.inference.Counts(trials)
    with jax.enable_x64(True):
        ratio = Ratio(*(float(one) for one in Ratio.of(noise, *losses).summed()))
        number = np.array([1.0, 4.0, 16.0, 64.0])
        scores = simulated_scores(noise, losses, number, 4000, jax.random.key(0))
    first, second = norm.cdf(-1 / np.sqrt(losses))
    outcomes = np.arange(trials + 1)[:, None]
    logs = binom.logpmf(outcomes, trials, second) - binom.logpmf(outcomes, trials, first)
    for probability, mean, variance in ((first, ratio.null_mean, ratio.null_variance), (second, ratio.mean, ratio.variance)):
        weights = binom.pmf(outcomes, trials, probability)
        means = np.sum(weights * logs, axis=0)
        np.testing.assert_allclose(mean, means.sum(), rtol=1e-10)
        np.testing.assert_allclose(variance, np.sum(weights * (logs - means) ** 2), rtol=1e-10)
    found = (scores[:, 1, :, 1] - scores[:, 1, :, 0] > ratio.threshold(number, 0.05)[:, None]).mean(axis=1)
    # The normal distribution is an approximation here: Berry and Esseen bound its error by 0.56 rho / (sd^3 sqrt(terms)).
    skew = np.sum(binom.pmf(outcomes, trials, second) * np.abs(logs - logs.mean()) ** 3) / ratio.variance**1.5
    assert np.all(np.abs(found - ratio.power(number, 0.05)) < 2 * 0.56 * skew / np.sqrt(number) + 4 * np.sqrt(0.25 / 4000))


@pytest.mark.slow
def test_it_is_repeated_from_its_description(dataset, tmp_path):
    dataset.to_netcdf(tmp_path / "power.nc")
    assert ov.rerun(dataset).identical(dataset)
    assert json.loads(dataset.attrs["discriminate"])["noise"] == STD
    whole = compared(protocols={"flow": protocol(rule=ov.GradientFlow(2.0))}, saves=np.array([0, 1, 2]))
    assert ov.rerun(whole).identical(whole)


@pytest.mark.slow
def test_a_point_before_learning_is_added_where_none_is_measured(dataset):
    later = compared(saves=np.array([0.2, 0.4, 0.6]), noise=np.full((3, 1, 1, 1), STD))
    assert later["time"][0].values == pytest.approx([0.2, 0.4, 0.6])
    np.testing.assert_allclose(later["accumulated"][0, 0, -1], dataset["accumulated"][0, 0, -1], rtol=1e-10)
    assert later["d_prime_without_learning"].item() < 1e-10


def test_its_figure_draws_curves_information_and_power(dataset):
    figure = ov.plots.plot_discriminate(dataset)
    assert faults(figure) == []
    left, middle, right = figure.axes
    information = dataset["information"][0, 0]
    lag = int(np.argmax(information.max("point").values.ravel()))
    np.testing.assert_array_equal(left.lines[0].get_ydata(), dataset["mean"][0, 0, :, lag, 0, 0])
    np.testing.assert_array_equal(middle.lines[0].get_ydata(), dataset["accumulated"][0, 0])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), dataset["predicted_power"][0, 0])
    renamed = dataset.assign_coords(hypothesis=["A / B", "C"], pair=["A / B / C"])
    assert [text.get_text() for text in ov.plots.plot_discriminate(renamed).axes[0].get_legend().texts] == ["A / B", "C"]
    plt.close("all")
    with pytest.raises(ValueError, match=r"a result of inference\.discriminate"):
        ov.plots.plot_discriminate(dataset.drop_attrs())


@pytest.mark.parametrize(
    ("hypotheses", "protocols", "options", "message"),
    [
        ({"one": NET}, None, {}, "at least 2 names"),
        ({"one": NET, "two": 3}, None, {}, "'two' is 3"),
        ({"one": NET, "two": (NET, protocol().task)}, None, {}, r"hold as a protocol a Phase\(name, task, rule\)"),
        ({"one": NET, "two": (NET, protocol(rule=ov.GradientDescent(50.0, 30)))}, None, {}, "that of 'two' does"),
        ({"one": NET, "two": ov.Overlaps(np.stack([NET.gram] * 2))}, None, {}, "'two' is a batch"),
        (None, {}, {}, "at least 1 names"),
        (None, {"test": protocol(rule=ov.GradientDescent(50.0, 30))}, {}, "diverges in 'test'"),
        (None, None, {"level": 1.0}, "a probability below 1"),
        (None, None, {"repetitions": [0, 1]}, "increasing whole numbers of at least 1"),
        (None, None, {"repetitions": [1.5]}, "increasing whole numbers of at least 1"),
        (None, None, {"noise": np.ones(7)}, r"`noise` must broadcast to what is observed, with the shape \(4, 20, 1, 1\)"),
    ],
)
def test_errors(hypotheses, protocols, options, message):
    with pytest.raises(ValueError, match=message):
        compared(hypotheses, protocols, **options)


def test_noise_models_agree_on_their_deviation():
    with jax.enable_x64(True):
        assert float(noise_of(0.3).repeated(9).deviation(np.zeros(1))[0]) == pytest.approx(0.1)
        probability = norm.cdf(-1 / np.sqrt(0.5))
        deviation = ov.inference.Counts(50).repeated(2).deviation(np.array([0.5]))
    assert float(deviation[0]) == pytest.approx(np.sqrt(100 * probability * (1 - probability)))
