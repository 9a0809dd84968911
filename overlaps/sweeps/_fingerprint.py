"""Fingerprints of what `build` returns, by which two processes can tell whether they make the same network."""

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from overlaps.learning import restore

ROUNDING = 1e-6  # relative: processors of two kinds differ by less, two networks by more


class Fingerprint(NamedTuple):
    """A checksum of names and whole numbers, and for each array of other numbers two sums, which rounding hardly changes."""

    checksum: int
    sums: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, description: Any) -> "Fingerprint":
        """The fingerprint of a thing that `describe` described. It leaves out functions that have no public name."""
        sums: list[tuple[float, float]] = []
        rest = json.dumps(_rest(description, sums))
        return cls(zlib.crc32(rest.encode()), tuple(sums))

    def fits(self, other: "Fingerprint") -> bool:
        """Whether the two are those of the same thing, apart from rounding."""
        if self.checksum != other.checksum or len(self.sums) != len(other.sums):
            return False
        here, there = (np.reshape(one.sums, (-1, 2)) for one in (self, other))
        return bool((np.abs(here - there) <= ROUNDING * np.abs(there[:, :1])).all())


def _rest(description: Any, sums: list[tuple[float, float]]) -> Any:
    """What is no array of real numbers. Enters the sums of those that are: of their sizes, and with different weights."""
    array = _array(description)
    if array is not None:
        flat = np.nan_to_num(array.ravel(), nan=0.0, posinf=1.0, neginf=-1.0)
        sums.append((float(np.abs(flat).sum()), float(flat @ np.cos(np.arange(flat.size)))))
        return list(array.shape)
    if isinstance(description, Mapping):
        return None if "opaque" in description else {name: _rest(value, sums) for name, value in description.items()}
    return [_rest(value, sums) for value in description] if isinstance(description, list) else description


def _array(description: Any) -> np.ndarray | None:
    if isinstance(description, Mapping) and "packed" in description:
        return np.real(restore(description)).astype(float)
    if not isinstance(description, float | list):
        return None
    try:
        array = np.asarray(description)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind == "f" else None
