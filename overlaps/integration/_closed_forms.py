"""Learning of integrators in closed form: how far it goes, and how long it takes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from overlaps._support import argument_error, number
from overlaps.integration._targets import pole, relative_rates


class Limit(NamedTuple):
    """Where learning ends."""

    eigenvalue: float
    loss: float


def outlier_limit(rate: float, amplitude: float = 1.0) -> Limit:
    """Where W alone leads one outlier from parallel, frozen m and z, with amplitude g = m.z / N.

    The eigenvalue is 1 - c, c = rate sqrt(g) / (2 - sqrt(g)), and the loss (1 - g (2 - sqrt(g))^2) / (2 rate) for 0 < g < 4;
    else c goes to infinity, and f to 0; at g = 0 nothing moves. Only at g = 1 it is the target. docs/integration.md, "One
    outlier". Raises ValueError for a rate that is not positive.
    """
    rate, amplitude = number("rate", rate, above=0.0), number("amplitude", amplitude)
    if amplitude == 0:
        return Limit(0.0, 1 / (2 * rate))
    if not 0 < amplitude < 4:
        return Limit(-np.inf, 1 / (2 * rate))
    root = np.sqrt(amplitude)
    return Limit(1 - rate * root / (2 - root), (1 - amplitude * (2 - root) ** 2) / (2 * rate))


def outlier_time(rate: float, eigenvalue: float, rates: Mapping[str, float] | None = None) -> float:
    """The learning time in which W alone brings the outlier from 0 to `eigenvalue`, from parallel, frozen m and z with g = 1.

    (F(1) - F(c)) / r_W at c = 1 - eigenvalue, F(x) = 2 x^3 / 9 + 8 rate x^2 / 9 + 56 rate^2 x / 27 + 2 rate^3 ln|x - rate| -
    (2 / 81) rate^3 ln(3 x + rate). As rate goes to 0 learning takes 2 / (9 r_W), though the loss stays high until its very end:
    docs/integration.md, "One outlier". Infinite at the target 1 - rate. Raises ValueError for an eigenvalue beyond the target.
    """
    rate, eigenvalue = number("rate", rate, above=0.0), number("eigenvalue", eigenvalue)
    target = 1 - rate
    if eigenvalue * target < 0 or abs(eigenvalue) > abs(target):
        raise argument_error("eigenvalue", f"be between 0 and {target:g}, the target", f"{eigenvalue:g} came")
    if eigenvalue == target:
        return np.inf if target else 0.0
    return (_primitive(1.0, rate) - _primitive(1 - eigenvalue, rate)) / _weight_rate(rates)


def escape_rate(rate: float, frequency: float, rates: Mapping[str, float] | None = None) -> float:
    """The rate at which a small rotation grows on the plateau of `plateau_flow` with frozen m = z.

    With a the decay rate of the best leaky integrator, 1 / (2 a^2) = 2 Re (a + mu)^-2, it is
    r_W (1 / (2 (a + 1) a^2) - 2 Re 1 / ((mu + a)^2 (mu + 1))): from a rotation w, escape takes ln(1 / w) / escape_rate.
    docs/integration.md, "A conjugate pair". 0 for frequency 0. Raises ValueError for a rate that is not positive.
    """
    mu = pole(rate, frequency)
    decay = plateau_rate(rate, frequency)
    growth = 1 / (2 * (decay + 1) * decay**2) - 2 * (1 / ((mu + decay) ** 2 * (mu + 1))).real
    return _weight_rate(rates) * growth


def plateau_rate(rate: float, frequency: float) -> float:
    """The decay rate a of the leaky integrator exp(-a t) that is closest to exp(-rate t) cos(frequency t)."""
    mu = pole(rate, frequency)

    def slope(decay: float) -> float:
        """Of the loss in the decay rate, times -2 a^2."""
        return 1 - 4 * (decay**2 / (decay + mu) ** 2).real

    # Minima of the loss are where the slope comes up through 0: all sign changes on a fine grid, then the best of them.
    grid = abs(mu) * np.logspace(-4, 6, 4001)
    values = np.array([slope(decay) for decay in grid])
    places = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    roots: list[Any] = [scipy.optimize.brentq(slope, grid[place], grid[place + 1], xtol=1e-15 * abs(mu)) for place in places]
    return float(min(roots, key=lambda decay: 1 / (2 * decay) - 2 * (1 / (decay + mu)).real))


def small_start_time(rate: float, amplitude: float, rates: Mapping[str, float] | None = None) -> float:
    """About when the loss has fallen to half, from small m = z of m.z / N = `amplitude`, with W = 0, everything learning.

    (1 + rate) / (4 sqrt(r_m r_z)) ln(1 / amplitude), up to a constant: the time in which the amplitude grows e-fold is that of
    the linearised flow at the saddle. Raises ValueError for an amplitude outside of (0, 1), and frozen vectors.
    """
    rate, amplitude = number("rate", rate, above=0.0), number("amplitude", amplitude, above=0.0)
    rates = relative_rates(rates)
    if amplitude >= 1:
        raise argument_error("amplitude", "be below 1", f"{amplitude:g} came")
    if rates["m"] * rates["z"] == 0:
        raise argument_error("rates", "let m and z learn", f"{rates} came")
    return (1 + rate) / (4 * np.sqrt(rates["m"] * rates["z"])) * np.log(1 / amplitude)


def _primitive(decay: float, rate: float) -> float:
    powers = 2 * decay**3 / 9 + 8 * rate * decay**2 / 9 + 56 * rate**2 * decay / 27
    return powers + 2 * rate**3 * np.log(abs(decay - rate)) - 2 * rate**3 * np.log(3 * decay + rate) / 81


def _weight_rate(rates: Mapping[str, float] | None) -> float:
    weights = relative_rates(rates)["W"]
    if weights == 0:
        raise argument_error("rates", "let W learn", "its rate is 0")
    return weights
