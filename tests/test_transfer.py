"""Transfer functions and their gains, against numerical integration."""

import itertools

import equinox as eqx
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
    """E[f(sqrt(Delta) xi)] for a standard normal xi, integrated over each half of the line separately."""
    s = np.sqrt(variance)

    def weighted(x):
        return function(s * x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    halves = [scipy.integrate.quad(weighted, *ends, epsabs=1e-14, epsrel=1e-13, limit=200)[0] for ends in ((-12, 0), (0, 12))]
    return sum(halves)


@pytest.mark.parametrize("phi", SLOPES)
def test_gains_against_integration(phi):
    expected = [integral(SLOPES[phi], variance) for variance in VARIANCES]
    np.testing.assert_allclose(ov.RNN(phi).gain(VARIANCES), expected, atol=1e-11)


def halves(function, s):
    """E[f(s xi)] for a standard normal xi by SciPy, with separate integrals for the steep part of f near 0."""
    total = 0.0
    for sign in (1, -1):
        ends = [0.0, *(x for x in (1 / s, 10 / s, 40 / s) if x < 12), 12.0]
        for low, high in itertools.pairwise(ends):
            total += scipy.integrate.quad(
                lambda x: function(sign * s * x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),  # noqa: B023
                *(low, high),
                epsabs=1e-15,
                epsrel=1e-13,
            )[0]
    return total


@pytest.mark.parametrize("variance", [0.0, 1e-12, 1e-4, 1.0, 100.0, 900.0, 1e3, 1e4])
def test_the_stated_error_of_quadrature_holds(variance):
    def slope(x):
        return 1 / np.cosh(np.minimum(np.abs(x), 300)) ** 2

    gain, s = ov.RNN("tanh").gain, np.sqrt(variance)
    assert gain(variance) == pytest.approx(halves(slope, s) if s else 1.0, abs=1e-11)
    # The slope of the gain is E[phi'''] / 2.
    expected = halves(lambda x: (3 * np.tanh(x) ** 2 - 1) * slope(x), s) if s else -1.0
    assert jax.grad(gain)(variance) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("phi", "slope"),
    [
        (jnp.arctan, lambda x: 1 / (1 + x**2)),
        (jax.nn.silu, lambda x: scipy.special.expit(x) * (1 + x * scipy.special.expit(-x))),
        (lambda x: jnp.tanh(100 * x), lambda x: 100 / np.cosh(np.minimum(np.abs(100 * x), 300)) ** 2),
        (lambda x: jnp.sin(2 * x), None),  # E[cos(2 s xi)] is known
    ],
)
def test_what_is_accepted_has_its_gain_over_the_whole_stated_range(phi, slope):
    for s in (0.01, 0.1, 1.0, 5.0, 30.0):
        expected = 2 * np.exp(-2 * s**2) if slope is None else halves(slope, s)
        assert ov.RNN(phi).gain(s**2) == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("phi", "slope"),
    [
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
    # The n-th derivative is the one of order 2 n + 1 of phi at 0, by 2^n: 16 / 4 and -272 / 8.
    second, third = jax.grad(jax.grad(gain)), jax.grad(jax.grad(jax.grad(gain)))
    np.testing.assert_allclose([second(0.0), third(0.0)], [4.0, -34.0], atol=1e-9)
    np.testing.assert_allclose([second(d) for d in (1e-9, 2e-8, 1e-6)], [4.0 - 34 * d for d in (1e-9, 2e-8, 1e-6)], atol=1e-4)
    np.testing.assert_allclose(
        jax.grad(jax.grad(gain))(0.01), (jax.grad(gain)(0.0101) - jax.grad(gain)(0.0099)) / 2e-4, rtol=1e-5
    )


def trial_loss(phi):
    """The loss of trials as a function of the factor of an `Overlaps`, and such a factor. All trials start at rest."""
    rng = np.random.default_rng(0)
    task = ov.tasks.Trials(rng.normal(size=(2, 8, 1)), rng.normal(size=(2, 8, 1)), dt=0.2)
    net, rnn = ov.Overlaps.random(0), ov.RNN(phi, dt=0.2)
    objective = task.objective(net, rnn)
    return (lambda factor: objective(net.with_factor(factor))), jnp.asarray(net.factor)


@pytest.mark.slow
@pytest.mark.parametrize("phi", ["tanh", "softplus", jax.nn.silu, jax.nn.elu])
def test_second_derivatives_of_a_trial_loss_are_those_of_finite_differences(phi):
    # jax.lax.scan forgets a jax.custom_jvp in second derivatives, which are then those of a square root at rest: not finite.
    loss, factor = trial_loss(phi)
    gradient, step = jax.jit(jax.grad(loss)), 1e-4
    hessian = jax.jit(jax.hessian(loss))(factor)
    steps = step * np.eye(factor.size).reshape(-1, *factor.shape)
    differences = np.stack([(gradient(factor + e) - gradient(factor - e)) / (2 * step) for e in steps], axis=-1)
    np.testing.assert_allclose(hessian, differences.reshape(hessian.shape), atol=1e-7)  # the error of a difference is step^2
    assert np.abs(hessian).max() > 1e-2


@pytest.mark.parametrize("s", [1.0, 5.0, 30.0])
def test_the_second_derivative_of_the_gain_of_tanh(s):
    def integrand(h):  # By Stein's lemma E[phi^(5)(s xi)] = E[He_4(xi) phi'(s xi)] / s^4
        return ((h / s) ** 4 - 6 * (h / s) ** 2 + 3) / np.cosh(np.minimum(np.abs(h), 300)) ** 2

    expected = halves(integrand, s) / (4 * s**4)
    assert jax.grad(jax.grad(ov.RNN("tanh").gain))(s**2) == pytest.approx(expected, rel=1e-6)


def test_a_kink_of_the_slope_counts_in_the_second_derivative_of_a_gain():
    # phi = x |x| / 2 has phi' = |x|, whose average is s sqrt(2 / pi) with s = sqrt(Delta).
    gain, variance = ov.RNN(lambda x: x * jnp.abs(x) / 2).gain, 0.7
    expected = -np.sqrt(2 / np.pi) / 4 * variance**-1.5
    assert jax.grad(jax.grad(gain))(variance) == pytest.approx(expected, abs=1e-12)


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
    with pytest.raises(ValueError, match=r"`gain` must be the average of phi'.* but it gave TypeError"):
        ov.RNN(ov.Transfer(hard_tanh, 3.0))


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        ("sigmoid", "must be one of 'linear', 'erf', 'tanh', 'relu', 'softplus'"),
        (3.0, "must be one of 'linear'"),
        (jnp.log, "be finite and have a finite slope everywhere, but at x = -5 it has not"),
        (lambda x: jnp.sqrt(jnp.abs(x)), "at x = 0 it has not"),
        (jnp.sum, r"made shape \(\) of shape \(12,\)"),
        ([1.0, 2.0], "must be one of .*, a function, or a Transfer, but list came, which cannot be hashed"),
        (np.zeros(3), "but ndarray came, which cannot be hashed"),
        (eqx.nn.PReLU(0.1), "but PReLU came, which cannot be hashed. Wrap a callable object in a function"),
        (ov.Transfer(eqx.nn.PReLU(0.1)), "but Transfer came, which cannot be hashed"),
        (jax.vmap(jax.grad(jnp.sin)), "differentiating it gave TypeError"),
        (lambda x: x * 1j, "it made numbers of type complex128"),
        (lambda x: (x > 0).astype(int), "it made numbers of type int"),
        (lambda x: 1.0, "made shape"),
        (jax.nn.softmax, "an entry of its result depends on other entries"),
        (lambda x: np.tanh(np.asarray(x)), "be made of jax.numpy, but differentiating it gave"),
    ],
)
def test_what_is_no_transfer_function_is_refused(phi, message):
    with pytest.raises(ValueError, match="`phi` must") as error:
        ov.RNN(phi)
    assert error.match(message)


