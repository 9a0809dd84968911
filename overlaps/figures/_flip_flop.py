"""The flip-flop task: the overlap theory against a network of 600 neurons, on fixed and on fresh trials."""

from typing import Any

import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._curves import show_loss, show_overlaps
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, legend_beside, letter
from overlaps.learning import GradientDescent, learn
from overlaps.plots import plot_histograms, plot_quantiles
from overlaps.tasks import flip_flop

NEURONS, LEARNING_RATE, DRAWS = 600, 0.2, 0
TRIALS = {"fixed": 0, "fresh": None}  # the seed of the trials; None draws new trials at each step


def runs(neurons: int, steps: int, dt: float, trials: int, saves: int) -> xr.DataTree:
    """Train the overlap theory, and a network with the same initial overlaps, on fixed and on fresh trials."""
    rnn, rule = RNN("erf", dt=dt), GradientDescent(LEARNING_RATE, steps)
    net = Overlaps.random(0, n=neurons)
    network = net.sample(neurons, key=1)
    nodes = {}
    for kind, key in TRIALS.items():
        task = flip_flop(key, trials=trials, dt=dt)
        nodes[f"{kind}/theory"] = learn(net, task, rnn, rule, saves, DRAWS)
        nodes[f"{kind}/network"] = learn(network, task, rnn, rule, saves, DRAWS, observe="moments")
    return xr.DataTree.from_dict(nodes)


def _compute(quick: bool) -> xr.DataTree:
    if quick:
        return runs(NEURONS, 800, dt=0.25, trials=5, saves=81)
    return runs(NEURONS, 1000, dt=0.05, trials=10, saves=201)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 8.6)
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 0.85))
    panels = above.subplots(2, 3)
    for row, kind in zip(panels, TRIALS, strict=True):
        theory, network = (tree[f"{kind}/{name}"].to_dataset() for name in ("theory", "network"))
        show_loss(row[0], theory, network)
        show_overlaps(row[1], theory, network, visible=True)
        show_overlaps(row[2], theory, network, visible=False)
        row[0].set_title(f"{kind} trials")
        legend_beside(row[1])
        legend_beside(row[2])
    entries = below.subplots(2, 4)
    trained = tree["fixed/network"].to_dataset()
    plot_histograms(trained, entries[0])
    plot_quantiles(trained, entries[1])
    for ax, kurtosis in zip(entries[0], trained["kurtosis"].values[-1], strict=True):
        ax.set_title("")
        ax.text(1.0, 1.0, f"excess kurtosis\n{kurtosis:.2f}", transform=ax.transAxes, ha="right", va="top", fontsize=6)
    for ax in entries[1]:
        ax.set(xlabel="normal quantile")
    entries[1, 0].set_ylabel("quantile of the\nstandardised entries")
    letter(panels.ravel())
    letter([entries[0, 0], entries[1, 0]], "g")
    return figure


FIGURE = PaperFigure(
    name="flip_flop",
    source="[GB26], the flip-flop task with 600 neurons",
    shows="A rank-1 erf network of 600 neurons (circles) learns the flip-flop task as the overlap theory says (lines), "
    "on fixed trials (a to c) and on trials that are drawn anew at each step (d to f). Histograms (g) and Q-Q plots (h) of "
    "the vectors that were trained on fixed trials: learning makes them non-Gaussian, and so the theory is not exact.",
    compute=_compute,
    draw=_draw,
    differences="Theory and network start from exactly the same overlaps and see the same trials, so that all of their "
    "difference comes from learning. The theory steps by descent, and not by the flow. Learning rate, number of steps and "
    "seeds are ours.",
)
