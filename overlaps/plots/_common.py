"""Parts that several figures use."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

LEARNING_TIME = "learning time (learning rate x step)"  # the axis label


def axes_of(ax: Any) -> Any:
    """The given Axes, or those of a new figure for None."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def time_of(dataset: xr.Dataset) -> xr.DataArray:
    """Learning time along the first axis. If the networks of a batch have times of their own, the second axis is the batch."""
    return (dataset["learning_time"] if "learning_time" in dataset.coords else dataset["time"]).transpose("time", ...)


def shade_phases(dataset: xr.Dataset, ax: Any) -> None:
    """Shade every second phase and name all phases. Draws nothing if networks of a batch have times of their own."""
    if "phase" not in dataset.coords or time_of(dataset).ndim > 1:
        return
    phases, time = dataset["phase"].values, time_of(dataset).values
    starts = [0, *(np.flatnonzero(phases[1:] != phases[:-1]) + 1), len(phases)]
    for index, (first, last) in enumerate(itertools.pairwise(starts)):
        if index % 2:
            ax.axvspan(time[first], time[last - 1], color="0.93", zorder=0)
        middle = (time[first] + time[last - 1]) / 2
        ax.text(middle, 1.0, phases[first], transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize="small")


def label_of(variable: xr.DataArray) -> str:
    """The axis label of a variable: its long name, with its units in brackets."""
    units = variable.attrs["units"]
    return variable.attrs["long_name"] + ("" if units == "1" else f" ({units})")
