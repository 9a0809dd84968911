"""What a network remembers of task B after it has learned A, then B, then A again."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import scipy
import xarray as xr

from overlaps._support import argument_error, random_key, said
from overlaps.connectivity import Overlaps, State, charge_variables, require_no_bulk
from overlaps.dynamics import RNN
from overlaps.learning import GradientFlow, Phase, Rule, conserved, describe, final_state, grams, layout_of, learn
from overlaps.studies._answers import impulses
from overlaps.tasks import FreshTrials, LabelNoise, LinearFilter, Trials, exponential_filter

HISTORY, CONTROL = "A-B-A", "A-A-A"
PHASES = ("A", "B", "A again")
PROBE = 20.0  # responses of filters of infinite horizon are compared over this number of time constants


def memory(
    state: State,
    tasks: Sequence[Any] | None = None,
    rnn: RNN | None = None,
    rule: Rule | None = None,
    saves: int = 101,
    key: Any = None,
    progress: bool = False,
) -> xr.Dataset:
    """Train a network on A, then B, then A again, and beside it train a control on A three times.

    Both protocols take the same time and have the same noise. They share the first A, and so all that it leaves behind. An
    overlap is the scalar product of two connectivity vectors, divided by the number of neurons. Overlaps on which the function
    of the network depends are visible. All others are invisible. B is *written* if the two protocols end with the same function
    and with different invisible overlaps. Then the invisible distance exceeds by far the function distance, which shows what
    training has still to remove. What is written is *kept* if its decay rate is 0 (docs/training_history.md,
    "A, B, and A again").

    - `state`: an `Overlaps`, `MeanField` or `Network` without a bulk, not a batch.
    - `tasks`: the two tasks A and B. None: exponential filters of the rates 0.2 and 0.4, with a horizon of 20.
    - `rnn`: as in `learn`. None: a linear one with steps of 0.1.
    - `rule`: the learning rule of each phase. None: a gradient flow of duration 20.
    - `saves`: number of saved points per phase.
    - `key`: a jax.random key or an integer seed, for tasks that draw samples.
    - `progress`: whether to show a bar.

    Returns a Dataset with dims `protocol` ("A-B-A", "A-A-A"), `time` (learning time, learning rate x step) and `overlap`. The
    coordinate `phase` names the phases of A-B-A. The variables are:

    - `sigma(protocol, time, overlap)` and `loss(protocol, time)`.
    - `gauge`, `balance` and `spectrum`: the charges, which are the quantities that gradient flow of linear networks conserves.
      All three are computed whatever phi is (docs/symmetries.md, "Charges from symmetries").
    - `visible_distance(time)` and `invisible_distance(time)`: Euclidean distance between the two protocols, over the visible
      and over the invisible overlaps.
    - `visible_return(protocol)` and `invisible_return(protocol)`: Euclidean distance between the end of the first A and the end
      of the last A.
    - `function_distance(pair)`: root mean square difference of the outputs of two networks, on the trials of A. For filter
      tasks the input is white noise, and this is the L2 norm of the difference of the impulse responses.
    - `decay_rate` and `decay_rate_error`: the rate per learning time at which the invisible distance decays, and its standard
      error, from a fit over the second half of the last phase.

    Raises ValueError for anything but two tasks, for a rule that can stop early, for a batch, and for a network with a bulk,
    whose function depends on more than its overlaps. Also raises what `learn` raises.
    """
    first, second = _pair(tasks)
    rnn = RNN(dt=0.1) if rnn is None else rnn
    rule = GradientFlow(20.0) if rule is None else rule
    if rule.stop_loss is not None or rule.stop_gradient is not None:
        raise argument_error("rule", "run for a given time, which is the same for both protocols", "it can stop early")
    if state.factor.ndim > 2 or np.ndim(getattr(rule, "learning_rate", 0.0)):
        name, must = ("state", "be a single network") if state.factor.ndim > 2 else ("rule", "have a single learning rate")
        raise argument_error(name, must, "a batch came", "Run the protocols one by one.")
    require_no_bulk(state, "to have its visible and invisible overlaps compared")
    keys = [None, None] if key is None else list(jax.random.split(random_key("key", key)))

    def run(start: State, names: Sequence[str], tasks: Sequence[Any], key: Any) -> xr.Dataset:
        phases = [Phase(name, task, rule) for name, task in zip(names, tasks, strict=True)]
        return learn(start, phases, rnn, saves=saves, key=key, progress=progress)

    begun = run(state, PHASES[:1], [first], keys[0])
    start = final_state(begun)
    branches = {HISTORY: run(start, PHASES[1:], [second, first], keys[1])}
    branches[CONTROL] = run(start, PHASES[1:], [first, first], keys[1])
    wholes = [_joined(begun, branch, rule) for branch in branches.values()]
    dataset: Any = xr.concat(wholes, xr.IndexVariable("protocol", list(branches)), combine_attrs="drop_conflicts")
    ends = {"first A": start, **{name: final_state(branch) for name, branch in branches.items()}}
    dataset = dataset.assign(_distances(dataset) | _functions(ends, first, rnn))
    arguments = {"state": state, "tasks": [first, second], "rnn": rnn, "rule": rule, "saves": saves, "key": key}
    dataset.attrs = {"memory": json.dumps(describe(arguments))}
    return dataset


def _pair(tasks: Any) -> tuple[Any, Any]:
    if tasks is None:
        return exponential_filter(0.2), exponential_filter(0.4)
    if not isinstance(tasks, Sequence) or len(tasks) != 2:
        raise argument_error("tasks", "be two tasks, A and B", f"{tasks!r} came")
    return tasks[0], tasks[1]


def _joined(begun: xr.Dataset, branch: xr.Dataset, rule: Rule) -> xr.Dataset:
    """The overlaps, losses and charges of the first A, joined with those of the phases that follow it."""
    branch = branch.assign_coords(time=branch["time"] + begun["time"][-1])
    whole = xr.concat([run[["sigma", "loss"]] for run in (begun, branch)], "time", coords="minimal", compat="override")
    whole["time"].attrs = begun["time"].attrs
    matrices = np.concatenate([grams(begun), grams(branch)])
    charges = conserved(Overlaps(matrices, *layout_of(begun)), RNN(), rule.rates)
    return whole.assign(charge_variables(charges, ("time",)))


def _distances(dataset: xr.Dataset) -> dict[str, Any]:
    """Distances between the protocols, distances of each protocol from its first A, and the decay of the first of them."""
    sigma = dataset["sigma"].transpose("protocol", "time", "overlap").values
    phases = dataset["phase"].values
    apart = sigma[0] - sigma[1]
    returned = sigma[:, -1] - sigma[:, np.flatnonzero(phases == PHASES[0])[-1]]
    variables: dict[str, Any] = {}
    for name, chosen in (("visible", dataset["visible"].values), ("invisible", ~dataset["visible"].values)):
        for dim, kind, difference, meaning in (
            ("time", "distance", apart, "between the protocols"),
            ("protocol", "return", returned, "between the first and the last A"),
        ):
            norm = np.linalg.norm(difference[:, chosen], axis=1)
            variables[f"{name}_{kind}"] = ((dim,), norm, said(f"distance of {name} overlaps {meaning}"))
    last = np.flatnonzero(phases == PHASES[-1])
    half = last[len(last) // 2 :]
    rate, error = exponential_rate(dataset["time"].values[half], variables["invisible_distance"][1][half])
    meaning = "rate at which the invisible distance decays"
    variables["decay_rate"] = ((), rate, said(meaning, "1 / learning time"))
    variables["decay_rate_error"] = ((), error, said(f"standard error of the {meaning}", "1 / learning time"))
    return variables


def exponential_rate(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The rate of an exponential decay and its standard error; both are NaN unless all values have the same sign."""
    if not (np.all(values > 0) or np.all(values < 0)):
        return np.nan, np.nan
    fit: Any = scipy.stats.linregress(times, np.log(np.abs(values)))
    return -fit.slope, fit.stderr


