"""Transfer functions phi, and their gain: the Gaussian average of phi' that the large-N limit reads."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from overlaps._checks import argument_error
from overlaps._precision import in_float64

NODES = 48  # Gauss-Legendre nodes on each half of the Gaussian
REACH = 8.3  # standard deviations, beyond which the Gaussian weighs less than rounding
SMALL_VARIANCE = 1e-8  # below it the slope of a gain is taken from phi''' in place of a difference of phi''
LARGEST_QUADRATURE_ERROR = 1e-6
ROUGH_NODES, ROUGH_ERROR = 1000, 0.02  # to tell a gain from a mistake, whatever kinks phi has
PROBE = np.linspace(-5.0, 5.0, 11)

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Transfer:
    """A transfer function with a gain of its own, for `RNN(phi=Transfer(function, gain))`.

    `function`: phi, applied to every entry of an array, made of jax.numpy. `gain`: g(Delta) = E[phi'(sqrt(Delta) xi)] for xi of
    the standard normal distribution, an array of variances to an array of averages; None for quadrature, which needs phi to be
    smooth except at 0. Raises ValueError, when an RNN is made of it, for a function of another kind.
    """

    function: Function
    gain: Function | None = None


KNOWN = {
    "linear": Transfer(lambda x: x, jnp.ones_like),
    "erf": Transfer(lambda x: jax.lax.erf(np.sqrt(np.pi) / 2 * x), lambda variance: jax.lax.rsqrt(1 + np.pi / 2 * variance)),
    "tanh": Transfer(jnp.tanh),
    "relu": Transfer(jax.nn.relu, lambda variance: jnp.full_like(variance, 0.5)),
    # The derivative is the logistic function, of which values at x and -x add up to 1.
    "softplus": Transfer(jax.nn.softplus, lambda variance: jnp.full_like(variance, 0.5)),
}


@functools.lru_cache
def transfer_of(phi: str | Function | Transfer) -> Transfer:
    """The transfer function that a user means by `phi`, with a gain; raises ValueError for one that is of no use."""
    if isinstance(phi, str) and phi in KNOWN:
        known = KNOWN[phi]
    elif isinstance(phi, Transfer) or (callable(phi) and not isinstance(phi, str)):
        known = phi if isinstance(phi, Transfer) else Transfer(phi)
        _check(known.function)
        if known.gain is not None:
            _check_gain(known)
    else:
        names = ", ".join(repr(name) for name in KNOWN)
        raise argument_error("phi", f"be one of {names}, a function, or a Transfer", f"{phi!r} came")
    if known.gain is None:
        return Transfer(known.function, functools.partial(quadrature_gain, known.function, _is_odd(known.function)))
    return known


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def quadrature_gain(function: Function, odd: bool, variance: Any) -> Any:
    """g(Delta) by Gauss-Legendre quadrature over each half of the Gaussian, for an array of variances; `odd`: whether phi is.

    Nodes crowd at 0, where phi' is steep if the variance is large, and phi may have a kink there. For tanh the error is below
    1e-12 up to Delta = 10 and below 1e-7 up to 100 (docs/activity.md).
    """
    return _half_sum(_slope(function), odd, jnp.sqrt(jnp.maximum(variance, 0.0)))


@quadrature_gain.defjvp
def _(function: Function, odd: bool, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    # dg/dDelta = E[xi phi''(s xi)] / (2 s) with s = sqrt(Delta). For smooth phi it is E[phi'''(s xi)] / 2, which is safe at 0.
    (variance,), (tangent,) = primals, tangents
    curvature = _slope(_slope(function))
    small = variance < SMALL_VARIANCE
    s = jnp.sqrt(jnp.where(small, 1.0, variance))
    at_zero = _slope(curvature)(jnp.zeros_like(variance)) / 2
    slope = jnp.where(small, at_zero, _half_sum(curvature, odd, s, first_moment=True) / (2 * s))
    return quadrature_gain(function, odd, variance), tangent * slope


def _half_sum(function: Function, odd: bool, s: Any, nodes: int = NODES, first_moment: bool = False) -> Any:
    """E[f(s xi)], or E[xi f(s xi)], for a derivative f of phi that repeats itself at -x, up to sign, if phi is odd."""
    x, weights = _half_normal(nodes)
    x, weights = (array.reshape((1,) * s.ndim + (-1,)) for array in (x, weights * x if first_moment else weights))
    points = s[..., None] * x
    mirrored = function(points) if odd else (-1 if first_moment else 1) * function(-points)
    return jnp.sum((function(points) + mirrored) * weights, axis=-1)


def _slope(function: Function) -> Function:
    """The derivative of a function that acts on every entry alike."""
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


@functools.lru_cache
def _half_normal(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the standard normal distribution on its positive half."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    x = REACH * (x + 1) / 2
    return x, REACH / 2 * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


@in_float64
def _is_odd(function: Function) -> bool:
    return bool(np.allclose(function(jnp.asarray(-PROBE)), -np.asarray(function(jnp.asarray(PROBE))), rtol=1e-12, atol=1e-12))


@in_float64
def _check(function: Function) -> None:
    """Raise ValueError unless phi maps arrays to arrays entry by entry, is finite, and can be differentiated by JAX."""
    must = "map an array to an array of the same shape, entry by entry, and be made of jax.numpy"
    probe = jnp.asarray(PROBE)
    try:
        values, slopes = jax.jvp(function, (probe,), (jnp.ones_like(probe),))
    except Exception as error:  # whatever a user's function raises
        raise argument_error("phi", must, f"differentiating it gave {type(error).__name__}: {error}") from error
    if getattr(values, "shape", None) != PROBE.shape:
        raise argument_error("phi", must, f"it made shape {getattr(values, 'shape', None)} of shape {PROBE.shape}")
    bad = ~(np.isfinite(values) & np.isfinite(slopes))
    if bad.any():
        raise argument_error("phi", "be finite and have a finite slope everywhere", f"at x = {PROBE[bad][0]:g} it has not")
    if not np.allclose(function(probe[:4]), np.asarray(values)[:4], rtol=1e-12, atol=1e-12):
        raise argument_error("phi", must, "an entry of its result depends on other entries")


@in_float64
def _check_gain(transfer: Transfer) -> None:
    """Raise ValueError unless the gain is, roughly, the Gaussian average of phi'."""
    variance = jnp.asarray([0.1, 1.0, 3.0])
    expected = np.asarray(_half_sum(_slope(transfer.function), False, jnp.sqrt(variance), ROUGH_NODES))
    found = np.asarray(transfer.gain(variance))  # pyright: ignore[reportOptionalCall]
    if found.shape != expected.shape or not np.allclose(found, expected, atol=ROUGH_ERROR):
        came = f"at variances {variance} it is {found}, while the average is about {expected.round(2)}"
        raise argument_error("gain", "be the average of phi'(sqrt(variance) xi) over normal xi", came)


@functools.lru_cache
@in_float64
def require_gain(transfer: Transfer) -> None:
    """Raise ValueError where quadrature of phi' is not to be trusted, as happens if phi has a kink away from 0."""
    if not isinstance(transfer.gain, functools.partial) or transfer.gain.func is not quadrature_gain:
        return
    slope, odd = _slope(transfer.function), transfer.gain.args[1]
    scale = jnp.asarray([0.3, 1.0])
    error = float(jnp.max(jnp.abs(_half_sum(slope, odd, scale) - _half_sum(slope, odd, scale, 2 * NODES))))
    if not error < LARGEST_QUADRATURE_ERROR:
        raise argument_error(
            "phi",
            "be smooth away from 0 for overlaps",
            f"the quadrature of its gain has an error of about {error:.1g}",
            "Pass overlaps.Transfer(phi, gain) with its own Gaussian average of phi', or use a network.",
        )
