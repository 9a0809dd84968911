"""Gaussian averages of products of phi at two times, and of phi squared, which the theory of a random bulk needs.

For two Gaussian variables of zero mean with variances D, D' and correlation rho, the expansion of phi in Hermite polynomials
gives E[phi(h) phi(h')] = sum_n rho^n a_n(D) a_n(D'), with a_n(D) = E[phi(sqrt(D) x) he_n(x)] and normalised polynomials he_n
(Mehler's formula). This sum stays right where the covariance matrix of the two is singular, that is at rho = 1 and -1.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from overlaps.dynamics import RNN, transfer_of

DIGITS = 16
ORDERS = DIGITS**2  # Hermite polynomials; those left out are at most E[phi^2] - sum_n a_n^2, which `activity` checks
NODES = 300  # of the quadrature on each half of the Gaussian
REACH, STRETCH = 12.0, 6.0  # of its nodes: how far they go, in standard deviations, and how dense they are near 0


class Averages(NamedTuple):
    """Averages over Gaussian h of zero mean. All of them are functions of arrays, entry by entry.

    - `coefficients`: of the variances (*shape), the numbers a_n (*shape, n). n is 0 where a closed form needs none.
    - `product`: E[phi(h) phi(h')] of the covariance, the variance of h, that of h', and the coefficients of both.
    - `square`: E[phi(h)^2] of the variance. Its slope is E[phi'^2 + phi phi''].
    - `slope_square`: E[phi'(h)^2] of the variance.
    """

    coefficients: Callable[[Any], Any]
    product: Callable[[Any, Any, Any, Any, Any], Any]
    square: Callable[[Any], Any]
    slope_square: Callable[[Any], Any]


def averages(phi: Any) -> Averages:
    """The averages of this phi (an argument of `RNN`): in closed form for "linear", "erf" and "relu", else by quadrature."""
    if phi == "linear":
        return Averages(_none, lambda covariance, *_: covariance, lambda variance: variance, jnp.ones_like)
    if phi == "erf":
        return Averages(_none, _erf_product, lambda variance: _erf_product(variance, variance, variance), _erf_slopes)
    if phi == "relu":
        return Averages(_none, _relu_product, lambda variance: variance / 2, lambda variance: jnp.full_like(variance, 0.5))
    function = transfer_of(phi).function
    return Averages(
        functools.partial(_coefficients, function),
        _hermite_sum,
        functools.partial(_squared(phi).mean_rate, 0.0),
        lambda variance: _half_sums(lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1] ** 2, variance),
    )


def _none(variance: Any) -> Any:
    return jnp.zeros((*jnp.shape(variance), 0))


def _erf_product(covariance: Any, first: Any, second: Any, *_: Any) -> Any:
    """(2 / pi) arcsin(c / sqrt((2 / pi + D) (2 / pi + D'))), for phi(x) = erf(sqrt(pi) x / 2)."""
    scale = jnp.sqrt((2 / jnp.pi + first) * (2 / jnp.pi + second))
    return 2 / jnp.pi * jnp.arcsin(covariance / scale)


def _erf_slopes(variance: Any) -> Any:
    return jax.lax.rsqrt(1 + jnp.pi * variance)


def _relu_product(covariance: Any, first: Any, second: Any, *_: Any) -> Any:
    """sqrt(D D') (sin a + (pi - a) cos a) / (2 pi), where a is the angle between the two."""
    angle = jnp.arccos(_correlation(covariance, first, second))
    return jnp.sqrt(first * second) * (jnp.sin(angle) + (jnp.pi - angle) * jnp.cos(angle)) / (2 * jnp.pi)


def _correlation(covariance: Any, first: Any, second: Any) -> Any:
    """The correlation coefficient, between -1 and 1 whatever rounding does. It is 0 if a variance is 0."""
    size = jnp.sqrt(first * second)
    return jnp.where(size > 0, jnp.clip(covariance / jnp.where(size > 0, size, 1.0), -1.0, 1.0), 0.0)


def _hermite_sum(covariance: Any, first: Any, second: Any, a: Any, b: Any) -> Any:
    """The sum over n of rho^n a_n b_n. It takes rho^n as a product of two powers, of which there are few to compute."""
    rho = _correlation(covariance, first, second)
    low = rho[..., None] ** _along_last(np.arange(float(DIGITS)), rho.ndim)
    high = rho[..., None] ** _along_last(DIGITS * np.arange(float(DIGITS)), rho.ndim)
    powers = (high[..., :, None] * low[..., None, :]).reshape(*rho.shape, ORDERS)
    return jnp.sum(powers * a * b, axis=-1)


def _coefficients(function: Callable[[Any], Any], variance: Any) -> Any:
    return _weighted(function, variance) @ _nodes()[2].T


def _half_sums(function: Callable[[Any], Any], variance: Any) -> Any:
    """E[f(h)] for f that may jump at 0."""
    return jnp.sum(_weighted(function, variance), axis=-1)


def _weighted(function: Callable[[Any], Any], variance: Any) -> Any:
    """The values of f times the weights, along a new last axis."""
    x, weights, _ = _nodes()
    scale = jnp.sqrt(jnp.maximum(variance, 0.0))[..., None]
    return function(scale * _along_last(x, scale.ndim - 1)) * _along_last(weights, scale.ndim - 1)


def _along_last(vector: np.ndarray, ndim: int) -> np.ndarray:
    return vector.reshape((1,) * ndim + (-1,))


@functools.lru_cache
def _nodes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes x, weights and he_n(x) (n, nodes) of a quadrature for the standard normal distribution.

    Each half has Gauss-Legendre nodes in y, with x = REACH sinh(STRETCH y) / sinh(STRETCH).
    """
    y, weights = scipy.special.roots_legendre(NODES)
    y = STRETCH * (y + 1) / 2
    x = REACH * np.sinh(y) / np.sinh(STRETCH)
    spread = REACH * np.cosh(y) / np.sinh(STRETCH) * STRETCH / 2
    weights = spread * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    x, weights = np.concatenate([-x, x]), np.concatenate([weights, weights])
    polynomials = [np.ones_like(x), x]
    for n in range(1, ORDERS - 1):
        polynomials.append((x * polynomials[n] - np.sqrt(n) * polynomials[n - 1]) / np.sqrt(n + 1))
    return x, weights, np.stack(polynomials)


@functools.lru_cache
def _squared(phi: Any) -> RNN:
    """A model whose transfer function is phi^2, for its mean and the slopes of the mean."""
    function = transfer_of(phi).function
    return RNN(lambda x: function(x) ** 2)
