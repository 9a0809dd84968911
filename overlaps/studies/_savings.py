"""Savings: how much faster a network relearns task A after an interlude, and which part of this invisible overlaps explain."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, flag, real_array, said
from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, GradientDescent, GradientFlow, Rule, describe, final_state, learn
from overlaps.studies._relearning import (
    check_learning,
    checked_criterion,
    chosen,
    curves,
    joined,
    lasting,
    levels,
    require_finite,
    single_key,
    starts,
    time_to,
    warn_of_unlearned,
    without_history,
)
from overlaps.tasks import LabelNoise, exponential_filter

AGAIN, VISIBLE, ALONE = "A again", "visible overlaps alone", "B alone"
INTERLUDES = ("B", "rest")
PREDICTION = (
    "After an interlude a network relearns A at another speed than a control that has the same visible overlaps, and so the "
    "same activity and loss, but the invisible overlaps of a network that has learned nothing: it is faster if training has "
    "enlarged the invisible self-overlaps, and slower if training has reduced them."
)
ASSUMPTION = (
    "Learning follows the gradient of the loss in all connectivity vectors, at the rates that `rule` gives, and nothing but "
    "learning changes the connectivity; for nonlinear phi, the theory also takes the vectors to be Gaussian over neurons."
)


def savings(
    state: Overlaps,
    tasks: Sequence[Any] | None = None,
    rnn: RNN | None = None,
    rule: Rule | None = None,
    durations: Any = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0),
    noise: Any = 0.0,
    criterion: float = 0.05,
    absolute: bool = False,
    n: int | None = None,
    draws: int = 3,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Train a network on A, let it do something else, and measure how much faster it learns A again.

    What happens in between is the *interlude*. It is task B, or rest: the network goes on with A, under label noise (fresh
    noise on the targets at each step). The *learning time* is the time until the loss of A first comes down to a criterion.
    *Savings* are 1 - (learning time after the interlude) / (first learning time): 1 if nothing has to be learned again, 0 if
    the network learns A as it did at first, and below 0 if it learns A more slowly (Ebbinghaus, 1885).

    An overlap is visible if activity and output depend on it, and invisible otherwise. Three networks learn A in the end:

    - "A again": the network after A and the interlude.
    - "visible overlaps alone": a control with the visible overlaps of that network, and with the invisible overlaps of the
      start. It begins with the same loss, so all that sets the two apart is the history in the invisible overlaps.
    - "B alone": a control that had the interlude but never the first A. It is NaN for rest, which is training on A itself.

    The arguments are:

    - `state`: the `Overlaps` of one network, positive definite.
    - `tasks`: A and B, which draw no random samples. None: exponential filters of the rates 0.3 and 0.8.
    - `rnn`: as in `learn`. None: a linear one with steps of 0.1.
    - `rule`: the rule by which A is learned, for the longest learning time to look at. The interlude has the same rule, for
      `durations`. None: a gradient flow of duration 20.
    - `durations`: learning times of the interlude. Descent rounds them to whole steps.
    - `noise`: standard deviations of the label noise in the interlude, one number or several. Noise needs a
      `GradientDescent`. Without it, rest is more training on A.
    - `criterion`: the loss to come down to, as a fraction of the loss of A at the start, or in its units if `absolute` is True.
    - `n`: the number of neurons of networks that run beside the theory; None for the theory alone. Networks start with exactly
      the overlaps of `state`.
    - `draws`: the number of networks, and of draws of the label noise. Theory and network of one draw see the same noise.
    - `key`: a jax.random key or an integer seed. `progress`: whether to show a bar.

    Returns a Dataset with dims `source` ("theory", "networks"), `protocol` (the three above), `interlude` ("B", "rest"),
    `noise`, `duration` and `draw`. With all of these dims, except `protocol` where the name of a protocol is in the meaning:

    - `learning_time`: of A after the interlude. 0 if the criterion is still met, infinite if it is never reached. It is
      interpolated between saved points, linearly in the logarithm of the loss.
    - `savings`: it is -inf where the learning time is infinite, and NaN where the first one is.
    - `invisible_part`: savings of "A again" minus savings of "visible overlaps alone". It is the effect of invisible overlaps.
    - `speed_up`: learning time of "visible overlaps alone" over that of "A again". 1 is no effect, also where both are 0.
    - `memory_of_first`: savings of "A again" minus savings of "B alone". What is left of savings without it is transfer from B.
    - `control_shift`: by how much the invisible self-overlaps of the control exceed those of the start. It is 0 unless there
      is no network with the wanted overlaps; then it is the smallest number for which there is one.

    The learning curves are `first_loss(source, draw, time)` and `loss(..., time)`, over the learning time since learning
    began. `first_time(source, draw)` is the first learning time. The attributes `prediction` and `assumption` say in words what
    is predicted, and under which assumption. `rerun` repeats the study.

    Warns if the first learning does not reach the criterion. Raises ValueError for arguments out of range, for a criterion that
    is met before the first learning, and for networks that diverge in the interlude. Also raises what `learn` raises.
    """
    tasks = (exponential_filter(0.3), exponential_filter(0.8)) if tasks is None else tasks
    if not isinstance(tasks, Sequence) or len(tasks) != 2:
        raise argument_error("tasks", "be two tasks, A and B", f"{tasks!r} came")
    rnn = RNN(dt=0.1) if rnn is None else rnn
    rule = GradientFlow(20.0) if rule is None else rule
    check_learning(state, dict(zip("AB", tasks, strict=True)), rnn, rule)
    times, stds = _nonnegative("durations", durations), _nonnegative("noise", noise)
    if np.any(stds > 0) and isinstance(rule, GradientFlow):
        raise argument_error("rule", "be a GradientDescent for an interlude with label noise", "a GradientFlow came")
    criterion, draws, key = checked_criterion(criterion, flag("absolute", absolute)), count("draws", draws), single_key(key)
    if isinstance(rule, GradientDescent):
        times = np.round(times / rule.learning_rate) * rule.learning_rate
    network_key, noise_key = jax.random.split(key)
    sources = starts(state, n, draws, network_key)
    settings = {"first": tasks[0], "second": tasks[1], "rnn": rnn, "rule": rule, "times": times, "stds": stds, "draws": draws}
    settings |= {"criterion": criterion, "absolute": absolute, "keys": jax.random.split(noise_key, draws)}
    parts = []
    with tqdm(total=len(sources) * (2 + 3 * len(times)), disable=not progress, unit="run", leave=False) as bar:
        for source, start in sources.items():
            bar.set_description(source)
            parts.append(_run(start, settings, bar))
    dataset: Any = xr.concat(parts, xr.Variable("source", list(sources), said("what is trained")))
    dataset = dataset.assign_coords(
        protocol=("protocol", [AGAIN, VISIBLE, ALONE], said("network that learns A in the end")),
        interlude=("interlude", list(INTERLUDES), said("what happens between the two times of learning A")),
        duration=("duration", times, said("duration of the interlude in learning time")),
        noise=("noise", stds, said("standard deviation of the label noise in the interlude")),
    )
    dataset = dataset.transpose("source", "protocol", "interlude", "noise", "duration", "draw", "time")
    arguments = {"state": state, "tasks": list(tasks), "rnn": rnn, "rule": rule, "durations": times, "noise": stds}
    arguments |= {"criterion": criterion, "absolute": absolute, "n": n, "draws": draws, "key": key, "version": VERSION}
    dataset.attrs = {"savings": json.dumps(describe(arguments)), "prediction": PREDICTION, "assumption": ASSUMPTION}
    return dataset


