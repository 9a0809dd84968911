"""Transfer: how fast each task is learned after each other task, and which part of this invisible overlaps explain."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, flag, said
from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, GradientFlow, Rule, describe
from overlaps.studies._relearning import (
    check_learning,
    checked_criterion,
    curves,
    joined,
    levels,
    require_finite,
    single_key,
    starts,
    time_to,
    warn_of_unlearned,
    without_history,
)
from overlaps.tasks import exponential_filter

AFTER, VISIBLE = "after the first task", "visible overlaps alone"
PREDICTION = (
    "How much a first task speeds up a second one depends on their order; a control that has the same visible overlaps, and so "
    "the same activity, but the invisible overlaps of a network that has learned nothing, shows other speeds and asymmetries."
)
ASSUMPTION = (
    "Learning follows the gradient of the loss in all connectivity vectors, at the rates that `rule` gives, and the first task "
    "is learned for the whole duration of `rule`; for nonlinear phi, the theory also takes the vectors to be Gaussian over "
    "neurons."
)


def transfer(
    state: Overlaps,
    tasks: Mapping[str, Any] | None = None,
    rnn: RNN | None = None,
    rule: Rule | None = None,
    criterion: float = 0.05,
    absolute: bool = False,
    n: int | None = None,
    draws: int = 3,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Learn each task after each other one, and compare the speed with that of learning it from the start.

    The *learning time* of a task is the time until its loss first comes down to a criterion. The *speed* of a second task after
    a first one is (learning time from the start) / (learning time after the first task). It is 1 if the first task does not
    matter, and above 1 if it helps. Beside each network that has learned a first task, a control learns the second one. It has
    the visible overlaps of that network (those on which activity and output depend), and the invisible overlaps of the start.

    - `state`: the `Overlaps` of one network, positive definite, which all learning starts from.
    - `tasks`: two or more tasks by name, which draw no random samples. None: exponential filters of the rates 0.2, 0.4 and 0.8.
    - `rnn`: as in `learn`. None: a linear one with steps of 0.1.
    - `rule`: by which the first task is learned, for its whole duration, and the second one, for the longest learning time to
      look at. None: a gradient flow of duration 20.
    - `criterion`: the loss to come down to, as a fraction of the loss of the same task at the start, or in units of the loss if
      `absolute` is True.
    - `n`: the number of neurons of networks that run beside the theory; None for the theory alone. Networks start with exactly
      the overlaps of `state`.
    - `draws`: the number of networks. The theory has no randomness, and repeats its numbers for each draw.
    - `key`: a jax.random key or an integer seed, which draws the networks. `progress`: whether to show a bar.

    Returns a Dataset with dims `source` ("theory", "networks"), `history` ("after the first task", "visible overlaps alone"),
    `first` and `second` (names of tasks), `draw` and `time` (learning time since learning of the second task began):

    - `start_loss(source, second, draw, time)` and `start_time(source, second, draw)`: loss and learning time from the start.
    - `loss(source, history, first, second, draw, time)` and `learning_time(source, history, first, second, draw)`: of the
      second task after the first one. The time is 0 if the criterion is met at once, and infinite if it is never reached.
    - `speed(source, history, first, second, draw)`: infinite where the learning time is 0, as for a task after itself.
    - `asymmetry(source, history, first, second, draw)`: log(speed of the second task after the first one / speed of the first
      task after the second one). It changes sign with the order of the two. It is NaN where it is the ratio of two infinite
      numbers, and 0 for a task after itself.
    - `invisible_asymmetry(source, first, second, draw)`: the asymmetry "after the first task" minus that of
      "visible overlaps alone": the part that invisible overlaps explain.
    - `speed_up(source, first, second, draw)`: learning time of "visible overlaps alone" over that "after the first task": the
      part of the speed that invisible overlaps explain. It is 1 where both are 0.
    - `control_shift(source, first, draw)`: as in `savings`.

    The attributes `prediction` and `assumption` say in words what is predicted, and under which assumption. `rerun` repeats the
    study. Warns if a task is not learned from the start. Raises ValueError for arguments out of range, and for networks that
    diverge. Also raises what `learn` raises.
    """
    if tasks is None:
        tasks = {f"rate {rate}": exponential_filter(rate) for rate in (0.2, 0.4, 0.8)}
    if not isinstance(tasks, Mapping) or len(tasks) < 2:
        raise argument_error("tasks", "be a mapping from names to at least two tasks", f"{tasks!r} came")
    rnn = RNN(dt=0.1) if rnn is None else rnn
    rule = GradientFlow(20.0) if rule is None else rule
    check_learning(state, dict(tasks), rnn, rule)
    criterion, draws, key = checked_criterion(criterion, flag("absolute", absolute)), count("draws", draws), single_key(key)
    sources = starts(state, n, draws, key)
    parts = []
    with tqdm(total=2 * len(tasks) * len(sources), disable=not progress, unit="run", leave=False) as bar:
        for source, start in sources.items():
            bar.set_description(source)
            parts.append(_run(start, tasks, rnn, rule, criterion, absolute, bar))
    dataset: Any = xr.concat(parts, xr.Variable("source", list(sources), said("what is trained")))
    dataset = dataset.assign_coords(
        history=("history", [AFTER, VISIBLE], said("network that learns the second task")),
        first=("first", list(tasks), said("first task")),
        second=("second", list(tasks), said("second task")),
    )
    dataset = dataset.transpose("source", "history", "first", "second", "draw", "time")
    arguments = {"state": state, "tasks": dict(tasks), "rnn": rnn, "rule": rule, "criterion": criterion}
    arguments |= {"absolute": absolute, "n": n, "draws": draws, "key": key, "version": VERSION}
    dataset.attrs = {"transfer": json.dumps(describe(arguments)), "prediction": PREDICTION, "assumption": ASSUMPTION}
    return dataset


