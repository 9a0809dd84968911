"""The Gaussian mean of a transfer function and its derivatives, against SciPy, closed forms and finite differences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import overlaps as ov
from overlaps.dynamics._transfer import rough, transfer_of
from tests.test_transfer import hard_tanh

RATIOS = (0.0, -0.4, 1.7, -3.2, 5.1, -8.5, 11.0)  # mu / sqrt(Delta)
DEVIATIONS = (1e-3, 0.1, 0.8, 5.0, 30.0)
ERF = np.sqrt(np.pi) / 2


def own_erf(x):
    return jax.lax.erf(ERF * x)


def leaky_relu(x):
    return jnp.where(x > 0, x, 0.1 * x)


def integral(function, mu, s):
    """E[f(mu + s xi)] for a standard normal xi by SciPy, with separate integrals for the steep part of f near 0."""
    zero = -mu / s
    ends = [end for x in (0.0, 1 / s, 6 / s, 40 / s) for end in (zero - x, zero + x) if abs(end) < 9.5]
    ends = sorted({-9.5, -3.0, 0.0, 3.0, 9.5, *ends})
    return sum(
        scipy.integrate.quad(lambda x: function(mu + s * x) * scipy.stats.norm.pdf(x), *piece, epsabs=1e-14, epsrel=1e-13)[0]
        for piece in itertools.pairwise(ends)
    )


def relu_average(mu, variance):
    """The closed form for relu, with SciPy."""
    s = np.sqrt(variance)
    return mu * scipy.stats.norm.cdf(mu / s) + s * scipy.stats.norm.pdf(mu / s)


def grid():
    points = [(ratio * s, s**2) for s in DEVIATIONS for ratio in RATIOS]
    return tuple(np.asarray(values) for values in zip(*points, strict=True))


@pytest.mark.parametrize(
    ("phi", "function"),
    [
        ("linear", lambda x: x),
        ("erf", lambda x: scipy.special.erf(ERF * x)),
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(x, 0)),
        ("softplus", lambda x: np.logaddexp(x, 0)),
        (jax.nn.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    ],
)
def test_means_against_integration(phi, function):
    mu, variance = grid()
    expected = [integral(function, *point) for point in zip(mu, np.sqrt(variance), strict=True)]
    np.testing.assert_allclose(ov.RNN(phi).mean_rate(mu, variance), expected, atol=1e-11, rtol=1e-11)


def test_quadrature_finds_the_closed_form_of_erf_and_its_slopes():
    mu, variance = grid()
    quadrature, closed = ov.RNN(own_erf).mean_rate, ov.RNN("erf").mean_rate
    np.testing.assert_allclose(quadrature(mu, variance), closed(mu, variance), atol=1e-10)
    for argument in (0, 1):
        found, expected = (jax.vmap(jax.grad(mean, argument))(mu, variance) for mean in (quadrature, closed))
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_the_mean_of_tanh_has_the_stated_precision():
    # The same integral by the trapezoidal rule, whose error vanishes faster than any power of the distance of its nodes.
    x = np.linspace(-9, 9, 40001)
    weights = scipy.stats.norm.pdf(x) * (x[1] - x[0])
    s, ratio = (np.ravel(values) for values in np.meshgrid([1e-4, 0.03, 0.3, 1.0, 5.0, 30.0], np.linspace(-12, 9, 22)))
    expected = np.tanh((ratio * s)[:, None] + s[:, None] * x) @ weights
    np.testing.assert_allclose(ov.RNN("tanh").mean_rate(ratio * s, s**2), expected, atol=1e-11)


@pytest.mark.parametrize(
    ("phi", "slope", "jump"),
    [("relu", 0.0, 1.0), (leaky_relu, 0.1, 0.9), (jnp.abs, -1.0, 2.0)],
)
def test_kinks_count_in_all_derivatives(phi, slope, jump):
    mean = ov.RNN(phi).mean_rate
    mu, variance = (values[:-7] for values in grid())  # sqrt(Delta) up to 5
    z, s = mu / np.sqrt(variance), np.sqrt(variance)
    normal = scipy.stats.norm
    np.testing.assert_allclose(mean(mu, variance), slope * mu + jump * relu_average(mu, variance), atol=1e-12)
    first, second = (jax.vmap(jax.grad(mean, argument))(mu, variance) for argument in (0, 1))
    np.testing.assert_allclose(first, slope + jump * normal.cdf(z), atol=1e-12)
    np.testing.assert_allclose(second * s, jump * normal.pdf(z) / 2, atol=1e-12)
    hessian = jax.vmap(jax.hessian(mean, (0, 1)))(mu, variance)
    np.testing.assert_allclose(hessian[0][0] * s, jump * normal.pdf(z), atol=1e-12)
    np.testing.assert_allclose(hessian[0][1] * s**2, -jump * z * normal.pdf(z) / 2, atol=1e-12)
    np.testing.assert_allclose(hessian[1][1] * s**3, jump * (z**2 - 1) * normal.pdf(z) / 4, atol=1e-12)


@pytest.mark.parametrize("phi", ["erf", "tanh", "relu", "softplus", jax.nn.elu, leaky_relu])
@pytest.mark.slow
def test_gradient_and_hessian_against_finite_differences(phi):
    points, step = np.array([[0.0, 0.5], [0.4, 0.7], [-1.3, 2.0], [2.0, 9.0]]), 1e-4
    mean = jax.jit(jax.vmap(lambda at: ov.RNN(phi).mean_rate(at[0], at[1])))
    gradient = jax.jit(jax.vmap(jax.grad(lambda at: ov.RNN(phi).mean_rate(at[0], at[1]))))
    hessian = jax.vmap(jax.hessian(lambda at: ov.RNN(phi).mean_rate(at[0], at[1])))(points)
    for axis, along in enumerate(step * np.eye(2)):
        for function, derivative in ((mean, gradient(points)[:, axis]), (gradient, hessian[:, axis])):
            difference = (function(points + along) - function(points - along)) / (2 * step)
            np.testing.assert_allclose(derivative, difference, atol=1e-7)  # the error of a difference is step^2


@pytest.mark.parametrize("mu", [0.0, 0.7, -2.0])
def test_without_variance_the_mean_is_phi(mu):
    derivatives = [jnp.tanh]
    for _ in range(4):
        derivatives.append(jax.grad(derivatives[-1]))
    zeroth, first, second, third, fourth = (float(derivative(mu)) for derivative in derivatives)
    mean = ov.RNN("tanh").mean_rate
    assert mean(mu, 0.0) == pytest.approx(zeroth, abs=1e-14)
    np.testing.assert_allclose(jax.grad(mean, (0, 1))(mu, 0.0), [first, second / 2], atol=1e-13)
    expected = [[second, third / 2], [third / 2, fourth / 4]]
    np.testing.assert_allclose(jax.hessian(mean, (0, 1))(mu, 0.0), expected, atol=1e-12)
    for variance in (1e-20, 1e-9, 1e-6):
        assert mean(mu, variance) == pytest.approx(zeroth + variance * second / 2 + variance**2 * fourth / 8, abs=1e-14)
        assert jax.grad(mean, 1)(mu, variance) == pytest.approx(second / 2 + variance * fourth / 4, abs=1e-10)


@pytest.mark.parametrize("phi", ["erf", "tanh", "relu", leaky_relu])
@pytest.mark.slow
def test_activity_may_start_at_rest(phi):
    mean = ov.RNN(phi).mean_rate

    def after(start, steps):
        def step(activity, _):
            mu, s = activity
            rate, slope = mean(mu, s**2), jax.grad(mean)(mu, s**2)
            return 0.8 * activity + 0.1 * jnp.stack([rate + slope, rate - slope]), None

        if steps is None:
            return jnp.sum(step(step(start, None)[0], None)[0])
        return jnp.sum(jax.lax.scan(step, start, None, length=steps)[0])

    rest = jnp.zeros(2)
    for derivative in (jax.grad, jax.hessian):
        found = jax.jit(derivative(lambda start: after(start, 2)))(rest)
        assert np.all(np.isfinite(found))
        np.testing.assert_allclose(found, derivative(lambda start: after(start, None))(rest), atol=1e-12)


def test_the_slope_of_relu_at_rest_is_that_of_small_activity():
    for phi in ("relu", jax.nn.relu):
        for variance in (0.0, 1e-12):
            assert jax.grad(ov.RNN(phi).mean_rate)(0.0, variance) == pytest.approx(0.5, abs=1e-14)
        assert ov.RNN(phi).mean_rate(0.0, 0.0) == pytest.approx(0.0, abs=1e-29)


@pytest.mark.parametrize("phi", ["linear", "erf", "tanh", "relu", "softplus", jax.nn.elu, jnp.arctan])
def test_the_slope_of_the_mean_is_the_gain(phi):
    rnn, variance = ov.RNN(phi), np.array([1e-6, 0.01, 0.3, 1.0, 4.0, 10.0, 25.0])
    slopes = jax.vmap(jax.grad(rnn.mean_rate))(np.zeros(7), variance)
    np.testing.assert_allclose(slopes, rnn.gain(variance), atol=1e-11)


def test_arrays_broadcast_and_are_mapped():
    rnn = ov.RNN("tanh")
    mu, variance = np.linspace(-1, 1, 5)[:, None], np.array([0.0, 0.5, 2.0])
    together = rnn.mean_rate(mu, variance)
    assert together.shape == (5, 3)
    mapped = jax.vmap(jax.vmap(rnn.mean_rate, (None, 0)), (0, None))(mu[:, 0], variance)
    np.testing.assert_allclose(mapped, together, atol=1e-15)
    np.testing.assert_allclose(together[2], 0.0, atol=1e-15)  # tanh is odd
    with pytest.raises(
        ValueError, match=r"`mean` must fit the shape of `variance`, but they have the shapes \(5,\) and \(3,\)"
    ):
        rnn.mean_rate(np.ones(5), variance)
    with pytest.raises(ValueError, match="`variance` must be finite"):
        rnn.mean_rate(0.0, np.nan)


def clipped_mean(mu, variance):
    """The mean of max(-1, min(1, h)), made of two relu with their kinks at -1 and 1."""
    relu = ov.RNN("relu").mean_rate
    return relu(mu + 1, variance) - relu(mu - 1, variance) - 1


def test_a_transfer_function_may_bring_its_own_mean():
    rnn = ov.RNN(ov.Transfer(hard_tanh, mean=clipped_mean))
    mu, variance = (values[7:28] for values in grid())  # sqrt(Delta) from 0.1 to 5
    expected = [-1 + relu_average(*(mu + 1, variance)) - relu_average(*(mu - 1, variance))]
    np.testing.assert_allclose(rnn.mean_rate(mu, variance), expected[0], atol=1e-12)
    inside = scipy.special.erf(1 / np.sqrt(2 * variance))  # the part of the neurons with |h| < 1
    np.testing.assert_allclose(rnn.gain(variance), inside, atol=1e-12)


def test_a_rough_mean_counts_kinks_anywhere():
    mean = rough(transfer_of(hard_tanh)).mean
    mu, variance = (np.ravel(values) for values in np.meshgrid([-2.0, 0.0, 0.3, 1.1], [0.3, 1.0, 4.0]))
    for derivative in (lambda mean: mean, lambda mean: jax.grad(mean), lambda mean: jax.grad(mean, 1)):
        found, expected = (jax.vmap(derivative(each))(mu, variance) for each in (mean, clipped_mean))
        np.testing.assert_allclose(found, expected, atol=0.05)


def shift(mu, variance):
    return jnp.broadcast_arrays(mu, variance)[0]


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (shift, r"at mu = 0.6 and variance = 1 it is 0.6, while the average is about 0.3"),
        (lambda mu, variance: clipped_mean(mu, variance) + 0.1, "at mu = 0 and variance = 0 it is 0.1"),
        (lambda mu, variance: jnp.sum(mu + variance), r"it made shape \(\) of the shapes \(3, 1\) and \(1, 4\)"),
        (lambda mu, variance: clipped_mean(mu, variance) + 0 * jnp.sqrt(variance), "at mu = 0 and variance = 0 it has another"),
        (lambda mu: mu, "it gave TypeError"),
        (2.0, "it gave TypeError"),
    ],
)
def test_a_wrong_mean_is_refused(mean, message):
    with pytest.raises(ValueError, match=r"`mean` must be the average of phi\(mu \+ sqrt\(variance\) xi\)") as error:
        ov.RNN(ov.Transfer(hard_tanh, mean=mean))
    assert error.match(message)


def clipped_gain(variance):
    return jax.lax.erf(jax.lax.rsqrt(2 * variance + 1e-30))


@pytest.mark.parametrize(
    "phi",
    [
        hard_tanh,
        lambda x: jnp.clip(x, -8.0, 8.0),  # a kink that only large activity meets
        jnp.sign,
        lambda x: jnp.tanh(x) + (x > 1),
        lambda x: jnp.sin(10 * x),
        jnp.exp,
        lambda x: jnp.exp(3 * x),  # infinite at the largest activity of the check
        ov.Transfer(hard_tanh, clipped_gain),
    ],
)
def test_kinks_and_jumps_that_quadrature_misses_are_refused(phi):
    message = "be continuous, and smooth away from 0, for overlaps, but the quadrature of its mean has an error of"
    with pytest.raises(ValueError, match=message):
        ov.RNN(phi).mean_rate(0.0, 1.0)
