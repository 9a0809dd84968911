"""Lazy learning: with a large readout, only the kernel of the initial network matters (docs/integration.md, "Lazy")."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, number, real_array, said
from overlaps.integration._targets import learning_times, pole, relative_rates

NEGLIGIBLE = 1e-17  # Laguerre functions are left out if they move by less than this
MOST_MODES = 4000


def lazy_kernels(times: Any, sigma: float, others: Any = None) -> xr.Dataset:
    """The two kernels of lazy learning: C(t, t') of learning m or z, and K(t, t') of learning W.

    In lazy learning the output changes while W hardly does. The kernels are those of the initial network, for m, z and W with
    independent entries, a Gaussian W of radius `sigma`, and N to infinity:

        C = exp(-t - t') I0(2 sigma sqrt(t t')),
        K = dC / d sigma^2 = exp(-t - t') (sqrt(t t') / sigma) I1(2 sigma sqrt(t t')).

    C is the overlap of the responses at two times, K is the convolution of C with itself, and I0 and I1 are Bessel functions
    (docs/integration.md, "Lazy").

    - `times`: the times t, in units of tau. `others`: the times t'. None: the same as `times`.
    - `sigma`: the radius of the disk that the eigenvalues of W fill.

    Returns a Dataset with `vectors` (C) and `weights` (K), dims (sample, other). Raises ValueError for negative times, and for
    sigma outside of [0, 1).
    """
    times = np.asarray(real_array("times", times, ndim=1), float)
    others = times if others is None else np.asarray(real_array("others", others, ndim=1), float)
    for name, values in (("times", times), ("others", others)):
        if np.any(values < 0):
            raise argument_error(name, "be at least 0", f"{values.min():g} came")
    sigma = _radius(sigma)
    mean = np.sqrt(np.outer(times, others))
    argument = 2 * sigma * mean
    decay = np.exp(argument - np.add.outer(times, others))  # `ive` is the Bessel function times exp(-argument)
    half = mean**2 * decay  # K in the limit sigma to 0, where I1(x) / x is 1 / 2
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
    """The exponent alpha with which the loss falls in lazy learning of exp(-rate t) cos(frequency t), as s^-alpha.

    Here s is the learning time. With mu = rate + i frequency, and a Gaussian W of radius `sigma`,

        alpha = ln(kappa) / ln(rho),     kappa = |mu - b| / |mu + b|,
        b = sqrt(1 - sigma^2),     rho^2 = (1 - b) / (1 + b).

    This holds if m or z learns, because W alone cannot change f(0) = m.z / N. Alpha is above 1 exactly where the target is
    `learnable`. It is 0 for sigma = 0, where nothing but exp(-t) can be learned. Derivation: docs/integration.md, "Lazy".
    Raises ValueError for values out of range.
    """
    mu, sigma = pole(rate, frequency), _radius(sigma)
    kappa = abs(_ratio(mu, sigma))
    if kappa == 0:
        return np.inf
    return float(np.log(kappa) / np.log(_decay(sigma))) if sigma > 0 else 0.0


def learnable(rate: float, sigma: float, frequency: float = 0.0) -> bool:
    """Whether lazy learning of exp(-rate t) cos(frequency t) needs only a finite change of the weights: |1 - mu| < sigma.

    Here mu = rate + i frequency. The condition means that the pole of the target is inside the bulk, the disk of radius `sigma`
    that the eigenvalues of W fill. This criterion holds if m or z learns. Outside of the disk the loss still goes to 0 at
    infinite N and readout scale, but the change of W grows without limit, until an outlier forms. Raises ValueError for values
    out of range.
    """
    return abs(1 - pole(rate, frequency)) < _radius(sigma)


def lazy_learning_curve(
    rate: float, sigma: float, times: Any, rates: Mapping[str, float] | None = None, frequency: float = 0.0
) -> xr.Dataset:
    """The exact loss of lazy learning of exp(-rate t) cos(frequency t) at all times, from Gaussian networks of radius `sigma`.

    The difference Delta = f - f* of response and target obeys d Delta/ds = -2 Theta Delta with Theta = r_W K + (r_m + r_z) C
    (see `lazy_kernels`), from f = 0. This is the limit of N to infinity, and then of the readout scale R to infinity, for
    networks with z = R v. These networks learn W at the rate r_W / R^2, m at r_m / R^2, and z at r_z. In Laguerre functions C
    is diagonal and K is tridiagonal. Derivation: docs/integration.md, "Lazy".

    - `rate`, `frequency`: of the target, per tau.
    - `sigma`: the radius of the disk that the eigenvalues of W fill.
    - `times`: learning times, increasing.
    - `rates`: r_W, r_m and r_z, with the names "W", "m" and "z". A rate that is not given is 1.

    Returns a Dataset over `time` with `loss` and `weight_change`, which is R times the Frobenius norm of the change of W.
    Raises ValueError for values out of range, and for sigma so close to 1 that 4,000 Laguerre functions do not resolve it.
    """
    mu, sigma, rates, times = pole(rate, frequency), _radius(sigma), relative_rates(rates), learning_times(times)
    b = np.sqrt(1 - sigma**2)
    count = _modes(sigma, rates, times[-1])
    orders = np.arange(count)
    first, ratio = np.sqrt(2 * b) / (mu + b), _ratio(mu, sigma)
    target = (first * ratio**orders).real  # coefficients of the target in Laguerre functions
    diagonal, beside = _kernel(sigma, count, rates)
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside)
    values = np.maximum(values, 0.0)  # rounding can make very small ones negative
    modes = -vectors.T @ target
    decayed = np.exp(-2 * np.outer(times, values))
    next_one = first * ratio**count
    # The loss in all functions that are left out, which do not move.
    rest = (abs(next_one) ** 2 / (1 - abs(ratio) ** 2) + (next_one**2 / (1 - ratio**2)).real) / 2
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
    """Theta in the Laguerre functions e_n = sqrt(2 b) exp(-b t) L_n(2 b t): its diagonal, and its first off-diagonal."""
    b = np.sqrt(1 - sigma**2)
    orders = np.arange(count)
    powers = _decay(sigma) ** (2 * orders)  # 0^0 = 1 for sigma = 0
    weights = (orders + 1) * powers / (2 * b * (1 + b) ** 2)
    before = np.concatenate([[0.0], weights[:-1]])
    diagonal = rates["W"] * (weights + before) + (rates["m"] + rates["z"]) * powers / (1 + b)
    return diagonal, -rates["W"] * weights[:-1]


def _modes(sigma: float, rates: Mapping[str, float], time: float) -> int:
    """The number of Laguerre functions to keep, such that all others do not move until `time`."""
    orders = np.arange(MOST_MODES)
    with np.errstate(under="ignore"):
        moves = (orders + 1) * _decay(sigma) ** (2 * orders) * 4 * max(time, 1.0) * (sum(rates.values()) + 1)
    enough = np.flatnonzero(moves < NEGLIGIBLE)
    if not enough.size:
        raise argument_error(
            "sigma", f"be resolved by {MOST_MODES} Laguerre functions", f"{sigma:g} came", "Choose a smaller sigma."
        )
    return max(int(enough[0]), 2)


def _decay(sigma: float) -> float:
    """The number rho: the eigenvalues of the kernel C fall by rho^2 from one Laguerre function to the next."""
    b = np.sqrt(1 - sigma**2)
    return sigma / (1 + b)  # equals sqrt((1 - b) / (1 + b)), but keeps the digits that 1 - b would lose


def _ratio(mu: complex, sigma: float) -> complex:
    """(mu - b) / (mu + b): the coefficients of exp(-mu t) change by this factor from one Laguerre function to the next."""
    b = np.sqrt(1 - sigma**2)
    return (mu - 1 + sigma**2 / (1 + b)) / (mu + b)  # sigma^2 / (1 + b) is 1 - b with all its digits


def _radius(sigma: Any) -> float:
    sigma = number("sigma", sigma, least=0.0)
    if sigma >= 1:
        raise argument_error("sigma", "be below 1, so that the initial network is stable", f"{sigma:g} came")
    return sigma
