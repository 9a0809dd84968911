"""How much of a network whose whole W was trained is a low-rank change of its initial W."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, as_float, count, in_float64, said
from overlaps.connectivity import DenseNetwork
from overlaps.dynamics import RNN
from overlaps.interop import low_rank
from overlaps.learning import describe
from overlaps.tasks import LinearFilter, Trials

PARTS = ("with bulk", "without bulk")
PROBE = 20.0  # responses of filters of infinite horizon are compared over this number of time constants


@in_float64
def explained(trained: DenseNetwork, initial: Any, task: Any, rnn: RNN, ranks: Sequence[int] = (1, 2, 3)) -> xr.Dataset:
    """How much of a trained network a low-rank change of W0 explains, with W0 and without, and what of learning it can follow.

    W0 is the recurrent matrix before training. D_R = u v^T / N is the part of rank R of the change W - W0, made of its R
    largest singular values s_r and singular vectors a_r and b_r, as in `interop.low_rank`. The network W0 + D_R is called
    "with bulk", and D_R alone "without bulk". Both have the m and z of the trained network.

    - `trained`: a single `DenseNetwork`.
    - `initial`: W0, (N, N).
    - `task`: a filter task, or fixed trials.
    - `rnn`: as in `learn`.
    - `ranks`: the ranks R, in increasing order.

    Returns a Dataset with the dims `rank` and `part`, and these variables:

    - `singular_value` (rank): s_R, the last one that D_R keeps.
    - `left_over` (rank): the Frobenius norm of W - W0 - D_R, relative to that of W - W0.
    - `loss` (part, rank), and `trained_loss`, that of the trained network. It is infinite for an unstable network under an
      infinite horizon.
    - `output_error` (part, rank): root mean square difference to the output of the trained network, relative to the latter. It
      is that of the outputs on the trials, or of the impulse responses over the horizon (over 20 tau if it is infinite).
    - `tangent_share` (rank): the share of |G|^2, where G = dL/dW is the gradient of the loss L at the trained network, which
      changes of u and v can follow: that of G - (1 - a a^T) G (1 - b b^T). It is NaN where G = 0, as is `rate`.
    - `rate` (rank): the relative learning rate of u and v at which they lower the loss as fast as W does at rate 1, at the
      trained network: |G|^2 / (sum over r of s_r (|G b_r|^2 + |G^T a_r|^2)). If G lies along a single a_r b_r^T, it is
      1 / (2 s_r). Derivation: docs/bulk_trained.md, "The speed of u and v".

    Raises ValueError for other states and tasks, for ranks that are not increasing, and for a W that is still W0.
    """
    require_dense(trained)
    trained = jax.tree.map(as_float, trained)
    ranks = _increasing(ranks)
    respond = responses(task, rnn)
    changed, report = low_rank(trained, ranks[-1], initial)
    values = report["singular_value"].values
    if values[0] == 0:
        raise argument_error("initial", "differ from the W of `trained`", "they are equal")
    whole = int(np.sum(values > len(values) * np.finfo(float).eps * values[0]))  # the rank of W - W0
    gradient = np.asarray(_gradient(task.objective(trained, rnn), trained).W)
    exact = respond(trained)
    size = np.mean(exact**2)
    losses, errors = np.empty((2, 2, len(ranks)))
    shares, rates = np.empty((2, len(ranks)))
    for place, rank in enumerate(ranks):
        u, v = changed.u[:, :rank], changed.v[:, :rank]
        change = u @ v.T / trained.n
        for part, W in enumerate((np.asarray(initial, float) + change, change)):
            network = eqx.tree_at(lambda one: one.W, trained, W)
            losses[part, place] = loss_of(task, network, rnn)
            errors[part, place] = np.sqrt(np.mean((respond(network) - exact) ** 2) / size) if size else np.nan
        shares[place], rates[place] = _followed(gradient, *(vectors[:, :whole] / np.sqrt(trained.n) for vectors in (u, v)))
    arguments = {"trained": trained, "initial": initial, "task": task, "rnn": rnn, "ranks": ranks}
    return xr.Dataset(
        {
            "singular_value": ("rank", values[np.array(ranks) - 1], said("singular value of the change of W")),
            "left_over": ("rank", report["left_over"].values[np.array(ranks) - 1], report["left_over"].attrs),
            "loss": (("part", "rank"), losses, said("loss", task.loss_units)),
            "trained_loss": ((), loss_of(task, trained, rnn), said("loss of the trained network", task.loss_units)),
            "output_error": (("part", "rank"), errors, said("relative root mean square error of the output")),
            "tangent_share": ("rank", shares, said("share of the squared gradient that u and v can follow")),
            "rate": ("rank", rates, said("relative learning rate of u and v that is as fast as W")),
        },
        {
            "rank": ("rank", ranks, said("rank of the change of W")),
            "part": ("part", list(PARTS), said("what is kept of the recurrent matrix")),
        },
        {"bulk_explained": json.dumps(describe(arguments))},
    )


def require_dense(trained: Any) -> None:
    """Raise ValueError unless `trained` is a single `DenseNetwork` of neurons."""
    if type(trained) is not DenseNetwork or trained.batch:
        came = (
            f"a batch of {trained.batch[0]} came"
            if isinstance(trained, DenseNetwork) and trained.batch
            else f"{trained!r} came"
        )
        raise argument_error("trained", "be a single DenseNetwork", came)


def responses(task: Any, rnn: RNN) -> Callable[[Any], Float[np.ndarray, "trials samples O"]]:
    """The function from a state to its outputs on the trials of a task, or on a unit impulse at each input of a filter."""
    if not isinstance(task, LinearFilter | Trials) or task.batch:
        raise argument_error("task", "be a single filter task, or fixed trials", f"{task!r} came", "Use task.sample(key).")
    if isinstance(task, Trials):
        return lambda state: np.asarray(rnn.output(state, task.inputs, None if rnn.dt else task.dt))
    dt = rnn.dt or rnn.tau / 20
    samples = round((task.horizon or PROBE * rnn.tau) / dt)
    impulses = np.eye(task.inputs)[:, None] * (np.arange(samples) == 0)[:, None] / dt
    return lambda state: np.asarray(rnn.output(state, impulses, None if rnn.dt else dt))


def loss_of(task: Any, state: Any, rnn: RNN) -> float:
    """The loss; infinite for a network that is unstable under an infinite horizon."""
    return float(task.loss(state, rnn)) if task.admits(state, rnn) else np.inf


@eqx.filter_jit
def _gradient(objective: Any, state: Any) -> Any:
    return eqx.filter_grad(lambda state: objective(state))(state)


def _followed(gradient: Float[np.ndarray, "N N"], u: Float[np.ndarray, "N R"], v: Float[np.ndarray, "N R"]) -> Any:
    """The share of the squared gradient that u and v can follow, and their relative rate; u and v are divided by sqrt(N)."""
    size = np.sum(gradient**2)
    if size == 0:
        return np.nan, np.nan
    (a, _), (b, _) = np.linalg.qr(u), np.linalg.qr(v)
    outside = gradient - a @ (a.T @ gradient)
    outside -= (outside @ b) @ b.T
    return 1 - np.sum(outside**2) / size, size / (np.sum((gradient @ v) ** 2) + np.sum((gradient.T @ u) ** 2))


def _increasing(ranks: Any) -> list[int]:
    ranks = [count("ranks", rank) for rank in ([ranks] if np.ndim(ranks) == 0 else ranks)]
    if not ranks or sorted(set(ranks)) != ranks:
        raise argument_error("ranks", "be increasing", f"{ranks} came")
    return ranks
