"""The Gaussian mean of a transfer function, <phi>(mu, Delta) = E[phi(mu + sqrt(Delta) xi)] with xi standard normal.

Here phi is continuous, and smooth except at 0 (docs/activity.md, "Gains"). "The derivative of order n" is that in mu.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from overlaps._support import in_float64
from overlaps.dynamics._gaussian_derivative import Function, gaussian_mean, slope

REACH = 8.3  # in standard deviations: beyond this the Gaussian weighs less than rounding
SCALES = np.geomspace(0.1, 30.0, 16)  # standard deviations sqrt(Delta) at which a number of nodes has to suffice
NODES = (56, 112, 224, 448, 896)  # numbers of nodes on each side of h = 0; the first one that suffices is used
SUFFICIENT = 1e-10  # the number of nodes suffices if twice as many change no derivative up to the second by more than this
RATIOS = np.array([-10, -7.3, -4.4, -2.6, -1.5, -0.7, 0, 0.3, 1.1, 2.1, 3.3, 5.2, 8.6])  # values mu / sqrt(Delta) to test it at
FAR = 12.0  # in standard deviations: if h = 0 is farther away than this, where exactly it is makes no difference
WIDTHS = 0.7, 0.35  # nodes are dense for |h| below the first one, and within this number of standard deviations of h = 0
SMALL_DEVIATION = 0.07  # if sqrt(Delta) is smaller, phi is hardly steep, and the nodes need not be dense at all
NEAR = 1e-30  # |h| at which phi is looked at on both sides of 0
SMALL_JUMP = 1e-9  # jumps of a derivative of phi below this, relative to the derivative, are rounding
SMALLEST_VARIANCE = {8: 1e-60, 4: 1e-12}  # by bytes of a number; below, the average of a derivative of delta(h) counts as 0
ORDERS = range(4)  # the orders of derivatives in mu that are tested


@dataclass(frozen=True)
class _Quadrature:
    """Derivatives of <phi> by quadrature on both sides of h = 0."""

    function: Function

    def __call__(self, order: int, mu: Any, variance: Any) -> Any:
        nodes, _ = mean_resolution(self.function)
        _, h, weights = half_lines(mu, variance, nodes)
        return jnp.sum(weights * derived(self.function, order)(h), axis=-1) + kinks(self.function, order, mu, variance)


@dataclass(frozen=True)
class _Rough:
    """Derivatives of <phi> from phi alone: by Stein's lemma, that of order n is E[He_n(xi) phi(mu + s xi)] / s^n."""

    function: Function

    def __call__(self, order: int, mu: Any, variance: Any) -> Any:
        x, h, weights = half_lines(mu, variance, NODES[0])
        return jnp.sum(hermite(order, x) * weights * self.function(h), axis=-1) / variance ** (order / 2)


def _relu(order: int, mu: Any, variance: Any) -> Any:
    if order >= 2:
        return _delta(order - 2, mu, variance)
    ratio = _ratio(mu, variance)[0]
    below = jax.scipy.special.ndtr(ratio)
    return below if order else mu * below + jnp.sqrt(jnp.maximum(variance, 0.0)) * _normal(ratio)


def quadrature_mean(function: Function, mu: Any, variance: Any) -> Any:
    """<phi>(mu, Delta) by quadrature, for arrays that broadcast. It has derivatives of every order, also at Delta = 0."""
    return gaussian_mean(_Quadrature(function), mu, variance)


def relu_mean(mu: Any, variance: Any) -> Any:
    """<phi>(mu, Delta) of relu, which is mu Phi(mu / s) + s n(mu / s), with s = sqrt(Delta)."""
    return gaussian_mean(_relu, mu, variance)


def rough_mean(function: Function, mu: Any, variance: Any) -> Any:
    """<phi>(mu, Delta) for positive variances, and its derivatives, good to a few percent even if phi has kinks and jumps."""
    return gaussian_mean(_Rough(function), mu, variance)


def kinks(function: Function, order: int, mu: Any, variance: Any) -> Any:
    """What kinks of phi add to the average of its derivative of an order.

    If the derivative of order k of phi jumps at 0 by J, then the next one contains J delta(h), and the one of order n contains
    J times the derivative of order n - 1 - k of delta(h).
    """
    jumps = {k: jump for k in range(1, order) if (jump := _jump(function, k))}
    return sum(jump * _delta(order - 1 - k, mu, variance) for k, jump in jumps.items())


