"""A run on disk: the Dataset of `learn` as it grows, for readers, and the log from which a killed run goes on.

docs/long_runs.md describes the folder.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.learning._describe import comparable, difference, equal
from overlaps.learning._digest import TOO_DEEP, digest
from overlaps.learning._log import FOLDER, Log, checked, with_checksum, write
from overlaps.learning._modules import is_installed
from overlaps.learning._record import Record
from overlaps.learning._view import RUN, View, noted_in

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

FORMAT = 2
SHARE = 0.025  # of the time of a run, at most, that goes into the log, and as much into the view, while it goes on
FIRST_COSTS = {"log": 0.005, "view": 0.05}  # seconds that it takes to write a record, and to write a small Dataset
START = "start"  # the file of the log with the Dataset before the run begins: a checksum, and a netCDF file
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a system says of a full disk
ELSEWHERE = "Choose another path, or move this one away."


def folder_of(path: Any, name: str = "store") -> Path:
    """The folder that a user means by the argument `path` of this name; raises ValueError for what is none."""
    if not isinstance(path, str | os.PathLike) or not str(path) or "://" in str(path) or "\0" in str(path):
        raise argument_error(name, "be the path of a folder", f"{path!r} came")
    return Path(path).expanduser().absolute()


def _numbers(state: Any) -> list[Any]:
    """The arrays that a state consists of, without those that only say how others were made, which a file may leave out."""
    fields = [field for field in dataclasses.fields(state) if not field.metadata.get("static")]
    return jax.tree.leaves([getattr(state, field.name) for field in fields if not field.metadata.get("undescribed")])


class Store:
    """A folder that holds one run: a Zarr group with its Dataset so far, and the folder `log`. Close it after use.

    `described`: what the run is, by name, as JSON texts. `state`: the first state. `first`: the Dataset before the run begins.
    `rows`: how many points of time the whole Dataset will have, unless the run stops early. Raises ValueError for a folder that
    holds something else, another run (naming the first difference), that cannot be written, or that another process writes to.
    """

    def __init__(self, path: Any, described: Mapping[str, str], state: Any, first: xr.Dataset, rows: int):
        self.path = folder_of(path)
        self.log, self._view = Log(self.path / FOLDER, self._claim), View(self.path, described, rows)
        self._begun, self._costs = time.monotonic(), dict(FIRST_COSTS)
        self._spent = dict.fromkeys(FIRST_COSTS, 0.0)
        self._waiting: list[tuple[int, int, Record]] = []
        self._lock: Any = None
        if any(json.dumps(TOO_DEEP) in text for text in described.values()):
            must, mend = "be None for a run that uses objects nested in hundreds of others", "Use simpler objects."
            raise argument_error("store", must, f"{path!r} came", mend)
        numbers = hashlib.sha256()
        for leaf in _numbers(state):
            numbers.update(np.ascontiguousarray(leaf).tobytes())
        first_named = {"format": FORMAT, "version": described["version"], "precision": described["precision"]}
        identity = {**first_named, **described, "numbers of the first state": numbers.hexdigest()}
        identity["jax_threefry_partitionable"] = jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]
        if not is_installed(type(state).__module__):
            identity["code of the first state"] = digest(type(state))
        try:
            self._open(identity, first)
        except OSError as error:
            self.close()
            mend = "Make room, or choose another path." if error.errno in FULL else "Choose another path."
            came = f"{str(self.path)!r} gave: {error}"
            raise argument_error("store", "be a folder that can be written", came, mend) from error
        except BaseException:
            self.close()
            raise

    def _open(self, identity: dict[str, Any], first: xr.Dataset) -> None:
        run = self.log.folder / RUN
        if not run.exists():
            self._check_free()
            self.log.folder.mkdir(parents=True, exist_ok=True)
            self._claim()
        if not run.exists():  # looked at again: before the claim, another process could begin and end a run here
            self._check_free()
            self.complete = False
            self._view.write(first, complete=False)
            self._write_start(first, settled=False)
            write(run, json.dumps(identity).encode())
            return
        self._compare(run, identity)
        self.complete = self._view.complete()
        if not self.complete:
            self._claim()
        try:
            checked(self.log.folder / START)
        except (OSError, ValueError):  # it is gone or damaged
            self._claim()
            self._write_start(first)

    def _write_start(self, first: xr.Dataset, settled: bool = True) -> None:
        write(self.log.folder / START, with_checksum(bytes(first.to_netcdf(engine="h5netcdf"))), settled)

    def _check_free(self) -> None:
        """Raise ValueError unless nothing is there, or a store that a kill ended before it was described."""
        if not self._is_free():
            came = f"{str(self.path)!r} holds other files (a store has a file {FOLDER}/{RUN})"
            if self.path.is_symlink() and not self.path.exists():
                came = f"{str(self.path)!r} is a link to nothing"
            raise argument_error("store", "be a new path, or a store of `learn`", came, ELSEWHERE)

    def _is_free(self) -> bool:
        if not self.path.is_dir():
            return not self.path.exists() and not self.path.is_symlink()
        names, log = (_names(place) for place in (self.path, self.log.folder))
        noted = noted_in(self.log.folder / "zarr.json")
        if noted is None:
            return names <= {FOLDER} and log <= {"lock", "zarr.json"} and not (self.log.folder / "zarr.json").exists()
        return names <= {FOLDER, "zarr.json", *noted} and log <= {"lock", "zarr.json", START, RUN}

    def _compare(self, name: Path, identity: dict[str, Any]) -> None:
        """Raise ValueError if the store holds another run."""
        known = _parsed(name.read_bytes())
        if not isinstance(known, dict) or "format" not in known:
            raise argument_error("store", "be a store of `learn`", f"{str(name)!r} is damaged", ELSEWHERE)
        for key, value in identity.items():
            both = [comparable(_parsed(one)) for one in (known.get(key), value)]
            if not equal(*both):
                place, there, here = difference(key, *both)
                came = f"{str(self.path)!r} holds one that differs in `{place}`: it is {there} there and {here} here"
                raise argument_error("store", "be a new path, or hold this run", came, ELSEWHERE)

    def _claim(self) -> None:
        """Keep other processes from writing to the store, from now on."""
        if self._lock is not None:
            return
        lock = (self.log.folder / "lock").open("a")
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                came = f"another process writes to {str(self.path)!r}"
                raise argument_error("store", "be free", came, "Wait until that run ends, or choose another path.") from None
        self._lock = lock

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
            self._claim()
        if self._due("log"):
            self.flush()

    def flush(self) -> None:
        """Write the records that wait to the log."""
        with self._timed("log"):
            self.log.append(self._waiting)
        self._waiting = []

    def show(self, dataset: Callable[[], xr.Dataset | None], now: bool = False) -> None:
        """Write the Dataset so far if its share of the time allows it, or `now`."""
        if self._lock is None or not (now or self._due("view")):  # a complete store is not claimed, and stays as it is
            return
        with self._timed("view"):
            so_far = dataset()
            if so_far is not None:
                self._view.write(so_far, complete=False)

    def finish(self, dataset: xr.Dataset) -> None:
        """Write the whole Dataset, unless it is there."""
        if self.complete and self._view.holds(dataset):
            return
        if self.complete:  # and damaged
            self._claim()
            self._view.discard()
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
            raise OSError(f"{came} What its log holds is whole: mend this, and call `learn` again to go on.") from error
        self._costs[what] = time.monotonic() - begun
        self._spent[what] += self._costs[what]


def _names(folder: Path) -> set[str]:
    """The names in a folder; a file that a kill left unfinished counts as the finished one."""
    names = (one.name for one in folder.iterdir()) if folder.is_dir() else ()
    return {"zarr.json" if re.fullmatch(r"zarr\..*\.partial", name) else name.removesuffix(".part") for name in names}


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
