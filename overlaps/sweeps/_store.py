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
from overlaps.sweeps._lock import LOCK, alone
from overlaps.sweeps._points import Points, Region
from overlaps.sweeps._runs import said_of
from overlaps.sweeps._variables import FAILED, MEANINGS, TIME, Kept

SWEEP = "overlaps_sweep"  # the attribute of the group that says what the sweep is; it is written last
UNFINISHED = "being made"  # its value until then
LOG = "log"
DESCRIPTION = f"{LOG}/description"
MUST, MEND = "be a new path, or a store of `sweep`", "Choose another path, or move this one away."
COORDINATE = 1000  # values of a coordinate of points, at least, that share a file


class Store:
    """The store of a sweep at a path or URL."""

    def __init__(self, path: Any):
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise argument_error("store", "be a path, or a URL that fsspec knows", f"{path!r} came")
        text = str(path).removeprefix("file://")
        self._folder = None if "://" in text else Path(text).expanduser().absolute()
        self.path = text if self._folder is None else str(self._folder)
        self._group: Any = None

    def found(self, must: str = MUST, mend: str = MEND) -> Mapping[str, Any] | None:
        """What the sweep in the store is, or None if there is none yet. Raises ValueError, in these words, for other things."""
        names = self._names()
        if "zarr.json" not in names:
            if not names <= {LOG} or not self._names(LOG) <= {LOCK}:
                raise argument_error("store", must, f"{self.path!r} holds other files", mend)
            return None
        try:
            with _calm():
                group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
                known = group.attrs.asdict().get(SWEEP)
        except Exception as error:  # Zarr raises errors of many kinds for what is not a group
            came = f"{self.path!r} is not a Zarr group, or it is damaged ({said_of(error)})"
            raise argument_error("store", must, came, mend) from error
        if known == UNFINISHED:  # a kill came before the store was complete
            return None
        whole = _parsed(known)
        if whole is None:
            raise argument_error("store", must, f"{self.path!r} is another Zarr group", mend)
        self._group = group
        return whole

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other sweeps from writing to a folder. Raises ValueError if one does. A URL is not protected."""
        return contextlib.nullcontext() if self._folder is None else alone(self._folder / LOG)

    def _names(self, *within: str) -> set[str]:
        """The names of what lies in the store, or in one of its folders, apart from files that a kill left half-written."""
        if self._folder is None:
            system, root = _system("/".join([self.path, *within]))
            names = [one.rstrip("/").rsplit("/", 1)[-1] for one in system.ls(root, detail=False)] if system.exists(root) else []
        else:
            folder = self._folder.joinpath(*within)
            names = [""] if folder.is_file() else os.listdir(folder) if folder.exists() else []
        return {name for name in names if not name.endswith(".partial")}

    def create(
        self,
        points: Points,
        chunks: tuple[int, ...],
        kept: Mapping[str, Kept],
        labels: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        """Make the store of a new sweep, in which all points are missing. Raises ValueError if other things lie there."""
        plain = {
            "status": Kept((), (), "int8", {**said("state of the point"), "flag_meanings": " ".join(MEANINGS)}),
            "error": Kept((), (), "str", said("what went wrong")),
            DESCRIPTION: Kept((), (), "str", said("what `build` made at the first point of each block")),
        }
        other = sorted(self._names() - {"zarr.json", LOG, *kept, *plain, *labels, *points.values})
        if other:
            came = f"{self.path!r} holds {other[0]!r}, beside a sweep whose making was stopped"
            raise argument_error("store", MUST, came, MEND)
        with self._writing():
            group = zarr.open_group(self.path, mode="a", zarr_format=3, attributes={SWEEP: UNFINISHED})
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
                    overwrite=True,
                )
            for name, (dims, values, attributes) in labels.items():
                _make(group, name, dims, np.asarray(values), attributes)
            for name, values in points.values.items():
                _make(group, name, (points.along[name],), values, points.attributes[name], COORDINATE)
            self._group = group
            names = [TIME, *points.values, *labels]
            coordinates = " ".join(dict.fromkeys(names))
            self._finish(points, {**settings, "chunks": chunks, "version": VERSION}, coordinates)

    def extend(self, points: Points, known: Mapping[str, Any]) -> None:
        """Make room for more points along the dimensions. What was there stays."""
        with self._writing():
            for name in (*known["kept"], "status", "error", DESCRIPTION):
                array = self._group[name]
                array.resize((*points.sizes, *array.shape[len(points.dims) :]))
            for name, values in points.values.items():
                self._group[name].resize(values.shape)
                self._group[name][...] = _written(values)
            self._finish(points, known, self._group.attrs.asdict()["coordinates"])

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
                try:
                    self._group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
                except FileNotFoundError:
                    came = f"a process finds nothing at {self.path!r}"
                    raise argument_error("store", "be a place that all processes see", came) from None
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
        if self._folder is None:
            return np.inf
        return shutil.disk_usage(next(one for one in (self._folder, *self._folder.parents) if one.exists())).free

    def open(self) -> xr.Dataset:
        """The whole sweep so far, whose values are read when they are needed."""
        with _calm():
            return xr.open_zarr(self.path, chunks=None, decode_times=False, decode_timedelta=False)

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


def _parsed(text: Any) -> Mapping[str, Any] | None:
    """What the attribute of a sweep says, or None if no sweep wrote it."""
    with contextlib.suppress(TypeError, ValueError):
        known = json.loads(text)
        return known if isinstance(known, dict) and "version" in known else None
    return None


def _plain(values: Any) -> np.ndarray:
    return values.astype(object).astype(str) if values.dtype.kind in "TO" else values


def _written(values: np.ndarray) -> np.ndarray:
    return values.astype(object) if values.dtype.kind in "UO" else values


def _make(group: Any, name: str, dims: Any, values: np.ndarray, attributes: Mapping[str, Any], least: int = 1) -> None:
    """Write a coordinate, in chunks of at least so many values along each dimension."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(size, least) for size in values.shape),
        dtype=str if values.dtype.kind in "UO" else values.dtype,
        dimension_names=dims,
        attributes=dict(attributes),
        overwrite=True,
    )
    array[...] = _written(values)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Without what Zarr says of texts, and of metadata in one file, both of which xarray reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _system(url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path in it."""
    try:
        import fsspec
    except ModuleNotFoundError:
        raise argument_error(
            "store", "be a path", f"{url!r} came, and URLs need fsspec", 'Install "overlaps[cluster]".'
        ) from None
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return system, root
