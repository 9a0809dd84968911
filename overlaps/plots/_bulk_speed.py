"""A figure of how a random bulk changes the speed of learning."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of

COLOURS = ("#0072B2", "#D55E00")


def plot_bulk_speed(dataset: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Draw the learning times to one half and to 1 % of the initial loss over the radius of the bulk.

    - `dataset`: a result of `bulk.speed`.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `style`: matplotlib arguments of the lines.

    A radius at which a network does not come down to a fraction has no point. Returns the Axes. Raises ValueError for another
    Dataset.
    """
    if "learning_time" not in dataset or "fraction" not in dataset.dims:
        raise argument_error("dataset", "be a result of `bulk.speed`", f"it has {list(dataset.data_vars)}")
    ax = axes_of(ax)
    for fraction, colour in zip(dataset["fraction"].values, COLOURS, strict=True):
        times = dataset["learning_time"].sel(fraction=fraction)
        shown = times.where(np.isfinite(times))
        ax.plot(
            dataset["radius"], shown, **{"color": colour, "marker": "o", "label": f"to {fraction:.0%} of the loss", **style}
        )
    ax.set(xlabel="radius g of the bulk", ylabel="learning time", ylim=(0, None))
    ax.legend()
    return ax
