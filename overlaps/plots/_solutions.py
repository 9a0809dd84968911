"""Figures of networks with equal outputs: ranges of invisible overlaps, directions of learning, and changes by cycles."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, colour_bar, label_of, legend_beside, wrapped


def plot_admissible(dataset: xr.Dataset, ax: Any = None) -> Any:
    """Draw in which range each invisible overlap can lie while the network keeps its outputs.

    Invisible overlaps are those on which the outputs do not depend.

    - `dataset`: a result of `studies.admissible`.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    Dots are the values of the network. A blue line is the range of an overlap while all other overlaps stay fixed; a range
    without an end goes on to the edge of the figure. An orange mark is the smallest possible value if the other invisible
    overlaps may change as well. Returns the Axes. Raises ValueError for another Dataset.
    """
    _require(dataset, "lower", "admissible")
    ax = axes_of(ax)
    value, rows = dataset["value"].values, np.arange(dataset.sizes["overlap"])
    ends = np.concatenate([dataset["lower"].values, dataset["upper"].values, value])
    low, high = ends[np.isfinite(ends)].min(), ends[np.isfinite(ends)].max()
    margin = 0.1 * (high - low)
    lower, upper = dataset["lower"].clip(low - margin), dataset["upper"].clip(None, high + margin)
    ax.hlines(rows, lower, upper, color="#0072B2", linewidth=4, label="range, other\noverlaps fixed")
    ax.plot(value, rows, "ko", label="value in this\nnetwork")
    ax.plot(dataset["least"], rows, "|", color="#D55E00", markersize=12, label="minimum, other\ninvisible\noverlaps free")
    ax.set_yticks(rows, dataset["overlap"].values)
    ax.set(xlabel="value of the overlap", ylabel="invisible overlap")
    ax.set(xlim=(low - margin, high + margin), ylim=(len(rows) - 0.5, -0.5))
    legend_beside(ax)
    return ax


def plot_directions(dataset: xr.Dataset, ax: Any = None) -> Any:
    """Draw in which directions of overlap space learning returns to a solution of a task, and how fast.

    - `dataset`: a result of `studies.solution_manifold`.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    Each row is a direction, a combination of overlaps; the columns are its components. The numbers at the left are the rates at
    which gradient flow shrinks a deviation of the network in that direction, the fastest first. Below the black line the rate
    is 0: these directions are tangent to the set of all solutions. Returns the Axes. Raises ValueError for another Dataset.
    """
    _require(dataset, "direction_overlaps", "solution_manifold")
    ax = axes_of(ax)
    image = ax.imshow(dataset["direction_overlaps"], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    rates = dataset["rate"].values
    ax.set_xticks(range(len(rates)), dataset["overlap"].values)
    ax.set_yticks(range(len(rates)), [f"{rate:.3g}" for rate in rates])
    ax.axhline(int(np.sum(~dataset["flat"].values)) - 0.5, color="k", linewidth=0.8)
    ax.set(xlabel="overlap", ylabel=wrapped("decay rate of a deviation (1 / learning time)"))
    colour_bar(ax, image, "component of the direction")
    return ax


def plot_holonomy(dataset: xr.Dataset, ax: Any = None) -> Any:
    """Draw the holonomy: the change of each overlap that remains after learning another task and the first task again.

    - `dataset`: a result of `studies.holonomy`; the first of its cycles is drawn.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    Blue bars are the change that gradient flow makes. Orange bars are the prediction of `studies.predicted_holonomy`, a
    curvature times the area of the cycle. Returns the Axes. Raises ValueError for another Dataset.
    """
    _require(dataset, "predicted", "holonomy")
    ax = axes_of(ax)
    columns = np.arange(dataset.sizes["overlap"])
    first = dataset.isel(step=0)
    ax.bar(columns - 0.2, first["change"], 0.4, color="#0072B2", label="measured, by\ngradient flow")
    ax.bar(columns + 0.2, first["predicted"], 0.4, color="#E69F00", label="predicted,\ncurvature x area")
    ax.axhline(0.0, color="k", linewidth=0.8)
    ax.set_xticks(columns, dataset["overlap"].values)
    ax.set(xlabel="overlap", ylabel=wrapped(label_of(dataset["change"]), 20))
    legend_beside(ax)
    return ax


def _require(dataset: xr.Dataset, name: str, study: str) -> None:
    """Refuse a Dataset that lacks a variable of the study."""
    if name not in dataset:
        raise argument_error("dataset", f"be a result of studies.{study}", f"it has {list(dataset.data_vars)}")
