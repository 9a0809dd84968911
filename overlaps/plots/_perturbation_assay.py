"""The figure of the perturbation assay: speeds at which networks begin to learn new tasks, and what the speeds say."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import colour_bar, label_of, legend_beside, page, wrapped

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # of networks (Okabe and Ito)


def plot_perturbation_assay(dataset: xr.Dataset) -> Any:
    """Draw how fast networks begin to learn new tasks (probes), and what these speeds say about invisible overlaps.

    - `dataset`: a result of `studies.perturbation_assay`.

    Top: the speed of each network on each probe, divided by that of the first network. The crosses are the prediction from the
    overlaps. Left: the weight of each invisible overlap in the speed, for the first network; each row is divided by its
    largest entry. Right: the standard error of each combination of invisible overlaps, as estimated from the speeds. A
    combination that the speeds do not tell has a grey bar up to the upper edge. Returns the Figure. Raises ValueError for
    another Dataset.
    """
    if "perturbation_assay" not in dataset.attrs or "state" not in dataset.dims:
        raise argument_error("dataset", "be a result of studies.perturbation_assay", f"it has {list(dataset.data_vars)}")
    figure, (left, middle, right) = page("AA;BC", 5.0)
    states, probes = dataset["state"].values, dataset["probe"].values
    shift = 0.8 / len(states)
    for index, name in enumerate(states):
        one, places = dataset.sel(state=name), np.arange(len(probes)) + shift * (index - (len(states) - 1) / 2)
        left.bar(places, one["ratio"], shift, color=COLORS[index % len(COLORS)], label=name)
        first = dataset["speed"].isel(state=0)
        left.plot(
            places, one["predicted_speed"] / first, "kx", markersize=4, label=None if index else "predicted\nfrom overlaps"
        )
    left.set(xlabel="probe", ylabel=wrapped(label_of(dataset["ratio"])))
    left.set_xticks(range(len(probes)), probes)
    legend_beside(left)
    weight = dataset["weight"].isel(state=0, overlap=~dataset["visible"].values).transpose("probe", "overlap")
    largest = np.abs(weight.values).max(axis=1, keepdims=True)
    image = middle.imshow(weight / largest, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    middle.set_yticks(range(len(probes)), probes)
    middle.set_xticks(range(weight.sizes["overlap"]), weight["overlap"].values)
    middle.set(xlabel="invisible overlap", ylabel="probe", title=f"weight in the speed, {states[0]}")
    colour_bar(middle, image, "weight / largest of the probe")
    combinations = np.arange(dataset.sizes["combination"])
    known = dataset["error"].where(dataset["readable"])
    top = 10 * known.max().item()
    for index, name in enumerate(states):
        error = known.sel(state=name)
        places = combinations + 1 + shift * (index - (len(states) - 1) / 2)
        colors = np.where(np.isfinite(error), COLORS[index % len(COLORS)], "0.85")
        right.bar(places, error.fillna(top), shift, color=colors, label=name)
    right.set(yscale="log", ylim=(known.min().item() / 3, top), xticks=combinations + 1)
    right.set(xlabel="combination of invisible overlaps", ylabel="standard error", title="grey: the speeds do not tell it")
    return figure
