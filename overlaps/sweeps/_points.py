"""The points of a sweep: a grid of coordinates, or a list of points, cut into blocks."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error

Region = tuple[slice, ...]


@dataclasses.dataclass(frozen=True)
class Points:
    """The points of a sweep, along one or more dimensions. Each coordinate has values along one of the dimensions.

    `values`: the values of each coordinate. `along`: the dimension of each coordinate. `attributes`: such as its long name.
    """

    dims: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    along: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, over: Any) -> "Points":
        """The points that the argument `over` of a sweep describes; raises ValueError if it is of another kind."""
        if isinstance(over, xr.Dataset):
            if len(over.dims) != 1:
                must, came = "have one dimension, along which its points are", f"it has the dimensions {list(over.dims)}"
                raise argument_error("over", must, came, "Pass a dict of coordinates for a product of them.")
            other = [str(name) for name, variable in over.variables.items() if variable.ndim != 1]
            if other:
                mend = "Give it a value at each point."
                raise argument_error("over", "have variables along its dimension alone", f"{other[0]!r} is not", mend)
            along = {str(name): str(variable.dims[0]) for name, variable in over.variables.items()}
            given: Mapping[Any, Any] = {name: over[name] for name in along}
            dims = (str(*over.dims),)
        elif isinstance(over, Mapping) and over:
            given, dims = over, tuple(over)
            along = {name: name for name in dims}
        else:
            must = "be a dict of 1-D coordinates, or a Dataset of points"
            raise argument_error("over", must, f"{over!r} came", 'For example: {"seed": range(10)}.')
        wrong = [name for name in along if not (isinstance(name, str) and name.isidentifier())]
        if wrong:
            must = "name the arguments of `build`"
            raise argument_error("over", must, f"the name {wrong[0]!r} came", "Choose a name with letters, digits and _ alone.")
        values = {name: _checked(name, given[name], isinstance(over, xr.Dataset)) for name in along}
        kept = ("long_name", "units")  # others, such as scale_factor, change the numbers when they are read
        said = {name: getattr(given[name], "attrs", {}) for name in along}
        attributes = {name: {one: str(there[one]) for one in kept if one in there} for name, there in said.items()}
        return cls(dims, values, along, attributes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of points along each dimension."""
        lengths = {self.along[name]: len(values) for name, values in self.values.items()}
        return tuple(lengths[dim] for dim in self.dims)

    def at(self, place: tuple[int, ...]) -> dict[str, Any]:
        """The coordinates of one point, as plain numbers and texts."""
        index = dict(zip(self.dims, place, strict=True))
        return {name: values[index[self.along[name]]].item() for name, values in self.values.items()}

    def within(self, region: Region) -> "Points":
        """The points of a region of the grid."""
        part = dict(zip(self.dims, region, strict=True))
        return dataclasses.replace(self, values={name: one[part[self.along[name]]] for name, one in self.values.items()})

    def places(self) -> Iterator[tuple[int, ...]]:
        """The places of all points in the grid, in order."""
        return itertools.product(*(range(size) for size in self.sizes))

    def some(self, number: int) -> list[tuple[int, ...]]:
        """At most `number` places, spread over the grid, with the first one."""
        total = math.prod(self.sizes)
        flat = np.unique(np.linspace(0, total - 1, min(number, total)).astype(int))
        return [tuple(int(one) for one in np.unravel_index(index, self.sizes)) for index in flat]


def _checked(name: str, values: Any, listed: bool) -> np.ndarray:
    """The values of a coordinate, in the widest type of their kind, so that any later value fits into the store."""
    argument, must = f"over[{name!r}]", "be a 1-D coordinate of numbers or texts"
    try:
        array = np.asarray(values)
    except ValueError:
        raise argument_error(argument, must, "lists of different lengths came") from None
    if array.dtype.kind in "OT" and all(isinstance(one, str) for one in array.astype(object).flat):
        array = array.astype(object).astype(str)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biufU":
        came = f"an array of shape {array.shape} and type {array.dtype} came"
        raise argument_error(argument, must, came, "Let `build` make other things, such as tasks, from a number or a name.")
    if array.dtype.kind == "U" and isinstance(values, list | tuple) and not all(isinstance(one, str) for one in values):
        raise argument_error(argument, "be numbers or texts", "both came")
    if (array.dtype.kind == "f" and np.isnan(array).any()) or np.ma.is_masked(values):
        raise argument_error(argument, "have a value at each point", "it has NaN, or masked values")
    if isinstance(values, xr.DataArray) and not listed and values.dims != (name,):
        mend = "Pass its values, or a Dataset of points."
        raise argument_error(argument, f"have the dimension {name!r}", f"it has {values.dims[0]!r}", mend)
    if not listed and len(np.unique(array)) < len(array):
        raise argument_error(argument, "have each value once", "a value comes twice")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        return array.astype(np.uint64)
    return array.astype({"i": np.int64, "u": np.int64, "f": np.float64, "b": bool}.get(array.dtype.kind, str))


def chunks_of(sizes: tuple[int, ...], block: int) -> tuple[int, ...]:
    """The shape of the blocks: at most `block` points, along the last dimension first, in blocks of nearly equal sizes."""
    shape, room = [], block
    for size in reversed(sizes):
        number = math.ceil(size / min(size, room))
        shape.append(math.ceil(size / number))
        room = max(1, room // shape[-1])
    return tuple(reversed(shape))


def regions_of(sizes: tuple[int, ...], chunks: tuple[int, ...]) -> list[Region]:
    """The regions of the grid that the blocks cover, in order."""
    starts = [range(0, size, chunk) for size, chunk in zip(sizes, chunks, strict=True)]
    return [
        tuple(slice(first, min(first + chunk, size)) for first, chunk, size in zip(corner, chunks, sizes, strict=True))
        for corner in itertools.product(*starts)
    ]
