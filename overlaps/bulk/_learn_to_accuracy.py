"""Learning with a bulk at the order of words that a wanted accuracy takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, count, number, said
from overlaps.bulk._untruncated import decay
from overlaps.connectivity import BulkOverlaps, Network, Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import learn, runs_to_the_end

COMPARED = ("loss", "sigma", "sigma_bulk")
MOST_LETTERS = 8  # the largest order that `Overlaps.with_bulk` takes
ROUNDING = 1e-10  # changes below this one tell nothing about how fast they fall


def learn_to_accuracy(
    net: Overlaps | Network,
    task: Any,
    rnn: RNN,
    rule: Any = None,
    radius: float | None = None,
    accuracy: float = 1e-3,
    correlation: float = 0.0,
    largest_order: int = 5,
    **settings: Any,
) -> xr.Dataset:
    """Train overlaps with a random bulk J, at the order of words at which the whole run is right to the wanted accuracy.

    Words are products of matrices J and J^T, applied to the vectors m, u, v, z. A `BulkOverlaps` keeps words of up to `order`
    letters. This function trains it at three or more growing orders, until the run changes by no more than `accuracy` from one
    order to the next. Changes fall by a factor q from order to order, which is about g^2 for a bulk of radius g. So after a
    last change c the error that is left is about c q / (1 - q) (docs/bulk_truncation.md, "The error of a run").

    - `net`: the initial `Overlaps` of vectors that are independent of J, for N -> infinity, or a `Network` with a bulk.
    - `task`, `rnn`, `rule`: as in `learn`, without early stops.
    - `radius`, `correlation`: of J, as in `Overlaps.with_bulk`. A `Network` has its own J and takes neither.
    - `accuracy`: the largest error of the loss and of any overlap, at any saved point of the run.
    - `largest_order`: the largest order to train, at least 2. Order p takes D (2^(p + 1) - 1) units, for D vectors.
    - `settings`: the other arguments of `learn`.

    Returns the Dataset of `learn` at the last order, with `order_change(time)`, the largest change of the loss and of any
    overlap from the order before. Its attributes are `order`, `truncation_error` (the estimated error that is left, at most
    `accuracy`), `error_ratio` (q) and `accuracy`.

    Raises ValueError if the largest order is too small, and names the order that would do. Also raises what `learn` raises, for
    example for an infinite horizon under a bulk whose activity does not decay.
    """
    reduced, factor = _reduction(net, radius, correlation)
    runs_to_the_end(task, rule, "Runs")
    accuracy = number("accuracy", accuracy, above=0.0)
    largest_order = count("largest_order", largest_order, least=2)
    least = factor**2 if factor < 1 else 0.0  # of the ratio, in case the measured one is low by chance
    order = _first_order(factor, accuracy, largest_order)
    last, change, ratio = learn(reduced(order), task, rnn, rule, **settings), np.nan, 1.0
    while order < largest_order:
        order += 1
        now = learn(reduced(order), task, rnn, rule, **settings)
        changes = _changes(now, last)
        last, before, change = now, change, float(changes.max())
        if np.isnan(before):
            continue
        ratio = max(change / before if change > ROUNDING else 0.0, least)
        error = change * ratio / (1 - ratio) if ratio < 1 else np.inf
        if max(change, error) <= accuracy:
            attributes = {"order": order, "truncation_error": error, "error_ratio": ratio, "accuracy": accuracy}
            return now.assign(order_change=changes).assign_attrs(attributes)
    most = MOST_LETTERS if isinstance(net, Overlaps) and abs(correlation) < 1 else np.inf
    raise _too_small(largest_order, accuracy, change, ratio, most)


def _reduction(net: Any, radius: Any, correlation: Any) -> tuple[Callable[[int], BulkOverlaps], float]:
    """The network reduced to words of any order, and the factor by which activity falls from one letter to the next."""
    if isinstance(net, Overlaps) and not net.batch:
        if radius is None:
            raise argument_error("radius", "be a number for overlaps, which have no bulk of their own", "None came")
        radius = number("radius", radius, least=0.0)
        return lambda order: net.with_bulk(radius, order, correlation), decay(radius, float(correlation))
    if not isinstance(net, Network) or isinstance(net, BulkOverlaps) or net.bulk is None or net.batch:
        raise argument_error("net", "be a single Overlaps, or a single Network with a bulk", f"{net!r} came")
    if radius is not None or correlation:
        raise argument_error(
            "radius", "be None for a Network, which has a bulk of its own", f"{radius!r} came", "Leave it out."
        )
    J = np.asarray(net.bulk, float)
    squares = float(np.sum(J**2))
    return net.krylov, decay(np.sqrt(squares / len(J)), float(np.sum(J * J.T)) / squares if squares else 0.0)


def _first_order(factor: float, accuracy: float, largest: int) -> int:
    """The order at which to start: two below the one that should do, because three orders tell how fast errors fall."""
    enough = largest if factor == 1 else 0 if factor == 0 else int(np.ceil(np.log(accuracy) / (2 * np.log(factor))))
    return max(0, min(enough, largest) - 2)


def _changes(now: xr.Dataset, last: xr.Dataset) -> xr.DataArray:
    """The largest change of the loss and of any overlap, over time."""
    differences = [abs(now[name] - last[name]).rename("order_change") for name in COMPARED]
    each = [difference.max(set(difference.dims) - {"time"}) for difference in differences]
    changes = xr.concat(each, "variable", coords="minimal", compat="override").max("variable")
    return changes.assign_attrs(said("largest change of loss and overlaps from the order before"))


def _too_small(order: int, accuracy: float, change: float, ratio: float, most: float) -> ValueError:
    mend = "Ask for less accuracy, allow longer words, or train a `Network` with this bulk."
    must, came = f"be larger for an accuracy of {accuracy:g}", f"at {order} the run still changes by {change:.1g}"
    if ratio < 1:
        # The change has to fall to the accuracy, and so has the error that is left after it.
        left = max(change, change * ratio / (1 - ratio))
        needed = order + int(np.ceil(np.log(accuracy / left) / np.log(ratio)))
        must = must.replace("larger", f"about {needed}")
        came += f", and {ratio:.2g} times as much from each order to the next"
        if needed > most:
            mend = f"`with_bulk` takes {most} at most: ask for less accuracy, or train a `Network` with this bulk."
    return argument_error("largest_order", must, came, mend)
