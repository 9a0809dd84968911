"""The figure of what a low-rank change of the initial W explains of a trained network."""

from typing import Any

import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, label_of, legend_beside

PARTS = {"with bulk": {"color": "#0072B2", "marker": "o"}, "without bulk": {"color": "#D55E00", "marker": "s"}}


def plot_explained(dataset: xr.Dataset, ax: Any = None) -> Any:
    """Draw the loss of W0 plus a low-rank change, and of the change alone, over its rank. W0 is W before training.

    - `dataset`: a result of `bulk.explained`.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    The dotted line is the loss of the trained network. Returns the Axes. Raises ValueError for another Dataset.
    """
    if "bulk_explained" not in dataset.attrs:
        raise argument_error("dataset", "be a result of bulk.explained", f"it has {list(dataset.data_vars)}")
    ax = axes_of(ax)
    for part, style in PARTS.items():
        ax.plot(dataset["rank"], dataset["loss"].sel(part=part), markersize=4, label=part, **style)
    ax.axhline(dataset["trained_loss"].item(), color="k", linestyle=":", linewidth=0.8, label="trained network")
    ax.set_yscale("log")
    ax.set_xticks(dataset["rank"])
    ax.set(xlabel=label_of(dataset["rank"]), ylabel=label_of(dataset["loss"]))
    legend_beside(ax)
    return ax
