"""A network learns to be a leaky integrator: the theory of its ten overlaps, and all its neurons."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, draw_overlaps, legend_beside, letter
from overlaps.learning import GradientDescent, final_state, initial_state, learn
from overlaps.tasks import exponential_filter

RATE, HORIZON, LEARNING_RATE = 0.2, 20.0, 5e-3
SOURCES = ("theory", "network")
LAGS = 20  # circles along an impulse response


def _compute(quick: bool) -> xr.DataTree:
    neurons, steps, dt = (100, 500, 0.1) if quick else (500, 2000, 0.05)
    network = Overlaps.random(0, n=neurons).sample(neurons, key=1)
    rnn, task = RNN(dt=dt), exponential_filter(RATE, horizon=HORIZON)
    rule = GradientDescent(LEARNING_RATE, steps)
    nodes = {}
    for source, state in zip(SOURCES, (network.overlaps(), network), strict=True):
        run = learn(state, task, rnn, rule, saves=steps + 1)
        ends = [_response(end(run), rnn, dt) for end in (initial_state, final_state)]
        nodes[f"{source}_response"] = xr.concat(ends, xr.Variable("stage", ["before", "after"])).to_dataset()
        points = 200 if source == "theory" else 25
        kept = np.unique(np.geomspace(1, steps, points).round().astype(int))
        nodes[source] = run.isel(time=[0, *kept])
    lag = nodes["theory_response"]["time"]
    nodes["target"] = xr.Dataset({"output": np.exp(-RATE * lag)})
    return xr.DataTree.from_dict(nodes)


def _response(state: State, rnn: RNN, dt: float) -> xr.DataArray:
    """The output after a unit impulse of input."""
    samples = round(HORIZON / dt)
    impulse = (np.arange(samples) == 0)[:, None] / dt
    response = rnn.output(state, impulse).isel(readout=0)
    return response.assign_coords(time=dt * np.arange(samples)).rename("output")


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.4)
    (response, loss), overlaps = figure.subplots(2, 2)
    target = tree["target"]["output"]
    response.plot(target["time"], target, color="0.75", linewidth=4, label="target")
    for stage, line, colour in (("before", "--", "0.4"), ("after", "-", "C1")):
        one = tree["theory_response"]["output"].sel(stage=stage)
        response.plot(one["time"], one, line, color=colour, label=f"theory, {stage}")
        one = tree["network_response"]["output"].sel(stage=stage)
        few = one.isel(time=slice(None, None, one.sizes["time"] // LAGS))
        response.plot(few["time"], few, color=colour, label=f"network, {stage}", **CIRCLES)
    theory, network = (tree[source].to_dataset().isel(time=slice(1, None)) for source in SOURCES)
    loss.plot(theory["step"], theory["loss"], color="k", label="theory")
    loss.plot(network["step"], network["loss"], color="k", label="network", **CIRCLES)
    for ax, visible in zip(overlaps, (True, False), strict=True):
        draw_overlaps(theory, ax, visible, "step")
        draw_overlaps(network, ax, visible, "step", named=False, **CIRCLES)
        ax.set(title="visible overlaps" if visible else "invisible overlaps", ylabel="overlap a.b / N")
    response.set(xlabel="time after the impulse (units of tau)", ylabel="output y", title="impulse response")
    loss.set(yscale="log", ylabel="loss", title="loss")
    for ax in (loss, *overlaps):
        ax.set(xscale="log", xlabel="epoch (step of gradient descent)")
    for ax in (response, loss, *overlaps):
        legend_beside(ax)
    letter((response, loss, *overlaps))
    return figure


FIGURE = PaperFigure(
    name="filter_task",
    source="[GB26], the linear filter task",
    shows="A network learns an impulse response that decays at the rate 0.2. Lines are the theory of its ten overlaps, and "
    "circles the network with all its neurons. The invisible overlaps move as much as the visible ones.",
    compute=_compute,
    draw=_draw,
    differences="The theory steps the exact map of gradient descent, where the paper gives the equations of a flow. Initial "
    "vectors are our own draw.",
)