def _nonnegative(name: str, values: Any) -> np.ndarray:
    array = np.atleast_1d(np.asarray(real_array(name, values), float))
    if array.ndim > 1 or not array.size or np.any(array < 0) or len(np.unique(array)) < array.size:
        raise argument_error(name, "be different numbers of at least 0", f"{values!r} came")
    return array


def _run(start: State, settings: dict[str, Any], bar: Any) -> xr.Dataset:
    """All protocols, for the networks of one source."""
    first, rule, rnn, times, stds, draws = (settings[name] for name in ("first", "rule", "rnn", "times", "stds", "draws"))
    time, first_loss, trained = curves(start, first, rnn, rule)
    require_finite(trained, "the first A")
    level = levels(settings["criterion"], settings["absolute"], first_loss[:, 0])
    first_time = time_to(level, time, first_loss)
    warn_of_unlearned(first_time, "A", rule)
    bar.update()
    begun = [(trained, settings["second"]), (trained, first), (start, settings["second"])]
    *after, alone = [_interlude(begin, task, settings, bar) for begin, task in begun]
    shape = (len(times), len(stds), draws)
    grams = np.broadcast_to(np.asarray(start.overlaps().gram), (*shape, *start.overlaps().gram.shape[1:]))
    controls = [without_history(one, grams.reshape(-1, *grams.shape[-2:]), rnn) for one in after]
    shift = np.stack([moved.reshape(shape) for _, moved in controls])
    _, loss, _ = curves(joined([*after, *(control for control, _ in controls), alone]), first, rnn, rule)
    bar.update()
    loss = loss.reshape(5, *shape, -1)
    loss = np.stack([loss[:2], loss[2:4], np.stack([loss[4], np.full_like(loss[4], np.nan)])])
    return _measured(time, first_loss, first_time, loss, time_to(level, time, loss), shift)


