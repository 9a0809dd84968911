"""Figures from the Datasets of `learn`; nothing is computed here."""

from typing import Any

import numpy as np
import xarray as xr

SIMULATION = {"linestyle": "none", "marker": "o", "markersize": 3.5, "markerfacecolor": "none"}


def plot_learning(dataset: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Loss over learning time, on a logarithmic scale; returns the Axes. `style` goes to matplotlib."""
    ax = _axes(ax)
    ax.plot(dataset["time"], dataset["loss"].where(dataset["loss"] > 0), **{"color": "k", **style})
    ax.set(xlabel="learning time", ylabel=_label(dataset["loss"]), yscale="log")
    return ax


def plot_overlaps(dataset: xr.Dataset, ax: Any = None, visible: bool | None = None, **style: Any) -> Any:
    """Overlaps over learning time: all, the visible (True) or the invisible (False) ones; returns the Axes.

    Colours go with the overlap, so that a simulation drawn over a theory matches it. `style` goes to matplotlib.
    """
    import matplotlib.pyplot as plt

    ax = _axes(ax)
    shown = np.ones(dataset.sizes["overlap"], bool) if visible is None else dataset["visible"].values == visible
    colors = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, int(shown.sum())))
    labelled = style.get("linestyle") != "none"
    for color, label in zip(colors, dataset["overlap"].values[shown], strict=True):
        line = dataset["sigma"].sel(overlap=label)
        ax.plot(dataset["time"], line, color=color, label=label if labelled else None, **style)
    ax.set(xlabel="learning time", ylabel="overlap a.b / N")
    if labelled:
        ax.legend(fontsize="small", ncols=1 + int(shown.sum()) // 7, frameon=False)
    return ax


def plot_comparison(theory: xr.Dataset, simulation: xr.Dataset, points: int = 25) -> Any:
    """Loss, visible and invisible overlaps: theory as lines, a simulation as circles at `points` times; returns the Figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    few = simulation.isel(time=np.unique(np.linspace(0, simulation.sizes["time"] - 1, points).astype(int)))
    plot_learning(theory, axes[0], label="theory")
    plot_learning(few, axes[0], label="network", **SIMULATION)
    axes[0].legend(frameon=False)
    for ax, visible in ((axes[1], True), (axes[2], False)):
        plot_overlaps(theory, ax, visible)
        plot_overlaps(few, ax, visible, **SIMULATION)
        ax.set_title("loss-visible" if visible else "loss-invisible")
    axes[0].set_title("loss")
    return figure


def _axes(ax: Any) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _label(variable: xr.DataArray) -> str:
    return f"{variable.attrs['long_name']} ({variable.attrs['units']})"
