"""What the order of a `BulkOverlaps` leaves out: of the loss, and of the gradient along which it learns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, in_float64
from overlaps.bulk._untruncated import untruncated
from overlaps.connectivity import BulkOverlaps, State
from overlaps.dynamics import RNN
from overlaps.tasks import Task

UNCOUNTED = 0.1  # the largest share of what is left out that may be extrapolated


class Truncation(NamedTuple):
    """What the order of a `BulkOverlaps` leaves out.

    - `loss`: the loss of the state.
    - `whole_loss`: the loss of the whole network that has the same vectors, whose activity no order cuts off.
    - `left_out`: the share of the squared norm of the gradient of `whole_loss` that points out of the space of the words. It is
      between 0 and 1. The state learns along the rest.
    """

    loss: float
    whole_loss: float
    left_out: float


@in_float64
def truncation(state: State, task: Any, rnn: RNN, bulk: Any = None) -> Truncation:
    """What the order of a `BulkOverlaps` leaves out, at this moment of its learning.

    The vectors of the state consist of words of up to `order` letters J and J^T, but activity makes longer words of them. The
    whole network computes with all of them.

    - `state`: a single `BulkOverlaps`, before learning or after it.
    - `task`, `rnn`: as in `learn`; tasks that draw nothing.
    - `bulk`: the matrix J, (N, N), for a state that `Network.krylov` made. None for N -> infinity.

    Returns a `Truncation` of `loss`, `whole_loss` and `left_out`. At N -> infinity and correlation 0, `whole_loss` is equal to
    `loss`: the order then leaves out a part of the gradient alone. For an untrained network it is about g^(2 order + 2)
    (docs/bulk_truncation.md). The error of a whole run is another question, which `learn_to_accuracy` answers.

    Raises ValueError for a batch, for a nonlinear rnn, for an unstable network under an infinite horizon, for a `bulk` that
    does not fit, and if g is so large that words matter that are too long to be counted.
    """
    if not isinstance(state, BulkOverlaps) or state.batch:
        mend = "Make one by `Overlaps.with_bulk` or `Network.krylov`."
        raise argument_error("state", "be a single BulkOverlaps", f"{state!r} came", mend)
    if not isinstance(task, Task) or task.batch or task.random:
        raise argument_error("task", "be a single task that draws nothing", f"{task!r} came", "Draw trials: task.sample(key).")
    loss, _ = _differentiated(task.objective(state, rnn), state)
    network, basis, ends = untruncated(state, bulk)
    whole_loss, slope = _differentiated(task.objective(network, rnn), network)
    slope = slope[: network.n]  # without the row of a readout bias
    outside = slope - basis @ (basis.T @ slope)
    counted, tail = float(np.sum(outside**2)), _tail(outside, ends) if ends else 0.0
    if not tail <= UNCOUNTED * counted:
        longer = (network.n - state.n) // ends
        came = f"too much of what it leaves out is in words of more than {state.order + longer} letters"
        mend = "The radius of the bulk is too large. Take a larger order, or train a `Network` with this bulk."
        raise argument_error("state", f"have an order above {state.order}", came, mend)
    left_out = (counted + tail) / (float(np.sum(slope**2)) + tail) if counted else 0.0
    return Truncation(float(loss), float(whole_loss), left_out)


def _tail(outside: Float[AnyArray, "units D"], ends: int) -> float:
    """The squared norm of what is beyond the ends of chains, if it falls from level to level as between the last two."""
    last, before = float(np.sum(outside[-ends:] ** 2)), float(np.sum(outside[-2 * ends : -ends] ** 2))
    return 0.0 if last == 0 else last**2 / (before - last) if last < before else np.inf


@eqx.filter_jit
def _differentiated(objective: Callable[[State], Any], state: State) -> tuple[Any, Float[AnyArray, "rows D"]]:
    """The loss of a state, and its gradient with respect to the factor."""
    return jax.value_and_grad(lambda factor: objective(state.with_factor(factor)))(jnp.asarray(state.factor))
