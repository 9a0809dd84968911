"""Rank 1, tau = 1, continuous time, in closed form: see the README of this folder."""

import numpy as np


def terms(visible, amplitude, rate):
    """Amplitudes and rates of the exponentials of which f - f* is the sum."""
    zm, zu, vm, vu = (visible[name] for name in ("zm", "zu", "vm", "vu"))
    return np.array([zm - zu * vm / vu, zu * vm / vu, -amplitude]), np.array([1.0, 1.0 - vu, rate])


def loss(visible, amplitude, rate, horizon):
    a, p = terms(visible, amplitude, rate)
    sums = p[:, None] + p[None, :]
    if horizon is None:
        return a @ (1 / sums) @ a
    with np.errstate(divide="ignore", invalid="ignore"):
        integrals = np.where(sums == 0, horizon, -np.expm1(-sums * horizon) / sums)
    return a @ integrals @ a


def logistic(start, amplitude, rate, times):
    """The overlaps zm = mm = zz of a network without recurrence and with m = z, under gradient flow."""
    b = 2 * amplitude / (1 + rate)
    return b / (1 + (b / start - 1) * np.exp(-2 * b * times))


def logistic_descent(start, amplitude, rate, learning_rate, steps):
    """The same under gradient descent."""
    b = 2 * amplitude / (1 + rate)
    values = [start]
    for _ in range(steps):
        values.append(values[-1] * (1 - learning_rate * (values[-1] - b)) ** 2)
    return np.array(values)
