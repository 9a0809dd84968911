"""Figures of what curves of learning tell about overlaps."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import legend_above, page, wrapped
from overlaps.plots._style import KINDS

NULL = "0.55"


def plot_identifiability(dataset: xr.Dataset) -> Any:
    """Draw which combinations of overlaps the curves of an experiment reveal, and how precisely they give each overlap.

    - `dataset`: a result of `inference.identifiability`.

    Left: the change of the curves, in units of their noise, for a unit step along each direction of overlap space. The
    directions that change the curves most come first. Crosses are null directions, along which the curves do not change, each
    with the symmetry that explains it. Right: the standard error of each overlap, in the colour of visible overlaps (the
    function depends on them) or of invisible ones. If a null direction changes an overlap, its standard error is infinite. The
    open circle is then that of the part of the overlap at right angles to the null directions. Returns the Figure. Raises
    ValueError for another Dataset.
    """
    if "identifiability" not in dataset.attrs:
        raise argument_error("dataset", "be a result of inference.identifiability", f"it has {list(dataset.data_vars)}")
    count = dataset.sizes["overlap"]
    figure, (left, right) = page("AB", 1.6 + 0.17 * max(count, 10))
    _draw_directions(left, dataset)
    _draw_errors(right, dataset)
    legend_above(figure, [left, right], 2)
    return figure


def _draw_directions(ax: Any, dataset: xr.Dataset) -> None:
    sizes, null = dataset["singular_value"].values, dataset["null"].values
    number = np.arange(1, len(sizes) + 1)
    ax.semilogy(number[~null], sizes[~null], "ko", markersize=5, label="direction that the curves show")
    if null.any():
        drawn = np.maximum(sizes[null], np.finfo(float).tiny)
        ax.semilogy(number[null], drawn, "x", color=NULL, markersize=8, label="null direction")
    for one in np.flatnonzero(null):
        text, place = f"{dataset['why'].values[one]}  ", (number[one], max(sizes[one], np.finfo(float).tiny))
        ax.annotate(text, place, ha="right", va="center", color=NULL)
    ax.axhline(1.0, color="0.8", linewidth=0.8, zorder=0)
    ax.set(xlabel="direction of overlap space", ylabel=wrapped("change of the curves per unit step (in units of noise)", 30))


def _draw_errors(ax: Any, dataset: xr.Dataset) -> None:
    rows, visible, seen = np.arange(dataset.sizes["overlap"]), dataset["visible"].values, dataset["seen"].values
    free, value = dataset["free_error"].values, np.abs(dataset["value"].values)
    for name, color in KINDS.items():
        for whole, face in ((True, color), (False, "none")):
            chosen = (visible == (name == "visible")) & (seen == whole)
            if chosen.any():
                label = f"{name} overlap" if whole else f"{name} overlap, its part without null directions"
                ax.plot(free[chosen], rows[chosen], "o", color=color, markerfacecolor=face, markersize=6, label=label)
    ax.plot(value, rows, "|", color="0.6", markersize=9, zorder=0, label="size of the overlap itself")
    ax.set_yticks(rows, dataset["overlap"].values)
    ax.set(xscale="log", xlabel="standard error of the overlap", ylabel="overlap", ylim=(len(rows) - 0.5, -0.5))
