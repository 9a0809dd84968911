"""What the command line needs of files: a sweep that a script describes, and how far a store is."""

import dataclasses
import functools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.sweeps._store import Store, report
from overlaps.sweeps._variables import FAILED

SHOWN = 5  # points, at most, whose errors a summary shows


@dataclasses.dataclass(frozen=True)
class Script:
    """A Python file that defines `build` and `over`. It may import files beside it.

    Other processes get its text, and run it. Raises ValueError for a file that does not define both. Errors of the file itself
    are raised as they are.
    """

    path: str
    text: bytes = b""

    def __post_init__(self) -> None:
        path = Path(self.path).absolute()
        if not path.is_file():
            raise argument_error("script", "be a Python file", f"{self.path!r} came")
        object.__setattr__(self, "path", str(path))
        object.__setattr__(self, "text", path.read_bytes())
        missing = [name for name in ("build", "over") if name not in _defined(self.path, self.text)]
        if missing:
            raise argument_error("script", "define `build` and `over`", f"{self.path!r} has no `{missing[0]}`")

    @property
    def over(self) -> Any:
        """The points."""
        return _defined(self.path, self.text)["over"]

    def __call__(self, **point: Any) -> Any:
        """What `build` of the file makes for a point."""
        return _defined(self.path, self.text)["build"](**point)


@functools.cache
def _defined(path: str, text: bytes) -> dict[str, Any]:
    """What a script defines. Workers that live longer than one sweep run it again when its text has changed."""
    folder = str(Path(path).parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = sys.modules["overlaps_script"] = types.ModuleType("overlaps_script")
    module.__file__ = path
    exec(compile(text, path, "exec"), vars(module))
    return vars(module)


def summary(path: Any) -> str:
    """How many points of a store are done, and what went wrong at the first ones that failed, in words.

    Raises ValueError for anything but the store of a sweep.
    """
    store = Store(path)
    must = "be one that `sweep` began"
    known = store.found(must, mend="")
    if known is None:
        raise argument_error("store", must, f"{str(path)!r} came")
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
