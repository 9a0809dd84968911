"""The Dataset of a run that goes on, as a Zarr group that other programs can open (docs/long_runs.md)."""

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from overlaps.learning._log import FOLDER, write

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
        before = self._make_way(dataset)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Zarr says of text and of metadata in one file, both of which xarray reads
            texts = {name: one.astype(object) for name, one in dataset.variables.items() if one.dtype.kind == "U"}
            dataset.assign_coords(texts).assign_attrs(progress=json.dumps(before)).to_zarr(
                self.path, mode="a", consolidated=True, zarr_format=3
            )
        self._say({"complete": complete, "saved": saved})

    def _make_way(self, dataset: xr.Dataset) -> dict[str, Any]:
        """Remove variables that the Dataset does not have, or not in this shape; returns the progress until it is written."""
        nothing = {"complete": False, "saved": 0}
        folders = [file.parent for file in self.path.glob("*/zarr.json") if file.parent.name != FOLDER]  # not those of a user
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
