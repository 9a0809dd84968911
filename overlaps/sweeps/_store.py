"""A sweep on disk: a Zarr group, in which each block of points is exactly one chunk of each variable.

It lies in a folder, or behind any URL that fsspec knows. docs/sweeps.md describes it.
"""

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from overlaps._support import argument_error, said
from overlaps.learning import VERSION
from overlaps.sweeps._points import Points, Region
from overlaps.sweeps._variables import FAILED, MEANINGS, TIME, Kept

SWEEP = "sweep"  # the attribute of the group that says what the sweep is; it is written last
DESCRIPTION = "log/description"
MEND = "Choose another path, or move this one away."


class Store:
    """The store of a sweep at a path or URL."""

    def __init__(self, path: Any):
        self.path = str(path)
        self._folder = None if "://" in self.path else Path(self.path)
        self._group: Any = None

    def found(self) -> Mapping[str, Any] | None:
        """What the sweep in the store is, or None if nothing is there. Raises ValueError for anything else."""
        if self._folder is not None and self._folder.exists() and not (self._folder / "zarr.json").exists():
            if self._folder.is_file() or any(self._folder.iterdir()):
                raise argument_error("store", "be a new path, or a store of `sweep`", f"{self.path!r} holds other files", MEND)
            return None
        try:
            with _calm():
                group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        except FileNotFoundError:  # also what Zarr says of nothing in object storage
            if self._folder is None and _anything(self.path):
                came = f"{self.path!r} holds other files"
                raise argument_error("store", "be a new path, or a store of `sweep`", came, MEND) from None
            return None
        known = group.attrs.asdict().get(SWEEP)
        if known is None:
            raise argument_error("store", "be a new path, or a store of `sweep`", f"{self.path!r} is another Zarr group", MEND)
        if not known:
            return None  # a kill came before the store was complete
        self._group = group
        return json.loads(known)  # pyright: ignore[reportArgumentType]

    def create(
        self,
        points: Points,
        chunks: tuple[int, ...],
        kept: Mapping[str, Kept],
        labels: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        """Make the store of a new sweep, in which all points are missing."""
        plain = {
            "status": Kept((), (), "int8", {**said("state of the point"), "flag_meanings": " ".join(MEANINGS)}),
            "error": Kept((), (), "str", said("what went wrong")),
            DESCRIPTION: Kept((), (), "str", said("what `build` made at the first point of each block")),
        }
        with self._writing():
            group = zarr.open_group(self.path, mode="w", zarr_format=3, attributes={SWEEP: ""})
            for name, one in {**kept, **plain}.items():
                fill: Any = {"status": 0, "error": "", DESCRIPTION: ""}[name] if name in plain else one.fill
                group.create_array(
                    name,
                    shape=(*points.sizes, *one.shape),
                    chunks=(*chunks, *(max(1, size) for size in one.shape)),
                    dtype=str if one.dtype == "str" else np.dtype(one.dtype),
                    fill_value=fill,
                    dimension_names=(*points.dims, *one.dims),
                    attributes=dict(one.attributes),
                )
            for name, (dims, values, attributes) in labels.items():
                _write_labels(group, name, dims, np.asarray(values), attributes)
            self._group = group
            self._write_points(points)
            names = [TIME, *points.values, *labels]
            coordinates = " ".join(dict.fromkeys(names))
            self._finish(points, {**settings, "chunks": chunks, "version": VERSION}, coordinates)

    def extend(self, points: Points, known: Mapping[str, Any]) -> None:
        """Make room for more points along the dimensions. What was there stays."""
        with self._writing():
            for name in (*known["kept"], "status", "error", DESCRIPTION):
                array = self._group[name]
                array.resize((*points.sizes, *array.shape[len(points.dims) :]))
            self._write_points(points)
            self._finish(points, known, self._group.attrs.asdict()["coordinates"])

    def _write_points(self, points: Points) -> None:
        for name, values in points.values.items():
            _write_labels(self._group, name, (points.along[name],), values, points.attributes[name])

    def _finish(self, points: Points, known: Mapping[str, Any], coordinates: Any) -> None:
        whole = {**known, "sizes": points.sizes, "dims": points.dims}
        self._group.attrs.update({SWEEP: json.dumps(whole), "coordinates": coordinates})
        zarr.consolidate_metadata(self._group.store)

    def points(self, known: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The coordinates of the points in the store."""
        sizes = dict(zip(known["dims"], known["sizes"], strict=True))
        with _calm():
            return {name: _plain(self._group[name][: sizes[dim]]) for name, dim in known["over"].items()}

    def read(self, name: str, region: Any) -> np.ndarray:
        """The values of a variable in a region of the points."""
        with _calm():
            if self._group is None:
                self._group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            try:
                return np.asarray(self._group[name][region])
            except (RuntimeError, ValueError) as error:
                mend = "docs/sweeps.md says how to repair it."
                raise OSError(f"The store {self.path!r} is damaged: `{name}` cannot be read, {error}. {mend}") from error

    def kept(self, known: Mapping[str, Any]) -> dict[str, Kept]:
        """The variables that the sweep keeps of each point."""
        found = {}
        for name in known["kept"]:
            array, lead = self._group[name], len(known["dims"])
            dims = tuple(array.metadata.dimension_names[lead:])
            found[name] = Kept(dims, array.shape[lead:], array.dtype.str, array.attrs.asdict())
        return found

    def write(self, region: Region, values: Mapping[str, np.ndarray], status: np.ndarray) -> None:
        """Write a whole block, and its status when all the rest of it is on disk. Raises OSError if this is not possible."""
        with self._writing():
            for name, one in values.items():
                self._group[name][region] = one
            self._sync(region, values)
            self._group["status"][region] = status
            self._sync(region, ["status"])

    def _sync(self, region: Region, names: Any) -> None:
        if self._folder is None:
            return  # an object storage says that it has an object when it is safe
        for name in names:
            array = self._group[name]
            chunk = [part.start // size for part, size in zip(region, array.chunks, strict=False)]
            chunk += [0] * (array.ndim - len(chunk))
            file = self._folder / name / array.metadata.encode_chunk_key(tuple(chunk))
            for path in (file, file.parent):
                with contextlib.suppress(FileNotFoundError):  # Zarr writes no chunk in which all is missing
                    descriptor = os.open(path, os.O_RDONLY)
                    os.fsync(descriptor)
                    os.close(descriptor)

    def free(self) -> float:
        """The free bytes where the store is, infinite if nobody can say."""
        return np.inf if self._folder is None else shutil.disk_usage(self._folder).free

    def open(self) -> xr.Dataset:
        """The whole sweep so far, whose values are read when they are needed."""
        with _calm():
            return xr.open_zarr(self.path, chunks=None)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with _calm():
                yield
        except OSError as error:
            came = f"The store {self.path!r} cannot be written: {error}."
            mend = "When it can be written again, call `sweep` again to go on."
            raise OSError(f"{came} What it holds is whole. {mend}") from error


def report(status: np.ndarray) -> dict[str, int]:
    """How many points are missing, done, diverged and failed."""
    return {name: int(np.sum(status == number)) for number, name in enumerate(MEANINGS)}


def to_do(status: np.ndarray) -> np.ndarray:
    """Which points are to be computed: those that are missing, and again those whose `build` or run raised an error."""
    return (status == 0) | (status == FAILED)


def _plain(values: Any) -> np.ndarray:
    return values.astype(str) if values.dtype.kind in "TO" else values


def _write_labels(group: Any, name: str, dims: tuple[str, ...], values: np.ndarray, attributes: Mapping[str, Any]) -> None:
    text = values.dtype.kind in "UO"
    if name in group:
        group[name].resize(values.shape)
    else:
        kind = str if text else values.dtype
        group.create_array(
            name, shape=values.shape, chunks=values.shape, dtype=kind, dimension_names=dims, attributes=dict(attributes)
        )
    group[name][...] = values.astype(object) if text else values


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Without what Zarr says of texts, and of metadata in one file, both of which xarray reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _anything(url: str) -> bool:
    """Whether there is anything behind a URL."""
    import fsspec  # of the extra `cluster`, which URLs need

    system, root = fsspec.core.url_to_fs(url)
    return system.exists(root) and bool(system.find(root))
