"""Figures of the errors of the overlap theory, and of the distribution of the neurons."""

import math
from typing import Any

import numpy as np
import scipy.special
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, PAGE, label_of, legend_beside, page, scaled

SMALLEST_BIAS = 1e-6  # smaller ones are not drawn
LONGEST_ROW = 4  # the most Axes in one row of a figure with one Axes per vector


def plot_validation(dataset: xr.Dataset) -> Any:
    """Draw how far networks of several sizes are from the overlap theory and from their infinite limit (the mean field).

    - `dataset`: a result of `validate`.

    The closure bias is the difference between the overlap theory and the infinite limit. It comes from the Gaussian closure,
    the assumption that vectors are Gaussian over neurons. Top: deviations of the trained overlaps against the number of
    neurons; small dots are single networks, lines their geometric mean. Middle: the deviation from the infinite limit over
    learning time, for each size. Bottom: the loss of every network (thin lines in the colours of the middle panel), of the
    infinite limit and of the overlap theory. Returns the Figure.
    """
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = page("A;B;C", 6.2)
    end, sizes = dataset.isel(time=-1), dataset["size"].values
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.1, len(sizes)))
    for reference, color, name in (("mean_field", "#0072B2", "infinite limit"), ("theory", "#D55E00", "overlap theory")):
        values = end["deviation"].sel(reference=reference).transpose("size", "seed")
        left.plot(sizes, values, ".", color=color, alpha=0.35)
        left.plot(sizes, _typical(values), "o-", color=color, label=f"network against\n{name}")
    anchor = float(_typical(end["deviation"].sel(reference="mean_field").isel(size=0)))
    left.plot(sizes, anchor * np.sqrt(sizes[0] / sizes), ":", color="0.5", label="1 / sqrt(N)")
    if float(end["bias"]) > 0:
        left.axhline(float(end["bias"]), color="k", linestyle="--", label="closure bias\n(theory against limit)")
        if sizes[0] < float(end["crossover"]) < 30 * sizes[-1]:
            crossover = float(end["crossover"])
            left.axvline(crossover, color="k", linewidth=0.6, label=f"crossover: {float(f'{crossover:.1e}'):,.0f} neurons")
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
    middle.set(xlabel=LEARNING_TIME, ylabel="deviation from the limit", yscale="log", title="while learning")
    for name, style, label in (("mean_field", "-", "infinite limit"), ("theory", "--", "overlap theory")):
        right.plot(dataset["time"], dataset[f"loss_{name}"], style, color="k", label=label)
    right.set(xlabel=LEARNING_TIME, ylabel=label_of(dataset["loss"]), yscale="log", title="loss (thin lines: networks)")
    for ax in (left, middle, right):
        legend_beside(ax)
    return figure


def plot_quantiles(dataset: xr.Dataset, axes: Any = None, name: str = "final_vectors") -> Any:
    """Draw the quantiles of the entries of each connectivity vector against those of a normal distribution (Q-Q plot).

    - `dataset`: a result of `learn` on one network of neurons or one mean field.
    - `axes`: matplotlib Axes to draw into, one per vector, as an array or a list. None makes a new figure.
    - `name`: "final_vectors" for the trained vectors, or "initial_vectors".

    The entries are shifted and scaled to mean 0 and variance 1. If they are Gaussian, the points lie on the diagonal. Returns
    the Axes as an array, one per vector. Raises ValueError for another number of Axes, and for a Dataset without the vectors of
    a single network or mean field.
    """
    axes = _panels(dataset, axes)
    for ax, label in zip(axes, dataset["vector"].values, strict=True):
        values, weights = _sorted(dataset, name, label)
        expected = scipy.special.ndtri(np.cumsum(weights) - weights / 2)
        ax.plot(expected, (values - np.sum(weights * values)) / _spread(values, weights), ".", markersize=2)
        ax.axline((0, 0), slope=1, color="k", linewidth=0.8)
        ax.set(xlabel="normal quantile", title=str(label))
    axes[0].set_ylabel("quantile of the entries\n(standardised)")
    return axes


def plot_histograms(dataset: xr.Dataset, axes: Any = None, name: str = "final_vectors", bins: int = 40) -> Any:
    """Draw a histogram of the entries of each connectivity vector, with the normal density of equal mean and variance.

    - `dataset`, `axes` and `name`: as in `plot_quantiles`.
    - `bins`: number of bars.

    Returns the Axes as an array, one per vector, and raises the errors of `plot_quantiles`.
    """
    axes = _panels(dataset, axes)
    for ax, label in zip(axes, dataset["vector"].values, strict=True):
        values, weights = _sorted(dataset, name, label)
        ax.hist(values, bins=bins, weights=weights, density=True, color="0.75")
        mean, spread = np.sum(weights * values), _spread(values, weights)
        x = mean + spread * np.linspace(-4, 4, 200)
        ax.plot(x, np.exp(-(((x - mean) / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi)), color="k")
        ax.set(xlabel=f"entries of {label}", title=str(label))
    axes[0].set_ylabel("density")
    return axes


def _typical(deviation: xr.DataArray) -> xr.DataArray:
    """The geometric mean over networks."""
    return xr.apply_ufunc(np.exp, xr.apply_ufunc(np.log, deviation).mean("seed"))


def _panels(dataset: xr.Dataset, axes: Any) -> Any:
    """One Axes per vector: the given ones, or those of a new figure, in rows of at most `LONGEST_ROW`."""
    import matplotlib.pyplot as plt

    if "vector" not in dataset.dims or "batch" in dataset.dims:
        raise argument_error("dataset", "come from `learn` on one network or mean field", f"its dims are {tuple(dataset.dims)}")
    number = dataset.sizes["vector"]
    if axes is None:
        rows = math.ceil(number / LONGEST_ROW)
        columns = math.ceil(number / rows)
        axes = plt.subplots(
            rows, columns, figsize=scaled(PAGE * max(columns, 2) / LONGEST_ROW, 2.0 * rows), layout="constrained"
        )[1].ravel()
        for ax in axes[number:]:
            ax.remove()
        return axes[:number]
    axes = np.ravel(axes)
    if len(axes) != number:
        mend = "Leave `axes` out, and the function makes a new figure."
        raise argument_error("axes", f"hold {number} Axes, one for each vector", f"{len(axes)} came", mend)
    return axes


def _sorted(dataset: xr.Dataset, name: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Entries of a vector in ascending order, and their weights."""
    values = dataset[name].sel(vector=label).values
    order = np.argsort(values)
    weights = dataset["weights"].values if "weights" in dataset else np.full(len(values), 1 / len(values))
    return values[order], weights[order]


def _spread(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted standard deviation."""
    return float(np.sqrt(np.sum(weights * (values - np.sum(weights * values)) ** 2)))
