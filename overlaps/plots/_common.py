"""What figures share."""

import itertools
from typing import Any

import numpy as np
import xarray as xr


def axes_of(ax: Any) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def time_of(dataset: xr.Dataset) -> xr.DataArray:
    """Learning time along the first axis; the networks of a batch may have their own, along the second."""
    return (dataset["learning_time"] if "learning_time" in dataset.coords else dataset["time"]).transpose("time", ...)


def shade_phases(dataset: xr.Dataset, ax: Any) -> None:
    """Shade every other phase and name all, where phases begin at one time for all networks."""
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
    units = variable.attrs["units"]
    return variable.attrs["long_name"] + ("" if units == "1" else f" ({units})")
