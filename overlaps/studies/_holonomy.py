"""The change of overlaps that remains when gradient flow learns A, then B, then A again, and the law that predicts it."""

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from overlaps._support import AnyArray, argument_error, count, in_float64, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import GradientFlow, Phase, grams, learn
from overlaps.studies._answers import Answers, answers, labelled, moved, require_overlaps

CONVERGED = GradientFlow(duration=1e4, rtol=1e-10, atol=1e-12, stop_gradient=1e-8)
NEWTON_STEPS = 6  # from a solution of one task to the network half-way between the two tasks


def holonomy(net: Overlaps, first: Any, second: Any, rnn: RNN, cycles: int = 1, progress: bool = False) -> xr.Dataset:
    """Learn `first`, `second`, `first` again, and so on by gradient flow, and list the change that each cycle leaves behind.

    Each training runs to convergence. After a cycle (`second`, then `first` again) the network has the same function as before,
    but not exactly the same overlaps. This change of the overlaps is the holonomy of the cycle (docs/invisible_overlaps.md,
    "What gradient flow leaves behind").

    - `net`: the initial overlaps. `net` is first trained on `first`, before the first cycle begins.
    - `first`, `second`: filter tasks of finite horizon under an rnn with `dt`, or fixed trials with the squared error.
    - `rnn`: as in `learn`. `cycles`: number of cycles. `progress`: whether to show a bar.

    Returns a Dataset with dims `cycle`, `step` (from one cycle to the next) and `overlap`:

    - `sigma(cycle, overlap)`: the overlaps after each training on `first`. There are cycles + 1 of these trainings.
    - `change(step, overlap)`: the change of the overlaps in each cycle.
    - `predicted(step, overlap)`: the prediction of `predicted_holonomy` for this change.
    - `function_change(step)`: how much the answers (the outputs that `first` compares with its targets) change in a cycle, as a
      norm. It shows how well the flow converged.

    Raises ValueError if the flow does not converge, and all that `learn` and `predicted_holonomy` raise.
    """
    require_overlaps(net)
    tasks = [first, *[second, first] * count("cycles", cycles)]
    phases = [Phase(f"{'AB'[index % 2]} {index // 2 + 1}", task, CONVERGED) for index, task in enumerate(tasks)]
    run = learn(net, phases, rnn, saves=2, progress=progress)
    if set(json.loads(run.attrs["endings"])) != {"stop_gradient"}:
        came = f"its phases ended by {run.attrs['endings']} in place of stop_gradient"
        raise argument_error("first, second", "be tasks on which gradient flow converges", came)
    ends = run.isel(time=[np.flatnonzero(run["phase"] == phase.name)[-1] for phase in phases[::2]])
    states = [Overlaps(gram, *net.layout) for gram in grams(ends)]
    predicted = np.stack([predicted_holonomy(state, first, second, rnn).values for state in states[:-1]])
    answered = np.stack([_answered(answers(net, first, rnn), state) for state in states])
    return xr.Dataset(
        {
            "sigma": (("cycle", "overlap"), ends["sigma"].values, said("overlap a.b / N")),
            "change": (("step", "overlap"), np.diff(ends["sigma"].values, axis=0), said("change of the overlap in a cycle")),
            "predicted": (("step", "overlap"), predicted, said("predicted change of the overlap in a cycle")),
            "function_change": ("step", np.linalg.norm(np.diff(answered, axis=0), axis=1), said("change of the answers")),
        },
        {name: ends[name] for name in ("overlap", "left", "right", "visible")},
        {name: run.attrs[name] for name in ("state", "rnn", "task", "version")},
    )


@in_float64
def predicted_holonomy(net: Overlaps, first: Any, second: Any, rnn: RNN) -> xr.DataArray:
    """Predict the change of each overlap in a cycle of gradient flow from `net`, a solution of `first`, to `second` and back.

    The prediction is of second order in the distance of the tasks. The answers of a network are the outputs that a task
    compares with its targets. Gradient flow moves a network at right angles to all directions in which the answers stay the
    same. So the path of the network is the horizontal lift of a path in the space of answers, and a cycle is the lift of a
    closed loop. What remains after the loop is the curvature of the lift times the area of the loop:

        holonomy = sum over i < j of Delta_i Delta_j (lambda_i - lambda_j) / (lambda_i + lambda_j) [X_i, X_j].

    The modes i are orthogonal directions in the space of answers, each with a learning rate lambda_i of its own. They belong to
    the network half-way between the tasks. Delta_i is the distance of the tasks along mode i, X_i is the shortest change of the
    network that moves mode i by 1, and [X_i, X_j] is the Lie bracket of two such changes. Derivation:
    docs/invisible_overlaps.md, "What gradient flow leaves behind".

    Returns a DataArray over `overlap`. Raises ValueError unless both tasks are filters of finite horizon under an rnn with
    `dt`, or fixed trials with the squared error, and for tasks that do not compare the same samples.
    """
    require_overlaps(net)
    one, other = answers(net, first, rnn), answers(net, second, rnn)
    if one.roots.shape != other.roots.shape or not np.allclose(one.roots, other.roots):
        raise argument_error(
            "second", "compare the same samples as `first`", f"`first` is {first!r} and `second` is {second!r}"
        )
    start = jnp.ravel(net.factor)
    modes = one.modes(start)
    middle = _nearest(one, start, (one.targets + other.targets) / 2, modes)
    change = _curvature_times_area(one, middle, other.targets - one.targets, modes)
    return labelled(moved(net, middle, change), net, rnn, "holonomy", "change of the overlap per cycle")


@eqx.filter_jit
def _nearest(function: Answers, entries: AnyArray, targets: AnyArray, modes: int) -> AnyArray:
    """The network near `entries` whose answers are closest to `targets`, by Gauss-Newton steps of smallest norm."""
    for _ in range(NEWTON_STEPS):
        left, sizes, right = jnp.linalg.svd(function.slopes(entries), full_matrices=False)
        steps = (left.T @ (targets - function.respond(entries)))[:modes] / sizes[:modes]
        entries = entries + right[:modes].T @ steps
    return entries


@eqx.filter_jit
def _curvature_times_area(function: Answers, entries: AnyArray, distance: AnyArray, modes: int) -> AnyArray:
    left, sizes, _ = jnp.linalg.svd(function.slopes(entries), full_matrices=False)
    basis, rates = left[:, :modes], sizes[:modes] ** 2

    def shortest(entries: AnyArray) -> AnyArray:
        """The changes X_i, one in each column."""
        slopes = basis.T @ function.slopes(entries)
        return slopes.T @ jnp.linalg.inv(slopes @ slopes.T)

    turning = jax.jacfwd(shortest)(entries)  # derivative of component a of X_j with respect to entry b
    derivatives = jnp.einsum("ajb,bi->aij", turning, shortest(entries))  # derivative of X_j along X_i
    components = basis.T @ distance
    areas = jnp.outer(components, components) * jnp.subtract.outer(rates, rates) / jnp.add.outer(rates, rates)
    # The areas are antisymmetric. So the sum of area_ij [X_i, X_j] over i < j equals the sum over all i and j of area_ij
    # times the derivative of X_j along X_i.
    return jnp.einsum("ij,aij->a", areas, derivatives)


@in_float64
def _answered(function: Answers, state: Overlaps) -> np.ndarray:
    return np.asarray(function.respond(jnp.ravel(state.factor)))
