"""A run on disk: the Dataset of `learn` as it grows, for readers, and the log from which a killed run goes on.

docs/long_runs.md describes the folder.
"""

import contextlib
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.learning._log import Log, write
from overlaps.learning._record import Record

FORMAT = 1
SHARE = 0.05  # of the time of a run, at most, that goes into writing while it goes on
FIRST_COSTS = {"log": 0.005, "show": 0.05}  # seconds that it takes to write a record, and to show a small Dataset


class Store:
    """A folder that holds one run: a Zarr group with its Dataset so far, and the folder `log`.

    `described`: what the run is, by name, as JSON texts. `state`: the first state. `first`: the Dataset before the run begins.
    `rows`: how many points of time the whole Dataset will have, unless the run stops early. Raises ValueError for a folder that
    holds something else, another run (naming the first difference), or that cannot be written.
    """

    def __init__(self, path: Any, described: Mapping[str, str], state: Any, first: xr.Dataset, rows: int):
        self.path, self._described, self._rows = Path(path), described, rows
        self.log = Log(self.path / "log")
        self._begun, self._spent, self._costs = time.monotonic(), 0.0, dict(FIRST_COSTS)
        self._waiting: list[tuple[int, int, Record]] = []
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(state):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        identity = {"format": FORMAT, **described, "numbers of the first state": digest.hexdigest()}
        try:
            self._open(identity, first)
        except OSError as error:
            must, mend = "be a folder that can be written", "Choose another path, or make room. What was there is as it was."
            raise argument_error("store", must, f"{str(self.path)!r} gave: {error}", mend) from error

    def _open(self, identity: dict[str, Any], first: xr.Dataset) -> None:
        name, mend = self.log.folder / "run.json", "Choose another path, or move this one away."
        if not name.exists():
            if self.path.exists() and not self.log.folder.exists() and (self.path.is_file() or any(self.path.iterdir())):
                came = f"{str(self.path)!r} holds other files"
                raise argument_error("store", "be a new path, or a store of `learn`", came, mend)
            self.log.folder.mkdir(parents=True, exist_ok=True)
            self._write(first, {"complete": False, "saved": 0})
            write(name, json.dumps(identity).encode())
            return
        try:
            known = json.loads(name.read_bytes())
        except ValueError as error:
            must = "be a store of `learn`"
            raise argument_error("store", must, f"{str(name)!r} is damaged: {error}", mend) from error
        for key, value in identity.items():
            if known.get(key) != value:
                here, there = (str(one)[:60] for one in (value, known.get(key)))
                came = f"{str(self.path)!r} holds one that differs in `{key}`: it is {there} there and {here} here"
                raise argument_error("store", "be a new path, or hold this run", came, mend)

    def append(self, phase: int, number: int, record: Record) -> None:
        """Take a record, and write the records that wait to the log if that takes no more than its share of the time.

        A kill loses the records that wait. They are computed again, to the same digits.
        """
        self._waiting.append((phase, number, record))
        if self._due("log"):
            self.flush()

    def flush(self) -> None:
        """Write the records that wait to the log."""
        with self._timed("log"):
            try:
                self.log.append(self._waiting)
            except OSError as error:
                came = f"The store {str(self.path)!r} cannot be written any more: {error}."
                raise OSError(f"{came} What it holds is whole: make room, and call `learn` again to go on.") from error
        self._waiting = []

    def show(self, dataset: Callable[[], xr.Dataset | None], now: bool = False) -> None:
        """Write the Dataset so far, with NaN for the points of time to come, if its share of the time allows it or `now`."""
        if not (now or self._due("show")):
            return
        with self._timed("show"):
            so_far = dataset()
            if so_far is not None:
                whole = _stretched(so_far, self._rows).assign_attrs(self._described)
                self._write(whole, {"complete": False, "saved": so_far.sizes["time"]})

    def _due(self, what: str) -> bool:
        return self._spent + self._costs[what] <= SHARE * (time.monotonic() - self._begun)

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._costs[what] = time.monotonic() - begun
        self._spent += self._costs[what]

    def finish(self, dataset: xr.Dataset) -> None:
        """Write the whole Dataset."""
        self.flush()
        self._write(dataset, {"complete": True, "saved": dataset.sizes["time"]})

    def _write(self, dataset: xr.Dataset, progress: dict[str, Any]) -> None:
        for name, variable in dataset.variables.items():  # an early stop leaves fewer points than were expected
            described = self.path / str(name) / "zarr.json"
            if described.exists() and json.loads(described.read_bytes())["shape"] != list(variable.shape):
                shutil.rmtree(described.parent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Zarr says of text and of metadata in one file, both of which xarray reads
            _with_texts(dataset).assign_attrs(progress=json.dumps(progress)).to_zarr(
                self.path, mode="a", consolidated=True, zarr_format=3
            )


def _stretched(dataset: xr.Dataset, rows: int) -> xr.Dataset:
    """The Dataset with as many points of time as there will be."""
    missing = rows - dataset.sizes["time"]
    if missing <= 0:
        return dataset
    variables = {}
    for name, variable in dataset.variables.items():
        if "time" in variable.dims:
            axis = variable.dims.index("time")
            shape = list(variable.shape)
            shape[axis] = missing
            empty = {"f": np.nan, "i": -1, "U": ""}[variable.dtype.kind]
            values = np.concatenate([variable.values, np.full(shape, empty, variable.dtype)], axis)
            variables[name] = (variable.dims, values, variable.attrs)
    return (
        dataset.drop_vars(variables)
        .assign_coords({k: v for k, v in variables.items() if k in dataset.coords})
        .assign({k: v for k, v in variables.items() if k not in dataset.coords})
    )


def _with_texts(dataset: xr.Dataset) -> xr.Dataset:
    """The Dataset with texts of any length, which all readers of Zarr know."""
    texts = {name: variable.astype(object) for name, variable in dataset.variables.items() if variable.dtype.kind == "U"}
    return dataset.assign_coords(texts)
