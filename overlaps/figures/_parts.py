"""Parts that several figures use."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from overlaps.plots import overlap_style

COLUMN, PAGE = 3.4, 7.0  # width of a figure of one column, and of one that is as wide as the page, in inches
CIRCLES = {"linestyle": "none", "marker": "o", "markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.7}


def canvas(width: float, height: float) -> Any:
    """An empty matplotlib Figure of this size in inches, which lays its panels out so that nothing overlaps."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def letter(axes: Iterable[Any], first: str = "a") -> None:
    """Name panels a, b, c, ... at their upper left corners."""
    for index, ax in enumerate(axes):
        ax.set_title(chr(ord(first) + index), loc="left", fontweight="bold")


def draw_overlaps(dataset: xr.Dataset, ax: Any, visible: bool, over: str = "time", named: bool = True, **style: Any) -> None:
    """Draw the visible or the invisible overlaps over a coordinate, in the colours that they have in all figures."""
    for label in dataset["overlap"].values[dataset["visible"].values == visible]:
        look = {**overlap_style(label), **style}
        ax.plot(dataset[over], dataset["sigma"].sel(overlap=label), label=label if named else None, **look)


def legend_beside(ax: Any, **options: Any) -> None:
    """A legend to the right of a panel, where it hides nothing."""
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)


def shade_phases(dataset: xr.Dataset, ax: Any) -> None:
    """Shade every second phase, and name all phases above the panel."""
    phases, time = dataset["phase"].values, dataset["time"].values
    borders = [0, *np.flatnonzero(phases[1:] != phases[:-1]) + 1, len(phases)]
    for index, (first, last) in enumerate(itertools.pairwise(borders)):
        start, end = time[first], time[last - 1]
        if index % 2:
            ax.axvspan(start, end, color="0.93", linewidth=0, zorder=0)
        name = str(phases[first]).replace(" ", "\n", 1).replace(",", "")
        ax.text((start + end) / 2, 1.0, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=6)


def draw_matrix(values: Any, ax: Any, **options: Any) -> Any:
    """Draw a matrix as coloured cells, the first row on top: in vector files they are cells too, and no picture."""
    rows, columns = (np.arange(size) for size in np.shape(values))
    ax.invert_yaxis()
    return ax.pcolormesh(columns, rows, values, shading="nearest", **options)
