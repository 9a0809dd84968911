"""Figures from the Datasets of `learn`; nothing is computed here."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

from overlaps._checks import argument_error
from overlaps.tasks import Trials

SIMULATION = {"linestyle": "none", "marker": "o", "markersize": 3.5, "markerfacecolor": "none"}
FIXED_POINTS = {
    "stable": {},
    "saddle": {"markerfacecolor": "0.7"},
    "unstable": {"markerfacecolor": "w"},
    "marginal": {"markerfacecolor": "w", "fillstyle": "left"},
    "nonsmooth": {"markerfacecolor": "w", "marker": "s"},
}


def plot_learning(dataset: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Loss over learning time, on a logarithmic scale unless it gets negative; returns the Axes. `style` goes to matplotlib.

    Of a batch, one line per network; phases of a protocol are shaded and named.
    """
    ax = _axes(ax)
    loss = dataset["loss"].transpose("time", ...)
    signed = bool((loss < 0).any())
    ax.plot(_time(dataset), loss if signed else loss.where(loss > 0), **{"color": "k", **style})
    ax.set(xlabel="learning time", ylabel=_label(loss), yscale="linear" if signed else "log")
    _shade_phases(dataset, ax)
    return ax


def plot_overlaps(dataset: xr.Dataset, ax: Any = None, visible: bool | None = None, **style: Any) -> Any:
    """Overlaps over learning time: all, the visible (True) or the invisible (False) ones; returns the Axes.

    Colours go with the overlap, so that a simulation drawn over a theory matches it; of a batch, one line per network. Phases
    of a protocol are shaded and named. `style` goes to matplotlib.
    """
    import matplotlib.pyplot as plt

    ax = _axes(ax)
    shown = np.ones(dataset.sizes["overlap"], bool) if visible is None else dataset["visible"].values == visible
    colors = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, int(shown.sum())))
    labelled = style.get("linestyle") != "none"
    sigma = dataset["sigma"].transpose("time", ...)
    for color, label in zip(colors, dataset["overlap"].values[shown], strict=True):
        lines = ax.plot(_time(dataset), sigma.sel(overlap=label), **{"color": color, **style})
        if labelled:
            lines[0].set_label(label)
    ax.set(xlabel="learning time", ylabel="overlap a.b / N")
    _shade_phases(dataset, ax)
    if labelled:
        ax.legend(fontsize="small", ncols=1 + int(shown.sum()) // 7)
    return ax


def plot_conserved(charges: xr.Dataset, ax: Any = None, **style: Any) -> Any:
    """Drift of each charge from its start over learning time, from `conserved(dataset)`; returns the Axes.

    A charge of several numbers is drawn as the largest change among them; of a batch, one line per network. Phases of a
    protocol are shaded and named. `style` goes to matplotlib.
    """
    ax = _axes(ax)
    for index, name in enumerate(charges.data_vars):
        change = abs(charges[name] - charges[name].isel(time=0))
        drift = change.max([dim for dim in change.dims if dim not in ("batch", "time")]).transpose("time", ...)
        lines = ax.plot(_time(charges), drift.where(drift > 0), **{"color": f"C{index}", **style})
        lines[0].set_label(name)
    ax.set(xlabel="learning time", ylabel="largest drift of the charge", yscale="log")
    _shade_phases(charges, ax)
    ax.legend(frameon=False)
    return ax


def plot_metric(metric: xr.DataArray, ax: Any = None, **style: Any) -> Any:
    """The coupling of overlaps in the learning flow, from `metric(net, rnn)`, visible ones first; returns the Axes.

    Lines separate visible from invisible. `style` goes to matplotlib's imshow. Raises ValueError for a batch.
    """
    if "batch" in metric.dims:
        raise argument_error("metric", "be that of one network", "a batch came", "Select one with metric.isel(batch=...).")
    ax = _axes(ax)
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


def plot_phase_portrait(portrait: xr.Dataset, trajectory: xr.DataArray | None = None, ax: Any = None) -> Any:
    """Flow, nullclines and fixed points of the latents, from `rnn.phase_portrait(state)`; returns the Axes.

    Rank 1: velocity over latent, with arrows along the axis. Rank 2: streamlines, and the lines where one velocity is zero.
    Fixed points are filled where stable, open where not, squares where phi has a kink. `trajectory`: latents of trials, from
    `rnn.latents(state, inputs)`, drawn over it; at rank 1 as time course in the direction of the vertical axis.
    """
    if "velocity" not in portrait:
        came = "it has no velocity"
        raise argument_error("portrait", "be a result of rnn.phase_portrait", came, "Fixed points alone have no flow to draw.")
    names = [str(name) for name in portrait["latent"].values]
    if trajectory is not None and not set(names) <= set(map(str, trajectory["latent"].values)):
        came = f"it has {', '.join(map(str, trajectory['latent'].values))}"
        raise argument_error("trajectory", f"have the latents {', '.join(names)} of the portrait", came)
    ax = _axes(ax)
    paths = (
        [] if trajectory is None else [one.sel(latent=names) for one in (trajectory if trajectory.ndim == 3 else [trajectory])]
    )
    if len(names) == 1:
        _draw_line(portrait, names[0], paths, ax)
    else:
        _draw_plane(portrait, names, paths, ax)
    extent = float(portrait[names[0]].max())
    within = np.all(np.abs(portrait["position"].values) <= extent, axis=1)
    for kind, style in FIXED_POINTS.items():
        points = portrait["position"].values[(portrait["kind"].values == kind) & within]
        if len(points):
            heights = points[:, 1] if len(names) == 2 else np.zeros(len(points))
            ax.plot(
                points[:, 0],
                heights,
                **{
                    "marker": "o",
                    "linestyle": "none",
                    "color": "k",
                    "markersize": 7,
                    "zorder": 5,
                    "clip_on": False,
                    "label": kind,
                    **style,
                },
            )
    ax.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False)  # above, covering nothing
    return ax


