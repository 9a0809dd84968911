"""The runs of the points of a block: points of equal structure are trained side by side, as one batch of `learn`."""

import dataclasses
import json
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error, random_key
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning import DivergenceError, GradientDescent, Phase, describe, learn
from overlaps.sweeps._fingerprint import Fingerprint
from overlaps.tasks import Task

# The sweep lists the networks that diverge, so these warnings of `learn` say nothing new.
LISTED = r"\d+ of \d+ networks (diverged|cannot start)"
ARGUMENTS = ("state", "task", "rnn", "rule", "key")
NEEDED = ARGUMENTS[:3]


class Outcome(NamedTuple):
    """What a batch of `learn` gave: its Dataset, or an error as a text. The Dataset may be missing where all diverged."""

    dataset: xr.Dataset | None
    error: str = ""
    all_diverged: bool = False


@dataclasses.dataclass(frozen=True)
class Setup:
    """What `build` made for one point: the arguments of `learn` for a single network."""

    state: State
    rnn: RNN
    phases: tuple[Phase, ...]
    named: bool  # whether the phases came as a list
    key: Any

    @classmethod
    def of(cls, built: Any) -> "Setup":
        """The checked result of `build`. Raises ValueError for anything but the arguments of one run of `learn`."""
        if not isinstance(built, Mapping) or not set(NEEDED) <= set(built) <= set(ARGUMENTS):
            came = f"the names {sorted(built)}" if isinstance(built, Mapping) else f"{type(built).__name__}"
            must = "return a mapping with `state`, `task`, `rnn`, and `rule` and `key` where `learn` needs them"
            raise argument_error("build", must, f"{came} came")
        state, task, rnn, rule = built["state"], built["task"], built["rnn"], built.get("rule")
        for name, value, kind in (("state", state, State), ("rnn", rnn, RNN)):
            if not isinstance(value, kind):
                raise argument_error("build", f"return a {kind.__name__} as `{name}`", f"{type(value).__name__} came")
        named = isinstance(task, Sequence) and bool(task) and all(isinstance(one, Phase) for one in task) and rule is None
        phases = tuple(task) if named else (Phase.unnamed(task, rule),)  # pyright: ignore[reportArgumentType]
        key = built.get("key")
        key = None if key is None else random_key("key", key)
        shapes = [state.batch, () if key is None else key.shape]
        shapes += [shape for one in phases for shape in (one.task.batch, np.shape(getattr(one.rule, "learning_rate", 0.0)))]
        if any(shapes):
            raise argument_error("build", "return a single network for each point", "a batch came", "Sweep over the batch.")
        return cls(state, rnn, phases, named, key)

    def fits(self, other: "Setup") -> bool:
        """Whether the two can be members of one batch of `learn`."""
        if (self.named, self.rnn, len(self.phases)) != (other.named, other.rnn, len(other.phases)):
            return False
        if (self.key is None) != (other.key is None) or not _alike(self.state, other.state):
            return False
        return all(_phases_fit(one, two) for one, two in zip(self.phases, other.phases, strict=True))

    def description(self) -> str:
        """What the setup is, as a JSON text. Large arrays are told by a checksum."""
        return json.dumps(_short(self._described()))

    def fingerprint(self) -> Fingerprint:
        """What the setup is, in a few numbers."""
        return Fingerprint.of(self._described())

    def _described(self) -> Any:
        task = self.phases if self.named else self.phases[0].task
        rule = None if self.named else self.phases[0].rule
        return describe({"state": self.state, "task": task, "rnn": self.rnn, "rule": rule, "key": self.key})


def built(build: Callable[..., Any], point: Mapping[str, Any]) -> Setup | str:
    """What `build` makes for one point, or what went wrong, as a text. JAX computes in float64 there."""
    try:
        with jax.enable_x64(True):
            return Setup.of(build(**point))
    except Exception as error:
        return said_of(error)


