"""Figures of experiments that tell histories apart: their power, and the search for the best one."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, PAGE, label_of, legend_beside, page, scaled, wrapped

NARROW = 2.6  # inches, the smallest width of a column of panels


def plot_discriminate(dataset: xr.Dataset, pair: int = 0) -> Any:
    """Draw how well experiments tell two hypotheses apart: one column of three panels for each protocol.

    - `dataset`: a result of `inference.discriminate`. `pair`: the number of the pair of hypotheses.

    Top: what is observed under both hypotheses, with a band of one standard deviation of the noise. If several numbers are
    observed at a time, such as an impulse response at many lags, it is the one that tells the most. Middle: d'^2 (for counts of
    errors the symmetrised divergence) as it adds up over learning time. Bottom: the power of the test, as a line, and in
    simulated experiments, with two standard errors. Returns the Figure. Raises ValueError for another Dataset.
    """
    import matplotlib.pyplot as plt

    if "discriminate" not in dataset.attrs:
        raise argument_error("dataset", "be a result of inference.discriminate", f"it has {list(dataset.data_vars)}")
    columns = dataset.sizes["protocol"]
    size = scaled(max(PAGE, NARROW * columns), 6.2)
    figure, axes = plt.subplots(3, columns, figsize=size, layout="constrained", squeeze=False)
    names = list(itertools.combinations(dataset["hypothesis"].values, 2))[pair]
    for index, (left, middle, right) in enumerate(axes.T):
        one = dataset.isel(protocol=index, pair=pair)
        shown = one.isel(_most_telling(one["information"]))
        for number, name in enumerate(names):
            curve = shown.sel(hypothesis=name)
            mean, deviation = curve["mean"].values, curve["deviation"].values
            left.plot(one["time"], mean, color=f"C{number}", label=name)
            left.fill_between(one["time"], mean - deviation, mean + deviation, color=f"C{number}", alpha=0.2, linewidth=0)
        lag = f" at lag {shown['lag'].item():g}" if "lag" in shown.coords else ""
        left.set(xlabel=LEARNING_TIME, ylabel=wrapped(label_of(dataset["mean"]) + lag), title=str(one["protocol"].values))
        middle.plot(one["time"], one["accumulated"], color="k")
        middle.set(xlabel=LEARNING_TIME, ylabel="$d'^2$ up to this time")
        middle.set_title(f"$d'$ {one['d_prime'].item():.3g}, before learning {one['d_prime_without_learning'].item():.1g}")
        number, power = one["repetition"], one["predicted_power"]
        right.plot(number, power, color="k", label="predicted")
        right.errorbar(number, one["simulated_power"], 2 * one["power_error"], fmt="o", color="#D55E00", label="simulated")
        right.axhline(dataset.attrs["power"], color="0.6", linestyle=":", label="wanted")
        right.set(xlabel="repetitions", ylabel="power", xscale="log", ylim=(0, 1.05))
        right.set_title(f"{one['needed'].item():.3g} repetitions for a power of {dataset.attrs['power']:g}")
        if index == columns - 1:  # the legends of all columns
            legend_beside(left)
            legend_beside(right)
    return figure


def plot_design(dataset: xr.Dataset) -> Any:
    """Draw the search for the protocol that tells hypotheses apart best.

    `dataset`: a result of `inference.design`.

    Top: the d' of each climb, the best so far, over the evaluations; the grey dots are random protocols, from the best to the
    worst. Middle: what each point of the best protocol adds to d'^2 of each pair; a quarter of the points, the ones that tell
    the most, are filled. Bottom: d' over the number of measured points, the most telling ones or evenly spaced ones. Returns
    the Figure. Raises ValueError for another Dataset.
    """
    if "design" not in dataset.attrs:
        raise argument_error("dataset", "be a result of inference.design", f"it has {list(dataset.data_vars)}")
    figure, (left, middle, right) = page("A;B;C", 5.8)
    for index, choice in enumerate(dataset["choice"].values):
        one = dataset.sel(choice=choice)
        for start, way in enumerate(one["search"].values):
            left.plot(
                np.arange(1, len(way) + 1), way, color=f"C{index}", alpha=0.7, label=None if start else (choice or "climbs")
            )
        drawn = np.sort(one["random_d_prime"].values)[::-1]
        label = "random protocols" if not index else None
        left.plot(np.arange(1, len(drawn) + 1), drawn, ".", color="0.6", markersize=3, zorder=0, label=label)
    left.set(xlabel="evaluations", ylabel="smallest $d'$ of a pair", xscale="log", yscale="log")
    left.set_title(f"{dataset['gain'].item():.3g} times the best random protocol")
    legend_beside(left)
    told = np.isin(np.arange(dataset.sizes["point"]), dataset["order"].values[: -(-dataset.sizes["point"] // 4)])
    for index, name in enumerate(dataset["pair"].values):
        information = dataset["information"].isel(pair=index).values
        middle.plot(dataset["time"], information, "o-", color=f"C{index}", markersize=4, markerfacecolor="w", label=name)
        middle.plot(dataset["time"].values[told], information[told], "o", color=f"C{index}", markersize=4)
    middle.set(xlabel=LEARNING_TIME, ylabel="contribution to $d'^2$")
    legend_beside(middle)
    right.plot(dataset["count"], dataset["chosen_d_prime"], color="k", label="most telling")
    right.plot(dataset["count"], dataset["even_d_prime"], "--", color="0.5", label="evenly spaced")
    right.set(xlabel="measured points", ylabel="smallest $d'$ of a pair", ylim=(0, None))
    legend_beside(right)
    return figure


def _most_telling(information: xr.DataArray) -> dict[str, int]:
    """The place, besides the saved point, of the number with the largest contribution."""
    dims = [str(name) for name in information.dims if name != "point"]
    place = np.unravel_index(
        np.nanargmax(information.transpose("point", *dims).values), information.transpose("point", *dims).shape
    )
    return dict(zip(dims, (int(one) for one in place[1:]), strict=True))
