"""The figure of a sweep: a variable over its points."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of

WIDE = 30.0  # numbers whose largest is this many times the smallest are drawn on a logarithmic scale
MISSING = "0.8"  # the grey of points without a number


def plot_sweep(dataset: xr.Dataset, variable: str = "loss", x: str | None = None, y: str | None = None, ax: Any = None) -> Any:
    """Draw a variable of a sweep over one or two of its dimensions: a line, or a heat map.

    - `dataset`: a result of `sweep`, to which you may have added variables along its points.
    - `variable`: its name. Of a variable over `time` the last row is drawn. Select one overlap before you draw `sigma`.
    - `x`, `y`: the dimensions of the axes, or a coordinate along one, such as `seed` of a list of points. By default x is the
      last dimension of the variable, and y the one before, if there is one.
      The figure shows the mean over all other dimensions, of the points that have a number.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    Points without a number, such as those that diverged, are grey, and the title says so. Scales are logarithmic where
    numbers are positive and span more than a factor of 30. Returns the Axes. Raises ValueError for an unknown variable or
    dimension.
    """
    if variable not in dataset:
        raise argument_error("variable", f"be one of {', '.join(map(str, dataset.data_vars))}", f"{variable!r} came")
    drawn = dataset[variable]
    if drawn.dtype.kind not in "biuf":
        raise argument_error("variable", "have numbers", f"the values of {variable!r} are of the type {drawn.dtype}")
    drawn = drawn.isel(time=-1) if "time" in drawn.dims else drawn
    dims = [str(dim) for dim in drawn.dims]
    if "overlap" in dims:
        raise argument_error("dataset", "hold one overlap", "it holds several", 'Select one, with dataset.sel(overlap="uu").')
    for name, dim in (("x", x), ("y", y)):
        if dim not in dims and dim in drawn.coords and len(drawn[dim].dims) == 1:  # a coordinate of a list of points
            drawn = drawn.swap_dims({drawn[dim].dims[0]: dim}).sortby(dim)
            dims = [str(one) for one in drawn.dims]
        if dim is not None and dim not in dims:
            raise argument_error(name, f"be one of the dimensions {', '.join(dims)}", f"{dim!r} came")
    if not dims or (x is not None and x == y):
        raise argument_error("x", "be a dimension other than y", f"{x!r} came")
    x = x or [dim for dim in dims if dim != y][-1]
    y = y or next((dim for dim in reversed(dims) if dim != x), None)
    drawn = drawn.mean([dim for dim in dims if dim not in (x, y)], skipna=True).compute()
    ax = axes_of(ax)
    title = _said(dataset[variable])
    if y is None:
        ax.plot(_places(drawn, x, ax, "x"), drawn.values, "o-")
        ax.set_ylabel(title)
        ax.set_yscale(_scale(drawn.values))
        return ax
    ax.set_facecolor(MISSING)
    places = _places(drawn, x, ax, "x"), _places(drawn, y, ax, "y")
    colors = ax.pcolormesh(*places, drawn.transpose(y, x).values, shading="nearest", norm=_scale(drawn.values))
    ax.figure.colorbar(colors, ax=ax, label=title)
    if not np.all(np.isfinite(drawn.values)):
        ax.set_title("grey: no number")
    return ax


def _places(drawn: xr.DataArray, dim: str, ax: Any, axis: str) -> np.ndarray:
    """The places of the points along an axis, which gets its label, its scale, and names where the coordinate is a text."""
    values = drawn[dim].values
    ax.set(**{f"{axis}label": _said(drawn[dim])})
    if values.dtype.kind in "iuf":
        ax.set(**{f"{axis}scale": _scale(values)})
        return values
    places = np.arange(len(values))
    ax.set(**{f"{axis}ticks": places, f"{axis}ticklabels": values.tolist()})
    return places


def _said(variable: xr.DataArray) -> str:
    """What a variable is, in words if it has them, and its units."""
    units = variable.attrs.get("units", "1")
    return variable.attrs.get("long_name", str(variable.name)) + ("" if units == "1" else f" ({units})")


def _scale(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    wide = known.size and known.min() > 0 and known.max() > WIDE * known.min()
    return "log" if wide else "linear"
