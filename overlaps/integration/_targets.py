"""The target responses exp(-rate t) cos(frequency t), as every theory here sees them, and what they are checked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, number, real_array
from overlaps.learning import checked_rates

RATES = ("W", "m", "z")


def pole(rate: Any, frequency: Any) -> complex:
    """Mu of the target Re exp(-mu t); raises ValueError for a non-positive rate or a negative frequency."""
    return complex(number("rate", rate, above=0.0), number("frequency", frequency, least=0.0))


def energy(mu: Any) -> Any:
    """int_0^inf (Re exp(-mu t))^2 dt."""
    return (1 / mu.real + (1 / mu).real) / 4


def relative_rates(rates: Mapping[str, float] | None) -> dict[str, float]:
    """Rates of W, m and z, 1 where nothing is said; raises ValueError for other names and negative numbers."""
    given = checked_rates(rates) or {}
    for name in given:
        if name not in RATES:
            raise argument_error("rates", f"name out of {', '.join(RATES)}", f"{name!r} came")
    return {name: given.get(name, 1.0) for name in RATES}


def learning_times(times: Any) -> Float[np.ndarray, " time"]:
    """Learning times, increasing from 0 or later; raises ValueError for others."""
    array = np.asarray(real_array("times", times, ndim=1), float)
    if not array.size or array[0] < 0 or np.any(np.diff(array) <= 0):
        raise argument_error("times", "be increasing, from 0 or later, and not empty", f"{array} came")
    return array
