"""Transfer functions phi with their Gaussian averages, on which the large-N limit depends: the mean of phi, and the gain."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from overlaps._support import argument_error, in_float64
from overlaps.dynamics._gaussian_derivative import Function, slope
from overlaps.dynamics._gaussian_gain import LARGEST_QUADRATURE_ERROR, NODES, half_sum, is_odd, quadrature_gain, resolution
from overlaps.dynamics._gaussian_mean import half_lines, mean_resolution, quadrature_mean, relu_mean, rough_mean

ROUGH_NODES, ROUGH_ERROR = 1000, 0.02  # to tell the averages of a user from a mistake, even if phi has kinks
PROBE = np.append(np.linspace(-5.0, 5.0, 11), 0.5)


@dataclass(frozen=True)
class Transfer:
    """A transfer function phi together with its Gaussian averages, for `RNN(phi=Transfer(function, gain, mean))`.

    - `function`: phi, made of jax.numpy. It maps an array to an array, entry by entry.
    - `gain`: the function g(Delta) = E[phi'(sqrt(Delta) xi)], with xi standard normal. It maps an array of variances to an
      array of averages. None stands for the slope of `mean` in mu at mu = 0, or else for quadrature.
    - `mean`: the function <phi>(mu, Delta) = E[phi(mu + sqrt(Delta) xi)]. It maps an array of means and an array of variances,
      which broadcast, to an array of averages. Its slopes must be finite, also at variance 0. None stands for quadrature.

    Quadrature needs a phi that is continuous, and smooth except at 0. An RNN that is made with it raises ValueError for
    functions of another kind.

    Example: a line that is clipped at -1 and 1 has a kink away from 0, but its gain is known.

    >>> clipped = Transfer(lambda x: jnp.clip(x, -1, 1), lambda variance: jax.lax.erf(jax.lax.rsqrt(2 * variance + 1e-30)))
    >>> f"{clipped.gain(1.0):.2f}"
    '0.68'
    """

    function: Function
    gain: Function | None = None
    mean: Callable[[Any, Any], Any] | None = field(default=None, metadata={"only_if_set": True})


def _linear_mean(mu: Any, variance: Any) -> Any:
    return jnp.broadcast_arrays(mu, variance)[0]


def _erf_mean(mu: Any, variance: Any) -> Any:
    return jax.lax.erf(np.sqrt(np.pi) / 2 * mu * jax.lax.rsqrt(1 + np.pi / 2 * variance))


# The derivative of softplus is the logistic function. Its values at x and -x add up to 1.
KNOWN = {
    "linear": Transfer(lambda x: x, jnp.ones_like, _linear_mean),
    "erf": Transfer(
        lambda x: jax.lax.erf(np.sqrt(np.pi) / 2 * x), lambda variance: jax.lax.rsqrt(1 + np.pi / 2 * variance), _erf_mean
    ),
    "tanh": Transfer(jnp.tanh),
    "relu": Transfer(jax.nn.relu, lambda variance: jnp.full_like(variance, 0.5), relu_mean),
    "softplus": Transfer(jax.nn.softplus, lambda variance: jnp.full_like(variance, 0.5)),
}

KINDS = f"be one of {', '.join(repr(name) for name in KNOWN)}, a function, or a Transfer"


def transfer_of(phi: Any) -> Transfer:
    """The transfer function that the user means by `phi`, with a gain and a mean. Raises ValueError if there is none."""
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
        if known.mean is not None:
            _check_mean(known)
    else:
        raise argument_error("phi", KINDS, f"{phi!r} came")
    function, gain, mean = known.function, known.gain, known.mean
    if gain is None and mean is not None:
        gain = functools.partial(_slope_of_mean, mean)
    if gain is None:
        gain = functools.partial(quadrature_gain, function, is_odd(function))
    return Transfer(function, gain, mean or functools.partial(quadrature_mean, function))


def _slope_of_mean(mean: Callable[[Any, Any], Any], variance: Any) -> Any:
    """The gain g(Delta), as the slope of the Gaussian mean of phi in mu at mu = 0."""
    variance = jnp.asarray(variance, float)
    return slope(lambda mu: mean(mu, variance))(jnp.zeros_like(variance))


def rough(transfer: Transfer) -> Transfer:
    """The same transfer function, with other averages in place of those that come from quadrature.

    The others are good to a few percent even if phi has kinks and jumps, and so are their slopes. They are for positive
    variances. By Stein's lemma the gain is E[xi phi(s xi)] / s for a variance s^2.
    """
    function = transfer.function

    def gain(variance: Any) -> Any:
        s = jnp.sqrt(variance)
        return half_sum(function, False, s, NODES[0], first_moment=True) / s

    return Transfer(
        function,
        gain if _settings(transfer.gain, quadrature_gain) else transfer.gain,
        functools.partial(rough_mean, function) if _settings(transfer.mean, quadrature_mean) else transfer.mean,
    )


def _settings(average: Any, quadrature: Any) -> Any:
    """The settings of an average that comes from this quadrature; None for another average."""
    return average.args if isinstance(average, functools.partial) and average.func is quadrature else None


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
    expected = np.asarray(half_sum(slope(transfer.function), False, jnp.sqrt(variance), ROUGH_NODES))
    try:
        found = np.asarray(transfer.gain(variance))  # pyright: ignore[reportOptionalCall]
    except Exception as error:  # a function of the user may raise anything
        raise argument_error("gain", must, f"it gave {type(error).__name__}: {error}") from error
    if found.shape != expected.shape or not np.allclose(found, expected, atol=ROUGH_ERROR):
        came = f"at the variances {variance} it is {found}, while the average is about {expected.round(2)}"
        raise argument_error("gain", must, came)


@in_float64
def _check_mean(transfer: Transfer) -> None:
    """Raise ValueError unless the mean is, roughly, the Gaussian average of phi, with finite slopes."""
    must = "be the average of phi(mu + sqrt(variance) xi) over normal xi, with finite slopes in mu and variance"
    mu, variance = jnp.asarray([[0.0], [0.6], [-1.7]]), jnp.asarray([[0.0, 0.1, 1.0, 3.0]])
    points = jnp.broadcast_arrays(mu, variance)
    _, h, weights = half_lines(points[0], points[1], ROUGH_NODES)
    expected = np.sum(weights * np.asarray(transfer.function(h)), axis=-1)
    mean: Any = transfer.mean
    try:
        found = np.asarray(mean(mu, variance))
        slopes = np.asarray(jax.grad(lambda at: jnp.sum(mean(*at)))(points))
    except Exception as error:  # a function of the user may raise anything
        raise argument_error("mean", must, f"it gave {type(error).__name__}: {error}") from error
    if found.shape != expected.shape:
        came = f"it made shape {found.shape} of the shapes {mu.shape} and {variance.shape}"
        raise argument_error("mean", must, came, "Both arrays broadcast.")
    wrong = ~np.isclose(found, expected, atol=ROUGH_ERROR)
    if wrong.any():
        came = f"{_at(points, wrong)} it is {found[wrong][0]:.4g}, while the average is about {expected[wrong][0]:.4g}"
        raise argument_error("mean", must, came)
    infinite = ~np.isfinite(slopes).all(axis=0)
    if infinite.any():
        mend = "Activity may start there. For example, add a tiny number to a variance under a root."
        raise argument_error("mean", must, f"{_at(points, infinite)} it has another slope", mend)


def _at(points: Any, where: Any) -> str:
    mu, variance = (float(np.asarray(values)[where][0]) for values in points)
    return f"at mu = {mu:g} and variance = {variance:g}"


def require_gain(transfer: Transfer) -> None:
    """Raise ValueError if quadrature of phi' gives a wrong gain. For example, phi has a kink away from 0, or jumps."""
    if settings := _settings(transfer.gain, quadrature_gain):
        _require("gain", resolution(*settings)[1], "Transfer(phi, gain) with the Gaussian average of phi'")


def require_mean(transfer: Transfer) -> None:
    """Raise ValueError if quadrature of phi gives a wrong mean, or wrong slopes of it. See `require_gain`."""
    if settings := _settings(transfer.mean, quadrature_mean):
        _require("mean", mean_resolution(*settings)[1], "Transfer(phi, mean=mean) with the Gaussian average of phi")


def _require(name: str, error: float, transfer: str) -> None:
    if not error < LARGEST_QUADRATURE_ERROR:
        raise argument_error(
            "phi",
            "be continuous, and smooth away from 0, for overlaps",
            f"the quadrature of its {name} has an error of about {error:.1g}",
            f"Pass overlaps.{transfer} as {name}, or use a network of neurons.",
        )
