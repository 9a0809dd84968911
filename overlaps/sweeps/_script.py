"""What the command line needs: a sweep that a file describes, and how far a store is."""

import dataclasses
import functools
import os
import runpy
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.sweeps._store import Store, report
from overlaps.sweeps._variables import FAILED

SHOWN = 5  # points, at most, whose errors a summary shows


@dataclasses.dataclass(frozen=True)
class Script:
    """A Python file that defines `build` and `over`. Other processes read the file again, so it has to lie where they see it.

    Raises ValueError for a file that does not define both. Errors of the file itself are raised as they are.
    """

    path: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.path.abspath(self.path))
        if not os.path.isfile(self.path):
            raise argument_error("script", "be a Python file", f"{self.path!r} came")
        missing = [name for name in ("build", "over") if name not in _defined(self.path)]
        if missing:
            raise argument_error("script", "define `build` and `over`", f"{self.path!r} has no `{missing[0]}`")

    @property
    def over(self) -> Any:
        """The points."""
        return _defined(self.path)["over"]

    def __call__(self, **point: Any) -> Any:
        """What `build` of the file makes for a point."""
        return _defined(self.path)["build"](**point)


@functools.cache
def _defined(path: str) -> dict[str, Any]:
    return runpy.run_path(path, run_name="sweep")


def summary(path: Any) -> str:
    """How many points of a store are done, and what went wrong at the first ones that failed, in words.

    Raises ValueError for anything but the store of a sweep.
    """
    store = Store(path)
    known = store.found()
    if known is None:
        raise argument_error("store", "be one that `sweep` began", f"{str(path)!r} came")
    status, coordinates = store.read("status", ...), store.points(known)
    counts = ", ".join(f"{number:,} {name}" for name, number in report(status).items() if number)
    lines = [f"{path}: {status.size:,} points over {', '.join(coordinates)}: {counts}."]
    failed = np.argwhere(status == FAILED)
    errors = store.read("error", ...) if len(failed) else status
    for place in failed[:SHOWN]:
        index = dict(zip(known["dims"], place, strict=True))
        point = ", ".join(f"{name}={values[index[known['over'][name]]]}" for name, values in coordinates.items())
        lines.append(f"  {point}: {errors[tuple(place)]}")
    lines += [f"  and {len(failed) - SHOWN:,} more"] if len(failed) > SHOWN else []
    return "\n".join(lines)
