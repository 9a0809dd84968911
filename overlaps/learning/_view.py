"""The Dataset of a run that goes on, as a Zarr group that other programs can open (docs/long_runs.md)."""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from overlaps.learning._log import FOLDER, sync_all, write

RUN = "run.json"  # the file of the log that says what the run is; it is written last
NOTES = "variables of learn"  # the attribute of the log that lists which folders beside it are the run's own

# What stands for points of time to come, by the kind of the type.
LATER = {
    "f": np.nan,
    "c": np.nan,
    "i": -1,
    "u": 0,
    "b": False,
    "U": "",
}


class View:
    """The Zarr group at `path`. The attribute `progress` says what is there: it is written after what it speaks of.

    `described`: the attributes that describe the run. `rows`: how many points of time the whole Dataset will have.
    """

    def __init__(self, path: Path, described: Mapping[str, str], rows: int):
        self.path, self._described, self._rows = path, described, rows

    def complete(self) -> bool:
        """Whether the whole Dataset is there."""
        try:
            return json.loads(json.loads((self.path / "zarr.json").read_bytes())["attributes"]["progress"])["complete"]
        except Exception:  # whatever a damaged file leads to
            return False

    def write(self, dataset: xr.Dataset, complete: bool) -> None:
        """Write the Dataset so far, with NaN for the points of time to come, or the whole one."""
        saved = dataset.sizes.get("time", 0)
        dataset = dataset if complete else _stretched(dataset, self._rows).assign_attrs(self._described)
        before = self._make_way(dataset, self._own(dataset))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Zarr says of text and of metadata in one file, both of which xarray reads
            texts = {name: one.astype(object) for name, one in dataset.variables.items() if one.dtype.kind == "U"}
            dataset.assign_coords(texts).assign_attrs(progress=json.dumps(before)).to_zarr(
                self.path, mode="a", consolidated=True, zarr_format=3
            )
        if complete:  # what is complete is not written again, so it has to be on disk
            folders = [self.path / str(name) for name in dataset.variables]
            sync_all([one for folder in folders for one in (folder, *folder.rglob("*"))])
        self._say({"complete": complete, "saved": saved})

    def holds(self, dataset: xr.Dataset) -> bool:
        """Whether this Dataset can be read, with all its numbers."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                listed, seen = (xr.open_zarr(self.path, chunks=None, consolidated=how) for how in (True, False))
            if not all(name in listed.variables for name in dataset.variables):
                return False
            if any(seen.attrs[name] != value for name, value in dataset.attrs.items()):
                return False
            return all(_alike(seen.variables[name], one) for name, one in dataset.variables.items())
        except Exception:  # whatever a damaged file leads to
            return False

    def discard(self) -> None:
        """Let the next Dataset be written anew."""
        (self.path / "zarr.json").unlink(missing_ok=True)

    def _own(self, dataset: xr.Dataset) -> set[str]:
        """The names of all variables that this run wrote or is about to write, which are noted before.

        Raises OSError if something of a user is in the way of one of them.
        """
        notes, wanted = self.path / FOLDER / "zarr.json", {str(name) for name in dataset.variables}
        noted = noted_in(notes)
        if noted is not None:
            for name in sorted(wanted - noted):
                if (self.path / name).exists():
                    raise FileExistsError(f"{str(self.path / name)!r} is not of this run, and is in the way: move it away")
        own = wanted | (noted or set())
        if own != noted:
            write(notes, json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {NOTES: sorted(own)}}).encode())
        return own

    def _make_way(self, dataset: xr.Dataset, own: set[str]) -> dict[str, Any]:
        """Remove variables that the Dataset does not have, or not in this shape; returns the progress until it is written."""
        nothing = {"complete": False, "saved": 0}
        folders = [self.path / name for name in sorted(own) if (self.path / name).is_dir()]
        try:
            progress = json.loads(json.loads((self.path / "zarr.json").read_bytes())["attributes"]["progress"])
            shapes = {folder: json.loads((folder / "zarr.json").read_bytes())["shape"] for folder in folders}
        except Exception:  # a view that is not there, or damaged: it is made anew
            for folder in folders:
                shutil.rmtree(folder)
            (self.path / "zarr.json").unlink(missing_ok=True)
            return nothing
        stale = [
            folder
            for folder, shape in shapes.items()
            if folder.name not in dataset.variables or shape != list(dataset[folder.name].shape)
        ]
        if stale or progress["complete"]:
            self._say(nothing)
            progress = nothing
        for folder in stale:
            shutil.rmtree(folder)
        return progress

    def _say(self, progress: dict[str, Any]) -> None:
        name = self.path / "zarr.json"
        group = json.loads(name.read_bytes())
        group["attributes"]["progress"] = json.dumps(progress)
        write(name, json.dumps(group).encode())


def noted_in(notes: Path) -> set[str] | None:
    """The variables that a run noted as its own, or None if there is no such note."""
    try:
        return set(json.loads(notes.read_bytes())["attributes"][NOTES])
    except (OSError, ValueError, KeyError, TypeError):  # no file, or a damaged or another one
        return None


def _alike(seen: xr.Variable, one: xr.Variable) -> bool:
    values = seen.values.astype(one.dtype)
    return seen.dims == one.dims and np.array_equal(values, one.values, equal_nan=one.dtype.kind in "fc")


def _stretched(dataset: xr.Dataset, rows: int) -> xr.Dataset:
    """The Dataset with as many points of time as there will be."""
    missing = rows - dataset.sizes.get("time", rows)
    if missing <= 0:
        return dataset
    longer = {}
    flat = dataset.reset_coords()
    for name, variable in flat.variables.items():
        if "time" in variable.dims:
            axis = variable.dims.index("time")
            shape = [missing if place == axis else size for place, size in enumerate(variable.shape)]
            later = np.full(shape, LATER[variable.dtype.kind], variable.dtype)
            longer[name] = (variable.dims, np.concatenate([variable.values, later], axis), variable.attrs)
    return flat.drop_vars(longer).assign(longer).set_coords(list(dataset.coords))
