"""Figures of learning: loss, overlaps, conserved quantities (charges), and the coupling of overlaps (metric)."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import (
    LEARNING_TIME,
    axes_of,
    colour_bar,
    label_of,
    legend_beside,
    page,
    set_title,
    shade_phases,
    time_of,
)
from overlaps.plots._style import overlap_style

SIMULATION = {"linestyle": "none", "marker": "o", "markersize": 3.5, "markerfacecolor": "none"}


def plot_learning(dataset: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Draw the loss over learning time (learning rate x step).

    - `dataset`: a result of `learn`. A batch gives one line per network. Phases are shaded and named.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `style`: matplotlib arguments of the lines, such as `label` or `color`.

    The scale is logarithmic, or linear if the loss is negative somewhere. Returns the Axes.
    """
    ax = axes_of(ax)
    loss = dataset["loss"].transpose("time", ...)
    signed = bool((loss < 0).any())
    ax.plot(time_of(dataset), loss if signed else loss.where(loss > 0), **{"color": "k", **style})
    ax.set(xlabel=LEARNING_TIME, ylabel=label_of(loss), yscale="linear" if signed else "log")
    shade_phases(dataset, ax)
    return ax


def plot_overlaps(dataset: xr.Dataset, ax: Any = None, visible: bool | None = None, **style: Any) -> Any:
    """Draw the overlaps of the connectivity vectors over learning time (learning rate x step).

    The overlap of two vectors a and b of N neurons is a.b / N. It is visible if the loss depends on it, and else invisible.

    - `dataset`: a result of `learn` on a network that has overlaps. A batch gives one line per network and overlap, and phases
      are shaded and named.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `visible`: True draws the visible overlaps alone, False the invisible overlaps alone, and None all.
    - `style`: matplotlib arguments of the lines. With linestyle="none" there is no legend.

    Each overlap has its own colour, the same in all figures (`overlap_style`). So you can draw a simulation over a theory.
    Returns the Axes. Raises ValueError for a Dataset without overlaps, such as that of a DenseNetwork.
    """
    from matplotlib import cbook
    from matplotlib.lines import Line2D

    if "sigma" not in dataset:
        mend = "A DenseNetwork has no overlaps: draw it by plot_outlier or plot_eigenvalues."
        raise argument_error("dataset", "be that of a network with overlaps", f"it has {list(dataset.data_vars)}", mend)
    ax = axes_of(ax)
    style = cbook.normalize_kwargs(style, Line2D)  # "linestyle" for "ls"
    shown = np.ones(dataset.sizes["overlap"], bool) if visible is None else dataset["visible"].values == visible
    labelled = style.get("linestyle") != "none"
    sigma = dataset["sigma"].transpose("time", ...)
    for label in map(str, dataset["overlap"].values[shown]):
        lines = ax.plot(time_of(dataset), sigma.sel(overlap=label), **{**overlap_style(label), **style})
        if labelled:
            lines[0].set_label(label)
    ax.set(xlabel=LEARNING_TIME, ylabel="overlap a.b / N")
    shade_phases(dataset, ax)
    if labelled:
        legend_beside(ax)
    return ax


def plot_conserved(charges: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Draw how far each charge has moved from its initial value, over learning time (learning rate x step).

    A charge is a quantity that gradient flow conserves. Other learning rules change it in general.

    - `charges`: a result of `conserved(dataset)`. A batch gives one line per network. Phases are shaded and named.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `style`: matplotlib arguments of the lines.

    Some charges consist of several numbers; of these, the line shows the largest change. The scale is logarithmic, so changes
    of zero are not drawn. Returns the Axes.
    """
    ax = axes_of(ax)
    for index, name in enumerate(charges.data_vars):
        change = abs(charges[name] - charges[name].isel(time=0))
        drift = change.max([dim for dim in change.dims if dim not in ("batch", "time")]).transpose("time", ...)
        lines = ax.plot(time_of(charges), drift.where(drift > 0), **{"color": f"C{index}", **style})
        lines[0].set_label(name)
    ax.set(xlabel=LEARNING_TIME, ylabel="largest change since the start", yscale="log")
    shade_phases(charges, ax)
    legend_beside(ax)
    return ax


def plot_metric(metric: xr.DataArray, ax: Any = None, **style: Any) -> Any:
    """Draw, as a coloured matrix, how the gradient of the loss in each overlap moves each overlap.

    - `metric`: a result of `metric(net, rnn)`, the matrix Gbar of the flow d sigma/ds = -Gbar dL/d sigma of the overlaps sigma.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `style`: arguments of matplotlib's imshow.

    Visible overlaps, on which the loss depends, come first. Black lines separate them from the invisible overlaps. Returns the
    Axes. Raises ValueError for the metric of a batch.
    """
    if "batch" in metric.dims:
        raise argument_error("metric", "be that of one network", "a batch came", "Select one with metric.isel(batch=...).")
    ax = axes_of(ax)
    order = np.argsort(~metric["visible"].values, kind="stable")
    metric = metric.isel(overlap=order, source=order)
    largest = float(np.abs(metric).max())
    image = ax.imshow(metric, **{"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **style})
    for axis, labels in ((ax.xaxis, metric["source"].values), (ax.yaxis, metric["overlap"].values)):
        axis.set_ticks(range(len(labels)), labels)
    ax.tick_params(axis="x", rotation=90)
    border = int(metric["visible"].sum()) - 0.5
    ax.axhline(border, color="k", linewidth=0.8)
    ax.axvline(border, color="k", linewidth=0.8)
    ax.set(xlabel="the gradient of the loss in this overlap ...", ylabel="... moves this overlap")
    colour_bar(ax, image, metric.attrs["long_name"])
    return ax


def plot_comparison(theory: xr.Dataset, simulation: xr.Dataset, points: int = 25) -> Any:
    """Draw a theory and a simulation together, in three panels: loss, visible overlaps, and invisible overlaps.

    - `theory`: a result of `learn` on overlaps, drawn as lines.
    - `simulation`: a result of `learn` on a network of neurons, drawn as circles.
    - `points`: the number of circles along each line.

    The loss depends on the visible overlaps, and does not depend on the invisible overlaps. Returns the Figure.
    """
    figure, axes = page("AA;BC", 4.4)
    few = simulation.isel(time=np.unique(np.linspace(0, simulation.sizes["time"] - 1, points).astype(int)))
    plot_learning(theory, axes[0], label="theory")
    plot_learning(few, axes[0], label="network", **SIMULATION)
    legend_beside(axes[0])
    for ax, visible in ((axes[1], True), (axes[2], False)):
        plot_overlaps(theory, ax, visible)
        plot_overlaps(few, ax, visible, **SIMULATION)
        set_title(ax, "visible overlaps\n(the loss depends on them)" if visible else "invisible overlaps\n(not in the loss)")
    return figure