def test_sines_of_whole_periods_do_not_make_a_function_odd():
    rnn = ov.RNN(lambda x: jnp.tanh(x) + 0.3 * jnp.sin(jnp.pi * x) ** 2)

    def slope(x):
        return SLOPES["tanh"](x) + 0.3 * np.pi * np.sin(2 * np.pi * x)

    np.testing.assert_allclose(rnn.gain(VARIANCES), [integral(slope, variance) for variance in VARIANCES], atol=1e-11)


@pytest.mark.parametrize(
    "phi",
    [
        hard_tanh,
        lambda x: jnp.clip(x, -8.0, 8.0),  # a kink that only large activity meets
        jnp.sign,
        lambda x: jnp.tanh(x) + (x > 1),  # jumps, which the derivative does not tell
    ],
)
def test_kinks_and_jumps_that_quadrature_misses_are_refused_for_overlaps_alone(phi):
    rnn, net, pulse = ov.RNN(phi, dt=0.1), ov.Overlaps.random(0), np.ones((10, 1))
    message = "be continuous, and smooth away from 0, for overlaps, but the quadrature of its gain has an error of"
    with pytest.raises(ValueError, match=message):
        rnn.output(net, pulse)
    with pytest.raises(ValueError, match=message):
        rnn.gain(1.0)
    assert set(net.invisible(rnn)) == {"zv", "vv", "zz"}
    assert np.all(np.isfinite(rnn.output(net.sample(20, 0), pulse)))
