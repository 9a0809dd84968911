"""Figures of activity: trials and phase portraits."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, legend_beside, scaled
from overlaps.tasks import Trials

TRAJECTORY = "#009E73"
GAP, HEIGHT = 0.12, 0.8  # of the panel of trajectories, in inches for letters of 8 pt
FIXED_POINT = {"marker": "o", "linestyle": "none", "color": "k", "markersize": 7, "zorder": 5, "clip_on": False}
FIXED_POINTS = {
    "stable": {},
    "saddle": {"markerfacecolor": "0.7"},
    "unstable": {"markerfacecolor": "w"},
    "marginal": {"markerfacecolor": "w", "fillstyle": "left"},
    "nonsmooth": {"markerfacecolor": "w", "marker": "s"},
}


def plot_phase_portrait(portrait: xr.Dataset, trajectory: xr.DataArray | None = None, ax: Any = None) -> Any:
    """Draw how the latents move: their velocity, and their fixed points.

    The latents of a network of rank R are R numbers, the activity along its recurrent vectors u.

    - `portrait`: a result of `rnn.phase_portrait(state)`, which exists at rank 1 and 2.
    - `trajectory`: latents along trials, a result of `rnn.latents(state, inputs)` with the dims (trial, time, latent) or (time,
      latent). They are drawn in green.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    At rank 1 the figure shows the velocity as a function of the latent. Arrows along the line of zero velocity show the
    direction of motion. Trajectories get a panel of their own below, in which time runs downwards. At rank 2 the figure
    shows streamlines and the two nullclines, the curves on which one of the two latents does not change.

    Fixed points inside the drawn range are filled circles if stable, grey ones if saddles, open ones if unstable, half-filled
    ones if marginal (between stable and unstable). Open squares ("nonsmooth") mark fixed points at a kink of phi, where the
    library cannot tell the stability.

    Returns the Axes. Raises ValueError if `portrait` has no velocity, or if `trajectory` lacks a latent of the portrait.
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
    legend_beside(ax)
    return ax


def plot_trial(task: Any, output: xr.DataArray | None = None, trial: int = 0, ax: Any = None) -> Any:
    """Draw one trial of a task: its inputs and targets, and the output of a network.

    - `task`: trials, such as `tasks.flip_flop(0)`. Targets are drawn only at the times that count in the loss.
    - `output`: the output of a network on these trials, a result of `rnn.output(state, task.inputs)` with the dims (trial,
      time, readout) or (time, readout). None leaves it out.
    - `trial`: which trial to draw, counted from 0.
    - `ax`: matplotlib Axes to draw into; None makes new ones.

    Returns the Axes. Raises ValueError for a task that is not one fixed set of trials, and for a trial that does not exist.
    """
    if not isinstance(task, Trials):
        mend = "Draw fresh trials with task.sample(key)."
        raise argument_error("task", "be a set of trials", f"{type(task).__name__} came", mend)
    if task.batch:
        raise argument_error("task", "be a single task", f"a batch of {task.batch[0]} came", "Plot them one by one.")
    if not 0 <= trial < len(task.inputs):
        raise argument_error("trial", f"be a whole number from 0 to {len(task.inputs) - 1}", f"{trial!r} came")
    ax = axes_of(ax)
    for index, column in enumerate(task.inputs[trial].T):
        ax.plot(task.times, column, color="0.6", linewidth=1, label="input" if index == 0 else None)
    for index, (target, mask) in enumerate(zip(task.targets[trial].T, task.mask[trial].T, strict=True)):
        label = "target" if index == 0 else None
        ax.plot(task.times, np.where(mask > 0, target, np.nan), color="k", linewidth=3, alpha=0.35, label=label)
    if output is not None:
        shown = output.isel(trial=trial) if "trial" in output.dims else output
        for index, readout in enumerate(shown.transpose("readout", "time")):
            ax.plot(shown["time"], readout, color=f"C{index}", label="output" if index == 0 else None)
    ax.set(xlabel="time (same unit as tau)", ylabel="input, target, output" if output is not None else "input, target")
    legend_beside(ax)
    return ax


def _draw_line(portrait: xr.Dataset, name: str, paths: list[Any], ax: Any) -> None:
    velocity = portrait["velocity"].isel(latent=0)
    ax.axhline(0.0, color="0.7", linewidth=0.8)
    ax.plot(portrait[name], velocity, color="C0", label="velocity\nwithout input")
    places = portrait[name].values[2:-2:4]
    signs = np.sign(velocity.values[2:-2:4])
    spacing = places[1] - places[0] if len(places) > 1 else 0.0
    ax.quiver(
        places, 0 * places, 0.6 * spacing * signs, 0 * places, angles="xy", scale_units="xy", scale=1, color="C0", alpha=0.6
    )
    ax.set(xlabel=f"latent along {name}", ylabel="velocity of the latent\n(1 / time)")
    if paths:
        below = _panel_below(ax)
        for path in paths:
            below.plot(path.isel(latent=0), path["time"], color=TRAJECTORY, linewidth=1)
        below.set(xlabel=ax.get_xlabel(), ylabel="time on a\ntrajectory (tau)")
        below.set_ylim(max(float(path["time"].max()) for path in paths), 0.0)
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)


def _panel_below(ax: Any) -> Any:
    """New Axes below these, with the same horizontal axis, and a height that the layout of the figure does not change."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    gap, height = scaled(GAP, HEIGHT)
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(0.0, 0.0, ax.transAxes)  # above the lower edge of ax
    place = blended_transform_factory(ax.transAxes, inches)
    return ax.inset_axes((0.0, -gap - height, 1.0, height), transform=place, sharex=ax)


def _draw_plane(portrait: xr.Dataset, names: list[str], paths: list[Any], ax: Any) -> None:
    grid = [portrait[name].values for name in names]
    fields = [portrait["velocity"].sel(latent=name).transpose(*names).values.T for name in names]
    ax.streamplot(*grid, *fields, color="0.75", linewidth=0.7, arrowsize=0.8)
    for index, (name, field) in enumerate(zip(names, fields, strict=True)):
        ax.contour(*grid, field, levels=[0.0], colors=f"C{index}", linewidths=1.5)
        ax.plot([], [], color=f"C{index}", label=f"latent along\n{name} at rest")
    for path in paths:
        ax.plot(path.sel(latent=names[0]), path.sel(latent=names[1]), color=TRAJECTORY, linewidth=1)
    if paths:
        ax.plot([], [], color=TRAJECTORY, linewidth=1, label="trajectory")
    ax.set(xlabel=f"latent along {names[0]}", ylabel=f"latent along {names[1]}")
    for limit, axis in ((ax.set_xlim, grid[0]), (ax.set_ylim, grid[1])):
        limit(axis[0], axis[-1])
