"""The figure of two networks that have the same output, and of what tells them apart."""

from typing import Any

import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, label_of

COLORS = {"first": "C0", "second": "C3"}
CIRCLES = 12  # about so many circles of the simulation along a line of the theory
LINEAR = 1.0  # the axis of d' is linear up to this value, and logarithmic beyond


def plot_degeneracy(dataset: xr.Dataset) -> Any:
    """Draw two networks that have the same output, and how well three perturbations tell them apart.

    - `dataset`: a result of `studies.degeneracy`.

    The perturbations are noise in the activity, noise in the weights, and learning. The upper row shows the outputs before
    learning (which coincide), the answer to each kind of noise (the mean square change of the output, with a band of one
    standard deviation over draws of the noise), and the loss while learning. The lower row shows the mean square activity, and
    d' for each perturbation: the mean answer of the second network minus that of the first, in units of the standard deviation
    (the root mean square of both). Lines are the theory. Circles are the simulation, with bars of one standard error at d'. If
    there are several inputs or outputs, the figure shows the first ones.

    Returns the Figure. Raises ValueError for another Dataset.
    """
    import matplotlib.pyplot as plt

    if "degeneracy" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.degeneracy", f"it has {list(dataset.data_vars)}")
    figure, (above, below) = plt.subplots(2, 4, figsize=(17, 7.5), layout="constrained")
    one = dataset.isel(input=0, readout=0)
    for network, color in COLORS.items():
        line = "-" if network == "first" else "--"  # where both coincide, both are seen
        for ax, name in ((above[0], "output"), (below[0], "activity_power"), (above[3], "loss")):
            _draw(ax, one[name].sel(network=network), color, line, f"{network} network")
        for ax, noise in zip(above[1:3], dataset["noise"].values, strict=True):
            chosen = dataset.sel(network=network, noise=noise)
            mean, std = (chosen[name].sel(source="theory") for name in ("noise_mean", "noise_std"))
            ax.fill_between(dataset["time"], (mean - std).clip(0), mean + std, color=color, alpha=0.12, linewidth=0)
            _draw(ax, chosen["noise_mean"], color, line, f"{network} network")
    above[0].plot(dataset["time"], one["target"], ":", color="0.5", label="target")
    for ax, noise in zip(below[1:3], dataset["noise"].values, strict=True):
        chosen = dataset.sel(noise=noise)
        _draw(ax, chosen["noise_d_prime"], "k", "-", "theory", chosen["noise_d_prime_error"])
    error = dataset["learning_d_prime_error"].sel(source="simulation")
    _draw(below[3], dataset["learning_d_prime"], "k", "-", "theory", error)
    below[3].plot(dataset["learning_time"], dataset["learning_d_prime_early"], ":", color="C2", label="law of early learning")
    largest = 1.3 * float(abs(dataset["learning_d_prime"]).max())
    for ax in below[1:]:
        ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
        ax.set_yscale("symlog", linthresh=LINEAR)
        ax.set(ylim=(-largest, largest), ylabel="d' (second minus first network)")
    titles = ("before learning", "under noise in activity", "under noise in weights", "while learning")
    for ax, title in zip(above, titles, strict=True):
        ax.set_title(title)
    above[0].set_ylabel(label_of(dataset["output"]))
    below[0].set_ylabel(label_of(dataset["activity_power"]))
    for ax in above[1:3]:
        ax.set_ylabel(label_of(dataset["noise_mean"]))
    above[3].set(ylabel=label_of(dataset["loss"]), yscale="log")
    for ax in (*above[:3], *below[:3]):
        ax.set_xlabel("time in the trial (same unit as tau)")
    for ax in (above[3], below[3]):
        ax.set_xlabel(LEARNING_TIME)
    for ax in (*above, *below):
        ax.legend(fontsize="small")
    figure.suptitle("Lines: theory. Circles: simulation. Bands: one standard deviation over draws. Bars: one standard error.")
    return figure


def _draw(ax: Any, values: xr.DataArray, color: str, line: str, label: str, error: Any = None) -> None:
    """Draw the theory as a line and the simulation as circles, with error bars if there are errors."""
    time = values.dims[-1]
    few = {time: slice(None, None, max(1, values.sizes[time] // CIRCLES))}
    theory, simulation = values.sel(source="theory"), values.sel(source="simulation").isel(few)
    ax.plot(theory[time], theory, line, color=color, label=label)
    bars = None if error is None else error.isel(few)
    circles = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "linestyle": "none", "color": color}
    ax.errorbar(simulation[time], simulation, bars, elinewidth=0.8, **circles)
