"""The figure of two networks that have the same output, and of what tells them apart."""

from typing import Any

import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, label_of, page, wrapped

COLORS = {"first": "#0072B2", "second": "#D55E00"}
CIRCLES = 12  # about so many circles of the simulation along a line of the theory
LINEAR = 1.0  # the axis of d' is linear up to this value, and logarithmic beyond
CIRCLE: Any = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "linestyle": "none"}
TRIAL = "time in the trial (same unit as tau)"


def plot_degeneracy(dataset: xr.Dataset) -> Any:
    """Draw two networks that have the same output, and how well three perturbations tell them apart.

    - `dataset`: a result of `studies.degeneracy`.

    The perturbations are noise in the activity, noise in the weights, and learning. The first row shows output and mean square
    activity before learning (the outputs coincide). Each further row shows one perturbation. At the left is what it does to the
    networks: the answer to noise (the mean square change of the output, with a band of one standard deviation over draws of the
    noise), or the loss while learning. At the right is d': the mean answer of the second network minus that of the first, in
    units of the standard deviation (the root mean square of both). Lines are the theory. Circles are the simulation, with bars
    of one standard error at d'. If there are several inputs or outputs, the figure shows the first ones.

    Returns the Figure. Raises ValueError for another Dataset.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if "degeneracy" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.degeneracy", f"it has {list(dataset.data_vars)}")
    figure, axes = page("AB;CD;EF;GH", 8.6)
    left, right = axes[::2], axes[1::2]
    one = dataset.isel(input=0, readout=0)
    for network, color in COLORS.items():
        line = "-" if network == "first" else "--"  # where both coincide, both are seen
        for ax, name in ((left[0], "output"), (right[0], "activity_power"), (left[3], "loss")):
            _draw(ax, one[name].sel(network=network), color, line, f"{network} network")
        for ax, noise in zip(left[1:3], dataset["noise"].values, strict=True):
            chosen = dataset.sel(network=network, noise=noise)
            mean, std = (chosen[name].sel(source="theory") for name in ("noise_mean", "noise_std"))
            ax.fill_between(dataset["time"], (mean - std).clip(0), mean + std, color=color, alpha=0.12, linewidth=0)
            _draw(ax, chosen["noise_mean"], color, line, f"{network} network")
    left[0].plot(dataset["time"], one["target"], ":", color="0.5", label="target of learning")
    for ax, noise in zip(right[1:3], dataset["noise"].values, strict=True):
        chosen = dataset.sel(noise=noise)
        _draw(ax, chosen["noise_d_prime"], "k", "-", "d', second minus first network", chosen["noise_d_prime_error"])
    error = dataset["learning_d_prime_error"].sel(source="simulation")
    _draw(right[3], dataset["learning_d_prime"], "k", "-", "d', second minus first network", error)
    right[3].plot(
        dataset["learning_time"], dataset["learning_d_prime_early"], "-.", color="#009E73", label="d', law of early learning"
    )
    largest = 1.3 * float(abs(dataset["learning_d_prime"]).max())
    for ax in right[1:]:
        ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
        ax.set_yscale("symlog", linthresh=LINEAR)
        ax.set(ylim=(-largest, largest), ylabel="d' (standard deviations)")
    left[0].set(title="before learning: output", ylabel=label_of(dataset["output"]))
    right[0].set(title="before learning: activity", ylabel=wrapped(label_of(dataset["activity_power"])))
    for index, noise in enumerate(dataset["noise"].values, start=1):
        left[index].set(title=f"noise in {noise}: answer", ylabel=wrapped(label_of(dataset["noise_mean"]), 20))
        right[index].set_title(f"noise in {noise}: are they told apart?")
    left[3].set(title="learning: loss", ylabel=label_of(dataset["loss"]), yscale="log")
    right[3].set_title("learning: are they told apart?")
    for ax in axes:
        ax.set_xlabel(LEARNING_TIME if ax in (left[3], right[3]) else TRIAL)
        ax.locator_params(axis="x", nbins=4)
    entries = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    entries["lines: theory; circles: simulation"] = Line2D([], [], **CIRCLE, color="0.3")
    entries["one standard deviation over draws"] = Patch(color="0.85")
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw(ax: Any, values: xr.DataArray, color: str, line: str, label: str, error: Any = None) -> None:
    """Draw the theory as a line and the simulation as circles, with error bars if there are errors."""
    time = values.dims[-1]
    few = {time: slice(None, None, max(1, values.sizes[time] // CIRCLES))}
    theory, simulation = values.sel(source="theory"), values.sel(source="simulation").isel(few)
    ax.plot(theory[time], theory, line, color=color, label=label)
    bars = None if error is None else error.isel(few)
    ax.errorbar(simulation[time], simulation, bars, elinewidth=0.8, color=color, **CIRCLE)
