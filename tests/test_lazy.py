"""Lazy learning: kernels, exponents and curves against quadrature, series and networks."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.sparse.linalg
import scipy.special

import overlaps as ov
from overlaps import integration

RNN = ov.RNN()


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.9])
def test_kernels_against_their_series_and_convolution(sigma):
    times = np.array([0.0, 0.4, 1.7])
    kernels = integration.lazy_kernels(times, sigma)
    orders = np.arange(60)
    phi = times[:, None] ** orders * np.exp(-times[:, None]) / scipy.special.factorial(orders)
    # C = sum sigma^2q phi_q phi_q
    assert np.allclose(kernels["vectors"], phi @ (sigma ** (2 * orders)[:, None] * phi.T), rtol=0, atol=1e-14)

    def overlap(s, t):
        return np.exp(-s - t) * scipy.special.i0(2 * sigma * np.sqrt(s * t))

    for row, s in enumerate(times):
        for column, t in enumerate(times):
            double = scipy.integrate.dblquad(
                lambda a, b, s=s, t=t: overlap(a, b) * overlap(s - a, t - b), 0, t, 0, s, epsabs=1e-12
            )[0]
            assert kernels["weights"].values[row, column] == pytest.approx(double, abs=1e-10)


@pytest.mark.parametrize("frequency", [0.0, 0.7])
def test_the_curve_against_its_equation_on_a_grid_of_times(frequency):
    sigma, rate, rates, s = 0.6, 0.5, {"W": 1.0, "m": 0.4, "z": 0.7}, np.array([0.0, 0.2, 3.0])
    nodes, weights = np.polynomial.legendre.leggauss(400)
    times, weights = 20 * (nodes + 1), 20 * weights
    kernels = integration.lazy_kernels(times, sigma)
    theta = rates["W"] * kernels["weights"].values + (rates["m"] + rates["z"]) * kernels["vectors"].values
    roots = np.sqrt(weights)
    values, vectors = np.linalg.eigh(roots[:, None] * theta * roots)
    start = vectors.T @ (roots * np.exp(-rate * times) * np.cos(frequency * times))
    expected = [np.sum((np.exp(-2 * time * values) * start) ** 2) for time in s]
    found = integration.lazy_learning_curve(rate, sigma, s, rates, frequency)["loss"].values
    assert np.allclose(found, expected, rtol=0, atol=1e-9)  # exp(-2 rate 40) is cut off


@pytest.mark.parametrize(("rate", "frequency"), [(0.6, 0.0), (0.3, 0.0), (0.8, 0.3), (1.6, 0.0)])
def test_the_exponent_is_that_of_the_curve(rate, frequency):
    alpha = integration.lazy_exponent(rate, 0.6, frequency)
    # Powers of rho^2 make the curve wiggle: compare where the logarithm of time has grown by whole periods.
    period = np.log(1 / integration._lazy._decay(0.6) ** 2)
    times = 1e9 * np.exp(period * np.arange(0, 7, 6))
    loss = integration.lazy_learning_curve(rate, 0.6, times, {"W": 0.0}, frequency)["loss"].values
    turning = 0.1 if frequency else 5e-4  # the coefficients of an oscillation turn their sign as well
    assert -np.diff(np.log(loss)).item() / np.diff(np.log(times)).item() == pytest.approx(alpha, abs=turning)
    assert (alpha > 1) == integration.learnable(rate, 0.6, frequency)


def test_the_threshold_is_in_the_change_of_weights_and_not_in_the_loss():
    sigma, times = 0.6, np.logspace(0, 12, 25)
    inside, outside = (integration.lazy_learning_curve(rate, sigma, times) for rate in (0.6, 0.3))
    assert integration.learnable(0.6, sigma)
    assert not integration.learnable(0.3, sigma)
    for curve in (inside, outside):
        assert np.all(np.diff(np.log(curve["loss"])) < 0)
        assert curve["loss"].values[-1] < 1e-3 * curve["loss"].values[0]
    # inside: sum_q (1 - rate)^2q K_q / D_q^2, K_q = q sigma^(2q - 2), D_q = K_q + 2 sigma^2q
    q = np.arange(1, 400)
    K, D = q * sigma ** (2.0 * q - 2), q * sigma ** (2.0 * q - 2) + 2 * sigma ** (2.0 * q)
    with np.errstate(under="ignore"):
        limit = np.sqrt(np.sum((0.4 / sigma) ** (2 * q) * (K / sigma ** (2.0 * q)) / (D / sigma ** (2.0 * q)) ** 2))
    assert inside["weight_change"].values[-1] == pytest.approx(limit, rel=1e-3)
    # outside: ~ t^((1 - alpha) / 2)
    slope = np.polyfit(np.log(times[8:]), np.log(outside["weight_change"].values[8:]), 1)[0]
    assert slope == pytest.approx((1 - integration.lazy_exponent(0.3, sigma)) / 2, abs=0.05)


def test_without_random_weights_nothing_but_the_leak_can_be_learned_lazily():
    curve = integration.lazy_learning_curve(0.5, 0.0, [0.0, 1e6], {"W": 0.0})
    # exp(-t / 2) less its projection on exp(-t)
    assert np.allclose(curve["loss"], [1.0, 1.0 - 2 * (1 / 1.5) ** 2], rtol=0, atol=1e-12)
    assert integration.lazy_exponent(0.5, 0.0) == 0.0
    assert integration.lazy_exponent(1.0, 0.0) == np.inf


def test_kernels_of_networks_approach_their_limit_with_the_root_of_their_size():
    sigma, times = 0.4, np.array([0.5, 1.0, 2.0])
    limit = integration.lazy_kernels(times, sigma)
    errors = []
    for n in (64, 256):
        squares = []
        for seed in range(100):
            net = ov.DenseNetwork.random(seed, n, sigma)
            generator = net.W - np.eye(n)
            responses = np.concatenate([scipy.sparse.linalg.expm_multiply(t * generator, net.m) for t in times], axis=1)
            squares.append((responses.T @ responses / n - limit["vectors"].values) ** 2)
        errors.append(np.sqrt(np.mean(squares)))
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.3)  # a hundred networks on both sides know it to a tenth


@pytest.mark.slow
@pytest.mark.parametrize("frequency", [0.0, 1.0])
def test_networks_with_large_readouts_learn_by_the_kernel_that_they_start_with(frequency):
    rates, rate = {"W": 0.7, "m": 1.5, "z": 0.8}, 0.6
    task = (
        ov.tasks.damped_oscillation(rate, 1.0, horizon=None) if frequency else ov.tasks.exponential_filter(rate, horizon=None)
    )
    errors = []
    for scale in (20.0, 200.0):
        net = ov.DenseNetwork.random(0, 16, 0.5, scale=scale, silent=True)
        scaled = {"W": rates["W"] / scale**2, "m": rates["m"] / scale**2, "z": rates["z"]}
        run = ov.learn(net, task, RNN, ov.GradientFlow(1.0, rtol=1e-6, atol=1e-9, rates=scaled), saves=5)
        times, weights = _grid(80, 30.0)
        roots = np.sqrt(weights)
        values, vectors = np.linalg.eigh(roots[:, None] * _empirical_kernel(net, scale, times, rates) * roots)
        start = vectors.T @ (roots * np.exp(-rate * times) * np.cos(frequency * times))
        expected = [np.sum((np.exp(-2 * s * values) * start) ** 2) for s in run["time"].values]
        errors.append(np.abs(run["loss"].values - expected).max() / expected[0])
    assert errors[1] < 0.2 * errors[0]  # at least 1 / R: a tenth
    assert errors[1] < 5e-3


def _grid(count, length):
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return length / 2 * (nodes + 1), length / 2 * weights


def _empirical_kernel(net, scale, times, rates):
    """The kernel r_W <df/dW, df/dW> + r_m df/dm.df/dm + r_z df/dz.df/dz of one network, at all pairs of times of a grid."""
    n, v = net.n, net.z / scale
    J = net.W - np.eye(n)
    right, left, both = [], [], []
    for t in times:
        # The block beside the diagonal is int exp(J (t - s)) m v^T exp(J s) ds.
        exponential = scipy.linalg.expm(t * np.block([[J, net.m @ v.T / n], [np.zeros((n, n)), J]]))
        right.append(exponential[:n, :n] @ net.m[:, 0])
        left.append(v[:, 0] @ exponential[:n, :n])
        both.append(exponential[:n, n:].ravel())
    right, left, both = np.array(right), np.array(left), np.array(both)
    return rates["W"] * both @ both.T + (rates["m"] * left @ left.T + rates["z"] * right @ right.T) / n


@pytest.mark.slow
def test_every_regime_in_one_dataset():
    dataset = integration.compare_regimes(0.5, 0.2, n=24, duration=0.6, saves=4, order=3)
    loss = dataset["loss"].sel
    assert list(dataset["theory"].values) == ["simulation", "rich", "krylov", "lazy"]
    assert np.allclose(loss(theory="krylov"), loss(theory="simulation"), rtol=0, atol=1e-5)  # sigma^8
    assert not np.allclose(loss(theory="rich"), loss(theory="simulation"), rtol=0, atol=1e-3)
    assert np.isnan(dataset["outlier_real"].sel(theory="lazy")).all()
    lazy = integration.lazy_learning_curve(0.5, 0.2, dataset["time"].values)
    assert np.array_equal(loss(theory="lazy"), lazy["loss"])
    assert list(dataset.attrs) == ["compare_regimes"]
