"""Lazy learning: with a large readout the kernel of the initial network is all that matters (docs/integration.md, "Lazy")."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, number, real_array, said
from overlaps.integration._targets import learning_times, pole, relative_rates

NEGLIGIBLE = 1e-17  # of what moves, or is left, beyond the Laguerre functions that are kept
MOST_MODES = 4000


def lazy_kernels(times: Any, sigma: float, others: Any = None) -> xr.Dataset:
    """The kernels C(t, t') of learning m or z, and K(t, t') of learning W, of networks with Gaussian W of radius `sigma`.

    With m, z and W of independent entries and N to infinity, C = exp(-t - t') I0(2 sigma sqrt(t t')) is the overlap of two
    responses, and K = dC / d sigma^2 = exp(-t - t') (sqrt(t t') / sigma) I1(2 sigma sqrt(t t')) the convolution of C with
    itself. `times` t and `others` t' (default: the same), in units of tau. Returns a Dataset with `vectors` (C) and `weights`
    (K), dims (sample, other). Raises ValueError for negative times, and sigma outside of [0, 1).
    """
    times = np.asarray(real_array("times", times, ndim=1), float)
    others = times if others is None else np.asarray(real_array("others", others, ndim=1), float)
    for name, values in (("times", times), ("others", others)):
        if np.any(values < 0):
            raise argument_error(name, "be at least 0", f"{values.min():g} came")
    sigma = _radius(sigma)
    mean = np.sqrt(np.outer(times, others))
    argument = 2 * sigma * mean
    decay = np.exp(argument - np.add.outer(times, others))  # the Bessel functions ive have exp(-argument) taken out
    half = mean**2 * decay  # the limit sigma to 0, in which I1(x) / x is 1 / 2
    weights = decay * mean / sigma * scipy.special.ive(1, argument) if sigma > 0 else half
    dims = ("sample", "other")
    return xr.Dataset(
        {
            "vectors": (dims, decay * scipy.special.ive(0, argument), said("kernel C of learning m or z")),
            "weights": (dims, weights, said("kernel K of learning W")),
        },
        {"sample": ("sample", times, said("time", "tau")), "other": ("other", others, said("time", "tau"))},
    )


def lazy_exponent(rate: float, sigma: float, frequency: float = 0.0) -> float:
    """The exponent alpha of the loss ~ t^-alpha in lazy learning of exp(-rate t) cos(frequency t) from radius `sigma`.

    alpha = ln(kappa) / ln(rho), kappa = |mu - b| / |mu + b|, b = sqrt(1 - sigma^2), rho^2 = (1 - b) / (1 + b). It is above 1
    just where `learnable`, and holds where m or z learns: W alone cannot change f(0) = m.z / N. 0 for sigma = 0, where nothing
    but exp(-t) can be learned. Raises ValueError for values out of range.
    """
    mu, sigma = pole(rate, frequency), _radius(sigma)
    kappa = abs(_ratio(mu, sigma))
    if kappa == 0:
        return np.inf
    return float(np.log(kappa) / np.log(_decay(sigma))) if sigma > 0 else 0.0


def learnable(rate: float, sigma: float, frequency: float = 0.0) -> bool:
    """Whether lazy learning needs a finite change of weights: the pole is in the disk of the bulk, |1 - mu| < sigma.

    Where m or z learns. Outside of the disk the loss still goes to 0 at infinite N and readout scale, but the change of W grows
    without a limit, until an outlier forms. Raises ValueError for values out of range.
    """
    return abs(1 - pole(rate, frequency)) < _radius(sigma)


def lazy_learning_curve(
    rate: float, sigma: float, times: Any, rates: Mapping[str, float] | None = None, frequency: float = 0.0
) -> xr.Dataset:
    """Lazy learning of exp(-rate t) cos(frequency t) from Gaussian networks of radius `sigma`, exactly for all times.

    d Delta/ds = -2 Theta Delta for Delta = f - f*, with Theta = r_W K + (r_m + r_z) C of `lazy_kernels`, from f = 0: the limit
    of N to infinity, then of the readout scale R to infinity, of networks z = R v that learn by the rates W: r_W / R^2, m: r_m
    / R^2, z: r_z. In Laguerre functions C is diagonal and K tridiagonal. Returns a Dataset with `loss` (time) and
    `weight_change` (time), R times the Frobenius norm of the change of W. Raises ValueError for values out of range and sigma
    so close to 1 that 4,000 functions do not resolve it.
    """
    mu, sigma, rates, times = pole(rate, frequency), _radius(sigma), relative_rates(rates), learning_times(times)
    b = np.sqrt(1 - sigma**2)
    count = _modes(sigma, rates, times[-1])
    orders = np.arange(count)
    first, ratio = np.sqrt(2 * b) / (mu + b), _ratio(mu, sigma)
    target = (first * ratio**orders).real  # coefficients of the target in Laguerre functions
    diagonal, beside = _kernel(sigma, count, rates)
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside)
    values = np.maximum(values, 0.0)  # what rounding makes of those below the smallest number that counts
    modes = -vectors.T @ target
    decayed = np.exp(-2 * np.outer(times, values))
    next_one = first * ratio**count
    rest = (abs(next_one) ** 2 / (1 - abs(ratio) ** 2) + (next_one**2 / (1 - ratio**2)).real) / 2  # of all that do not move
    spent = np.where(
        values > 0, -np.expm1(-2 * np.outer(times, values)) / np.where(values > 0, 2 * values, 1.0), times[:, None]
    )
    moved = (spent * modes) @ vectors.T
    weights, across = _kernel(sigma, count, {"W": 1.0, "m": 0.0, "z": 0.0})
    squares = moved**2 @ weights + 2 * (moved[:, :-1] * moved[:, 1:]) @ across
    return xr.Dataset(
        {
            "loss": ("time", (decayed * modes) ** 2 @ np.ones(count) + rest, said("loss", "1 / time")),
            "weight_change": (
                "time",
                2 * rates["W"] * np.sqrt(np.maximum(squares, 0.0)),
                said("readout scale times Frobenius norm of the change of W"),
            ),
        },
        {"time": ("time", times, said("learning time, learning rate x step"))},
    )


def _kernel(sigma: float, count: int, rates: Mapping[str, float]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Theta in the Laguerre functions e_n = sqrt(2 b) exp(-b t) L_n(2 b t): its diagonal, and the one beside it."""
    b = np.sqrt(1 - sigma**2)
    orders = np.arange(count)
    powers = _decay(sigma) ** (2 * orders)  # 0^0 = 1 for sigma = 0
    weights = (orders + 1) * powers / (2 * b * (1 + b) ** 2)
    before = np.concatenate([[0.0], weights[:-1]])
    diagonal = rates["W"] * (weights + before) + (rates["m"] + rates["z"]) * powers / (1 + b)
    return diagonal, -rates["W"] * weights[:-1]


def _modes(sigma: float, rates: Mapping[str, float], time: float) -> int:
    """So many Laguerre functions that the others do not move until `time`."""
    orders = np.arange(MOST_MODES)
    with np.errstate(under="ignore"):
        moves = (orders + 1) * _decay(sigma) ** (2 * orders) * 4 * max(time, 1.0) * (sum(rates.values()) + 1)
    enough = np.flatnonzero(moves < NEGLIGIBLE)
    if not enough.size:
        raise argument_error("sigma", f"be resolved by {MOST_MODES} Laguerre functions", f"{sigma:g} came", "Keep away from 1.")
    return max(int(enough[0]), 2)


def _decay(sigma: float) -> float:
    """rho, by which the kernel falls from one Laguerre function to the next but one."""
    b = np.sqrt(1 - sigma**2)
    return sigma / (1 + b)  # sqrt((1 - b) / (1 + b)), without the difference


def _ratio(mu: complex, sigma: float) -> complex:
    """(mu - b) / (mu + b), by which the coefficients of exp(-mu t) fall from one Laguerre function to the next."""
    b = np.sqrt(1 - sigma**2)
    return (mu - 1 + sigma**2 / (1 + b)) / (mu + b)  # 1 - b, without the difference


def _radius(sigma: Any) -> float:
    sigma = number("sigma", sigma, least=0.0)
    if sigma >= 1:
        raise argument_error("sigma", "be below 1, where the initial network is stable", f"{sigma:g} came")
    return sigma
