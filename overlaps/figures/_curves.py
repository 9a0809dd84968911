"""Learning curves of one result as lines and of another as circles, as several figures show them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from overlaps.figures._parts import CIRCLES, draw_overlaps
from overlaps.plots import plot_learning

POINTS = 15  # circles along each line


def few(dataset: xr.Dataset, points: int = POINTS) -> xr.Dataset:
    """About `points` evenly spaced points in time of a Dataset, with the first and the last."""
    return dataset.isel(time=np.unique(np.linspace(0, dataset.sizes["time"] - 1, points).astype(int)))


def show_loss(ax: Any, lines: xr.Dataset, circles: xr.Dataset, names: Iterable[str] = ("theory", "network")) -> None:
    """Draw the loss of one result as a line and that of another as circles, with these names in the legend."""
    first, second = names
    plot_learning(lines, ax, label=first)
    plot_learning(few(circles), ax, label=second, **CIRCLES)
    ax.set(xlabel="learning time")
    ax.legend(loc="upper right", fontsize=6, borderaxespad=0.0)


def show_overlaps(ax: Any, lines: xr.Dataset, circles: xr.Dataset, visible: bool) -> None:
    """Draw the visible or the invisible overlaps of one result as lines and those of another as circles."""
    draw_overlaps(lines, ax, visible)
    draw_overlaps(few(circles), ax, visible, named=False, **CIRCLES)
    ax.set(xlabel="learning time", ylabel="visible overlaps" if visible else "invisible overlaps")


def legend_below(figure: Any, axes: Iterable[Any], **options: Any) -> None:
    """Put one legend of all lines of these panels below the figure. A name that several panels have appears once."""
    named = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", **options)