def plot_trial(task: Any, output: xr.DataArray | None = None, trial: int = 0, ax: Any = None) -> Any:
    """Inputs, targets where they count, and outputs of one trial, from `rnn.output(state, task.inputs)`; returns the Axes."""
    if not isinstance(task, Trials):
        mend = "Draw fresh trials with task.sample(key)."
        raise argument_error("task", "be a set of trials", f"{type(task).__name__} came", mend)
    if task.batch:
        raise argument_error("task", "be a single task", f"a batch of {task.batch[0]} came", "Plot them one by one.")
    if not 0 <= trial < len(task.inputs):
        raise argument_error("trial", f"be a whole number from 0 to {len(task.inputs) - 1}", f"{trial!r} came")
    ax = _axes(ax)
    for index, column in enumerate(task.inputs[trial].T):
        ax.plot(task.times, column, color="0.6", label="input" if index == 0 else None)
    for index, (target, mask) in enumerate(zip(task.targets[trial].T, task.mask[trial].T, strict=True)):
        label = "target" if index == 0 else None
        ax.plot(task.times, np.where(mask > 0, target, np.nan), color="k", linewidth=3, alpha=0.35, label=label)
    if output is not None:
        shown = output.isel(trial=trial) if "trial" in output.dims else output
        for index, readout in enumerate(shown.transpose("readout", "time")):
            ax.plot(shown["time"], readout, color=f"C{index}", label="output" if index == 0 else None)
    ax.set(xlabel="time (unit of tau)")
    ax.legend(fontsize="small", loc="upper right")
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


def _draw_line(portrait: xr.Dataset, name: str, paths: list[Any], ax: Any) -> None:
    velocity = portrait["velocity"].isel(latent=0)
    ax.axhline(0.0, color="0.7", linewidth=0.8)
    ax.plot(portrait[name], velocity, color="C0", label="velocity")
    places = portrait[name].values[2:-2:4]
    signs = np.sign(velocity.values[2:-2:4])
    spacing = places[1] - places[0] if len(places) > 1 else 0.0
    ax.quiver(
        places, 0 * places, 0.6 * spacing * signs, 0 * places, angles="xy", scale_units="xy", scale=1, color="C0", alpha=0.6
    )
    ax.set(xlabel=f"latent {name}", ylabel="velocity (1 / time)")
    if paths:
        clock = ax.twinx()
        for path in paths:
            clock.plot(path.isel(latent=0), path["time"], color="C3", linewidth=1)
        clock.set_ylabel("time of the trajectory (unit of tau)", color="C3")


def _draw_plane(portrait: xr.Dataset, names: list[str], paths: list[Any], ax: Any) -> None:
    grid = [portrait[name].values for name in names]
    fields = [portrait["velocity"].sel(latent=name).transpose(*names).values.T for name in names]
    ax.streamplot(*grid, *fields, color="0.75", linewidth=0.7, arrowsize=0.8)
    for index, (name, field) in enumerate(zip(names, fields, strict=True)):
        ax.contour(*grid, field, levels=[0.0], colors=f"C{index}", linewidths=1.5)
        ax.plot([], [], color=f"C{index}", label=f"{name} at rest")
    for path in paths:
        ax.plot(path.sel(latent=names[0]), path.sel(latent=names[1]), color="C3", linewidth=1)
    ax.set(xlabel=f"latent {names[0]}", ylabel=f"latent {names[1]}")
    for limit, axis in ((ax.set_xlim, grid[0]), (ax.set_ylim, grid[1])):
        limit(axis[0], axis[-1])


def _axes(ax: Any) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _time(dataset: xr.Dataset) -> xr.DataArray:
    """Learning time along the first axis; the networks of a batch may have their own, along the second."""
    return (dataset["learning_time"] if "learning_time" in dataset.coords else dataset["time"]).transpose("time", ...)


def _shade_phases(dataset: xr.Dataset, ax: Any) -> None:
    """Shade every other phase and name all, where phases begin at one time for all networks."""
    if "phase" not in dataset.coords or _time(dataset).ndim > 1:
        return
    phases, time = dataset["phase"].values, _time(dataset).values
    starts = [0, *(np.flatnonzero(phases[1:] != phases[:-1]) + 1), len(phases)]
    for index, (first, last) in enumerate(itertools.pairwise(starts)):
        if index % 2:
            ax.axvspan(time[first], time[last - 1], color="0.93", zorder=0)
        middle = (time[first] + time[last - 1]) / 2
        ax.text(middle, 1.0, phases[first], transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize="small")


def _label(variable: xr.DataArray) -> str:
    units = variable.attrs["units"]
    return variable.attrs["long_name"] + ("" if units == "1" else f" ({units})")
