"""The eigenvalues of W while a linear network learns to integrate, and while it learns to oscillate."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import DenseNetwork
from overlaps.dynamics import RNN
from overlaps.figures._curves import legend_below
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, letter
from overlaps.learning import GradientDescent, learn
from overlaps.tasks import damped_oscillation, exponential_filter

RADIUS, RATE, FREQUENCY = 0.5, 0.2, 0.8
TASKS = {  # the target, the learning rate, and the learning time
    "integrator": (exponential_filter(RATE, horizon=None), 0.01, 2.0),
    "oscillator": (damped_oscillation(RATE, FREQUENCY, horizon=None), 0.01, 8.0),
}
POLES = {"integrator": np.array([1 - RATE + 0j]), "oscillator": 1 - RATE + FREQUENCY * np.array([1j, -1j])}
MOMENTS = {"integrator": (0.0, 0.1, 0.2, 1.0), "oscillator": (0.0, 0.25, 0.5, 1.0)}  # shown, as parts of the learning time
KEPT = ["loss", "eigenvalue_real", "eigenvalue_imag", "outlier_real", "outlier_imag"]


def runs(neurons: int, saves: int = 41) -> xr.DataTree:
    """Train a network of these many neurons on each target."""
    nodes = {}
    for name, (task, rate, duration) in TASKS.items():
        rule = GradientDescent(rate, round(duration / rate))
        nodes[name] = learn(DenseNetwork.random(0, neurons, RADIUS), task, RNN(), rule, saves=saves)[KEPT]
    return xr.DataTree.from_dict(nodes)


def _compute(quick: bool) -> xr.DataTree:
    return runs(100) if quick else runs(300)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.4)
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    for row, name in zip(axes, TASKS, strict=True):
        dataset = tree[name].to_dataset()
        for ax, moment in zip(row, MOMENTS[name], strict=True):
            _spectrum(ax, dataset, round(moment * (dataset.sizes["time"] - 1)), POLES[name])
        row[0].set_ylabel(f"{name}\nimaginary part")
    for ax in axes[1]:
        ax.set_xlabel("real part")
    letter(axes.ravel())
    legend_below(figure, [axes[0, 0]], ncols=5)
    return figure


def _spectrum(ax: Any, dataset: xr.Dataset, index: int, poles: Any) -> None:
    """All eigenvalues at one moment, the path of the outlier up to there, the bulk at the start, and the target."""
    now, path = dataset.isel(time=index), dataset.isel(time=slice(index + 1))
    angle = np.linspace(0, 2 * np.pi, 201)
    ax.fill(RADIUS * np.cos(angle), RADIUS * np.sin(angle), color="0.93", zorder=0, label="bulk at the start")
    ax.plot(now["eigenvalue_real"], now["eigenvalue_imag"], ".", color="0.3", markersize=2, label="eigenvalues of W")
    for sign in (1, -1):
        first = sign > 0
        ax.plot(path["outlier_real"], sign * path["outlier_imag"], color="C0", linewidth=0.8, label="path" if first else None)
        place = now["outlier_real"], sign * now["outlier_imag"]
        ax.plot(*place, "o", color="C0", markersize=4, label="outlier" if first else None)
    ax.plot(poles.real, poles.imag, "x", color="C1", label="target")
    ax.axvline(1.0, color="0.5", linestyle=":", linewidth=0.8)
    ax.set(aspect="equal", title=f"time {float(now['time']):.2g}, loss {float(now['loss']):.2g}")


FIGURE = PaperFigure(
    name="spectra",
    source="[BCPZ25], eigenvalues of W over learning",
    shows="All eigenvalues of W at four learning times, while a network learns to integrate (a to d) and to oscillate "
    "(e to h). One eigenvalue, or one conjugate pair, leaves the bulk and goes to the target (crosses); the others hardly "
    "move. Dotted: the limit of stability.",
    compute=_compute,
    draw=_draw,
    differences="The bulk has the radius 0.5, so that one sees it; the normalisation is that of docs/integration.md. "
    "Sizes, rates and seeds are ours.",
)
