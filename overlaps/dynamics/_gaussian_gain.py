"""The gain of a transfer function by quadrature: the Gaussian average g(Delta) = E[phi'(sqrt(Delta) xi)]."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from overlaps._support import in_float64
from overlaps.dynamics._gaussian_derivative import Function, gaussian_mean, slope
from overlaps.dynamics._gaussian_mean import REACH, SCALES, derived, kinks

STRETCH = 6.0  # how dense the nodes are near 0
NODES = (64, 128, 256, 512, 1024)  # numbers of nodes on each half of the Gaussian; the first one that suffices is used
LARGEST_QUADRATURE_ERROR = 1e-6
SIGNS = np.random.default_rng(0).uniform(0.0, 8.0, 500)  # where to compare phi(-x) with -phi(x); a sine may vanish on a grid


@dataclass(frozen=True)
class _Gain:
    """Derivatives of <phi> in mu at mu = 0. The first one is the gain, the third one twice its slope in Delta, and so on."""

    function: Function
    odd: bool

    def __call__(self, order: int, mu: Any, variance: Any) -> Any:
        nodes, _ = resolution(self.function, self.odd)
        s = jnp.sqrt(jnp.maximum(variance, 0.0))
        even_derivative = self.odd and order % 2 == 1
        smooth = half_sum(derived(self.function, order), even_derivative, s, nodes)
        return smooth + kinks(self.function, order, mu, variance)


def quadrature_gain(function: Function, odd: bool, variance: Any) -> Any:
    """The gain g(Delta) by quadrature over each half of the Gaussian, for an array of variances. `odd`: whether phi is odd.

    The nodes are Gauss-Legendre nodes in y, where x = REACH sinh(STRETCH y) / sinh(STRETCH). They are dense near x = 0, where
    phi' is steep if the variance is large. Phi may have a kink there (docs/activity.md, "Gains"). The gain has derivatives of
    every order, also at Delta = 0 and within jax.lax.scan.
    """
    return gaussian_mean(_Gain(function, odd), 0.0, variance, order=1)


def half_sum(function: Function, odd: bool, s: Any, nodes: int, first_moment: bool = False) -> Any:
    """E[f(s xi)], or with `first_moment` E[xi f(s xi)], where f is phi or a derivative of phi.

    `odd` says that phi is odd. The function that is averaged must then be even.
    """
    x, weights = _half_normal(nodes)
    x, weights = (array.reshape((1,) * s.ndim + (-1,)) for array in (x, weights * x if first_moment else weights))
    points = s[..., None] * x
    mirrored = function(points) if odd else (-1 if first_moment else 1) * function(-points)
    return jnp.sum((function(points) + mirrored) * weights, axis=-1)


@functools.lru_cache
def _half_normal(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a quadrature for the standard normal distribution on its positive half."""
    y, weights = scipy.special.roots_legendre(nodes)
    y = STRETCH * (y + 1) / 2
    x = REACH * np.sinh(y) / np.sinh(STRETCH)
    spread = REACH * np.cosh(y) / np.sinh(STRETCH) * STRETCH / 2
    return x, spread * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


@in_float64
def is_odd(function: Function) -> bool:
    return bool(np.allclose(function(jnp.asarray(-SIGNS)), -np.asarray(function(jnp.asarray(SIGNS))), rtol=1e-12, atol=1e-12))


@functools.lru_cache
@in_float64
def resolution(function: Function, odd: bool) -> tuple[int, float]:
    """The number of nodes that the gain of phi needs on each side, and the error that is left (relative, for gains above 1).

    The error is the larger of two distances: from the gain with twice as many nodes, and from E[xi phi(s xi)] / s, which is the
    gain too, and includes jumps of phi, which phi' does not show.
    """

    @functools.partial(jax.jit, static_argnums=1)
    def remaining(scales: Any, nodes: int) -> Any:
        gain = half_sum(slope(function), odd, scales, nodes)
        finer = half_sum(slope(function), odd, scales, 2 * nodes)
        other = half_sum(function, odd, scales, 2 * nodes, first_moment=True) / scales
        distance = jnp.maximum(jnp.abs(gain - finer), jnp.abs(gain - other))
        return jnp.max(distance / jnp.maximum(jnp.abs(finer), 1.0))

    nodes, error = NODES[0], np.inf
    for nodes in NODES:
        error = float(remaining(SCALES, nodes))
        if error < LARGEST_QUADRATURE_ERROR:
            break
    return nodes, error
