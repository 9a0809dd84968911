"""A phase of learning: one task and one rule, run from a state to the state that it leaves behind."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from overlaps._checks import argument_error
from overlaps._connectivity import Overlaps, State
from overlaps._rnn import RNN
from overlaps.learning._descent import descend
from overlaps.learning._equivariance import why_not_equivariant
from overlaps.learning._flow import integrate
from overlaps.learning._problem import Problem, stacked
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientDescent, GradientFlow
from overlaps.tasks import Task

# Pieces in which a run is computed, so that it can report, be interrupted and stop early. Each costs half a millisecond, which
# shows in overlap space alone.
OVERLAP_CHUNKS, NETWORK_CHUNKS = 10, 50

Rule = GradientFlow | GradientDescent


@dataclass(frozen=True)
class Phase:
    """One phase of a protocol for `learn`: train on `task` by `rule`, under a `name` that the results carry as `phase`.

    Momentum and the like start afresh with each phase.
    """

    name: str
    task: Any
    rule: Rule

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise argument_error("name", "be a text that is not empty", f"{self.name!r} came")
        if not isinstance(self.task, Task):
            raise argument_error("task", "be one of `overlaps.tasks`", f"{type(self.task).__name__} came")
        if not isinstance(self.rule, GradientFlow | GradientDescent):
            raise argument_error("rule", "be a GradientFlow or a GradientDescent", f"{type(self.rule).__name__} came")

    @classmethod
    def unnamed(cls, task: Any, rule: Rule) -> "Phase":
        """The one phase of a run that is no protocol."""
        phase = cls("unnamed", task, rule)
        object.__setattr__(phase, "name", "")
        return phase


def batch_size(state: State, phases: list[Phase], key: Any) -> int | None:
    """The number of networks that states, tasks, learning rates and keys ask for, None for a single one."""
    sizes = {"state": state.factor.shape[:-2], "key": () if key is None else key.shape}
    for phase in phases:
        sizes[f"task {phase.name}".rstrip()] = phase.task.batch
        if isinstance(phase.rule, GradientDescent):
            sizes[f"learning_rate {phase.name}".rstrip()] = np.shape(phase.rule.learning_rate)
    found = {name: shape for name, shape in sizes.items() if shape}
    if not found:
        return None
    if len(set(found.values())) > 1 or any(len(shape) != 1 for shape in found.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in found.items())
        raise argument_error("state", "agree with tasks, learning rates and keys on one batch axis", f"they have {listed}")
    return next(iter(found.values()))[0]


class Run:
    """A phase set up: everything is checked and built here; iterating computes it chunk by chunk."""

    def __init__(self, phase: Phase, state: State, rnn: RNN, saves: int, key: Any, batch: int | None):
        task, rule = phase.task, phase.rule
        dtype = state.factor.dtype
        rates = np.asarray(state.layout.columns(dict(rule.rates or {})), dtype)
        if not rates.any():
            raise argument_error("rates", "leave something to learn", "every vector is frozen")
        columns = tuple(int(column) for column in np.flatnonzero(rates))
        per_neuron = _sees_neurons(state, rule)
        if task.random:
            key = _checked_key(key, rule, batch)

        def problem(state: State, task: Any) -> Problem:
            return Problem(state, task.objective(state, rnn), columns, per_neuron)

        if batch is None:
            self.problem = problem(state, task)
        else:
            states = _lanes(state, bool(state.factor.shape[:-2]), batch)
            self.problem = stacked([problem(*lane) for lane in zip(states, _lanes(task, bool(task.batch), batch), strict=True)])
        self.saved, points = _points(rule, saves, OVERLAP_CHUNKS if isinstance(state, Overlaps) else NETWORK_CHUNKS)
        self._last: Record | None = None
        trained = rates[None, list(columns)]
        if isinstance(rule, GradientDescent):
            self.records = descend(self.problem, rule, trained, key if task.random else None, points, batch)
        else:
            self.records = integrate(self.problem, rule, trained, points, batch)

    def end(self) -> Any:
        """The state that the phase has come to, None if all of it diverged."""
        if self._last is None:
            return self.problem.start
        return None if self._last.failed_altogether else self.problem.state(self._last.parameters)

    def __iter__(self) -> Iterator[Record]:
        """What was recorded on the way, until every network has come to its end."""
        for record in self.records:
            self._last = record
            yield record
            if record.over:
                return


def _lanes(tree: Any, batched: bool, batch: int) -> list[Any]:
    return [jax.tree.map(lambda leaf, lane=lane: leaf[lane], tree) if batched else tree for lane in range(batch)]


def _checked_key(key: Any, rule: Rule, batch: int | None) -> Any:
    if isinstance(rule, GradientFlow):
        raise argument_error(
            "rule", "be a GradientDescent for a task that draws samples", "a GradientFlow came", "A flow has no steps."
        )
    if key is None:
        raise argument_error("key", "be a jax.random key or an integer seed for a task that draws samples", "None came")
    return key if batch is None else jax.numpy.broadcast_to(key, (batch,))


def _sees_neurons(state: State, rule: Rule) -> bool:
    """Whether the rule works on single neurons; raises ValueError where that does not close."""
    if isinstance(rule, GradientFlow) or rule.optimizer is None:
        return False
    try:
        reason = why_not_equivariant(rule.optimizer, float(np.max(rule.learning_rate)))
    except (AttributeError, TypeError) as error:
        raise argument_error(
            "optimizer",
            "return an optax transformation that needs gradients and parameters alone",
            f"trying it gave: {error}",
            "Rules that search along a line need values of the loss, which they are not given here.",
        ) from error
    if reason and isinstance(state, Overlaps):
        raise argument_error(
            "optimizer",
            "commute with rotations of neuron space and not depend on their number, to train overlaps",
            f"{getattr(rule.optimizer, '__name__', 'this one')} {reason}",
            "Train a finite network with it (overlaps.sample(n, key)), or use plain descent, momentum or weight decay.",
        )
    return bool(reason)


def _points(rule: Rule, saves: int, chunks: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Steps or learning times at which to save, and the same with the ends of chunks among them, cut into chunks.

    Chunks have one length, whatever the number of steps, so that one compiled program serves all: they share their
    boundary, and the last one repeats its end where it has to be filled up.
    """
    saved = np.arange(saves) * chunks
    fractions = np.union1d(saved, np.arange(chunks + 1) * (saves - 1)) / (chunks * (saves - 1))
    saved = saved / (chunks * (saves - 1))
    if isinstance(rule, GradientDescent):
        saved, points = (np.unique(np.round(rule.steps * each).astype(int)) for each in (saved, fractions))
    else:
        saved, points = rule.duration * saved, rule.duration * fractions
    length = math.ceil((saves + chunks) / chunks)
    chunks = math.ceil((len(points) - 1) / length)
    points = np.append(points, np.full(chunks * length + 1 - len(points), points[-1]))
    return saved, [points[index * length : (index + 1) * length + 1] for index in range(chunks)]