def _interlude(begin: State, task: Any, settings: dict[str, Any], bar: Any) -> State:
    """The networks after interludes of all durations and noises: a batch in the order (duration, noise, draw)."""
    stds, draws, rule = settings["stds"], settings["draws"], settings["rule"]
    index = np.tile(np.arange(draws), len(stds))
    key = None
    if np.any(stds > 0):
        task, key = LabelNoise(task, np.repeat(stds, draws)), settings["keys"][index]
    begin, ends = chosen(begin, index), []
    for duration in settings["times"]:
        run = None if duration == 0 else learn(begin, task, settings["rnn"], lasting(rule, float(duration)), saves=2, key=key)
        ends.append(begin if run is None else final_state(run))
        require_finite(ends[-1], f"an interlude of duration {duration:g}")
        bar.update()
    return joined(ends)


def _measured(
    time: np.ndarray, first_loss: np.ndarray, first_time: np.ndarray, loss: np.ndarray, again: np.ndarray, shift: np.ndarray
) -> xr.Dataset:
    """The Dataset of one source."""
    with np.errstate(invalid="ignore", divide="ignore"):
        saved = 1 - again / np.where(np.isfinite(first_time), first_time, np.nan)
        parts = {
            "invisible_part": (saved[0] - saved[1], "savings that invisible overlaps explain"),
            "speed_up": (
                np.where(again[:2].max(0) == 0, 1.0, again[1] / again[0]),
                "learning time of visible overlaps alone over that of A again",
            ),
            "memory_of_first": (saved[0] - saved[2], "savings that are absent without the first A"),
            "control_shift": (shift, "excess of the invisible self-overlaps of the control over those of the start"),
        }
    dims = ("interlude", "duration", "noise", "draw")
    variables: dict[str, Any] = {name: (dims, values, said(meaning)) for name, (values, meaning) in parts.items()}
    variables["learning_time"] = (("protocol", *dims), again, said("learning time of A after the interlude"))
    variables["savings"] = (("protocol", *dims), saved, said("savings"))
    variables["loss"] = (("protocol", *dims, "time"), loss, said("loss of A after the interlude"))
    variables["first_loss"] = (("draw", "time"), first_loss, said("loss of A, learned for the first time"))
    variables["first_time"] = ("draw", first_time, said("learning time of A, learned for the first time"))
    return xr.Dataset(variables, {"time": ("time", time, said("learning time since learning of A began"))})
