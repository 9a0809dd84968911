"""What gradient flow does not undo: the holonomy of learning A, B, and A again, and the law that it obeys."""

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
NEWTON_STEPS = 6  # to the network half-way between two tasks


def holonomy(net: Overlaps, first: Any, second: Any, rnn: RNN, cycles: int = 1, progress: bool = False) -> xr.Dataset:
    """Cycles of gradient flow, `first`, `second`, `first` again, ..., each to convergence, and what each leaves behind.

    `net` is trained on `first` to begin with. Dims `cycle`, `step` (from one cycle to the next) and `overlap`: `sigma(cycle,
    overlap)` after each training on `first`, of which there are cycles + 1; `change(step, overlap)`, what each cycle adds;
    `predicted(step, overlap)`, what `predicted_holonomy` says of it; `function_change(step)`, the norm of the change of what
    the network answers in `first`, which says how well the flow converged. Raises what `learn` and `predicted_holonomy` raise,
    and ValueError where the flow does not converge.
    """
    require_overlaps(net)
    tasks = [first, *[second, first] * count("cycles", cycles)]
    phases = [Phase(f"{'AB'[index % 2]} {index // 2 + 1}", task, CONVERGED) for index, task in enumerate(tasks)]
    run = learn(net, phases, rnn, saves=2, progress=progress)
    if set(json.loads(run.attrs["endings"])) != {"stop_gradient"}:
        came = f"endings are {run.attrs['endings']}"
        raise argument_error("first, second", "be tasks that gradient flow comes to solve", came)
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
    """The change of each overlap by one cycle of gradient flow from `net`, a solution of `first`, to `second` and back.

    To second order in the distance of the tasks, a DataArray over `overlap`. Gradient flow moves at right angles to the
    networks of one function; so a cycle is the horizontal lift of a loop in the space of functions, and what it leaves behind
    is the curvature of that lift times the area of the loop. With the modes i of the function at half-way between the tasks,
    of learning rates lambda_i, and the distance Delta of the tasks along them,

        holonomy = sum over i < j of Delta_i Delta_j (lambda_i - lambda_j) / (lambda_i + lambda_j) [X_i, X_j],

    where X_i is the shortest change of the network that moves mode i by 1 (docs/invisible_overlaps.md). Raises
    ValueError for tasks that are not filters of finite horizon under an rnn with `dt`, or fixed trials with the squared error,
    and for tasks that do not compare the same samples.
    """
    require_overlaps(net)
    one, other = answers(net, first, rnn), answers(net, second, rnn)
    if one.roots.shape != other.roots.shape or not np.allclose(one.roots, other.roots):
        raise argument_error("second", "compare the same samples as `first`", f"{second!r} came after {first!r}")
    start = jnp.ravel(net.factor)
    modes = one.modes(start)
    middle = _nearest(one, start, (one.targets + other.targets) / 2, modes)
    change = _curvature_times_area(one, middle, other.targets - one.targets, modes)
    return labelled(moved(net, middle, change), net, rnn, "holonomy", "change of the overlap per cycle")


@eqx.filter_jit
def _nearest(function: Answers, entries: AnyArray, targets: AnyArray, modes: int) -> AnyArray:
    """The network close by whose answers are nearest to `targets`, by Gauss-Newton steps of smallest norm."""
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
        """X_i as columns."""
        slopes = basis.T @ function.slopes(entries)
        return slopes.T @ jnp.linalg.inv(slopes @ slopes.T)

    turning = jax.jacfwd(shortest)(entries)  # of X_j^a with entry b
    derivatives = jnp.einsum("ajb,bi->aij", turning, shortest(entries))  # of X_j along X_i
    components = basis.T @ distance
    areas = jnp.outer(components, components) * jnp.subtract.outer(rates, rates) / jnp.add.outer(rates, rates)
    # Areas are antisymmetric: the sum of area_ij [X_i, X_j] over i < j is that of area_ij times the derivatives over all i, j.
    return jnp.einsum("ij,aij->a", areas, derivatives)


@in_float64
def _answered(function: Answers, state: Overlaps) -> np.ndarray:
    return np.asarray(function.respond(jnp.ravel(state.factor)))
