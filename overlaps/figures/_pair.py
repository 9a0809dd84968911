"""A linear network learns to oscillate: the plateau of the loss, and the birth of a conjugate pair of eigenvalues."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import DenseNetwork
from overlaps.dynamics import RNN
from overlaps.figures._curves import few
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, letter
from overlaps.integration import escape_rate, plateau_flow, plateau_rate
from overlaps.learning import GradientDescent, final_state, learn
from overlaps.tasks import damped_oscillation

RATE, FREQUENCY = 0.3, 0.5
SEEDS = (1e-2, 1e-3, 1e-4)  # rotations in W at the start; the network has the second
FROZEN = {"m": 0, "z": 0}
LEARNING_RATE, DURATION = 0.05, 60.0
LAGS = np.linspace(0.0, 12.0, 121)


def runs(neurons: int, saves: int = 121) -> xr.DataTree:
    """Solve the flow of three numbers from each rotation, and train a network from one of them."""
    task = damped_oscillation(RATE, FREQUENCY, horizon=None)
    rule = GradientDescent(LEARNING_RATE, round(DURATION / LEARNING_RATE), rates=FROZEN)
    generator = np.random.default_rng(0)
    first, second = np.linalg.qr(generator.standard_normal((neurons, 2)))[0].T
    W = SEEDS[1] * (np.outer(second, first) - np.outer(first, second))
    network = DenseNetwork(W, np.sqrt(neurons) * first, np.sqrt(neurons) * first)
    run = learn(network, task, RNN(), rule, saves=saves)
    times = np.linspace(0.0, DURATION, 401)
    nodes = {f"theory {seed:g}": plateau_flow(RATE, FREQUENCY, times, seed, FROZEN) for seed in SEEDS}
    escape = escape_rate(RATE, FREQUENCY, FROZEN)
    nodes["ends"] = xr.Dataset({"time": ("seed", np.log(1 / np.array(SEEDS)) / escape)}, {"seed": list(SEEDS)})
    nodes["network"] = run.drop_vars(["initial_W", "final_W"]).assign(_leading(run))
    nodes["responses"] = _responses(final_state(run))
    return xr.DataTree.from_dict(nodes)


def _leading(run: xr.Dataset) -> dict[str, xr.DataArray]:
    """The outlier: at each time the eigenvalue with the largest real part, of a pair the one above the real line.

    Both of a pair couple input and readout alike. So the coupling at the end, by which `learn` chooses the outlier, does not
    tell which one is the larger as long as they are real.
    """
    place = run["eigenvalue_real"].argmax("eigenvalue")
    real, imag = (run[f"eigenvalue_{part}"].isel(eigenvalue=place) for part in ("real", "imag"))
    return {"outlier_real": run["outlier_real"].copy(data=real), "outlier_imag": run["outlier_imag"].copy(data=abs(imag))}


def _responses(trained: Any) -> xr.Dataset:
    """The responses to an impulse of the target, of the best leaky integrator and of the trained network."""
    A, B, C = (np.asarray(part) for part in RNN().system(trained))
    values, vectors = np.linalg.eig(A)
    modes = (C @ vectors).ravel() * np.linalg.solve(vectors, B).ravel()
    curves = {
        "target": np.exp(-RATE * LAGS) * np.cos(FREQUENCY * LAGS),
        "plateau": np.exp(-plateau_rate(RATE, FREQUENCY) * LAGS),
        "end": (np.exp(np.outer(LAGS, values)) @ modes).real,
    }
    variables = {name: ("lag", curve) for name, curve in curves.items()}
    return xr.Dataset(variables, {"lag": ("lag", LAGS, {"long_name": "time", "units": "tau"})})


def _compute(quick: bool) -> xr.DataTree:
    return runs(40) if quick else runs(200)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.6)
    (loss, outlier), (plane, response) = figure.subplots(2, 2)
    network = tree["network"].to_dataset()
    some = few(network, 31)
    for index, seed in enumerate(SEEDS):
        theory = tree[f"theory {seed:g}"].to_dataset()
        loss.plot(theory["time"], theory["loss"], color=f"C{index}", label=f"rotation {seed:g}")
        loss.axvline(tree["ends"]["time"].sel(seed=seed), ymin=0.45, color=f"C{index}", linestyle=":", linewidth=0.8)
        for name, line in (("outlier_real", "-"), ("outlier_imag", "--")):
            outlier.plot(theory["time"], theory[name], line, color=f"C{index}")
    loss.plot(some["time"], some["loss"], color="k", label="network", **CIRCLES)
    upper = some["eigenvalue_real"].argmax("eigenvalue")  # on the plateau, the larger one of the two real eigenvalues
    outlier.plot(some["time"], some["eigenvalue_real"].isel(eigenvalue=upper), color="k", **CIRCLES)
    outlier.plot(some["time"], abs(some["eigenvalue_imag"].isel(eigenvalue=upper)), color="k", **CIRCLES)
    for height in (1 - RATE, FREQUENCY):
        outlier.axhline(height, color="0.5", linestyle=":", linewidth=0.8)
    loss.set(xlabel="learning time", ylabel="loss (1 / tau)", yscale="log")
    loss.legend(loc="lower left")
    outlier.set(xlabel="learning time", ylabel="outlier of W")
    for text, height in (("real part", 1 - RATE), ("imaginary part", FREQUENCY)):
        outlier.text(0.01, height + 0.01, text, transform=outlier.get_yaxis_transform(), fontsize=6, va="bottom")
    _plane(plane, network)
    curves = tree["responses"].to_dataset()
    response.plot(curves["lag"], curves["target"], color="0.75", linewidth=4, label="target")
    response.plot(curves["lag"], curves["plateau"], "k:", label="best leaky integrator")
    response.plot(curves["lag"], curves["end"], "k-", label="network at the end")
    response.set(xlabel="time (tau)", ylabel="response to an impulse")
    response.legend()
    letter([loss, outlier, plane, response])
    return figure


def _plane(ax: Any, network: xr.Dataset) -> None:
    """The path of the two eigenvalues that learning moves, in the complex plane."""
    real, imag = network["eigenvalue_real"], network["eigenvalue_imag"]
    distance = ((real[-1] - real[0]) ** 2 + (imag[-1] - imag[0]) ** 2).values
    moved = np.argsort(-distance)[:2]
    ax.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    for number, index in enumerate(moved):
        ax.plot(real[:, index], imag[:, index], ".-", color="C0", markersize=2, label=None if number else "path")
        ax.plot(real[0, index], imag[0, index], "o", color="0.4", markersize=4, label=None if number else "start")
    ax.plot([1 - RATE] * 2, [FREQUENCY, -FREQUENCY], "x", color="C1", label="target")
    ax.set(xlabel="real part of eigenvalues of W", ylabel="imaginary part")
    ax.legend(loc="center right")


FIGURE = PaperFigure(
    name="pair",
    source="[BCPZ25], learning to oscillate by a conjugate pair",
    shows="A network with one input and one output learns exp(-0.3 t) cos(0.5 t). It first becomes a leaky integrator, "
    "and the loss has a plateau. A small rotation in W grows, until two real eigenvalues meet and leave the real line as a "
    "conjugate pair. Lines: a flow of three numbers, for three rotations at the start. Dotted in a: the predicted ends of "
    "the plateaus.",
    compute=_compute,
    draw=_draw,
    differences="W alone learns, and m = z, where the flow and the length of the plateau are known in closed form. The "
    "normalisation is that of docs/integration.md; the seeds are ours.",
)
