"""Durations as numbers of samples."""

import numpy as np

from overlaps._support import argument_error


def samples_of(name: str, duration: float, dt: float) -> int:
    """The number of samples of length dt in a duration. Raises ValueError unless it is a whole number of at least 1."""
    samples = round(duration / dt)
    if samples < 1 or abs(duration / dt - samples) > max(1e-9, 4 * np.finfo(float).eps * samples):
        raise argument_error(name, f"be a whole multiple of dt = {dt:g}", f"{duration:g} came")
    return samples
