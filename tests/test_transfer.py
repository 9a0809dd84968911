"""Transfer functions and their gains, against numerical integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

import overlaps as ov

VARIANCES = np.array([1e-6, 0.01, 0.3, 1.0, 4.0, 10.0])
SLOPES = {
    "linear": np.ones_like,
    "erf": lambda x: np.exp(-np.pi * x**2 / 4),
    "tanh": lambda x: 1 / np.cosh(x) ** 2,
    "relu": lambda x: (x > 0) * 1.0,
    "softplus": lambda x: scipy.special.expit(x),
}


def integral(function, variance):
    """E[f(sqrt(Delta) xi)], each half of the line by itself."""
    s = np.sqrt(variance)

    def weighted(x):
        return function(s * x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    halves = [scipy.integrate.quad(weighted, *ends, epsabs=1e-14, epsrel=1e-13, limit=200)[0] for ends in ((-12, 0), (0, 12))]
    return sum(halves)


@pytest.mark.parametrize("phi", SLOPES)
def test_gains_against_integration(phi):
    expected = [integral(SLOPES[phi], variance) for variance in VARIANCES]
    np.testing.assert_allclose(ov.RNN(phi).gain(VARIANCES), expected, atol=1e-11)


def test_the_stated_error_of_quadrature_holds():
    expected = integral(SLOPES["tanh"], 100.0)
    assert abs(ov.RNN("tanh").gain(100.0) - expected) < 1e-7
    assert abs(ov.RNN("tanh").gain(10.0) - integral(SLOPES["tanh"], 10.0)) < 1e-12


@pytest.mark.parametrize(
    ("phi", "slope"),
    [
        (jnp.tanh, SLOPES["tanh"]),
        (jax.nn.softplus, SLOPES["softplus"]),
        (jax.nn.relu, SLOPES["relu"]),
        (jax.nn.elu, lambda x: np.where(x > 0, 1.0, np.exp(x))),  # phi'' jumps at 0
        (lambda x: jnp.sin(2 * x) + x**2, lambda x: 2 * np.cos(2 * x) + 2 * x),
    ],
)
def test_any_callable_has_its_gain_and_the_slope_of_it(phi, slope):
    rnn = ov.RNN(phi)
    np.testing.assert_allclose(rnn.gain(VARIANCES), [integral(slope, variance) for variance in VARIANCES], atol=1e-11)
    inner = VARIANCES[2:]
    slopes = jax.vmap(jax.grad(rnn.gain))(inner)
    differences = [(integral(slope, d * (1 + 1e-4)) - integral(slope, d * (1 - 1e-4))) / (2e-4 * d) for d in inner]
    np.testing.assert_allclose(slopes, differences, atol=1e-7)


def test_the_slope_of_a_gain_at_zero_is_half_the_third_derivative():
    # tanh''' = -2 and the second derivative of the gain is a quarter of the fifth one, 16, at 0.
    gain = ov.RNN("tanh").gain
    np.testing.assert_allclose(jax.grad(gain)(0.0), -1.0, atol=1e-12)
    np.testing.assert_allclose([jax.grad(gain)(d) for d in (1e-9, 1e-8, 1e-6)], [-1 + 4e-9, -1 + 4e-8, -1 + 4e-6], atol=1e-9)
    np.testing.assert_allclose(
        jax.grad(jax.grad(gain))(0.01), (jax.grad(gain)(0.0101) - jax.grad(gain)(0.0099)) / 2e-4, rtol=1e-5
    )


def test_rates_are_phi():
    x = np.linspace(-3, 3, 7)
    known = {
        "linear": x,
        "erf": scipy.special.erf(np.sqrt(np.pi) / 2 * x),
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "softplus": np.log1p(np.exp(x)),
    }
    for phi, values in known.items():
        np.testing.assert_allclose(ov.RNN(phi).rate(x), values, atol=1e-14)


def hard_tanh(x):
    return jnp.clip(x, -1.0, 1.0)


def test_a_transfer_function_may_bring_its_own_gain():
    clipped = ov.RNN(ov.Transfer(hard_tanh, lambda variance: jax.lax.erf(jax.lax.rsqrt(2 * variance + 1e-30))))
    expected = [integral(lambda x: (abs(x) < 1) * 1.0, variance) for variance in VARIANCES]
    np.testing.assert_allclose(clipped.gain(VARIANCES), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"`gain` must be the average of phi'"):
        ov.RNN(ov.Transfer(hard_tanh, lambda variance: 1 / (1 + variance)))


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        ("sigmoid", "must be one of 'linear', 'erf', 'tanh', 'relu', 'softplus'"),
        (3.0, "must be one of 'linear'"),
        (jnp.log, "be finite and have a finite slope everywhere, but at x = -5 it has not"),
        (lambda x: jnp.sqrt(jnp.abs(x)), "at x = 0 it has not"),
        (jnp.sum, r"made shape \(\) of shape \(11,\)"),
        (lambda x: 1.0, "made shape"),
        (jax.nn.softmax, "an entry of its result depends on other entries"),
        (lambda x: np.tanh(np.asarray(x)), "be made of jax.numpy, but differentiating it gave"),
    ],
)
def test_what_is_no_transfer_function_is_refused(phi, message):
    with pytest.raises(ValueError, match="`phi` must") as error:
        ov.RNN(phi)
    assert error.match(message)


def test_a_kink_that_quadrature_misses_is_refused_for_overlaps_alone():
    rnn, net, pulse = ov.RNN(hard_tanh, dt=0.1), ov.Overlaps.random(0), np.ones((10, 1))
    with pytest.raises(ValueError, match="be smooth away from 0 for overlaps, but the quadrature of its gain has an error of"):
        rnn.output(net, pulse)
    assert np.all(np.isfinite(rnn.output(net.sample(20, 0), pulse)))