def half_lines(mu: Any, variance: Any, nodes: int) -> tuple[Any, Any, Any]:
    """Nodes xi, activities h = mu + s xi with s = sqrt(Delta), and weights of a quadrature over xi, along a new last axis.

    There are as many Gauss-Legendre nodes in y on each side of h = 0, where xi = -mu / s + c sinh(y). So a function of h may
    have a kink or a jump at 0, and be steep there.
    """
    s = jnp.sqrt(jnp.maximum(variance, 0.0))
    zero = -jnp.clip(_ratio(mu, variance)[0], -FAR, FAR)  # the xi at which h = 0
    width = jnp.hypot(WIDTHS[0] / jnp.maximum(s, SMALL_DEVIATION), WIDTHS[1])
    low, high = (jnp.arcsinh((end - zero) / width) for end in (-REACH, REACH))
    y, weights = (jnp.asarray(array, s.dtype) for array in _legendre(nodes, s.ndim))
    s, mu, zero, width, low, high = (array[..., None] for array in (s, mu, zero, width, low, high))
    sides = []
    for sign in (-1, 1):
        # If h = 0 is beyond the reach of the Gaussian, one of the two sides is empty.
        start, end = (sign * jnp.maximum(sign * bound, 0.0) for bound in (low, high))
        growing = jnp.exp(start + (end - start) * y)
        x = zero + width * (growing - 1 / growing) / 2
        weight = (end - start) * weights * width * (growing + 1 / growing) / 2 * _normal(x)
        sides.append((x, sign * jnp.maximum(sign * (mu + s * x), NEAR), weight))
    x, h, weights = (jnp.concatenate(arrays, axis=-1) for arrays in zip(*sides, strict=True))
    return x, h, weights


def _ratio(mu: Any, variance: Any) -> tuple[Any, Any]:
    """The ratio mu / s, between -40 and 40, and s = sqrt(Delta), at least a tiny number. At 40 the Gaussian is exactly 0."""
    s = jnp.sqrt(jnp.maximum(variance, SMALLEST_VARIANCE[variance.dtype.itemsize]))
    return jnp.clip(mu / s, -40.0, 40.0), s


def _delta(order: int, mu: Any, variance: Any) -> Any:
    """The average of a derivative of delta(h): that of n(mu / s) / s in mu. For a vanishing variance it counts as 0."""
    ratio, s = _ratio(mu, variance)
    value = (-1) ** order * hermite(order, ratio) * _normal(ratio) / s ** (order + 1)
    return jnp.where(variance > SMALLEST_VARIANCE[variance.dtype.itemsize], value, jnp.zeros_like(value))


def _normal(x: Any) -> Any:
    return jnp.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def hermite(order: int, x: Any) -> Any:
    """The Hermite polynomial He_n of probability theory."""
    before, value = 0.0, 1.0
    for k in range(order):
        before, value = value, x * value - k * before
    return value


def derived(function: Function, order: int) -> Function:
    for _ in range(order):
        function = slope(function)
    return function


@functools.lru_cache
@in_float64
def _jump(function: Function, order: int) -> float:
    """By how much the derivative of phi of an order jumps at 0."""
    left, right = np.asarray(derived(function, order)(jnp.asarray([-NEAR, NEAR])))
    jump = float(right - left)
    return 0.0 if abs(jump) < SMALL_JUMP * max(abs(left), abs(right), 1.0) else jump


@functools.lru_cache
def _legendre(nodes: int, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights between 0 and 1, along a new last axis."""
    y, weights = scipy.special.roots_legendre(nodes)
    shape = (1,) * ndim + (-1,)
    return (y.reshape(shape) + 1) / 2, weights.reshape(shape) / 2


@functools.lru_cache
@in_float64
@np.errstate(all="ignore")
def mean_resolution(function: Function) -> tuple[int, float]:
    """The number of nodes that <phi> needs on each side of h = 0, and the error that is left (relative, for values above 1).

    The error is that of the derivatives of order 0 to 3 in mu. It is the larger of two distances: from the same derivative
    with twice as many nodes, and from E[He_n(xi) phi(mu + s xi)] / s^n, which is the same by Stein's lemma, and includes jumps
    and kinks that the derivatives of phi do not show.
    """
    mu, s = _test_points()
    deltas = np.stack([kinks(function, order, mu, s**2) * np.ones_like(mu) for order in ORDERS])
    derivatives = jax.jit(lambda h: jnp.stack([derived(function, order)(h) for order in ORDERS]))

    def averages(nodes: int) -> tuple[np.ndarray, np.ndarray]:
        x, h, weights = _test_nodes(nodes)
        # The same number at a time, so that JAX compiles one program for all numbers of nodes
        pieces = [derivatives(piece) for piece in np.split(h, nodes // NODES[0], axis=-1)]
        values = weights * np.concatenate(pieces, axis=-1)
        by_parts = [np.sum(hermite(order, x) * values[0], axis=-1) / s**order for order in ORDERS]
        return values.sum(axis=-1) + deltas, np.stack(by_parts)

    (value, _), nodes, error = averages(NODES[0]), NODES[0], np.inf
    for nodes in NODES:
        finer, other = averages(2 * nodes)
        size = np.maximum(np.abs(finer), 1.0)
        changes = np.abs(value - finer) / size
        error = float(np.max([changes, np.abs(value - other) / size]))  # NaN if phi is too large
        if np.max(changes[:3]) < SUFFICIENT:
            break
        value = finer
    return nodes, error


def _test_points() -> tuple[np.ndarray, np.ndarray]:
    """Values of mu and of sqrt(Delta)."""
    return RATIOS * SCALES[:, None], np.broadcast_to(SCALES[:, None], (SCALES.size, RATIOS.size))


@functools.lru_cache
def _test_nodes(nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mu, s = _test_points()
    x, h, weights = jax.jit(half_lines, static_argnums=2)(mu, s**2, nodes)
    return np.asarray(x), np.asarray(h), np.asarray(weights)
