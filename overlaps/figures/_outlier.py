"""A linear network learns to integrate from small random weights: the outlier of W, the loss, and theories of few units."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import DenseNetwork
from overlaps.dynamics import RNN
from overlaps.figures._curves import few
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, letter
from overlaps.learning import GradientDescent, learn
from overlaps.tasks import exponential_filter

RATES = (0.2, 0.3, 0.5)  # decay rates of the targets
RADIUS = 0.1  # of the bulk, in the first two panels
RADII = (0.01, 0.03, 0.1, 0.3)
ORDERS = {0: "2 units (rich theory)", 1: "6 units (Krylov space)"}  # of Krylov spaces, and what they are called
LEARNING_RATE = 0.01
KEPT = ["loss", "outlier_real", "outlier_imag"]


def runs(neurons: int, steps: int, saves: int = 61) -> xr.DataTree:
    """Train networks on integrators of several rates, and from several sizes of W; and the small networks of each theory."""
    rule, nodes = GradientDescent(LEARNING_RATE, steps), {}
    cases = [(rate, RADIUS) for rate in RATES] + [(RATES[0], radius) for radius in RADII if radius != RADIUS]
    for rate, radius in cases:
        task = exponential_filter(rate, horizon=None)
        network = DenseNetwork.random(0, neurons, radius)
        states = {"network": network, **{f"order {order}": network.krylov(order) for order in ORDERS}}
        for name, state in states.items():
            nodes[f"rate {rate:g}, radius {radius:g}/{name}"] = learn(state, task, RNN(), rule, saves=saves)[KEPT]
    errors = [[_error(nodes, radius, order) for order in ORDERS] for radius in RADII]
    nodes["errors"] = xr.Dataset({"loss": (("radius", "order"), errors)}, {"radius": list(RADII), "order": list(ORDERS)})
    return xr.DataTree.from_dict(nodes)


def _error(runs: Mapping[str, xr.Dataset], radius: float, order: int) -> float:
    """The largest error of the loss over learning, relative to the loss at the start, at the first rate."""
    network, theory = (runs[f"rate {RATES[0]:g}, radius {radius:g}/{name}"]["loss"] for name in ("network", f"order {order}"))
    return float(np.max(np.abs(theory - network)) / network[0])


def _compute(quick: bool) -> xr.DataTree:
    return runs(100, 250) if quick else runs(300, 400)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 2.7)
    loss, outlier, error = figure.subplots(1, 3)
    for index, rate in enumerate(RATES):
        case = tree[f"rate {rate:g}, radius {RADIUS:g}"]
        theory, network = case["order 0"].to_dataset(), few(case["network"].to_dataset())
        for ax, name in ((loss, "loss"), (outlier, "outlier_real")):
            ax.plot(theory["time"], theory[name], color=f"C{index}", label=f"rate {rate:g}")
            ax.plot(network["time"], network[name], color=f"C{index}", **CIRCLES)
        outlier.axhline(1 - rate, color=f"C{index}", linestyle=":", linewidth=0.8)
    outlier.axhspan(-RADIUS, RADIUS, color="0.93", zorder=0)
    loss.set(xlabel="learning time", ylabel="loss (1 / tau)", yscale="log")
    outlier.set(xlabel="learning time", ylabel="outlier of W")
    outlier.text(0.98, 0.0, "bulk", transform=outlier.get_yaxis_transform(), ha="right", va="center", fontsize=6)
    loss.legend()
    for order, name in ORDERS.items():
        error.plot(RADII, tree["errors"]["loss"].sel(order=order), "o-", markersize=3, label=name)
    error.set(xlabel="radius of the bulk", ylabel="largest error of the loss", xscale="log", yscale="log")
    error.legend(loc="upper left")
    error.set_ylim(top=30)
    letter([loss, outlier, error])
    return figure


FIGURE = PaperFigure(
    name="outlier",
    source="[BCPZ25], learning to integrate from small random weights",
    shows="Linear networks learn exp(-rate t) from small random W (circles), and one eigenvalue leaves the bulk (grey) "
    "for 1 - rate (dotted). A network of two units (lines) tells loss and outlier, up to an error that falls with the size "
    "of W.",
    compute=_compute,
    draw=_draw,
    differences="The normalisation is that of docs/integration.md, derived without the paper at hand, so learning times "
    "can differ by a factor. W, m and z all learn at rates at which they matter equally for many neurons. Sizes, rates and "
    "seeds are ours.",
)