def _run(
    start: State, tasks: Mapping[str, Any], rnn: RNN, rule: Rule, criterion: float, absolute: bool, bar: Any
) -> xr.Dataset:
    """The matrix of one source. Axes of the arrays: (history, first, second, draw, time)."""
    draws, size, ends, losses = start.batch[0], len(tasks), [], []
    time: Any = None
    for name, task in tasks.items():
        time, loss, end = curves(start, task, rnn, rule)
        require_finite(end, f"task {name}")
        ends.append(end)
        losses.append(loss)
        bar.update()
    start_loss = np.stack(losses)
    level = np.stack([levels(criterion, absolute, loss[:, 0]) for loss in start_loss])
    start_time = time_to(level, time, start_loss)
    for name, one in zip(tasks, start_time, strict=True):
        warn_of_unlearned(one, f"task {name}", rule)
    after = joined(ends)
    grams = np.asarray(start.overlaps().gram)[np.tile(np.arange(draws), size)]
    control, shift = without_history(after, grams, rnn)
    both, columns = joined([after, control]), []
    for task in tasks.values():
        columns.append(curves(both, task, rnn, rule)[1].reshape(2, size, draws, -1))
        bar.update()
    loss = np.stack(columns, axis=2)
    return _measured(time, start_loss, start_time, loss, time_to(level, time, loss), shift.reshape(size, draws))


def _measured(
    time: np.ndarray, start_loss: np.ndarray, start_time: np.ndarray, loss: np.ndarray, later: np.ndarray, shift: np.ndarray
) -> xr.Dataset:
    """The Dataset of one source."""
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = np.where(np.isfinite(start_time), start_time, np.nan) / later
        asymmetry = np.log(speed) - np.log(np.swapaxes(speed, 1, 2))
        same = np.eye(len(start_time), dtype=bool)
        asymmetry[:, same] = 0.0
        speed_up = np.where((later[0] == 0) & (later[1] == 0), 1.0, later[1] / later[0])
    pair = ("first", "second", "draw")
    return xr.Dataset(
        {
            "start_loss": (("second", "draw", "time"), start_loss, said("loss, learned from the start")),
            "start_time": (("second", "draw"), start_time, said("learning time from the start")),
            "loss": (("history", *pair, "time"), loss, said("loss of the second task")),
            "learning_time": (("history", *pair), later, said("learning time of the second task")),
            "speed": (("history", *pair), speed, said("speed of the second task relative to learning it from the start")),
            "asymmetry": (("history", *pair), asymmetry, said("log of the speed over that in the other order")),
            "invisible_asymmetry": (pair, asymmetry[0] - asymmetry[1], said("asymmetry that invisible overlaps explain")),
            "speed_up": (pair, speed_up, said("learning time of visible overlaps alone over that after the first task")),
            "control_shift": (
                ("first", "draw"),
                shift,
                said("excess of the invisible self-overlaps of the control over those of the start"),
            ),
        },
        {"time": ("time", time, said("learning time since learning of the second task began"))},
    )
