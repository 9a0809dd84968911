"""A linear network of rank 2 learns a damped oscillation: response, poles, and all 21 overlaps."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._curves import show_loss, show_overlaps
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, legend_beside, letter
from overlaps.learning import GradientDescent, final_state, grams, learn
from overlaps.tasks import damped_oscillation

DECAY, FREQUENCY, DT, HORIZON = 0.3, 2.0, 0.05, 20.0
LEARNING_RATE = 0.02
LAGS = DT * np.arange(241)


def runs(neurons: int, duration: float, saves: int) -> xr.DataTree:
    """Train the overlap theory, and a network with the same initial overlaps, on the damped oscillation."""
    rnn, task = RNN(dt=DT), damped_oscillation(DECAY, FREQUENCY, horizon=HORIZON)
    rule = GradientDescent(LEARNING_RATE, round(duration / LEARNING_RATE))
    net = Overlaps.random(0, rank=2)
    theory = learn(net, task, rnn, rule, saves=saves)
    network = learn(net.sample(neurons, key=1), task, rnn, rule, saves=saves)
    responses = {"before": net, "after": final_state(theory)}
    return xr.DataTree.from_dict(
        {
            "theory": theory,
            "network": network,
            "poles": _poles(theory),
            "responses": xr.Dataset(
                {name: ("lag", _response(rnn, state)) for name, state in responses.items()}
                | {"target": ("lag", np.exp(-DECAY * LAGS) * np.cos(FREQUENCY * LAGS))},
                {"lag": ("lag", LAGS, {"long_name": "time", "units": "tau"})},
            ),
        }
    )


def _response(rnn: RNN, state: Overlaps) -> np.ndarray:
    """The output after a unit impulse, at the times LAGS."""
    A, B, C = rnn.system(state)
    step = np.eye(len(A)) + DT * np.asarray(A)
    return np.array([(C @ np.linalg.matrix_power(step, k) @ B).item() for k in range(len(LAGS))])


def _poles(theory: xr.Dataset) -> xr.Dataset:
    """The poles of the network over learning: exp(pole dt) is the factor of a mode in one step of Euler."""
    poles = np.log(1 + DT * (np.linalg.eigvals(grams(theory)[:, 3:5, 1:3]).astype(complex) - 1)) / DT
    poles = np.take_along_axis(poles, np.argsort(-poles.imag, axis=1), axis=1)
    variables = {"real": (("time", "pole"), poles.real), "imag": (("time", "pole"), poles.imag)}
    return xr.Dataset(variables, {"time": theory["time"].values})


def _compute(quick: bool) -> xr.DataTree:
    return runs(200 if quick else 500, 40.0, 201)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 6.6)
    above, below = figure.subfigures(2, 1, height_ratios=(0.7, 1.0))
    response, loss, plane = above.subplots(1, 3)
    theory, network = tree["theory"].to_dataset(), tree["network"].to_dataset()
    curves = tree["responses"].to_dataset()
    response.plot(curves["lag"], curves["target"], color="0.75", linewidth=4, label="target")
    response.plot(curves["lag"], curves["before"], "k:", label="before")
    response.plot(curves["lag"], curves["after"], "k-", label="after")
    response.set(xlabel="time (tau)", ylabel="response to an impulse")
    response.legend()
    show_loss(loss, theory, network)
    _plane(plane, tree["poles"].to_dataset())
    panels = below.subplots(1, 2)
    for ax, visible in zip(panels, (True, False), strict=True):
        show_overlaps(ax, theory, network, visible)
        legend_beside(ax)
    letter([response, loss, plane, *panels])
    return figure


def _plane(ax: Any, poles: xr.Dataset) -> None:
    """The path of both poles in the complex plane, and where the target has them."""
    ax.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    for index in range(poles.sizes["pole"]):
        one = poles.isel(pole=index)
        ax.plot(one["real"], one["imag"], color="C0", label=None if index else "poles")
        ax.plot(one["real"][0], one["imag"][0], "o", color="C0", markersize=3)
    ax.plot([-DECAY, -DECAY], [FREQUENCY, -FREQUENCY], "x", color="C1", label="target")
    ax.set(xlabel="real part (1 / tau)", ylabel="imaginary part (1 / tau)")
    ax.legend(loc="upper left")


FIGURE = PaperFigure(
    name="rank_2",
    source="[GB26], the damped oscillation at rank 2",
    shows="A linear network of rank 2 learns exp(-0.3 t) cos(2 t). Its two poles leave the real line and go to those of "
    "the target. The loss depends on 9 overlaps, but all 21 move, and a network of neurons (circles) follows the theory "
    "(lines) exactly.",
    compute=_compute,
    draw=_draw,
    differences="The decay rate and the frequency of the target, the initial overlaps and the learning rate are ours.",
)
