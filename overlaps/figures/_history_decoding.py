"""What students remember: their losses, their overlaps after A or B and after C, and the decoding of their history."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, letter
from overlaps.figures._students import HISTORIES, shade_last, trained
from overlaps.studies import decode_history, twin_starts

STAGES = ("start", "A or B", "C")
SCATTERED = (("zm", "vu"), ("zv", "zz"))  # two visible overlaps, and two invisible ones
FEATURES = {"visible": "C2", "invisible": "C3"}
SHOWN = 0.3  # the noise of the bars


def runs(twins: int, steps: int, noise: tuple[float, ...], draws: int, saves: int = 61) -> xr.DataTree:
    """Train pairs of students from shared starts, and decode from their overlaps which task each of them learned first."""
    courses = trained(twin_starts(twins), steps, saves)
    ends = [courses[first]["sigma"].isel(time=[0, saves - 1, -1]).drop_vars(["time", "phase", "step"]) for first in HISTORIES]
    sigma: Any = xr.concat(ends, xr.IndexVariable("history", list(HISTORIES))).rename(batch="twin", time="stage")
    stage = ("stage", list(STAGES), {"long_name": "stage of training", "units": "1"})
    stages = sigma.assign_coords(stage=stage).to_dataset(name="sigma")
    return xr.DataTree.from_dict({**courses, "stages": stages, "decoding": decode_history(stages, noise, draws)})


def _compute(quick: bool) -> xr.DataTree:
    if quick:
        return runs(40, 800, (0.0, 0.1, SHOWN, 1.0), draws=2)
    return runs(100, 2000, (0.0, 0.03, 0.1, SHOWN, 1.0, 3.0), draws=10)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.4)
    above, below = figure.subfigures(2, 1)
    loss, bars, curve = above.subplots(1, 3)
    for first, color in HISTORIES.items():
        _losses(loss, tree[first].to_dataset(), first, color)
    shade_last(loss, tree["A"].to_dataset())
    loss.legend(loc="lower left")
    _accuracies(bars, curve, tree["decoding"].to_dataset())
    scatters = below.subplots(1, 4)
    stages = tree["stages"].to_dataset()
    for ax, (stage, pair) in zip(scatters, [(stage, pair) for pair in SCATTERED for stage in STAGES[1:]], strict=True):
        for first, color in HISTORIES.items():
            x, y = (stages["sigma"].sel(history=first, stage=stage, overlap=name) for name in pair)
            ax.plot(x, y, ".", color=color, markersize=3, label=f"{first} first")
        ax.set(xlabel=pair[0], ylabel=pair[1], title=f"after {stage}")
    for left, right in (scatters[:2], scatters[2:]):  # one scale for both stages, so that one sees what has become equal
        right.sharex(left)
        right.sharey(left)
        left.autoscale()
    letter([loss, bars, curve])
    letter(scatters, "d")
    return figure


def _losses(ax: Any, run: xr.Dataset, first: str, color: str) -> None:
    """The median over the students of one history, and the range from the lowest to the highest loss."""
    low, middle, high = np.quantile(run["loss"].transpose("time", "batch"), [0.0, 0.5, 1.0], axis=1)
    ax.fill_between(run["step"], low, high, color=color, alpha=0.25, linewidth=0)
    ax.plot(run["step"], middle, color=color, label=f"{first} first")
    ax.set(xlabel="gradient step", ylabel="loss", yscale="log")


def _accuracies(bars: Any, curve: Any, found: xr.Dataset) -> None:
    """How often the history is decoded: at each stage with the noise `SHOWN`, and after C against the noise."""
    noise = found["noise"].values
    for shift, (name, color) in zip((-0.2, 0.2), FEATURES.items(), strict=True):
        one, last = found.sel(features=name, noise=SHOWN), found.sel(features=name).isel(stage=-1)
        errors = np.abs([one["accuracy"] - one["accuracy_lower"], one["accuracy_upper"] - one["accuracy"]])
        places = np.arange(found.sizes["stage"]) + shift
        bars.bar(places, one["accuracy"], 0.4, yerr=errors, color=color, error_kw={"elinewidth": 0.8}, label=name)
        curve.plot(noise, last["accuracy"], "o-", color=color, markersize=3, label=f"from {name}")
        curve.fill_between(noise, last["accuracy_lower"], last["accuracy_upper"], color=color, alpha=0.25, linewidth=0)
    bars.set_xticks(range(found.sizes["stage"]), [f"after {name}" if name != "start" else name for name in STAGES])
    curve.set_xscale("symlog", linthresh=noise[noise > 0].min())
    curve.set_xticks(noise, [f"{level:g}" for level in noise])
    curve.minorticks_off()
    for ax in (bars, curve):
        ax.axhline(0.5, color="0.5", linestyle=":", linewidth=0.8)
        ax.set(ylabel="accuracy of decoding", ylim=(0.0, 1.05))
    bars.set(title=f"measurement noise {SHOWN:g}")
    curve.set(xlabel="measurement noise", title="after C")
    curve.legend(loc="lower left")


FIGURE = PaperFigure(
    name="decoding",
    source="[GB26], students that learn A or B and then C",
    shows="Pairs of erf students learn a flip-flop (A) or decision-making (B), and then both imitate one teacher (C). "
    "After C, overlaps that are measured with noise tell which task came first if they are invisible, and hardly tell it if "
    "they are visible.",
    compute=_compute,
    draw=_draw,
    differences="The rule is clipped, annealed descent with momentum, by which every start learns; of the starts, those "
    "that are no overlap matrix are drawn again. Accuracies are cross-validated, with both students of a pair in one fold. "
    "Without measurement noise, visible overlaps decode as well as invisible ones, because training stops at a distance "
    "from the solution.",
)
