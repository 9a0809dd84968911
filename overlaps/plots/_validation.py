"""Figures of what `validate` returns, and of how Gaussian neurons are."""

import math
from typing import Any

import numpy as np
import scipy.special
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import label_of

SMALLEST_BIAS = 1e-6  # that is drawn
LONGEST_ROW = 4  # axes in a row of a figure of vectors


def plot_validation(dataset: xr.Dataset) -> Any:
    """How networks approach theory and infinite limit with their size, and over learning, from `validate`; returns the Figure.

    Left: deviations of the trained overlaps; middle: over learning time, by size; right: loss of all networks.
    """
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    end, sizes = dataset.isel(time=-1), dataset["size"].values
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.1, len(sizes)))
    for reference, color, name in (("mean_field", "C0", "infinite limit"), ("theory", "C3", "overlap theory")):
        values = end["deviation"].sel(reference=reference).transpose("size", "seed")
        left.plot(sizes, values, ".", color=color, alpha=0.35)
        left.plot(sizes, _typical(values), "o-", color=color, label=f"network - {name}")
    anchor = float(_typical(end["deviation"].sel(reference="mean_field").isel(size=0)))
    left.plot(sizes, anchor * np.sqrt(sizes[0] / sizes), ":", color="0.5", label="1 / sqrt(N)")
    if float(end["bias"]) > 0:
        left.axhline(float(end["bias"]), color="k", linestyle="--", label="closure bias")
        if sizes[0] < float(end["crossover"]) < 30 * sizes[-1]:
            crossover = float(end["crossover"])
            left.axvline(crossover, color="k", linewidth=0.6, label=f"crossover at {float(f'{crossover:.1e}'):,.0f} neurons")
        middle.plot(dataset["time"], dataset["bias"].where(dataset["bias"] > SMALLEST_BIAS), "k--", label="closure bias")
    left.set(xlabel="neurons", ylabel=label_of(dataset["deviation"]), xscale="log", yscale="log", title="after learning")
    typical = _typical(dataset["deviation"].sel(reference="mean_field"))
    for size, color in zip(sizes, shades, strict=True):
        middle.plot(dataset["time"], typical.sel(size=size), color=color, label=f"{size} neurons")
        right.plot(
            dataset["time"], dataset["loss"].sel(size=size).transpose("time", "seed"), color=color, alpha=0.5, linewidth=0.8
        )
    if float(typical.max()) > SMALLEST_BIAS:
        middle.set_ylim(bottom=max(middle.get_ylim()[0], SMALLEST_BIAS))
    middle.set(xlabel="learning time", ylabel="deviation from the infinite limit", yscale="log", title="while learning")
    for name, style, label in (("mean_field", "-", "infinite limit"), ("theory", "--", "overlap theory")):
        right.plot(dataset["time"], dataset[f"loss_{name}"], style, color="k", label=label)
    right.set(xlabel="learning time", ylabel=label_of(dataset["loss"]), yscale="log", title="loss")
    for ax in (left, middle, right):
        ax.legend(fontsize="small")
    return figure


def plot_quantiles(dataset: xr.Dataset, axes: Any = None, name: str = "final_vectors") -> Any:
    """Quantiles of the entries of each vector against normal ones (Q-Q), from `learn` on neurons.

    On the diagonal a vector is Gaussian. `axes`: an array or a list of Axes, one for each vector; None makes a figure that has
    them. `name`: "final_vectors" or "initial_vectors". Returns the Axes as an array, one for each vector. Raises ValueError for
    another number of Axes, and for a Dataset without the vectors of a single network or mean field.
    """
    axes = _panels(dataset, axes)
    for ax, label in zip(axes, dataset["vector"].values, strict=True):
        values, weights = _sorted(dataset, name, label)
        expected = scipy.special.ndtri(np.cumsum(weights) - weights / 2)
        ax.plot(expected, (values - np.sum(weights * values)) / _spread(values, weights), ".", markersize=2)
        ax.axline((0, 0), slope=1, color="k", linewidth=0.8)
        ax.set(xlabel="normal quantile", title=str(label))
    axes[0].set_ylabel("standardised quantile")
    return axes


def plot_histograms(dataset: xr.Dataset, axes: Any = None, name: str = "final_vectors", bins: int = 40) -> Any:
    """Histograms of the entries of each vector beside the normal density, from `learn` on neurons.

    `axes` and `name`: as in `plot_quantiles`; `bins`: number of bars. Returns and raises what `plot_quantiles` does.
    """
    axes = _panels(dataset, axes)
    for ax, label in zip(axes, dataset["vector"].values, strict=True):
        values, weights = _sorted(dataset, name, label)
        ax.hist(values, bins=bins, weights=weights, density=True, color="0.75")
        mean, spread = np.sum(weights * values), _spread(values, weights)
        x = mean + spread * np.linspace(-4, 4, 200)
        ax.plot(x, np.exp(-(((x - mean) / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi)), color="k")
        ax.set(xlabel=f"entry of {label}", title=str(label))
    axes[0].set_ylabel("density")
    return axes


def _typical(deviation: xr.DataArray) -> xr.DataArray:
    """The geometric mean over networks."""
    return xr.apply_ufunc(np.exp, xr.apply_ufunc(np.log, deviation).mean("seed"))


def _panels(dataset: xr.Dataset, axes: Any) -> Any:
    """One Axes per vector: those that came, or those of a new figure, in rows of equal length."""
    import matplotlib.pyplot as plt

    if "vector" not in dataset.dims or "batch" in dataset.dims:
        raise argument_error("dataset", "come from `learn` on one network or mean field", f"its dims are {tuple(dataset.dims)}")
    number = dataset.sizes["vector"]
    if axes is None:
        rows = math.ceil(number / LONGEST_ROW)
        columns = math.ceil(number / rows)
        axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 3.2 * rows), layout="constrained")[1].ravel()
        for ax in axes[number:]:
            ax.remove()
        return axes[:number]
    axes = np.ravel(axes)
    if len(axes) != number:
        mend = "Leave `axes` out to have them made."
        raise argument_error("axes", f"hold {number} Axes, one for each vector", f"{len(axes)} came", mend)
    return axes


def _sorted(dataset: xr.Dataset, name: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Entries of a vector in ascending order, and their weights."""
    values = dataset[name].sel(vector=label).values
    order = np.argsort(values)
    weights = dataset["weights"].values if "weights" in dataset else np.full(len(values), 1 / len(values))
    return values[order], weights[order]


def _spread(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(np.sum(weights * (values - np.sum(weights * values)) ** 2)))
