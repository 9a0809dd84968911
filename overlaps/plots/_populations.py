"""Figures of populations of neurons, and of how many of them a network needs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.connectivity import Layout, Network, Populations, square_root
from overlaps.plots._common import PAGE, label_of, legend_above, page, scaled

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")  # colour-blind safe (Okabe and Ito)
STYLES = ("-", "--", ":", "-.")  # for more populations than colours
FIRST = ("vu", "zu", "vm", "zm")  # blocks of the pairs that are drawn first if the user names none
MOST_PAIRS = 10
LONGEST_ROW = 4  # panels
MOST_NEURONS = 4000  # drawn, spread evenly over a larger network
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 121)), np.sin(np.linspace(0, 2 * np.pi, 121))])
BAND = (0.05, 0.95)  # quantiles over draws


def plot_populations(populations: Any, network: Any = None, pairs: Sequence[str] | None = None) -> Any:
    """Draw the populations of a network in the planes of pairs of connectivity vectors.

    Each panel has one pair of vectors. The mean of a population is a cross. Around it are the ellipses at one and at two
    standard deviations. Lines are thicker for populations with more neurons.

    - `populations`: a single `Populations`.
    - `network`: the `Network` that they describe. Its neurons are drawn as points, in the colour of the population to which
      they most probably belong (`Populations.assign`). Of a large network 4,000 neurons are drawn. None draws no neurons.
      If the populations describe neurons up to their sign, pass `populations.align(network)`.
    - `pairs`: labels of pairs such as "zu" or "v1u2". The first vector is the vertical axis. By default all pairs are drawn, or
      ten of them if there are more: first those of v and u, then of z and u, v and m, z and m.

    Returns the Figure. Raises ValueError for a batch, and for a network with other vectors. Raises KeyError for unknown pairs.
    """
    import matplotlib.pyplot as plt

    if not isinstance(populations, Populations) or populations.batch:
        raise argument_error("populations", "be a single Populations", f"{populations!r} came", "Plot a batch one by one.")
    places = _places(populations.layout, pairs)
    rows = math.ceil(len(places) / LONGEST_ROW)
    columns = math.ceil(len(places) / rows)
    size = scaled(PAGE * max(columns, 2) / LONGEST_ROW, PAGE / LONGEST_ROW * rows + 0.6)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in grid.flat[len(places) :]:
        ax.remove()
    neurons = None if network is None else _neurons(populations, network)
    labels, handles = populations.layout.labels, []
    for ax, (row, column) in zip(grid.flat, places, strict=False):
        ax.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
        ax.axvline(0.0, color="0.85", linewidth=0.8, zorder=0)
        if neurons is not None:
            vectors, colors = neurons
            ax.scatter(vectors[:, column], vectors[:, row], s=6, c=colors, alpha=0.45, linewidths=0, rasterized=True)
        handles = _draw(populations, [column, row], ax)
        ax.set(xlabel=f"entries of {labels[column]}", ylabel=f"entries of {labels[row]}", title=labels[row] + labels[column])
    names = [f"population {index} ({100 * weight:.0f} %)" for index, weight in enumerate(np.asarray(populations.weights))]
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, 3), frameon=False)
    return figure


def plot_population_fits(report: xr.Dataset) -> Any:
    """Draw how well mixtures with several numbers of populations describe a network.

    - `report`: that of `Populations.fit` with several numbers of populations, as in `fits, report = Populations.fit(...)`.

    Left: the error of the output. The band is the error of networks whose neurons are redrawn with replacement: from the 5th to
    the 95th percentile over draws, with the median as a line. An error below the band is smaller than what the choice of single
    neurons changes. Right: the Bayesian information criterion (smaller is better), minus its smallest value.

    Returns the Figure. Raises ValueError for another Dataset.
    """
    if not isinstance(report, xr.Dataset) or not {"output_error", "resampling_error", "bic"} <= set(report.data_vars):
        came = f"it has {list(report.data_vars)}" if isinstance(report, xr.Dataset) else f"{type(report).__name__} came"
        mend = "Pass the second part of what `fit` returns for several numbers of populations."
        raise argument_error("report", "be the report of Populations.fit", came, mend)
    figure, (left, right) = page("AB", 2.8)
    report = report.sortby("count")
    counts, redrawn = report["count"].values, report["resampling_error"]
    low, high = redrawn.quantile(BAND, "draw").values
    left.axhspan(low, high, color="0.85", zorder=0, label="redrawn neurons, 90 % of draws")
    left.axhline(float(redrawn.median("draw")), color="0.55", linewidth=1, zorder=0, label="redrawn neurons, median")
    left.plot(counts, report["output_error"], "o-", color=COLORS[0], label="closure with populations")
    left.set(ylabel=label_of(report["output_error"]), title="output", ylim=(0, None))
    legend_above(figure, [left], 3)
    right.plot(counts, report["bic"] - report["bic"].min(), "o-", color=COLORS[1])
    right.set(ylabel="BIC, minus the smallest", title="Bayesian information criterion")
    for ax in (left, right):
        ax.set(xlabel="number of populations", xscale="log")
        ax.set_xticks(counts, [str(count) for count in counts])
        ax.minorticks_off()
    return figure


def _places(layout: Layout, pairs: Sequence[str] | None) -> list[tuple[int, int]]:
    """The two vectors of each panel: first that of the vertical axis."""
    if pairs is None:
        different = [pair for pair in layout.pairs if pair.row != pair.column]
        blocks = [pair.left[0] + pair.right[0] for pair in different]
        order = sorted(range(len(blocks)), key=lambda index: ([*FIRST, blocks[index]].index(blocks[index]), index))
        return [(different[index].row, different[index].column) for index in order[:MOST_PAIRS]]
    places = [layout.entry(name) for name in ([pairs] if isinstance(pairs, str) else pairs)]
    if not places or any(row == column for row, column in places):
        raise argument_error("pairs", 'name pairs of two vectors, such as ["zu", "vm"]', f"{pairs!r} came")
    return places


def _neurons(populations: Populations, network: Network) -> tuple[np.ndarray, list[str]]:
    """Vectors of the drawn neurons, and the colour of each."""
    labels = populations.assign(network)
    drawn = np.unique(np.linspace(0, network.n - 1, min(network.n, MOST_NEURONS)).round().astype(int))
    return np.asarray(network.vectors)[drawn], [COLORS[label % len(COLORS)] for label in labels[drawn]]


def _draw(populations: Populations, plane: list[int], ax: Any) -> list[Any]:
    """Draw the mean and the two ellipses of each population in the plane of two vectors. Returns one line of each."""
    lines = []
    for index, weight in enumerate(np.asarray(populations.weights)):
        mean = np.asarray(populations.means)[index, plane]
        root = square_root(np.asarray(populations.covariances)[index][np.ix_(plane, plane)])
        color, style = COLORS[index % len(COLORS)], STYLES[index // len(COLORS) % len(STYLES)]
        width = 0.8 + 2.2 * weight
        for deviations, alpha in ((1, 1.0), (2, 0.6)):
            curve = mean[:, None] + deviations * root @ CIRCLE
            lines += ax.plot(*curve, style, color=color, linewidth=width, alpha=alpha)
        ax.plot(*mean, "P", color=color, markersize=7, markeredgecolor="w")
    return lines[::2]
