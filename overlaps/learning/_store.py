"""A run on disk: the Dataset of `learn` as it grows, for readers, and the log from which a killed run goes on.

docs/long_runs.md describes the folder.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.learning._describe import difference
from overlaps.learning._log import FOLDER, Log, write
from overlaps.learning._record import Record
from overlaps.learning._view import View

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

FORMAT = 1
SHARE = 0.025  # of the time of a run, at most, that goes into the log, and as much into the view, while it goes on
FIRST_COSTS = {"log": 0.005, "view": 0.05}  # seconds that it takes to write a record, and to write a small Dataset
ELSEWHERE = "Choose another path, or move this one away."


def folder_of(path: Any) -> Path:
    """The folder that a user means by `path`; raises ValueError for what is none."""
    if not isinstance(path, str | os.PathLike) or not str(path) or "://" in str(path):
        raise argument_error("store", "be the path of a folder", f"{path!r} came")
    return Path(path).expanduser().absolute()


class Store:
    """A folder that holds one run: a Zarr group with its Dataset so far, and the folder `log`. Close it after use.

    `described`: what the run is, by name, as JSON texts. `state`: the first state. `first`: the Dataset before the run begins.
    `rows`: how many points of time the whole Dataset will have, unless the run stops early. Raises ValueError for a folder that
    holds something else, another run (naming the first difference), that cannot be written, or that another process writes to.
    """

    def __init__(self, path: Any, described: Mapping[str, str], state: Any, first: xr.Dataset, rows: int):
        self.path = folder_of(path)
        self.log, self._view = Log(self.path / FOLDER), View(self.path, described, rows)
        self._begun, self._costs = time.monotonic(), dict(FIRST_COSTS)
        self._spent = dict.fromkeys(FIRST_COSTS, 0.0)
        self._waiting: list[tuple[int, int, Record]] = []
        self._lock: Any = None
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(state):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        identity = {"format": FORMAT, **described, "numbers of the first state": digest.hexdigest()}
        try:
            self._open(identity, first)
        except OSError as error:
            self.close()
            must, mend = "be a folder that can be written", "Choose another path, or make room. What was there is as it was."
            raise argument_error("store", must, f"{str(self.path)!r} gave: {error}", mend) from error
        except BaseException:
            self.close()
            raise

    def _open(self, identity: dict[str, Any], first: xr.Dataset) -> None:
        name = self.log.folder / "run.json"
        if name.exists():
            self._compare(name, identity)
            self.complete = self._view.complete()
            if not self.complete:
                self._take()
            return
        if self.path.exists() and not self._may_begin():
            came = f"{str(self.path)!r} holds other files"
            raise argument_error("store", "be a new path, or a store of `learn`", came, ELSEWHERE)
        self.complete = False
        self.log.folder.mkdir(parents=True, exist_ok=True)
        self._take()
        write(self.log.folder / "zarr.json", b'{"zarr_format": 3, "node_type": "group"}')  # so that readers know the folder
        self._view.write(first, complete=False)
        first.to_netcdf(self.log.folder / "start.nc")
        write(name, json.dumps(identity).encode())

    def _may_begin(self) -> bool:
        """Whether a folder without a description is empty, or a store that a kill ended before it was described."""
        if self.path.is_file():
            return False
        names = [one.name for one in self.path.iterdir()]
        log = [one.name for one in self.log.folder.iterdir()] if FOLDER in names else []
        if "lock" not in log:
            return names in ([], [FOLDER]) and not log
        return all(name in ("lock", "zarr.json", "start.nc") or name.endswith(".part") for name in log)

    def _compare(self, name: Path, identity: dict[str, Any]) -> None:
        """Raise ValueError if the store holds another run."""
        try:
            known = dict(json.loads(name.read_bytes()))
        except ValueError as error:
            must = "be a store of `learn`"
            raise argument_error("store", must, f"{str(name)!r} is damaged: {error}", ELSEWHERE) from error
        for key, value in identity.items():
            if known.get(key) != value:
                place, there, here = difference(key, *(_parsed(one) for one in (known.get(key), value)))
                came = f"{str(self.path)!r} holds one that differs in `{place}`: it is {there} there and {here} here"
                raise argument_error("store", "be a new path, or hold this run", came, ELSEWHERE)

    def _take(self) -> None:
        """Keep other processes from writing to the store."""
        self._lock = (self.log.folder / "lock").open("a")
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                came = f"another process writes to {str(self.path)!r}"
                raise argument_error("store", "be free", came, "Wait until that run ends, or choose another path.") from None

    def close(self) -> None:
        """Let other processes have the store."""
        if self._lock is not None:
            self._lock.close()

    def append(self, phase: int, number: int, record: Record) -> None:
        """Take a record, and write the records that wait to the log if that takes no more than its share of the time.

        A kill loses the records that wait. They are computed again, to the same digits.
        """
        self._waiting.append((phase, number, record))
        if self.complete:  # its log was damaged
            self.complete = False
            self._take()
        if self._due("log"):
            self.flush()

    def flush(self) -> None:
        """Write the records that wait to the log."""
        with self._timed("log"):
            self.log.append(self._waiting)
        self._waiting = []

    def show(self, dataset: Callable[[], xr.Dataset | None], now: bool = False) -> None:
        """Write the Dataset so far if its share of the time allows it, or `now`."""
        if not (now or self._due("view")):
            return
        with self._timed("view"):
            so_far = dataset()
            if so_far is not None:
                self._view.write(so_far, complete=False)

    def finish(self, dataset: xr.Dataset) -> None:
        """Write the whole Dataset, unless it is there."""
        if not self.complete:
            self.flush()
            with self._timed("view"):
                self._view.write(dataset, complete=True)

    def _due(self, what: str) -> bool:
        return self._spent[what] + self._costs[what] <= SHARE * (time.monotonic() - self._begun)

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except OSError as error:
            came = f"The store {str(self.path)!r} cannot be written any more: {error}."
            raise OSError(f"{came} What its log holds is whole: make room, and call `learn` again to go on.") from error
        self._costs[what] = time.monotonic() - begun
        self._spent[what] += self._costs[what]


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
