"""How the radius of a random bulk changes the speed and the end of learning, in linear networks of infinitely many neurons."""

import json
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, count, real_array, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, Rule, describe, learn, runs_to_the_end

FRACTIONS = (0.5, 0.01)


def speed(
    net: Overlaps,
    task: Any,
    rnn: RNN,
    rule: Rule,
    radius: Any = (0.0, 0.3, 0.6, 0.9),
    order: int = 4,
    correlation: float = 0.0,
    saves: int = 201,
    progress: bool = False,
) -> xr.Dataset:
    """Train linear networks with bulks of several radii, and say how fast they learn and where they end.

    The recurrent weights are W = J + u v^T / N. The bulk J is random and does not learn, and the vectors m, u, v and z learn.
    The networks are those of `net.with_bulk(radius, order)`, for infinitely many neurons (docs/bulk.md).

    - `net`: the overlaps at the start, of one network.
    - `task`, `rnn`, `rule`: as in `learn`, with one task and one learning rate, and without early stops. The rnn is linear.
    - `radius`: radii g of the bulk, one number or several.
    - `order`: the order at which words are cut off, at least 1. Everything is learned once more at order - 1.
    - `correlation`: N E[J_ij J_ji] / g^2, from -1 to 1.
    - `saves`: the number of saved points. `progress`: whether to show a bar.

    Returns a Dataset with dims `radius`, `time`, `fraction` and `overlap`:

    - `loss(radius, time)`: the learning curves.
    - `learning_time(radius, fraction)`: the learning time until the loss has come down to this fraction (0.5 and 0.01) of its
      initial value, interpolated between saved points; infinite if it never comes down.
    - `final_loss(radius)`: the loss at the end, as a fraction of the initial loss.
    - `sigma(radius, overlap)`: the overlaps at the end, of the vectors alone, with the coordinate `visible`.
    - `loss_change(radius)`: the largest difference between the learning curves of this order and of one order less, as a
      fraction of the initial loss. The error of the curves is of this size or less, as long as it falls with the order.

    `rerun` repeats the study.

    Raises ValueError for a batch, for early stops, for an order below 1, and all that `with_bulk` and `learn` raise.
    """
    if not isinstance(net, Overlaps) or net.batch:
        raise argument_error("net", "be a single Overlaps", f"{net!r} came")
    phases = runs_to_the_end(task, rule, "Runs")
    if any(getattr(one, "batch", ()) or np.ndim(getattr(each, "learning_rate", 0.0)) for one, each in phases):
        came = "a batch came"
        raise argument_error("rule", "have one learning rate, and so must the task be one", came, "Call it for each of them.")
    radii, order = np.atleast_1d(np.asarray(real_array("radius", radius), float)), count("order", order)
    runs = [
        learn(net.with_bulk(radii, cut, correlation), task, rnn, rule, saves=saves, progress=progress)
        for cut in (order, order - 1)
    ]
    arguments = {"net": net, "task": task, "rnn": rnn, "rule": rule, "radius": radii, "order": order}
    arguments |= {"correlation": correlation, "saves": saves, "version": VERSION}
    loss, lower = (run["loss"].transpose("batch", "time").values for run in runs)
    start, time = loss[:, :1], runs[0]["time"].values
    end = runs[0]["sigma"].isel(time=-1).transpose("batch", "overlap")
    return xr.Dataset(
        {
            "loss": (("radius", "time"), loss, runs[0]["loss"].attrs),
            "learning_time": (
                ("radius", "fraction"),
                _times(time, loss / start),
                said("learning time to a fraction of the loss"),
            ),
            "final_loss": ("radius", loss[:, -1] / start[:, 0], said("final loss / initial loss")),
            "sigma": (("radius", "overlap"), end.values, end.attrs),
            "loss_change": (
                "radius",
                np.max(np.abs(loss - lower) / start, axis=1),
                said("change of the loss by the last order"),
            ),
        },
        {
            "radius": ("radius", radii, said("radius of the bulk")),
            "fraction": ("fraction", list(FRACTIONS), said("loss / initial loss")),
            "time": runs[0]["time"].variable,
            **{name: ("overlap", end[name].values, end[name].attrs) for name in ("overlap", "left", "right", "visible")},
        },
        {"bulk_speed": json.dumps(describe(arguments)), "version": VERSION},
    )


def _times(time: np.ndarray, loss: Float[np.ndarray, "radii points"]) -> Float[np.ndarray, "radii fractions"]:
    """The learning times at which the relative losses come down to FRACTIONS, linear in log loss between saved points."""
    times = np.full((len(loss), len(FRACTIONS)), np.inf)
    for row, column in np.ndindex(times.shape):
        met = np.flatnonzero(loss[row] <= FRACTIONS[column])
        if met.size:
            after = slice(met[0] - 1, met[0] + 1)  # the first point is at 1
            times[row, column] = np.interp(-np.log(FRACTIONS[column]), -np.log(loss[row, after]), time[after])
    return times
