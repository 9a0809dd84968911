"""Figures of relearning: savings after an interlude, and transfer between pairs of tasks."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import legend_above, legend_beside, page, wrapped

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")  # of Okabe and Ito
NOISE_LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")


def plot_savings(dataset: xr.Dataset) -> Any:
    """Draw how much learning time a network saves when it learns A again, over the duration of the interlude.

    - `dataset`: a result of `studies.savings`.

    Top: savings after B, of the network, of the control with its visible overlaps alone, and of the control that never had the
    first A. Middle: savings after rest. Bottom: how many times faster the network is than the control with its visible overlaps
    alone, which is the effect of invisible overlaps. Lines are the theory. Markers with bars are networks, mean and standard
    deviation over the draws. Line styles and markers tell the label noise in the interlude apart. Returns the Figure. Raises
    ValueError for another Dataset.
    """
    from matplotlib.ticker import NullLocator

    if "savings" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.savings", f"it has {list(dataset.data_vars)}")
    figure, axes = page("A;B;C", 6.2)
    for ax, interlude in zip(axes, dataset["interlude"].values, strict=False):
        for index, protocol in enumerate(dataset["protocol"].values):
            chosen = dataset["savings"].sel(protocol=protocol, interlude=interlude)
            if not np.all(np.isnan(chosen)):
                _over_duration(ax, chosen, COLORS[index], protocol)
        ax.set(ylabel=wrapped("savings (part of the first learning time)"), title=f"interlude: {interlude}")
    for index, interlude in enumerate(dataset["interlude"].values):
        _over_duration(axes[2], dataset["speed_up"].sel(interlude=interlude), COLORS[index + 3], f"after {interlude}")
    axes[2].axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
    axes[2].set(ylabel=wrapped("speed relative to visible overlaps alone"), title="effect of invisible overlaps")
    positive = dataset["duration"].values[dataset["duration"].values > 0]
    for ax in axes:
        ax.set_xscale("symlog", linthresh=positive.min(initial=1.0))
        ax.set_xlim(0.0, 1.1 * positive.max(initial=1.0))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.ticklabel_format(axis="y", useOffset=False)
        ax.set(xlabel="duration of the interlude (learning time)")
        if ax.get_legend_handles_labels()[0]:  # none if the first A is not learned
            legend_beside(ax)
    return figure


def _over_duration(ax: Any, values: xr.DataArray, color: str, name: str) -> None:
    """Draw one quantity (source, noise, duration, draw) of theory and of networks over the duration of the interlude."""
    values = values.where(np.isfinite(values)).sortby("duration")
    mean, std = values.mean("draw", skipna=False), values.std("draw", skipna=False)
    for index, noise in enumerate(values["noise"].values):
        label = name if values.sizes["noise"] == 1 else f"{name}, noise {noise:g}"
        style = index % len(NOISE_LINES)
        one, spread = mean.sel(noise=noise), std.sel(noise=noise)
        ax.plot(one["duration"], one.sel(source="theory"), NOISE_LINES[style], color=color, label=label)
        if "networks" in values["source"]:
            networks = one.sel(source="networks"), spread.sel(source="networks")
            ax.errorbar(
                one["duration"],
                networks[0],
                networks[1],
                fmt=MARKERS[style],
                color=color,
                markersize=4,
                markerfacecolor="none",
                label=f"{label}, networks",
            )


def plot_transfer(dataset: xr.Dataset) -> Any:
    """Draw the speeds of all pairs of tasks as two matrices, and the asymmetry of these matrices.

    - `dataset`: a result of `studies.transfer`.

    Top left: the speed of each second task (column) after each first task (row), relative to learning it from the start. A task
    after itself has nothing left to learn. Top right: the same for the control with the visible overlaps alone. The numbers are
    medians over the draws: those of the theory, and below them those of networks, if there are any. Bottom: for each pair of
    tasks, the logarithm of the speed in one order over that in the other order. Bars are the theory, and dots are single
    networks. Returns the Figure. Raises ValueError for another Dataset.
    """
    if "transfer" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.transfer", f"it has {list(dataset.data_vars)}")
    size, histories = dataset.sizes["first"], dataset["history"].values
    figure, axes = page("AB;CC", 5.0)
    speed = dataset["speed"].median("draw", skipna=False)
    shown = speed.sel(source="theory").values
    logarithms = np.log2(np.where(np.isfinite(shown) & (shown > 0), shown, np.nan))
    finite = np.abs(logarithms[np.isfinite(logarithms)])
    largest = max(finite.max(initial=0.0), 0.1)
    picture: Any = None
    for ax, history, shades in zip(axes, histories, logarithms, strict=False):
        picture = ax.imshow(shades, cmap="PuOr", vmin=-largest, vmax=largest)
        for first, second in itertools.product(range(size), repeat=2):
            numbers = speed.sel(history=history).isel(first=first, second=second).values
            text = "\n".join("at once" if np.isposinf(value) else f"{value:.3g}" for value in numbers)
            dark = np.abs(shades[first, second]) > 0.7 * largest
            ax.text(second, first, text, ha="center", va="center", color="w" if dark else "k")
        ax.set_xticks(range(size), dataset["second"].values)
        ax.set_yticks(range(size), dataset["first"].values)
        ax.set(
            xlabel="second task", ylabel="first task", title=f"speed {history}" if "after" in history else f"speed, {history}"
        )
    figure.colorbar(picture, ax=list(axes[:2]), label=wrapped("log2 of the speed relative to the start"))
    pairs = list(itertools.combinations(range(size), 2))
    for index, history in enumerate(histories):
        rows = dataset["asymmetry"].sel(history=history)
        values = np.stack([rows.isel(first=first, second=second).values for first, second in pairs], axis=-1)
        places = np.arange(len(pairs)) + 0.4 * index - 0.2
        values = np.where(np.isfinite(values), values, np.nan)
        axes[2].bar(places, values[0].mean(0), 0.36, color=COLORS[index], label=f"{history}")
        for networks in values[1:].reshape(-1, len(pairs)):
            axes[2].plot(places, networks, "ko", markersize=4, markerfacecolor="none")
    names = dataset["first"].values
    axes[2].set_xticks(range(len(pairs)), [f"{names[one]},\n{names[other]}" for one, other in pairs])
    axes[2].axhline(0.0, color="k", linewidth=0.8)
    axes[2].set(ylabel=wrapped("log(speed in this order / speed in the other order)", 30), title="asymmetry")
    legend_above(figure, [axes[2]], 2)
    return figure
