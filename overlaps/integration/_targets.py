"""The target responses exp(-rate t) cos(frequency t) of all theories in this room, and checks of common arguments."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, number, real_array
from overlaps.learning import checked_rates

RATES = ("W", "m", "z")


def pole(rate: Any, frequency: Any) -> complex:
    """The number mu of the target Re exp(-mu t). Raises ValueError for a non-positive rate or a negative frequency."""
    return complex(number("rate", rate, above=0.0), number("frequency", frequency, least=0.0))


def energy(mu: Any) -> Any:
    """The energy of the target, int_0^inf (Re exp(-mu t))^2 dt."""
    return (1 / mu.real + (1 / mu).real) / 4


def relative_rates(rates: Mapping[str, float] | None) -> dict[str, float]:
    """Rates of W, m and z, which are 1 if not given. Raises ValueError for other names and for negative numbers."""
    given = checked_rates(rates) or {}
    for name in given:
        if name not in RATES:
            raise argument_error("rates", f"name out of {', '.join(RATES)}", f"{name!r} came")
    return {name: given.get(name, 1.0) for name in RATES}


def learning_times(times: Any) -> Float[np.ndarray, " time"]:
    """Learning times as an array. Raises ValueError unless they increase, from 0 or later."""
    array = np.asarray(real_array("times", times, ndim=1), float)
    if not array.size or array[0] < 0 or np.any(np.diff(array) <= 0):
        raise argument_error("times", "be increasing, from 0 or later, and not empty", f"{array} came")
    return array
