"""The answers of a network as one vector of numbers: its outputs at the samples that a task compares with its targets."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, in_float64, said
from overlaps.connectivity import Overlaps, require_no_constants
from overlaps.dynamics import RNN
from overlaps.tasks import LinearFilter, Trials, squared_error

FLAT = 1e-7  # a learning rate below this fraction of the largest one counts as zero


class Answers(NamedTuple):
    """The parts of a loss sum_k w_k (f_k - f*_k)^2, with the answers f_k of a network and the targets f*_k.

    The index k numbers all samples, readouts and inputs (or trials) in one row. `respond` and `targets` hold the answers and
    the targets multiplied by sqrt(w_k), and `roots` holds the sqrt(w_k).
    """

    respond: Callable[[Float[AnyArray, " weights"]], Float[AnyArray, " samples"]]  # of the entries of a factor
    targets: Float[AnyArray, " samples"]
    roots: Float[AnyArray, " samples"]  # sqrt(w_k)

    def slopes(self, entries: Float[AnyArray, " weights"]) -> Float[AnyArray, "samples weights"]:
        """The derivatives of the answers with respect to the entries of the factor."""
        return jax.jacfwd(self.respond)(entries)

    def modes(self, entries: Float[AnyArray, " weights"]) -> int:
        """The number of independent ways to change the answers: the number of modes that learn at a rate above zero."""
        sizes = np.linalg.svd(self.slopes(entries), compute_uv=False)
        return int(np.sum(sizes**2 > FLAT * sizes[0] ** 2))


def impulses(inputs: int, samples: int, dt: float) -> Float[np.ndarray, "I samples I"]:
    """One trial for each input: a unit impulse of this input at the first sample."""
    return np.eye(inputs)[:, None] * (np.arange(samples) == 0)[:, None] / dt


@in_float64
def answers(state: Overlaps, task: Any, rnn: RNN) -> Answers:
    """The outputs of a network that `task` compares with targets, as a function of the entries of a factor of `state`.

    A factor F of the overlap matrix G has F^T F = G. Raises ValueError for all tasks except two kinds: a filter of finite
    horizon under an rnn with `dt`, and a fixed set of trials with the squared error as its loss.
    """
    if isinstance(task, LinearFilter):
        loss: Any = task.sampled_objective(state, rnn)
        roots = jnp.broadcast_to(jnp.sqrt(loss.weights)[:, None, None], loss.targets.shape)
    elif isinstance(task, Trials) and task.loss_function is squared_error:
        loss = task.objective(state, rnn)
        roots = jnp.sqrt(loss.mask / jnp.sum(loss.mask))
    else:
        raise argument_error("task", "be a filter task, or fixed trials with the squared error", f"{task!r} came")
    roots = jnp.ravel(roots)

    def respond(entries: Float[AnyArray, " weights"]) -> Float[AnyArray, " samples"]:
        return roots * jnp.ravel(loss.response(state.with_factor(jnp.reshape(entries, state.gram.shape))))

    return Answers(respond, roots * jnp.ravel(loss.targets), roots)


def moved(net: Overlaps, entries: AnyArray, change: AnyArray) -> AnyArray:
    """The first-order change of the overlap matrix when its factor (flat `entries`) changes by `change`."""
    factor, step = (jnp.reshape(each, net.gram.shape) for each in (entries, change))
    return step.T @ factor + factor.T @ step


def labelled(matrix: AnyArray, net: Overlaps, rnn: RNN, name: str, meaning: str) -> xr.DataArray:
    """A DataArray over `overlap` for one symmetric matrix, or over `time` and `overlap` for many of them."""
    layout = net.layout
    values = layout.listed(np.asarray(matrix))
    seen = ("overlap", list(rnn.visible(layout)), said("loss-visible"))
    dims = (*("time",) * (values.ndim - 1), "overlap")
    return xr.DataArray(values, {"overlap": [pair.label for pair in layout.pairs], "visible": seen}, dims, name, said(meaning))


def require_overlaps(state: Any, name: str = "net") -> None:
    """Raise ValueError unless `state` is an `Overlaps` of one network."""
    if not isinstance(state, Overlaps) or state.gram.ndim > 2:
        came = f"a batch of {state.gram.shape[0]}" if isinstance(state, Overlaps) else type(state).__name__
        raise argument_error(name, "be a single Overlaps", f"{came} came")
    require_no_constants(state)
