"""Three learning rules on one erf network: gradient flow, large steps and Adam, in outputs and overlaps."""

from typing import Any

import numpy as np
import optax
import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._curves import legend_below, show_loss, show_overlaps
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, letter
from overlaps.learning import GradientDescent, GradientFlow, learn
from overlaps.tasks import flip_flop

DT, TRIAL = 0.2, 3  # TRIAL is the one that is shown
CORRELATED = 0.7 * np.eye(4) + 0.3
PAIRS = {  # of each rule: what lines and circles show
    "gradient flow": ("theory", "network"),
    "large steps": ("theory", "network"),
    "Adam": ("network", "another network"),
}


def runs(neurons: int, duration: float, saves: int) -> xr.DataTree:
    """Train the theory and a network by each rule; for Adam, which has no theory, two networks with the same overlaps."""
    rnn, task = RNN("erf", dt=DT), flip_flop(0, trials=4, duration=15.0, dt=DT)
    net = Overlaps(CORRELATED)
    states = {"theory": net, "network": net.sample(neurons, 0), "another network": net.sample(neurons, 1)}
    rules = {
        "gradient flow": GradientFlow(duration, rtol=1e-5, atol=1e-7),
        "large steps": GradientDescent(0.5, round(2 * duration)),
        "Adam": GradientDescent(0.02, round(4 * duration), optax.adam),
    }
    nodes = {"task": _shown(task)}
    for name, pair in PAIRS.items():
        for state in pair:
            nodes[f"{name}/{state}"] = learn(states[state], task, rnn, rules[name], saves, observe="output").isel(trial=TRIAL)
    return xr.DataTree.from_dict(nodes)


def _shown(task: Any) -> xr.Dataset:
    """Input, target and mask of the trial that is shown, over the time in the trial."""
    variables = {name: ("moment", getattr(task, name)[TRIAL, :, 0]) for name in ("inputs", "targets", "mask")}
    return xr.Dataset(variables, {"moment": ("moment", task.times, {"long_name": "time", "units": "tau"})})


def _compute(quick: bool) -> xr.DataTree:
    return runs(300, 40.0, 81) if quick else runs(1000, 80.0, 161)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 6.4)
    axes = figure.subplots(3, 4)
    task = tree["task"].to_dataset()
    for row, (rule, pair) in zip(axes, PAIRS.items(), strict=True):
        first, second = (tree[f"{rule}/{name}"].to_dataset() for name in pair)
        show_loss(row[0], first, second, pair)
        _trace(row[1], task, second)
        show_overlaps(row[2], first, second, visible=True)
        show_overlaps(row[3], first, second, visible=False)
        row[0].set_title(rule)
    letter(axes.ravel())
    legend_below(figure, axes[0, 1:], ncols=7)
    return figure


def _trace(ax: Any, task: xr.Dataset, dataset: xr.Dataset) -> None:
    """The target on one trial, where it counts, and the output before and after learning."""
    time, target = task["moment"], task["targets"].where(task["mask"] > 0)
    output = dataset["output"].isel(readout=0)
    ax.plot(time, target, color="0.75", linewidth=4, solid_capstyle="butt", label="target")
    ax.plot(time, output.isel(time=0), "k:", label="before")
    ax.plot(time, output.isel(time=-1), "k-", label="after")
    starts = time.values[np.diff(np.abs(task["inputs"].values), prepend=0.0) > 0]
    ax.vlines(starts, 0.0, 0.06, color="C1", transform=ax.get_xaxis_transform(), label="pulse")
    ax.set(xlabel="time (tau)", ylabel="output")


FIGURE = PaperFigure(
    name="learning_rules",
    source="[GB26], gradient flow, large steps and Adam on erf networks",
    shows="An erf network learns the flip-flop task by gradient flow, by steps of 0.5, which are too large for a smooth "
    "descent, and by Adam: loss, output on one trial, visible and invisible overlaps. With large steps theory and network "
    "part while the loss jumps. For Adam, circles are a second network with the same initial overlaps. Its overlaps take "
    "another course, the less so the more neurons there are.",
    compute=_compute,
    draw=_draw,
    differences="Adam has no closed theory, because it looks at single neurons, so two networks with equal overlaps are "
    "compared instead. The task is the flip-flop, with initial overlaps of 1 and 0.3; the learning rates and numbers of "
    "steps are ours.",
)
