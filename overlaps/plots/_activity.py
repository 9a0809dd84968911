"""Figures of trials and of phase portraits."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of
from overlaps.tasks import Trials

FIXED_POINT = {"marker": "o", "linestyle": "none", "color": "k", "markersize": 7, "zorder": 5, "clip_on": False}
FIXED_POINTS = {
    "stable": {},
    "saddle": {"markerfacecolor": "0.7"},
    "unstable": {"markerfacecolor": "w"},
    "marginal": {"markerfacecolor": "w", "fillstyle": "left"},
    "nonsmooth": {"markerfacecolor": "w", "marker": "s"},
}


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
    ax = axes_of(ax)
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
            ax.plot(points[:, 0], heights, label=kind, **{**FIXED_POINT, **style})
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
    ax = axes_of(ax)
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
