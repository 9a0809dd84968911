"""Figures of networks of one function: ranges of invisible overlaps, directions of learning, and what cycles leave behind."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, label_of


def plot_admissible(dataset: xr.Dataset, ax: Any = None) -> Any:
    """The interval of each invisible overlap, from `studies.admissible`, with its value as a dot; returns the Axes.

    Intervals without an end reach to the edge of the figure. Raises ValueError for another Dataset.
    """
    _require(dataset, "lower", "admissible")
    ax = axes_of(ax)
    value, rows = dataset["value"].values, np.arange(dataset.sizes["overlap"])
    ends = np.concatenate([dataset["lower"].values, dataset["upper"].values, value])
    low, high = ends[np.isfinite(ends)].min(), ends[np.isfinite(ends)].max()
    margin = 0.1 * (high - low)
    ax.hlines(rows, dataset["lower"].clip(low - margin), dataset["upper"].clip(None, high + margin), color="C0", linewidth=4)
    ax.plot(value, rows, "ko", label="value")
    ax.plot(dataset["least"], rows, "C3|", markersize=12, label="least, all others free")
    ax.set_yticks(rows, dataset["overlap"].values)
    ax.set(xlabel=label_of(dataset["value"]), xlim=(low - margin, high + margin), ylim=(len(rows) - 0.5, -1.2))
    ax.legend(fontsize="small", ncols=2, loc="upper right")
    return ax


def plot_directions(dataset: xr.Dataset, ax: Any = None) -> Any:
    """Directions around a solution, from `studies.solution_manifold`, with their learning rates; returns the Axes.

    Rows are directions, the fastest first, and those that learning never closes below the line; columns are overlaps. Raises
    ValueError for another Dataset.
    """
    _require(dataset, "direction_overlaps", "solution_manifold")
    ax = axes_of(ax)
    image = ax.imshow(dataset["direction_overlaps"], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    rates = dataset["rate"].values
    ax.set_xticks(range(len(rates)), dataset["overlap"].values)
    ax.set_yticks(range(len(rates)), [f"{rate:.3g}" for rate in rates])
    ax.axhline(int(np.sum(~dataset["flat"].values)) - 0.5, color="k", linewidth=0.8)
    ax.set(xlabel="overlap", ylabel=label_of(dataset["rate"]))
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label=dataset["direction_overlaps"].attrs["long_name"])
    return ax


def plot_holonomy(dataset: xr.Dataset, ax: Any = None) -> Any:
    """The change of each overlap in the first cycle, from `studies.holonomy`: measured and predicted; returns the Axes.

    Raises ValueError for another Dataset.
    """
    _require(dataset, "predicted", "holonomy")
    ax = axes_of(ax)
    columns = np.arange(dataset.sizes["overlap"])
    first = dataset.isel(step=0)
    ax.bar(columns - 0.2, first["change"], 0.4, label="gradient flow")
    ax.bar(columns + 0.2, first["predicted"], 0.4, label="curvature x area")
    ax.axhline(0.0, color="k", linewidth=0.8)
    ax.set_xticks(columns, dataset["overlap"].values)
    ax.set(xlabel="overlap", ylabel=label_of(dataset["change"]))
    ax.legend(fontsize="small")
    return ax


def _require(dataset: xr.Dataset, name: str, study: str) -> None:
    if name not in dataset:
        raise argument_error("dataset", f"be a result of studies.{study}", f"it has {list(dataset.data_vars)}")