def said_of(error: Exception) -> str:
    """The type and the message of an error, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def grouped(setups: Mapping[Any, Setup]) -> list[list[Any]]:
    """The places whose setups fit into one batch, group by group."""
    groups: list[list[Any]] = []
    for place, setup in setups.items():
        for group in groups:
            if setups[group[0]].fits(setup):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def filled(number: int, full: int) -> int:
    """The size of the batch in which `number` setups run: `full`, or its half, its quarter, ...

    Copies of a setup fill the batch. So blocks with somewhat fewer points use the compiled program of the others.
    """
    size = full
    while size > 1 and size // 2 >= number:
        size //= 2
    return size


def run(setups: Sequence[Setup], saves: int, size: int) -> Outcome:
    """Train setups that fit, in a batch of `size` networks. Copies of the first setup fill the batch, and are left out."""
    many = [*setups, *[setups[0]] * (size - len(setups))]
    first = setups[0]
    phases = [_joined([one.phases[index] for one in many]) for index in range(len(first.phases))]
    key = None if first.key is None else jax.numpy.stack([one.key for one in many])
    task, rule = (phases, None) if first.named else (phases[0].task, phases[0].rule)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", LISTED, RuntimeWarning)
        try:
            dataset = learn(_stacked([one.state for one in many]), task, first.rnn, rule, saves=saves, key=key)
        except DivergenceError as error:
            dataset = getattr(error, "dataset", None)
            return Outcome(None if dataset is None else dataset.isel(batch=slice(0, len(setups))), all_diverged=True)
        except Exception as error:
            return Outcome(None, said_of(error))
    return Outcome(dataset.isel(batch=slice(0, len(setups))))


def begun(setup: Setup) -> Outcome:
    """A run of one setup that is as short as possible: it has the variables of the whole run, and meets its errors."""
    return run([dataclasses.replace(setup, phases=tuple(_short_phase(phase) for phase in setup.phases))], 2, 1)


def _short_phase(phase: Phase) -> Phase:
    rule = dataclasses.replace(phase.rule, stop_loss=None, stop_gradient=None)
    if isinstance(rule, GradientDescent):
        return _phase(phase.name, phase.task, dataclasses.replace(rule, steps=1))
    return _phase(phase.name, phase.task, dataclasses.replace(rule, duration=1e-6 * rule.duration))


def rows_of(setup: Setup, saves: int) -> dict[str, int]:
    """The number of saved points of each phase of a run that goes to its end."""
    rows: dict[str, int] = {}
    for phase in setup.phases:
        if phase.name in rows:
            mend = 'Number them, as in "A 1", "B" and "A 2".'
            raise argument_error("build", "return phases with names of their own", f"{phase.name!r} comes twice", mend)
        rows[phase.name] = min(saves, phase.rule.steps + 1) if isinstance(phase.rule, GradientDescent) else saves
    return rows


def _phase(name: str, task: Any, rule: Any) -> Phase:
    return Phase(name, task, rule) if name else Phase.unnamed(task, rule)


def _alike(one: Any, two: Any) -> bool:
    """Whether two trees have the same structure, the same static parts, and arrays of the same shapes and types."""
    if type(one) is not type(two) or jax.tree.structure(one) != jax.tree.structure(two):
        return False
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.shape(a) == np.shape(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None) for a, b in leaves)


def _phases_fit(one: Phase, two: Phase) -> bool:
    if one.name != two.name or not _alike(one.task, two.task) or type(one.rule) is not type(two.rule):
        return False
    rules = [
        dataclasses.replace(rule, learning_rate=1.0) if isinstance(rule, GradientDescent) else rule
        for rule in (one.rule, two.rule)
    ]
    return rules[0] == rules[1] and (bool(eqx.tree_equal(one.task, two.task)) or _stacked([one.task, two.task]).batch == (2,))


def _joined(phases: list[Phase]) -> Phase:
    first, rule = phases[0], phases[0].rule
    if isinstance(rule, GradientDescent):
        rates: Any = [one.rule.learning_rate for one in phases]  # pyright: ignore[reportAttributeAccessIssue]
        rule = dataclasses.replace(rule, learning_rate=np.asarray(rates))
    tasks: list[Task] = [one.task for one in phases]
    shared = all(eqx.tree_equal(first.task, one) for one in tasks)
    return _phase(first.name, first.task if shared else _stacked(tasks), rule)


def _stacked(trees: Sequence[Any]) -> Any:
    """One tree with a leading axis on all of its arrays."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _short(description: Any) -> Any:
    if isinstance(description, Mapping):
        if "packed" in description:
            return {**description, "packed": zlib.crc32(description["packed"].encode())}
        return {name: _short(value) for name, value in description.items()}
    return [_short(value) for value in description] if isinstance(description, list) else description
