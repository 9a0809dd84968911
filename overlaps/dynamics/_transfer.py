"""Transfer functions phi and their gains. The gain is the Gaussian average of phi', on which the large-N limit depends."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from overlaps._support import argument_error, in_float64

REACH = 8.3  # in standard deviations: beyond this the Gaussian weighs less than rounding
STRETCH = 6.0  # how dense the nodes are near 0
NODES = (64, 128, 256, 512, 1024)  # numbers of nodes on each half of the Gaussian; the first one that suffices is used
SCALES = np.geomspace(0.1, 30.0, 16)  # standard deviations sqrt(Delta) at which it has to suffice
LARGEST_QUADRATURE_ERROR = 1e-6
SMALL_VARIANCE = 1e-8  # for variances below this, the slope of a gain comes from phi''' instead of an average of phi''
ROUGH_NODES, ROUGH_ERROR = 1000, 0.02  # to tell the gain of a user from a mistake, even if phi has kinks
PROBE = np.append(np.linspace(-5.0, 5.0, 11), 0.5)
SIGNS = np.random.default_rng(0).uniform(
    0.0, 8.0, 500
)  # where phi(-x) is compared with -phi(x). On a grid, a sine could vanish at all points

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Transfer:
    """A transfer function phi together with its gain, for `RNN(phi=Transfer(function, gain))`.

    - `function`: phi, made of jax.numpy. It maps an array to an array, entry by entry.
    - `gain`: the function g(Delta) = E[phi'(sqrt(Delta) xi)], with xi standard normal. It maps an array of variances to an
      array of averages. None stands for quadrature, which needs a phi that is continuous, and smooth except at 0.

    An RNN that is made with it raises ValueError for functions of another kind.

    Example: a line that is clipped at -1 and 1 has a kink away from 0, but its gain is known.

    >>> clipped = Transfer(lambda x: jnp.clip(x, -1, 1), lambda variance: jax.lax.erf(jax.lax.rsqrt(2 * variance + 1e-30)))
    >>> f"{clipped.gain(1.0):.2f}"
    '0.68'
    """

    function: Function
    gain: Function | None = None


KNOWN = {
    "linear": Transfer(lambda x: x, jnp.ones_like),
    "erf": Transfer(lambda x: jax.lax.erf(np.sqrt(np.pi) / 2 * x), lambda variance: jax.lax.rsqrt(1 + np.pi / 2 * variance)),
    "tanh": Transfer(jnp.tanh),
    "relu": Transfer(jax.nn.relu, lambda variance: jnp.full_like(variance, 0.5)),
    # The derivative is the logistic function. Its values at x and -x add up to 1.
    "softplus": Transfer(jax.nn.softplus, lambda variance: jnp.full_like(variance, 0.5)),
}

KINDS = f"be one of {', '.join(repr(name) for name in KNOWN)}, a function, or a Transfer"


def transfer_of(phi: Any) -> Transfer:
    """The transfer function that the user means by `phi`, with a gain. Raises ValueError if there is no such function."""
    try:
        hash(phi)
    except TypeError:
        came = f"{type(phi).__name__} came, which cannot be hashed"
        raise argument_error("phi", KINDS, came, "Wrap a callable object in a function: def phi(x): return thing(x).") from None
    return _transfer_of(phi)


@functools.lru_cache
def _transfer_of(phi: Any) -> Transfer:
    if isinstance(phi, str) and phi in KNOWN:
        known = KNOWN[phi]
    elif isinstance(phi, Transfer) or (callable(phi) and not isinstance(phi, str)):
        known = phi if isinstance(phi, Transfer) else Transfer(phi)
        _check(known.function)
        if known.gain is not None:
            _check_gain(known)
    else:
        raise argument_error("phi", KINDS, f"{phi!r} came")
    if known.gain is None:
        return Transfer(known.function, functools.partial(quadrature_gain, known.function, _is_odd(known.function)))
    return known


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def quadrature_gain(function: Function, odd: bool, variance: Any) -> Any:
    """The gain g(Delta) by quadrature over each half of the Gaussian, for an array of variances. `odd`: whether phi is odd.

    The nodes are Gauss-Legendre nodes in y, where x = REACH sinh(STRETCH y) / sinh(STRETCH). They are dense near x = 0, where
    phi' is steep if the variance is large. Phi may have a kink there (docs/activity.md, "Gains").
    """
    nodes, _ = _resolution(function, odd)
    return _half_sum(_slope(function), odd, jnp.sqrt(jnp.maximum(variance, 0.0)), nodes)


@quadrature_gain.defjvp
def _(function: Function, odd: bool, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    # dg/dDelta = E[xi phi''(s xi)] / (2 s), with s = sqrt(Delta). For smooth phi this is E[phi'''(s xi)] / 2, finite at s = 0.
    (variance,), (tangent,) = primals, tangents
    nodes, _ = _resolution(function, odd)
    small = variance < SMALL_VARIANCE
    s = jnp.sqrt(jnp.where(small, 1.0, variance))
    away = _half_sum(_slope(_slope(function)), odd, s, nodes, first_moment=True) / (2 * s)
    slope = jnp.where(small, _slope_at_rest(function, variance), away)
    return quadrature_gain(function, odd, variance), tangent * slope


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _slope_at_rest(function: Function, variance: Any) -> Any:
    """dg/dDelta at Delta = 0, which is phi'''(0) / 2. Its derivative is half of its value for phi'' in place of phi."""
    return _slope(_slope(_slope(function)))(jnp.zeros_like(variance)) / 2


@_slope_at_rest.defjvp
def _(function: Function, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (variance,), (tangent,) = primals, tangents
    return _slope_at_rest(function, variance), tangent * _slope_at_rest(_slope(_slope(function)), variance) / 2


def rough(transfer: Transfer) -> Transfer:
    """The same transfer function, with another gain if its gain comes from quadrature of phi'.

    The other gain is good to a few percent even if phi has kinks and jumps. By Stein's lemma it is E[xi phi(s xi)] / s, for
    positive variances s^2. Its slope also needs only phi'.
    """
    if not _is_quadrature(transfer):
        return transfer
    function = transfer.function

    def gain(variance: Any) -> Any:
        s = jnp.sqrt(variance)
        return _half_sum(function, False, s, NODES[0], first_moment=True) / s

    return Transfer(function, gain)


def _is_quadrature(transfer: Transfer) -> bool:
    return isinstance(transfer.gain, functools.partial) and transfer.gain.func is quadrature_gain


def _half_sum(function: Function, odd: bool, s: Any, nodes: int, first_moment: bool = False) -> Any:
    """E[f(s xi)], or with `first_moment` E[xi f(s xi)], where f is phi or a derivative of phi.

    `odd` says that phi is odd. The function that is averaged must then be even.
    """
    x, weights = _half_normal(nodes)
    x, weights = (array.reshape((1,) * s.ndim + (-1,)) for array in (x, weights * x if first_moment else weights))
    points = s[..., None] * x
    mirrored = function(points) if odd else (-1 if first_moment else 1) * function(-points)
    return jnp.sum((function(points) + mirrored) * weights, axis=-1)


def _slope(function: Function) -> Function:
    """The derivative of a function that acts entry by entry."""
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


@functools.lru_cache
def _half_normal(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a quadrature for the standard normal distribution on its positive half."""
    y, weights = scipy.special.roots_legendre(nodes)
    y = STRETCH * (y + 1) / 2
    x = REACH * np.sinh(y) / np.sinh(STRETCH)
    spread = REACH * np.cosh(y) / np.sinh(STRETCH) * STRETCH / 2
    return x, spread * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


@in_float64
def _is_odd(function: Function) -> bool:
    return bool(np.allclose(function(jnp.asarray(-SIGNS)), -np.asarray(function(jnp.asarray(SIGNS))), rtol=1e-12, atol=1e-12))


@in_float64
def _check(function: Function) -> None:
    """Raise ValueError unless phi maps arrays to arrays entry by entry, is finite, and can be differentiated by JAX."""
    must = "map a real array to a real array of the same shape, entry by entry, and be made of jax.numpy"
    results = []
    for shape in ((12,), (3, 4), (2, 3, 2)):
        probe = jnp.asarray(PROBE.reshape(shape))
        try:
            values, slopes = jax.jvp(function, (probe,), (jnp.ones_like(probe),))
        except Exception as error:  # a function of the user may raise anything
            raise argument_error("phi", must, f"differentiating it gave {type(error).__name__}: {error}") from error
        if getattr(values, "shape", None) != shape:
            raise argument_error("phi", must, f"it made shape {getattr(values, 'shape', None)} of shape {shape}")
        if not jnp.issubdtype(values.dtype, jnp.floating):
            raise argument_error("phi", must, f"it made numbers of type {values.dtype}")
        results.append(np.asarray(values).ravel())
    bad = ~(np.isfinite(results[0]) & np.isfinite(np.ravel(slopes)))
    if bad.any():
        raise argument_error("phi", "be finite and have a finite slope everywhere", f"at x = {PROBE[bad][0]:g} it has not")
    results.append(np.concatenate([function(jnp.asarray(part)) for part in np.split(PROBE, 3)]))
    if not np.allclose(results[1:], results[0], rtol=1e-12, atol=1e-12):
        raise argument_error("phi", must, "an entry of its result depends on other entries")


@in_float64
def _check_gain(transfer: Transfer) -> None:
    """Raise ValueError unless the gain is, roughly, the Gaussian average of phi'."""
    must = "be the average of phi'(sqrt(variance) xi) over normal xi"
    variance = jnp.asarray([0.1, 1.0, 3.0])
    expected = np.asarray(_half_sum(_slope(transfer.function), False, jnp.sqrt(variance), ROUGH_NODES))
    try:
        found = np.asarray(transfer.gain(variance))  # pyright: ignore[reportOptionalCall]
    except Exception as error:  # a function of the user may raise anything
        raise argument_error("gain", must, f"it gave {type(error).__name__}: {error}") from error
    if found.shape != expected.shape or not np.allclose(found, expected, atol=ROUGH_ERROR):
        came = f"at the variances {variance} it is {found}, while the average is about {expected.round(2)}"
        raise argument_error("gain", must, came)


@functools.lru_cache
@in_float64
def _resolution(function: Function, odd: bool) -> tuple[int, float]:
    """The number of nodes that the gain of phi needs on each side, and the error that is left (relative, for gains above 1).

    The error is the larger of two distances: from the gain with twice as many nodes, and from E[xi phi(s xi)] / s, which is the
    gain too, and includes jumps of phi, which phi' does not show.
    """

    @functools.partial(jax.jit, static_argnums=1)
    def remaining(scales: Any, nodes: int) -> Any:
        gain = _half_sum(_slope(function), odd, scales, nodes)
        finer = _half_sum(_slope(function), odd, scales, 2 * nodes)
        other = _half_sum(function, odd, scales, 2 * nodes, first_moment=True) / scales
        distance = jnp.maximum(jnp.abs(gain - finer), jnp.abs(gain - other))
        return jnp.max(distance / jnp.maximum(jnp.abs(finer), 1.0))

    nodes, error = NODES[0], np.inf
    for nodes in NODES:
        error = float(remaining(SCALES, nodes))
        if error < LARGEST_QUADRATURE_ERROR:
            break
    return nodes, error


def require_gain(transfer: Transfer) -> None:
    """Raise ValueError if quadrature of phi' gives a wrong gain. For example, phi has a kink away from 0, or jumps."""
    if not _is_quadrature(transfer):
        return
    _, error = _resolution(*transfer.gain.args)  # pyright: ignore[reportFunctionMemberAccess, reportOptionalMemberAccess]
    if not error < LARGEST_QUADRATURE_ERROR:
        raise argument_error(
            "phi",
            "be continuous, and smooth away from 0, for overlaps",
            f"the quadrature of its gain has an error of about {error:.1g}",
            "Pass overlaps.Transfer(phi, gain) with the Gaussian average of phi' as gain, or use a network of neurons.",
        )
