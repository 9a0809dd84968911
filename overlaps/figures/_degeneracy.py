"""Two networks with the same function: noise does not tell them apart, and learning does."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, letter
from overlaps.studies import degeneracy
from overlaps.tasks import exponential_filter

LOOKS = {"first": {"color": "C0", "linestyle": "-"}, "second": {"color": "C1", "linestyle": "--"}}
NAMES = {"first": "network 1", "second": "network 2"}
CHANGES = {"uu": 2.05, "mu": 0.8}
MARKS = 14  # circles along a line


def _compute(quick: bool) -> xr.DataTree:
    first = Overlaps.random(0)
    second = first.replace(**CHANGES)
    draws, steps = (40, 400) if quick else (200, 400)
    pair = degeneracy(first, second, exponential_filter(0.2), RNN(dt=0.1), n=100, draws=draws, steps=steps)
    sigma = np.stack([net.layout.listed(net.gram) for net in (first, second)])
    labels = [one.label for one in first.layout.pairs]
    initial = xr.Dataset(
        {"sigma": (("network", "overlap"), sigma)},
        {"network": list(NAMES), "overlap": labels, "visible": ("overlap", list(RNN().visible(first.layout)))},
    )
    return xr.DataTree.from_dict({"initial": initial, "degeneracy": pair})


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.8)
    axes = figure.subplot_mosaic([["overlaps", "overlaps", "output"], ["activity", "weights", "loss"]])
    _draw_initial(tree["initial"].to_dataset(), axes["overlaps"])
    pair = tree["degeneracy"].to_dataset()
    one = pair.isel(input=0, readout=0)
    axes["output"].plot(pair["time"], one["target"], color="0.75", linewidth=3, label="target")
    for network in NAMES:
        chosen = one.sel(network=network)
        for name, variable in (("output", chosen["output"]), ("loss", chosen["loss"])):
            _draw_both(variable, axes[name], network)
        for noise in ("activity", "weights"):
            answers = chosen.sel(noise=noise)
            mean, std = (answers[f"noise_{part}"].sel(source="theory") for part in ("mean", "std"))
            band = {"color": LOOKS[network]["color"], "alpha": 0.15, "linewidth": 0}
            axes[noise].fill_between(pair["time"], mean - std, mean + std, **band)
            axes[noise].set_ylim(bottom=0.0)
            error = answers["noise_std"].sel(source="simulation") / np.sqrt(pair.sizes["draw"])
            _draw_both(answers["noise_mean"], axes[noise], network, error)
    for noise in ("activity", "weights"):
        end = pair["noise_d_prime"].sel(noise=noise, source="theory").isel(time=-1).item()
        axes[noise].set_title(f"noise in {noise}\nd' = {end + 0.0:.2g}")
        axes[noise].set_ylabel("mean square change of output")
    largest = pair["learning_d_prime"].sel(source="theory")
    largest = largest.isel(learning_time=int(np.argmax(abs(largest.values)))).item()
    axes["output"].set(title="before learning", ylabel="output y")
    axes["loss"].set(title=f"learning\nd' up to {largest:.2g}", ylabel="loss", yscale="log")
    for name in ("output", "activity", "weights"):
        axes[name].set_xlabel("time in the trial (units of tau)")
    axes["loss"].set_xlabel("learning time\n(learning rate x step)")
    axes["output"].legend()
    letter(axes.values())
    return figure


def _draw_initial(initial: xr.Dataset, ax: Any) -> None:
    """Draw the overlaps of both networks as bars."""
    place = np.arange(initial.sizes["overlap"])
    for shift, network in ((-0.2, "first"), (0.2, "second")):
        ax.bar(place + shift, initial["sigma"].sel(network=network), 0.4, color=LOOKS[network]["color"], label=NAMES[network])
    border = int(initial["visible"].sum()) - 0.5
    ax.axvline(border, color="k", linewidth=0.6)
    ax.axhline(0.0, color="k", linewidth=0.6)
    for x, text, side in ((border - 0.1, "visible", "right"), (border + 0.1, "invisible", "left")):
        ax.text(x, 1.0, text, transform=ax.get_xaxis_transform(), ha=side, va="top")
    ax.set_xticks(place, initial["overlap"].values)
    ax.set(ylabel="overlap a.b / N", title="initial overlaps")
    ax.legend(loc="upper left")


def _draw_both(variable: xr.DataArray, ax: Any, network: str, error: Any = None) -> None:
    """Draw the theory as a line, and the simulation as circles, with bars of one standard error if there is one."""
    time = variable.dims[-1]
    theory, simulation = (variable.sel(source=source) for source in ("theory", "simulation"))
    ax.plot(theory[time], theory, label=NAMES[network], **LOOKS[network])
    few = {time: slice(None, None, max(1, simulation.sizes[time] // MARKS))}
    bars = None if error is None else error.isel(few)
    shown = simulation.isel(few)
    ax.errorbar(shown[time], shown, bars, elinewidth=0.6, **CIRCLES, color=LOOKS[network]["color"])


FIGURE = PaperFigure(
    name="degeneracy",
    source="[GB26], learning as a perturbation",
    shows="Two networks differ in two invisible overlaps. Their outputs and their answers to noise in activity and in weights "
    "agree. Their learning differs. Lines are the theory, circles networks of 100 neurons, bands one standard deviation, "
    "and bars one standard error. d' is the difference of the two means in units of the standard deviation.",
    compute=_compute,
    draw=_draw,
    differences="All perturbations are measured by one quantity, d', and computed from overlaps too. The answers to noise in "
    "activity are exactly equal in distribution, and those to noise in weights are nearly so (docs/findings.md).",
)
