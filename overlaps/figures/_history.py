"""A network learns A, B, A, B and A with label noise: by gradient descent, and by Adam."""

from typing import Any

import numpy as np
import optax
import xarray as xr

from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, draw_matrix, draw_overlaps, legend_beside, letter, shade_phases
from overlaps.learning import GradientDescent, Phase, conserved, learn
from overlaps.tasks import exponential_filter, label_noise

RATES = {"A": 0.2, "B": 0.4}  # of the two filters
NAMES = ("A", "B", "A again", "B again", "A, noise")
NOISE = 0.5  # standard deviation of the noise on the targets in the last phase
MARKS = 8  # circles per phase
LEAST = 1e-9  # the loss below this value is not shown
SMALL, LARGE = 1e-3, 1.0  # colours of changes are linear up to the first, and logarithmic up to the second
DARK = 0.015  # text on the colours of changes beyond this one is white


def _compute(quick: bool) -> xr.DataTree:
    neurons, steps = (40, 1000) if quick else (200, 3000)
    net = Overlaps.random(0).replace(uu=2.0, mu=0.8)
    rule = GradientDescent(5e-3, steps)
    nodes = {"theory": _learned(net, rule), "network": _learned(net.sample(neurons, key=1), rule, MARKS + 1)}
    nodes["charges"] = conserved(nodes["theory"])
    return xr.DataTree.from_dict(nodes)


def _compute_adam(quick: bool) -> xr.DataTree:
    neurons, steps = (40, 1000) if quick else (200, 3000)
    net = Overlaps.random(0).replace(uu=2.0, mu=0.8)
    run = _learned(net.sample(neurons, key=1), GradientDescent(2e-3, steps, optax.adam))
    return xr.DataTree.from_dict({"network": run, "charges": conserved(run)})


def _learned(state: State, rule: GradientDescent, saves: int = 101) -> xr.Dataset:
    tasks: list[Any] = [exponential_filter(RATES[name[0]]) for name in NAMES]
    tasks[-1] = label_noise(tasks[-1], NOISE)
    phases = [Phase(name, task, rule) for name, task in zip(NAMES, tasks, strict=True)]
    return learn(state, phases, RNN(dt=0.1), saves=saves, key=0)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 6.4)
    above, below = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    axes = above.subplot_mosaic([["loss", "charges"], ["visible", "invisible"]])
    few = tree["network"].to_dataset() if "theory" in tree.children else None
    run = tree["theory" if "theory" in tree.children else "network"].to_dataset()
    axes["loss"].plot(run["time"], run["loss"], color="k", label="theory" if few is not None else "network")
    if few is not None:
        axes["loss"].plot(few["time"], few["loss"], color="k", label="network", **CIRCLES)
    axes["loss"].set(yscale="log", ylabel="loss", ylim=(max(LEAST, 0.5 * float(run["loss"].min())), None))
    legend_beside(axes["loss"])
    for name in ("visible", "invisible"):
        draw_overlaps(run, axes[name], name == "visible")
        if few is not None:
            draw_overlaps(few, axes[name], name == "visible", named=False, **CIRCLES)
        axes[name].set(ylabel=f"{name} overlap a.b / N")
        legend_beside(axes[name])
    spectrum = tree["charges"]["spectrum"]
    for mode in range(spectrum.sizes["mode"]):
        axes["charges"].plot(spectrum["time"], -spectrum.isel(mode=mode), color="k")
    axes["charges"].set(ylabel="eigenvalues of K / N")
    for name in ("loss", "visible", "invisible", "charges"):
        shade_phases(run, axes[name])
        axes[name].set_xlabel("learning time (learning rate x step)")
    ends = below.subplots()
    _draw_ends(run, ends)
    letter([*axes.values(), ends])
    return figure


def _draw_ends(run: xr.Dataset, ax: Any) -> None:
    """Draw the overlaps at the end of each phase as numbers, and their change since the first end of this task as colours."""
    from matplotlib.colors import SymLogNorm

    last = np.flatnonzero(np.append(run["phase"].values[1:] != run["phase"].values[:-1], True))
    ends = run["sigma"].isel(time=last).values
    change = ends - np.stack([ends[NAMES.index(name[0])] for name in NAMES])
    order = np.argsort(~run["visible"].values, kind="stable")
    ends, change, labels = ends[:, order], change[:, order], run["overlap"].values[order]
    image = draw_matrix(change, ax, cmap="RdBu_r", norm=SymLogNorm(SMALL, vmin=-LARGE, vmax=LARGE))
    for row, column in np.ndindex(ends.shape):
        pale = abs(change[row, column]) < DARK
        ax.text(column, row, f"{ends[row, column]:.3f}", ha="center", va="center", color="k" if pale else "w")
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(NAMES)), NAMES)
    ax.tick_params(length=0)
    ax.axvline(int(run["visible"].sum()) - 0.5, color="k", linewidth=1)
    ax.set_title("overlaps at the end of each phase: visible (left) and invisible")
    ax.figure.colorbar(image, ax=ax, label="change since the\nfirst end of this task")


FIGURE = PaperFigure(
    name="history",
    source="[GB26], training history: A-B-A-B-A",
    shows="A network learns A, B, A, B and A with noise on the targets. All overlaps come back, nearly, as long as there is no "
    "noise. Noise moves the invisible ones, and zu against vm, of which the function fixes the product alone. K is conserved "
    "up to the noise. Lines are the theory, circles the network.",
    compute=_compute,
    draw=_draw,
    differences="Sizes, rates, durations and the strength of the noise are ours. Theory and network see the same noise, so "
    "they agree in each draw.",
)
ADAM = PaperFigure(
    name="history_adam",
    source="[GB26], training history under Adam",
    shows="The same tasks, learned by Adam. K is not conserved, and the overlaps come back less exactly, also without noise.",
    compute=_compute_adam,
    draw=_draw,
    differences="Sizes, rates, durations and the strength of the noise are ours. Adam has no closed theory: a "
    "network alone is shown.",
)
