"""Closed forms for networks that learn to integrate: where learning ends, and how long it takes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from overlaps._support import argument_error, number
from overlaps.integration._targets import pole, relative_rates


class Limit(NamedTuple):
    """Where learning ends: the eigenvalue of the outlier, and the loss."""

    eigenvalue: float
    loss: float


def outlier_limit(rate: float, amplitude: float = 1.0) -> Limit:
    """Where learning ends if W alone learns exp(-rate t), with frozen, parallel vectors m and z.

    Then one outlier of W is all that learns. With g = m.z / N and 0 < g < 4, it ends at the eigenvalue 1 - c with c = rate
    sqrt(g) / (2 - sqrt(g)), and the loss ends at (1 - g (2 - sqrt(g))^2) / (2 rate). Only at g = 1 this is the eigenvalue of
    the target, 1 - rate. At g = 0 nothing moves. For all other g, c goes to infinity and the response goes to 0. Derivation:
    docs/integration.md, "One outlier".

    - `rate`: decay rate of the target, per tau.
    - `amplitude`: g.

    Returns `Limit(eigenvalue, loss)`. Raises ValueError for a rate that is not positive.
    """
    rate, amplitude = number("rate", rate, above=0.0), number("amplitude", amplitude)
    if amplitude == 0:
        return Limit(0.0, 1 / (2 * rate))
    if not 0 < amplitude < 4:
        return Limit(-np.inf, 1 / (2 * rate))
    root = np.sqrt(amplitude)
    return Limit(1 - rate * root / (2 - root), (1 - amplitude * (2 - root) ** 2) / (2 * rate))


def outlier_time(rate: float, eigenvalue: float, rates: Mapping[str, float] | None = None) -> float:
    """The learning time in which W alone brings the outlier from 0 to `eigenvalue`.

    The vectors m and z are parallel and frozen, with m.z / N = 1.

    - `rate`: decay rate of the target exp(-rate t), per tau.
    - `eigenvalue`: a number between 0 and the target 1 - rate.
    - `rates`: relative learning rates, of which that of W, r_W, matters.

    With c = 1 - eigenvalue, the time is (F(1) - F(c)) / r_W, where

        F(x) = 2 x^3 / 9 + 8 rate x^2 / 9 + 56 rate^2 x / 27 + 2 rate^3 ln|x - rate| - (2 / 81) rate^3 ln(3 x + rate).

    It is infinite at the target. As rate goes to 0, learning takes the time 2 / (9 r_W), although the loss stays high until the
    very end of this time (docs/integration.md, "One outlier"). Raises ValueError for an eigenvalue beyond the target.
    """
    rate, eigenvalue = number("rate", rate, above=0.0), number("eigenvalue", eigenvalue)
    target = 1 - rate
    if eigenvalue * target < 0 or abs(eigenvalue) > abs(target):
        raise argument_error("eigenvalue", f"be between 0 and {target:g}, the target", f"{eigenvalue:g} came")
    if eigenvalue == target:
        return np.inf if target else 0.0
    return (_primitive(1.0, rate) - _primitive(1 - eigenvalue, rate)) / _weight_rate(rates)


def escape_rate(rate: float, frequency: float, rates: Mapping[str, float] | None = None) -> float:
    """The rate at which a small rotation w grows on the plateau of `plateau_flow`, with frozen m = z.

    A network with one input and one output that learns to oscillate first becomes a leaky integrator, and the loss has a
    plateau. The rotation grows as exp(escape_rate s), so the escape from the plateau takes ln(1 / w) / escape_rate. Let a be
    the decay rate of the best leaky integrator (`plateau_rate`), which has 1 / (2 a^2) = 2 Re (a + mu)^-2. The escape rate is

        r_W (1 / (2 (a + 1) a^2) - 2 Re 1 / ((mu + a)^2 (mu + 1))),     mu = rate + i frequency.

    It is 0 for frequency 0. `rates`: relative learning rates, of which that of W, r_W, matters. Derivation:
    docs/integration.md, "A conjugate pair". Raises ValueError for a rate that is not positive.
    """
    mu = pole(rate, frequency)
    decay = plateau_rate(rate, frequency)
    growth = 1 / (2 * (decay + 1) * decay**2) - 2 * (1 / ((mu + decay) ** 2 * (mu + 1))).real
    return _weight_rate(rates) * growth


def plateau_rate(rate: float, frequency: float) -> float:
    """The decay rate a of the leaky integrator exp(-a t) that is closest to exp(-rate t) cos(frequency t).

    Closest means that the integral of the squared difference over all times is smallest. All rates are per tau.
    """
    mu = pole(rate, frequency)

    def slope(decay: float) -> float:
        """The derivative of the loss with respect to the decay rate, times -2 a^2."""
        return 1 - 4 * (decay**2 / (decay + mu) ** 2).real

    # At a minimum of the loss, `slope` changes from positive to negative. A fine grid finds all such changes. The minimum with
    # the smallest loss is the result.
    grid = abs(mu) * np.logspace(-4, 6, 4001)
    values = np.array([slope(decay) for decay in grid])
    places = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    roots: list[Any] = [scipy.optimize.brentq(slope, grid[place], grid[place + 1], xtol=1e-15 * abs(mu)) for place in places]
    return float(min(roots, key=lambda decay: 1 / (2 * decay) - 2 * (1 / (decay + mu)).real))


def small_start_time(rate: float, amplitude: float, rates: Mapping[str, float] | None = None) -> float:
    """Roughly the learning time after which the loss is half of its initial value, if learning starts from small m = z.

    At the start W = 0 and m.z / N = `amplitude`. W, m and z all learn exp(-rate t). The time is

        (1 + rate) / (4 sqrt(r_m r_z)) ln(1 / amplitude),

    up to a constant. The factor of the logarithm is the time in which the amplitude grows by a factor e, from the flow
    linearised at the saddle m = z = 0. `rates`: relative learning rates of W, m and z.

    Raises ValueError for an amplitude outside of (0, 1), and for frozen vectors.
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
