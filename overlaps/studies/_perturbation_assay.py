"""How fast a network begins to learn a new task, and what this speed says about its invisible overlaps."""

import json
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from tqdm.auto import tqdm

from overlaps._support import AnyArray, argument_error, in_float64, said
from overlaps.connectivity import Layout, Overlaps, State
from overlaps.dynamics import RNN
from overlaps.learning import checked_rates, describe
from overlaps.studies._speed_readings import noise_fraction, readings
from overlaps.tasks import Task

SPEED, CURVATURE = "loss / learning time", "loss / learning time^2"
PREDICTION = (
    "Two networks with the same function begin to learn a new task at different speeds, as their invisible overlaps say."
)
ASSUMPTION = "All vectors learn by gradient flow, or by descent with small steps, at the relative rates that are given."


@in_float64
def perturbation_assay(
    states: Any,
    probes: Any,
    rnn: RNN,
    noise: Any = 0.01,
    rates: Mapping[str, float] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """The speed at which networks begin to learn new tasks (probes), and what these speeds say about invisible overlaps.

    An overlap is the scalar product of two connectivity vectors, divided by the number of neurons. Invisible overlaps are those
    on which the function of the network does not depend. Under gradient flow the loss L of a probe first falls at the speed

        -dL/ds = |dL/dF|^2 = tr(S G S) = sum over overlaps of weight x overlap,

    with the learning time s, the overlap matrix G, a factor F of it (F^T F = G), and S = Gamma + Gamma^T with Gamma = dL/dG.
    S depends on visible overlaps alone. So the speed is linear in the invisible overlaps, with known weights, and the speeds of
    several probes are linear equations for them (docs/predictions.md, "The perturbation assay").

    - `states`: networks that have overlaps, such as `Overlaps`, `Network` or `MeanField`: a mapping from names to states, a
      list of states, or a single state. No batches, and no readout biases.
    - `probes`: the new tasks, each with a loss that is always the same (filters and fixed trials): a mapping from names to
      tasks, a list, or a single task.
    - `rnn`: as in `learn`.
    - `noise`: the standard deviation of a measured speed, as a fraction of the speed; a number, or one for each probe.
    - `rates`: relative learning rates of vectors by letter or label, as in {"m": 0, "u": 0}; the others are 1.
    - `progress`: whether to show a bar.

    Returns a Dataset with dims `state`, `probe`, `overlap` and `combination` (as many as invisible overlaps):

    - `loss(state, probe)`, and `speed(state, probe)`: the loss at first, and the exact speed -dL/ds of this state.
    - `ratio(state, probe)`: the speed, divided by that of the first state.
    - `curvature(state, probe)`: d^2L/ds^2. A step of descent with learning rate eta changes the loss by
      -eta speed + eta^2 curvature / 4 + O(eta^3). Flow changes it by -s speed + s^2 curvature / 2 + O(s^3).
    - `weight(state, probe, overlap)` and `sigma(state, overlap)`: the weights and the overlaps. For an invisible overlap the
      weight is the derivative of the speed with respect to it.
    - `predicted_speed(state, probe)`: the sum of weight x overlap. It is `speed`, except for neurons with nonlinear phi. The
      weights are those of the Gaussian closure there, which are too small for large activity.
    - `direction(state, combination, overlap)`: orthogonal combinations of invisible overlaps, from those that the speeds tell
      best to those that they do not tell. `singular_value(state, combination)`: how much the speeds change along each of
      them, in units of their noise.
    - `value(state, combination)`: the combination of the overlaps of this state, and `error(state, combination)`: the standard
      error at which the speeds tell it, infinite if they do not. `readable(state, combination)`: whether they do.
    - `overlap_error(state, overlap)`: the standard error of each invisible overlap from the speeds; infinite if no combination
      of speeds gives this overlap alone, NaN for a visible overlap.

    The attributes `prediction` and `assumption` say what an experiment could refute. Raises ValueError for arguments that do
    not fit, for tasks that draw samples, and for states without overlaps.

    >>> import overlaps as ov
    >>> net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.1)
    >>> twin = ov.studies.equivalent(net, rnn, set={"uu": 2.05, "mu": 0.8})
    >>> assay = perturbation_assay([net, twin], ov.tasks.exponential_filter(0.5), rnn)
    >>> assay["ratio"].values.round(2).tolist()
    [[1.0], [0.97]]
    """
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    states, probes = _named("states", states, State), _named("probes", probes, Task)
    layout = _common_layout(states, probes, rnn)
    scale = np.array(layout.columns(checked_rates(rates) or {}))
    fraction = noise_fraction(noise, len(probes))
    starts, weights = [], []
    with tqdm(total=len(states) * len(probes), disable=not progress, unit="probe", leave=False) as bar:
        for state in states.values():
            closure = Overlaps(np.asarray(state.gram, float), *layout)
            for probe in probes.values():
                starts.append(_start(probe.objective(state, rnn), state, scale))
                slope = np.asarray(_slope(probe.objective(closure, rnn), closure))
                weights.append(layout.listed((slope * scale) @ slope * (2 - np.eye(layout.size))))
                bar.update()
    loss, speed, curvature = np.moveaxis(np.reshape(starts, (len(states), len(probes), 3)), 2, 0)
    if not np.all(speed > 0):
        probe = list(probes)[np.argwhere(~(speed > 0))[0, 1]]
        raise argument_error(
            "probes", "be tasks that the networks do not solve", f"the gradient of {probe!r} is 0 or not finite"
        )
    weight = np.reshape(weights, (*speed.shape, -1))
    sigma = np.stack([layout.listed(np.asarray(state.gram, float)) for state in states.values()])
    visible = np.array(rnn.visible(layout))
    dims = ("state", "probe")
    dataset = xr.Dataset(
        {
            "loss": (dims, loss, said("loss of the probe at first", next(iter(probes.values())).loss_units)),
            "speed": (dims, speed, said("speed at which the loss of the probe falls at first", SPEED)),
            "ratio": (dims, speed / speed[:1], said("speed, divided by that of the first network")),
            "predicted_speed": (dims, np.einsum("spo,so->sp", weight, sigma), said("speed from overlaps", SPEED)),
            "curvature": (dims, curvature, said("second derivative of the loss at first", CURVATURE)),
            "weight": ((*dims, "overlap"), weight, said("weight of an overlap in the speed", SPEED)),
            "sigma": (("state", "overlap"), sigma, said("overlap a.b / N")),
            **readings(weight, fraction * speed, sigma, visible),
        },
        {
            "state": list(states),
            "probe": list(probes),
            "overlap": [pair.label for pair in layout.pairs],
            "visible": ("overlap", visible, said("loss-visible")),
            "noise": ("probe", fraction, said("standard deviation of a measured speed, as a fraction of it")),
        },
    )
    arguments = {"states": states, "probes": probes, "rnn": rnn, "noise": noise, "rates": rates}
    dataset.attrs = {"prediction": PREDICTION, "assumption": ASSUMPTION}
    dataset.attrs["perturbation_assay"] = json.dumps(describe(arguments))
    return dataset


def _named(name: str, given: Any, kind: type) -> dict[str, Any]:
    """Things by name: those of a list, or a single one, are numbered from 1."""
    listed = [given] if isinstance(given, kind) else given
    must = f"be a {kind.__name__}, or a list or a mapping of them, and not empty"
    if not isinstance(listed, Mapping | list | tuple) or not len(listed):
        raise argument_error(name, must, f"{given!r} came")
    named = dict(listed) if isinstance(listed, Mapping) else {str(place): one for place, one in enumerate(listed, 1)}
    for label, one in named.items():
        if not isinstance(label, str) or not isinstance(one, kind):
            raise argument_error(name, must, f"{one!r} came under the name {label!r}")
    return named


def _common_layout(states: dict[str, State], probes: dict[str, Task], rnn: RNN) -> Layout:
    """The layout of all states. Raises ValueError for states and probes that have no speeds, or not as a sum over overlaps."""
    for probe in probes.values():
        if probe.random or probe.batch:
            came, mend = f"{probe!r} came", "Draw fixed trials by task.sample(key), and pass the tasks of a batch one by one."
            raise argument_error("probes", "be single tasks whose loss is always the same", came, mend)
    first = next(iter(states.values())).layout
    for name, state in states.items():
        if not isinstance(state.layout, Layout) or state.readout_bias is not None or state.batch:
            must = "be single networks that have overlaps and no readout bias"
            raise argument_error("states", must, f"{name!r} is {state!r}")
        if state.needs_mean and rnn.phi != "linear":
            must = "have a loss that is a function of overlaps, or neurons"
            raise argument_error("states", must, f"{name!r} is {state!r}", "Take `state.overlaps()`.")
        if state.has_bulk:
            came = f"{name!r} is {state!r}"
            raise argument_error("states", "have speeds that are sums over overlaps, so no bulk", came)
        if state.layout != first:
            raise argument_error("states", "have the same numbers of vectors", f"{name!r} is {state!r}")
    return first


@eqx.filter_jit
def _start(objective: Any, state: State, scale: Float[AnyArray, " D"]) -> Float[AnyArray, "3"]:
    """Loss, speed and curvature at the start of a flow. Column i of the factor learns at the rate `scale`[i]."""
    factor = jnp.asarray(state.factor, float)

    def loss(factor: Float[AnyArray, "rows D"]) -> AnyArray:
        return objective(state.with_factor(factor))

    value, gradient = jax.value_and_grad(loss)(factor)
    velocity = gradient * scale[None, :]
    bend = jax.jvp(jax.grad(loss), (factor,), (velocity,))[1]
    return jnp.stack([value, jnp.sum(gradient * velocity), 2 * jnp.sum(velocity * bend)])


@eqx.filter_jit
def _slope(objective: Any, net: Overlaps) -> Float[AnyArray, "D D"]:
    """S = Gamma + Gamma^T, with Gamma = dL/dG."""
    layout = net.layout
    listed = jax.grad(lambda sigma: objective(Overlaps(layout.matrix(sigma), *layout)))(layout.listed(jnp.asarray(net.gram)))
    return layout.matrix(listed) * (1 + jnp.eye(layout.size))
