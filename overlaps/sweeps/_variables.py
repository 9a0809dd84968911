"""The variables that a sweep keeps of each point, and their values in the Datasets of `learn`."""

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, said
from overlaps.sweeps._runs import Outcome

DONE, DIVERGED, FAILED = 1, 2, 3  # 0: a point that is not computed yet
MEANINGS = ("missing", "done", "diverged", "failed")
TIME = "learning_time"
ALONE = "Keep `loss` alone, or sweep over each kind of network by itself."


@dataclasses.dataclass(frozen=True)
class Kept:
    """A variable that the store has for each point. `shape`: that of the values of one point."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attributes: Mapping[str, Any]

    @property
    def fill(self) -> Any:
        """The value at points that are not computed, and after a divergence."""
        return {"f": np.nan, "i": -1, "b": False}[np.dtype(self.dtype).kind]


def kept_of(dataset: xr.Dataset, keep: Sequence[str], rows: Mapping[str, int]) -> dict[str, Kept]:
    """The variables with the names `keep`, and the learning time, of runs like that of `dataset` with so many saved points.

    Raises ValueError for a name that `learn` does not return.
    """
    known = {str(name): one for name, one in _timed(dataset).variables.items() if one.dtype.kind in "fib" and name != "batch"}
    found = {}
    for name in dict.fromkeys((*keep, TIME)):
        if name not in known:
            came = f"{name!r} came"
            raise argument_error("keep", f"name variables of `learn`, which are {', '.join(sorted(known))}", came)
        dims = tuple(str(dim) for dim in known[name].dims if dim != "batch")
        shape = tuple(sum(rows.values()) if dim == "time" else dataset.sizes[dim] for dim in dims)
        found[name] = Kept(dims, shape, known[name].dtype.str, dict(known[name].attrs))
    return found


def labels_of(dataset: xr.Dataset, kept: Mapping[str, Kept], rows: Mapping[str, int]) -> dict[str, Any]:
    """The coordinates that all points share, such as the names of overlaps: dimensions, values and attributes."""
    dims = {dim for one in kept.values() for dim in one.dims} - {"time"}
    shared = {
        str(name): (tuple(map(str, one.dims)), one.values, dict(one.attrs))
        for name, one in dataset.coords.items()
        if one.dims and set(one.dims) <= dims and name not in kept
    }
    if "phase" in dataset.coords:
        names = np.repeat(list(rows), list(rows.values()))
        shared["phase"] = (("time",), names, dict(dataset["phase"].attrs))
    return shared


def checksums_of(labels: Mapping[str, Any]) -> dict[str, int]:
    """A number for each of the coordinates that all points share, by which others can be compared with it."""
    return {name: _checksum(values) for name, (_, values, _) in labels.items() if name != "phase"}


def _checksum(values: Any) -> int:
    return zlib.crc32(json.dumps(np.asarray(values).tolist()).encode())


def values_of(
    outcome: Outcome, kept: Mapping[str, Kept], rows: Mapping[str, int], labels: Mapping[str, int], number: int
) -> dict[str, np.ndarray]:
    """The values of the kept variables at `number` points that ran as one batch, with the rows of a run to the end.

    A run that stops early repeats its last row. Rows after a divergence are NaN. `labels`: the checksums of the coordinates
    that all points share. Raises ValueError if shapes or these coordinates do not fit.
    """
    values = {name: np.full((number, *one.shape), one.fill, one.dtype) for name, one in kept.items()}
    if outcome.dataset is None:
        return values
    dataset = _timed(outcome.dataset)
    index = _rows(dataset, rows, repeat=not outcome.all_diverged)
    there = index >= 0
    lost = np.ones((number, len(index)), bool)
    lost[:, there] = ~np.isfinite(dataset["loss"].values[:, index[there]])
    for name, one in kept.items():
        if name not in dataset.variables:
            continue  # all networks diverged, so there is no final state
        variable = dataset[name].variable
        variable = variable if "batch" in variable.dims else variable.set_dims({"batch": number, **variable.sizes})
        if "time" in variable.dims:
            variable = variable.isel(time=np.maximum(index, 0))
        found = variable.transpose("batch", *one.dims).values
        if found.shape[1:] != one.shape:
            came = f"`{name}` has the shape {found.shape[1:]} at this point, and {one.shape} at the first one"
            raise argument_error("keep", "name variables of one shape", came, ALONE)
        values[name] = found.copy()
        if "time" in one.dims:
            np.moveaxis(values[name], one.dims.index("time") + 1, 1)[lost] = one.fill
    for name, checksum in labels.items():
        here = dataset[name].values if name in dataset.coords else None
        if here is None or _checksum(here) != checksum:
            came = f"the labels `{name}` of its numbers are others at this point than at the first one"
            raise argument_error("keep", "name variables with the same labels at all points", came, ALONE)
    return values


def ends_of(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Whether each point is done or diverged, and when it diverged, in words. Needs the learning time of each row."""
    time = values[TIME]
    reached = np.isfinite(time)
    status = np.where(reached[:, -1], DONE, DIVERGED)
    texts = []
    for row, whole in zip(time, reached, strict=True):
        last = np.flatnonzero(whole)
        when = f"after learning time {row[last[-1]]:.6g}" if last.size else "at the start"
        texts.append("" if whole[-1] else f"The network diverged {when}.")
    return status, texts


def _timed(dataset: xr.Dataset) -> xr.Dataset:
    """The Dataset with a learning time, also where all networks have the same times."""
    if TIME in dataset.variables:
        return dataset
    return dataset.assign_coords({TIME: ("time", dataset["time"].values, said("learning time, learning rate x step"))})


def _rows(dataset: xr.Dataset, rows: Mapping[str, int], repeat: bool) -> np.ndarray:
    """For each row of a run to the end, the row of the Dataset that it shows: -1 for none.

    `repeat`: whether the last row of a phase stands for all that are missing after it.
    """
    names = dataset["phase"].values if "phase" in dataset.coords else np.full(dataset.sizes["time"], "")
    found = list(dict.fromkeys(names.tolist()))
    if found != list(rows)[: None if repeat else len(found)]:  # a run of which all networks diverged may lack the last phases
        came = f"the phases are {list(dict.fromkeys(names.tolist()))} at this point, and {list(rows)} at the first one"
        raise argument_error("build", "return the same phases at all points", came)
    parts = []
    for name, number in rows.items():
        there = np.flatnonzero(names == name)
        if len(there) > number:
            came = f"a run has {len(there)} of them at this point, and {number} at the first one"
            raise argument_error("saves", "be at most the number of steps + 1 at all points", came, f"Pass saves={number}.")
        last = there[-1] if repeat and there.size else -1
        parts.append(np.concatenate([there, np.full(number - len(there), last, int)]))
    return np.concatenate(parts)
