"""Figures of what `learn` returns, of its charges and of the metric."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, label_of, shade_phases, time_of

SIMULATION = {"linestyle": "none", "marker": "o", "markersize": 3.5, "markerfacecolor": "none"}


def plot_learning(dataset: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Loss over learning time, on a logarithmic scale unless it gets negative; returns the Axes. `style` goes to matplotlib.

    Of a batch, one line per network; phases of a protocol are shaded and named.
    """
    ax = axes_of(ax)
    loss = dataset["loss"].transpose("time", ...)
    signed = bool((loss < 0).any())
    ax.plot(time_of(dataset), loss if signed else loss.where(loss > 0), **{"color": "k", **style})
    ax.set(xlabel="learning time", ylabel=label_of(loss), yscale="linear" if signed else "log")
    shade_phases(dataset, ax)
    return ax


def plot_overlaps(dataset: xr.Dataset, ax: Any = None, visible: bool | None = None, **style: Any) -> Any:
    """Overlaps over learning time: all, the visible (True) or the invisible (False) ones; returns the Axes.

    Colours go with the overlap, so that a simulation drawn over a theory matches it; of a batch, one line per network. Phases
    of a protocol are shaded and named. `style` goes to matplotlib.
    """
    import matplotlib.pyplot as plt

    if "sigma" not in dataset:
        mend = "Draw a DenseNetwork by plot_outlier and plot_eigenvalues."
        raise argument_error("dataset", "be that of a network with overlaps", f"it has {list(dataset.data_vars)}", mend)
    ax = axes_of(ax)
    shown = np.ones(dataset.sizes["overlap"], bool) if visible is None else dataset["visible"].values == visible
    colors = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, int(shown.sum())))
    labelled = style.get("linestyle") != "none"
    sigma = dataset["sigma"].transpose("time", ...)
    for color, label in zip(colors, dataset["overlap"].values[shown], strict=True):
        lines = ax.plot(time_of(dataset), sigma.sel(overlap=label), **{"color": color, **style})
        if labelled:
            lines[0].set_label(label)
    ax.set(xlabel="learning time", ylabel="overlap a.b / N")
    shade_phases(dataset, ax)
    if labelled:
        ax.legend(fontsize="small", ncols=1 + int(shown.sum()) // 7)
    return ax


def plot_conserved(charges: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Drift of each charge from its start over learning time, from `conserved(dataset)`; returns the Axes.

    A charge of several numbers is drawn as the largest change among them; of a batch, one line per network. Phases of a
    protocol are shaded and named. `style` goes to matplotlib.
    """
    ax = axes_of(ax)
    for index, name in enumerate(charges.data_vars):
        change = abs(charges[name] - charges[name].isel(time=0))
        drift = change.max([dim for dim in change.dims if dim not in ("batch", "time")]).transpose("time", ...)
        lines = ax.plot(time_of(charges), drift.where(drift > 0), **{"color": f"C{index}", **style})
        lines[0].set_label(name)
    ax.set(xlabel="learning time", ylabel="largest drift of the charge", yscale="log")
    shade_phases(charges, ax)
    ax.legend(frameon=False)
    return ax


def plot_metric(metric: xr.DataArray, ax: Any = None, **style: Any) -> Any:
    """The coupling of overlaps in the learning flow, from `metric(net, rnn)`, visible ones first; returns the Axes.

    Lines separate visible from invisible. `style` goes to matplotlib's imshow. Raises ValueError for a batch.
    """
    if "batch" in metric.dims:
        raise argument_error("metric", "be that of one network", "a batch came", "Select one with metric.isel(batch=...).")
    ax = axes_of(ax)
    order = np.argsort(~metric["visible"].values, kind="stable")
    metric = metric.isel(overlap=order, source=order)
    largest = float(np.abs(metric).max())
    image = ax.imshow(metric, **{"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **style})
    for axis, labels in ((ax.xaxis, metric["source"].values), (ax.yaxis, metric["overlap"].values)):
        axis.set_ticks(range(len(labels)), labels, fontsize="small")
    ax.tick_params(axis="x", rotation=90)
    border = int(metric["visible"].sum()) - 0.5
    ax.axhline(border, color="k", linewidth=0.8)
    ax.axvline(border, color="k", linewidth=0.8)
    ax.set(xlabel="gradient on this overlap", ylabel="moves this overlap")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label=metric.attrs["long_name"])
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
