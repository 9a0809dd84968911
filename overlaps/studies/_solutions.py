"""The solutions of a task around one solution: the directions that learning closes fast, slowly, or never."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from overlaps._support import AnyArray, argument_error, in_float64, said
from overlaps.connectivity import Overlaps, square_root
from overlaps.dynamics import RNN
from overlaps.learning import metric
from overlaps.studies._answers import FLAT, require_overlaps

LARGEST_GRADIENT = 1e-6  # a state counts as a solution if |dL/dF| is at most this


@in_float64
def solution_manifold(net: Overlaps, task: Any, rnn: RNN) -> xr.Dataset:
    """The manifold of solutions through the solution `net`: its dimension, its tangent space, and how learning approaches it.

    Close to a solution sigma*, gradient flow obeys d sigma/ds = -Gbar H (sigma - sigma*). Here s is the learning time, Gbar is
    the metric of `overlaps.metric`, and H is the Hessian of the loss in overlaps. A deviation along a `direction` shrinks as
    exp(-rate s). The directions of rate 0 span the tangent space of the manifold of networks with this loss
    (docs/invisible_overlaps.md, "One function, many networks").

    - `net`: overlaps of one network that solves the task.
    - `task`, `rnn`: as in `learn`.

    Returns a Dataset with dims `overlap`, `source` (overlaps again) and `direction`. There are as many directions as overlaps,
    and the fastest comes first.

    - `rate(direction)`: the rate per learning time.
    - `direction_overlaps(direction, overlap)`: the direction, as a vector of length 1.
    - `flat(direction)`: whether the rate is 0.
    - `hessian(overlap, source)` and `loss`.
    - `dimension`: the number of flat directions, which is the sum of the following three numbers.
    - `invisible`: the number of invisible overlaps. So many flat directions leave the visible overlaps alone.
    - `gauge`: the number of directions, at most R^2, in which changes of gauge (u -> u a, v -> v a^-T) move visible overlaps.
    - `free`: the number of other flat directions. At a generic solution there are none.

    Raises ValueError for a batch and for a state that is no solution (|dL/dF| > 1e-6, with a factor F of the overlap matrix).
    Train such a state first by a rule with `stop_gradient`.
    """
    require_overlaps(net)
    objective, layout = task.objective(net, rnn), net.layout
    loss, slope, hessian = (np.asarray(each) for each in _expansion(objective, net))
    slope_norm = float(np.linalg.norm(net.factor @ slope))
    if not slope_norm <= LARGEST_GRADIENT:
        mend = "Train it first, by a rule that has stop_gradient=1e-8 and runs long enough to reach it."
        raise argument_error(
            "net", "be a solution of the task", f"the norm of its gradient, |dL/dF|, is {slope_norm:.2g}", mend
        )
    root = square_root(metric(net, rnn).values)
    rates, modes = np.linalg.eigh(root @ hessian @ root)
    rates, directions = rates[::-1], (root @ modes).T[::-1]
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1))
    flat = np.abs(rates) <= FLAT * rates[0]
    invisible = np.array([not seen for seen in rnn.visible(layout)])
    moved = _gauge_directions(net)
    gauge = int(np.linalg.matrix_rank(moved[:, ~invisible], tol=FLAT * np.linalg.norm(moved, 2)))
    counts = {"dimension": int(flat.sum()), "invisible": int(invisible.sum()), "gauge": gauge}
    counts["free"] = counts["dimension"] - counts["invisible"] - gauge
    labels = [pair.label for pair in layout.pairs]
    meanings = {
        "dimension": "dimension of the manifold of solutions",
        "invisible": "directions along invisible overlaps alone",
        "gauge": "further directions, along changes of gauge",
        "free": "further directions, which are neither",
    }
    return xr.Dataset(
        {
            "rate": (
                "direction",
                np.where(flat, 0.0, rates),
                said("rate at which learning closes a direction", "1 / learning time"),
            ),
            "flat": ("direction", flat, said("tangent to the manifold of solutions")),
            "direction_overlaps": (("direction", "overlap"), directions / lengths * signs, said("direction")),
            "hessian": (("overlap", "source"), hessian, said("second derivative of the loss", task.loss_units)),
            "loss": ((), loss, said("loss", task.loss_units)),
            **{name: ((), value, said(meanings[name])) for name, value in counts.items()},
        },
        {"overlap": labels, "source": labels, "visible": ("overlap", ~invisible, said("loss-visible"))},
    )


@eqx.filter_jit
def _expansion(objective: Any, net: Overlaps) -> tuple[AnyArray, AnyArray, AnyArray]:
    """The loss, its symmetric derivative S with respect to the overlap matrix, and its Hessian in overlaps."""
    layout = net.layout

    def loss(overlaps: AnyArray) -> AnyArray:
        return objective(Overlaps(layout.matrix(overlaps), *layout))

    values = layout.listed(jnp.asarray(net.gram))
    slope = layout.matrix(jax.grad(loss)(values)) * (1 + jnp.eye(layout.size))
    return loss(values), slope, jax.hessian(loss)(values)


def _gauge_directions(net: Overlaps) -> np.ndarray:
    """The change of the overlaps under each of the R^2 infinitesimal mixings of latents, one in each row."""
    gram, layout = np.asarray(net.gram), net.layout
    u, v = (np.arange(layout.size)[layout.slices[letter]] for letter in "uv")
    changes = []
    for i in range(layout.rank):
        for j in range(layout.rank):
            generator = np.zeros(gram.shape)
            generator[u[i], u[j]], generator[v[j], v[i]] = 1.0, -1.0
            changes.append(generator.T @ gram + gram @ generator)
    return layout.listed(np.array(changes))
