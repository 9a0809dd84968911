"""The solutions of a task around one of them: which directions learning closes fast, slowly, or never."""

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

LARGEST_GRADIENT = 1e-6  # |dL/dF| up to which a state counts as a solution


@in_float64
def solution_manifold(net: Overlaps, task: Any, rnn: RNN) -> xr.Dataset:
    """The manifold of solutions through `net`: its dimension and tangent space, and how learning approaches it.

    Close to a solution sigma* gradient flow is d sigma/ds = -Gbar H (sigma - sigma*), with the metric Gbar of `overlaps.metric`
    and the Hessian H of the loss in overlaps. Deviations along a `direction` shrink as exp(-rate s); directions of rate 0 are
    the tangent space of the manifold of networks with this loss. Of these, as many as there are invisible overlaps leave the
    visible ones alone, up to R^2 more are the latent gauge as it acts on visible ones, and what remains is `free`: at a generic
    solution none.

    Dims `overlap`, `source`, `direction`: as many directions as overlaps, the fastest first. Variables `rate(direction)` per
    learning time, `direction_overlaps(direction, overlap)` of length 1, `flat(direction)`, `hessian(overlap, source)`, `loss`,
    and the numbers `dimension`, `invisible`, `gauge` and `free`. Raises ValueError for a state that is no solution
    (|dL/dF| > 1e-6): train it by a rule with `stop_gradient` first.
    """
    require_overlaps(net)
    objective, layout = task.objective(net, rnn), net.layout
    loss, slope, hessian = (np.asarray(each) for each in _expansion(objective, net))
    slope_norm = float(np.linalg.norm(net.factor @ slope))
    if not slope_norm <= LARGEST_GRADIENT:
        mend = "Train it first, by a rule with stop_gradient=1e-8 and long enough to get there."
        raise argument_error("net", "be a solution of the task", f"|dL/dF| is {slope_norm:.2g} there", mend)
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
        "gauge": "directions of the latent gauge besides",
        "free": "directions besides these",
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
    """How the overlaps change under each of the R^2 infinitesimal mixings of latents, one row each."""
    gram, layout = np.asarray(net.gram), net.layout
    u, v = (np.arange(layout.size)[layout.slices[letter]] for letter in "uv")
    changes = []
    for i in range(layout.rank):
        for j in range(layout.rank):
            generator = np.zeros(gram.shape)
            generator[u[i], u[j]], generator[v[j], v[i]] = 1.0, -1.0
            changes.append(generator.T @ gram + gram @ generator)
    return layout.listed(np.array(changes))
