"""Environments: objects with trials of observations and right answers, such as those of neurogym."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from overlaps._support import argument_error, number, real_array

NEEDED = ("new_trial()", "ob", "gt", "dt", "start_ind", "end_ind")
MUST = f"be an environment, which has {', '.join(NEEDED)}"


class Trial(NamedTuple):
    """One trial: observations (time, I), right answers (time, answers), the time between samples in ms, samples of periods."""

    inputs: np.ndarray
    truth: np.ndarray
    dt: float
    periods: dict[str, slice]

    @property
    def kind(self) -> str:
        """What all trials of an environment have in common."""
        counts = f"{self.inputs.shape[1]} observations and {self.truth.shape[1]} answers of type {self.truth.dtype}"
        return f"{counts} in each sample of {self.dt:g} ms"

    def equals(self, other: "Trial") -> bool:
        arrays = zip(self[:2], other[:2], strict=True)
        return all(np.array_equal(*pair) for pair in arrays) and self.periods == other.periods


class _Recorder(dict):
    """A dictionary that records which of its items are set after it was made."""

    def __init__(self, items: dict[str, int]):
        super().__init__(items)
        self.names: list[str] = []

    def __setitem__(self, name: str, value: int) -> None:
        self.names.append(name)
        super().__setitem__(name, value)


def environment(env: Any) -> Any:
    """The environment of this name, or the object itself."""
    if isinstance(env, type):
        raise argument_error("env", MUST, f"the class {env.__name__} came", f"Make an instance: {env.__name__}(...).")
    if not isinstance(env, str):
        return env
    try:
        neurogym = importlib.import_module("neurogym")
    except ImportError as error:
        mend = "Install it with: pip install 'overlaps[neurogym]'"
        raise ImportError(f"The environment {env!r} needs the package neurogym ({error}). {mend}") from error
    try:
        return neurogym.make(env)
    except Exception as error:  # whatever the constructor of an environment raises
        must, came = "be the name of an environment that neurogym can make", f"{env!r} gave {type(error).__name__}: {error}"
        mend = "If it needs arguments, pass neurogym.make(name, ...)."
        raise argument_error("env", must, came, mend) from error


def _core(env: Any) -> Any:
    """The environment inside of its wrappers: there it keeps its attributes."""
    return getattr(env, "unwrapped", env)


def actions_of(env: Any) -> int | None:
    """The number of actions of an environment; None if it does not say."""
    actions = getattr(getattr(_core(env), "action_space", None), "n", None)
    return int(actions) if isinstance(actions, int | np.integer) else None


def _method(env: Any, name: str) -> Any:
    """A method of an environment or of the outermost wrapper that has it; None if it has none."""
    find = getattr(env, "get_wrapper_attr", lambda name: getattr(env, name))
    try:
        return find(name)
    except AttributeError:
        return None


def draw(env: Any, size: int, seed: int) -> list[Trial]:
    """The first trials after the environment was seeded."""
    core = _core(env)
    generator = getattr(core, "rng", None)
    if (seed_method := _method(env, "seed")) is not None:
        seed_method(seed)
    elif isinstance(generator, np.random.Generator):
        core.rng = np.random.default_rng(seed)
    elif isinstance(generator, np.random.RandomState):
        core.rng = np.random.RandomState(seed)
    drawn: list[Trial] = []
    for index in range(size):
        trial = _new_trial(env, f"trial {index}")
        if drawn and trial.kind != drawn[0].kind:
            came = f"trial 0 has {drawn[0].kind}, and trial {index} has {trial.kind}"
            raise argument_error("env", "have trials of one kind", came)
        drawn.append(trial)
    return drawn


def _new_trial(env: Any, name: str) -> Trial:
    """Draw one trial, and check what the environment says of it. `name` is the name of the trial in errors."""
    new_trial, core = _method(env, "new_trial"), _core(env)
    if not callable(new_trial):
        mend = "Pass an environment of neurogym, or its name."
        raise argument_error("env", MUST, f"{type(core).__name__} has no method new_trial", mend)
    old = {attribute: getattr(core, attribute, None) for attribute in ("ob", "gt")}
    # neurogym keeps the periods of earlier trials. Those of this trial are the ones that it sets, or all if it sets none.
    before = getattr(core, "__dict__", {}).get("start_ind")
    recorder = _Recorder(before) if isinstance(before, dict) else None
    if recorder is not None:
        core.start_ind = recorder
    try:
        new_trial()
    finally:
        if recorder is not None and getattr(core, "start_ind", None) is recorder:
            core.start_ind = dict(recorder)
    core = _core(env)  # wrappers around several environments change it
    missing = [attribute for attribute in NEEDED[1:] if not hasattr(core, attribute)]
    # An environment of neurogym that builds no `ob` or `gt` in a trial still shows those of the trial before.
    missing += [x for x in old if not getattr(core, f"_{x}_built", True) and getattr(core, x, None) is old[x] is not None]
    if missing:
        mend = "Targets need the right answer for each sample, `gt`." if "gt" in missing else ""
        raise argument_error("env", MUST, f"{type(core).__name__} sets no {' and no '.join(missing)} in {name}", mend)
    if not (isinstance(core.start_ind, Mapping) and isinstance(core.end_ind, Mapping)):
        came = f"they are {core.start_ind!r} and {core.end_ind!r}"
        raise argument_error("env", "have dictionaries from periods to samples as start_ind and end_ind", came)
    names = [period for period in (recorder and recorder.names) or core.start_ind if period in core.end_ind]
    inputs, truth = _channels(real_array("env.ob", core.ob)).astype(float), _truth(core.gt)
    if not 0 < len(inputs) == len(truth):
        came = f"{name} has {len(inputs)} observations and {len(truth)} answers"
        raise argument_error("env", "have one answer for each observation, and some of them", came)
    periods = {x: _samples(core.start_ind[x], core.end_ind[x], len(inputs), f"{x!r} in {name}") for x in names}
    return Trial(inputs, truth, number("env.dt", core.dt, above=0.0), periods)


def _samples(start: Any, end: Any, length: int, period: str) -> slice:
    """The samples of a period. Raises ValueError unless 0 <= start <= end <= length, in whole numbers."""
    numbers = (int, float, np.integer, np.floating)
    whole = all(isinstance(x, numbers) and not isinstance(x, bool) and float(x).is_integer() for x in (start, end))
    if not whole or not 0 <= start <= end <= length:
        must = f"have whole numbers 0 <= start_ind <= end_ind <= {length}, the number of observations, for period {period}"
        raise argument_error("env", must, f"{start} and {end} came")
    return slice(int(start), int(end))


def _truth(truth: Any) -> np.ndarray:
    """The right answers as integers or floats, (time, answers)."""
    array = np.asarray(truth)
    if array.dtype.kind not in "biuf":
        must = "be integers, which are actions, or real numbers"
        raise argument_error("env.gt", must, f"an array of type {array.dtype} came")
    return _channels(array.astype(int) if array.dtype.kind in "biu" else real_array("env.gt", array).astype(float))


def _channels(array: np.ndarray) -> np.ndarray:
    """An array (time, ...) as (time, channels)."""
    if not array.ndim:
        raise argument_error("env", "have arrays (time, ...) as ob and gt", "a single number came")
    return array.reshape(len(array), int(np.prod(array.shape[1:])))