def _functions(ends: dict[str, State], task: Any, rnn: RNN) -> dict[str, Any]:
    """How far apart the outputs of the networks are, for each pair of networks."""
    inputs, dt, scale = _probe(task.task if isinstance(task, LabelNoise) else task, rnn)
    outputs = {name: rnn.output(state, inputs, None if rnn.dt else dt).values for name, state in ends.items()}
    pairs = [(HISTORY, CONTROL), (HISTORY, "first A"), (CONTROL, "first A")]
    apart = [np.sqrt(scale * np.sum((outputs[one] - outputs[other]) ** 2)) for one, other in pairs]
    names = xr.IndexVariable("pair", [" / ".join(pair) for pair in pairs], said("networks that are compared"))
    return {"function_distance": xr.DataArray(apart, {"pair": names}, attrs=said("root mean square difference of outputs"))}


def _probe(task: Any, rnn: RNN) -> tuple[np.ndarray, float, float]:
    """Inputs (trials, time, I), the time between samples, and a factor for outputs on these inputs.

    The factor turns the sum of the squared outputs into their mean square.
    """
    if isinstance(task, LinearFilter):
        dt = rnn.dt or rnn.tau / 20
        inputs = impulses(task.inputs, round((task.horizon or PROBE * rnn.tau) / dt), dt)
        return inputs, dt, dt  # isometry of Ito, for white noise of unit intensity on every input
    trials: Trials = task.sample(0) if isinstance(task, FreshTrials) else task
    return np.asarray(trials.inputs), trials.dt, 1 / (trials.inputs.shape[0] * trials.inputs.shape[1])
