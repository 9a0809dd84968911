"""A phase of learning: one task and one rule, which bring a network from an initial state to a final state."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from overlaps._support import argument_error, is_traced
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning._descent import descend
from overlaps.learning._equivariance import why_not_equivariant
from overlaps.learning._flow import integrate
from overlaps.learning._observables import Observer
from overlaps.learning._problem import Problem
from overlaps.learning._record import Ending, Record, Resumption
from overlaps.learning._rules import GradientDescent, GradientFlow
from overlaps.tasks import Task, first_of

PROBING_RATE = 1e-2  # in place of a traced learning rate

Rule = GradientFlow | GradientDescent


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of a list of phases for `learn`: train on one task by one rule.

    - `name`: a text; results have it as the coordinate `phase`.
    - `task`: a task from `overlaps.tasks`.
    - `rule`: a `GradientFlow` or a `GradientDescent`. Its memory, such as momentum, starts anew with each phase.

    Raises ValueError for arguments of another kind, and for an empty name.

    >>> import overlaps as ov
    >>> A, B = ov.tasks.exponential_filter(rate=0.2), ov.tasks.exponential_filter(rate=0.4)
    >>> phases = [ov.Phase(name, task, ov.GradientDescent(steps=50)) for name, task in (("A", A), ("B", B))]
    >>> dataset = ov.learn(ov.Overlaps.random(0), phases, ov.RNN(dt=0.05), saves=3)
    >>> dataset["step"].values, dataset["phase"].values.tolist()
    (array([  0,  25,  50,  50,  75, 100]), ['A', 'A', 'A', 'B', 'B', 'B'])
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
        """The single phase of a run on one task, which has no name."""
        phase = cls("unnamed", task, rule)
        object.__setattr__(phase, "name", "")
        return phase


def phases_of(task: Any, rule: Any) -> list[Phase]:
    if isinstance(task, Sequence):
        if not task or not all(isinstance(phase, Phase) for phase in task):
            raise argument_error("task", "be a task or a list of Phase(name, task, rule)", f"{task!r} came")
        if rule is not None:
            came = f"{type(rule).__name__} came"
            raise argument_error("rule", "be None for a list of phases, which have their own rules", came)
        return list(task)
    return [Phase.unnamed(task, rule)]


def runs_to_the_end(task: Any, rule: Any, what: str) -> list[tuple[Any, Any]]:
    """The task and the rule of each phase. Raises ValueError if a rule may stop early. `what`: what is compared then."""
    runs = [(phase.task, phase.rule) for phase in task] if isinstance(task, Sequence) else [(task, rule)]
    for _, each in runs:
        if getattr(each, "stop_loss", None) is not None or getattr(each, "stop_gradient", None) is not None:
            mend = f"{what} that stop at different times cannot be compared over learning time."
            raise argument_error("rule", "have no early stop", "it has one", mend)
    return runs


def keys_of(key: Any, phases: Sequence[Phase]) -> list[Any]:
    """A key for each phase; a run on one task keeps its key."""
    if key is None or not phases[0].name:
        return [key] * len(phases)
    fold = jax.vmap(jax.random.fold_in, (0, None)) if key.shape else jax.random.fold_in
    return [fold(key, index) for index in range(len(phases))]


def batch_size(state: State, phases: list[Phase], key: Any) -> int | None:
    """The number of networks in the batch that the state, tasks, learning rates and keys make; None for a single network."""
    sizes = {"state": state.batch, "key": () if key is None else key.shape}
    for phase in phases:
        sizes[f"task {phase.name}".rstrip()] = phase.task.batch
        if isinstance(phase.rule, GradientDescent):
            sizes[f"learning_rate {phase.name}".rstrip()] = np.shape(phase.rule.learning_rate)
    found = {name: shape for name, shape in sizes.items() if shape}
    if not found:
        return None
    if len(set(found.values())) > 1 or any(len(shape) != 1 for shape in found.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in found.items())
        must = "agree with tasks, learning rates and keys on one batch axis"
        raise argument_error("state", must, f"their batch axes have the shapes {listed}")
    return next(iter(found.values()))[0]


class Run:
    """A phase that is being run.

    The constructor checks everything that does not depend on the state at which the phase starts, `start` sets this state, and
    iterating computes the phase chunk by chunk.
    """

    def __init__(
        self, phase: Phase, state: State, rnn: RNN, saves: int, key: Any, batch: int | None, observer: Observer | None = None
    ):
        self.phase, self.rnn, self.batch, self.observer, self._first = phase, rnn, batch, observer, state
        task, rule = phase.task, phase.rule
        dtype = np.result_type(*(leaf.dtype for leaf in jax.tree.leaves(state) if np.issubdtype(leaf.dtype, np.floating)))
        self.rates = np.atleast_2d(state.rates(dict(rule.rates or {})).astype(dtype))
        if not self.rates.any():
            raise argument_error("rates", "leave something to learn", "every vector is frozen")
        self.per_neuron = sees_neurons(state, rule)
        self.key = checked_key(key, rule, batch) if task.random else None
        self.observable_shapes = check_sizes(task, state, rnn, observer)
        self.saved, self._points = _points(rule, saves, state.pieces(saves), self.rates.dtype)

    def start(self, state: State, lost: np.ndarray, earlier: Sequence[Record] = (), recall: Any = None) -> np.ndarray:
        """Prepare the phase to start at a state. The networks in `lost` have diverged before; they stay NaN.

        Earlier phases can make a network unfit for the task of this phase, for example unstable. Such networks count as lost,
        too, unless no network would be left: then the task raises its error. Returns which networks are unfit. `earlier` and
        `recall`: the records of this phase that a stopped run left behind, and the memory of the rule after them.
        """
        task, rule = self.phase.task, self.phase.rule
        unfit = np.zeros_like(lost)
        if self.batch is not None and state is not self._first:
            unfit = ~task.admits(_filled_in(state, lost), self.rnn) & ~lost
            unfit &= not np.all(lost | unfit)
            lost = lost | unfit
        columns = tuple(int(column) for column in np.flatnonzero(self.rates.any(axis=0)))
        state = _filled_in(state, lost)
        self._lost, self._last = lost, None
        objective = task.objective(state, self.rnn)
        if self.batch is not None:
            state = state if state.batch else _repeated(state, self.batch)
        shared = self.batch is not None and not task.batch
        trained = self.rates[:, list(columns)]
        frozen = None if trained.all() else np.broadcast_to(trained == 0, (*lost.shape, *trained.shape))
        self.problem = Problem(state, objective, columns, self.per_neuron, self.observer, shared, frozen)
        resumed = None
        if earlier:
            self._last = earlier[-1]
            resumed = Resumption(self._last.next_chunk, recall)
        if isinstance(rule, GradientDescent):
            self._records = descend(self.problem, rule, trained, self.key, self._points, lost, resumed)
        else:
            self._records = integrate(self.problem, rule, trained, self._points, lost, resumed)
        return unfit

    @property
    def lost(self) -> np.ndarray:
        """Which networks have diverged so far."""
        return self._lost if self._last is None else np.asarray(self._last.ending == Ending.FAILED)

    def end(self) -> Any:
        """The state that the phase has reached so far: NaN for diverged networks of a batch, None if all networks diverged."""
        if np.all(self.lost):
            return None
        state = self.problem.start if self._last is None else self.problem.state(self._last.parameters)
        return _filled(state, self.lost, jax.tree.map(lambda leaf: np.nan, state)) if np.any(self.lost) else state

    def __iter__(self) -> Iterator[Record]:
        """Yield the records of the chunks, until no network goes on."""
        if self._last is not None and self._last.over:
            return
        for record in self._records:
            kept = np.isin(record.asked, self.saved)
            kept[-1:] = True  # a run may be interrupted here, and then this is its last point
            shown = dataclasses.replace(record, values=self._first.condensed(record.values, kept))
            self._last = record  # set here and not earlier, so that an interrupt finds state and rows at the same point
            yield shown
            if record.over:
                return


def _filled(state: State, lost: np.ndarray, other: Any) -> Any:
    """The state with the values of `other` for the networks that are lost."""
    return jax.tree.map(lambda leaf, value: np.where(lost.reshape(-1, *[1] * (leaf.ndim - 1)), value, leaf), state, other)


def _repeated(tree: Any, number: int) -> Any:
    """A batch of equal copies."""
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (number, *np.shape(leaf))), tree)


def _filled_in(state: State, lost: np.ndarray) -> State:
    """The state with a copy of the first network that is not lost in place of each lost one, so that all can be computed."""
    return _filled(state, lost, jax.tree.map(lambda leaf: leaf[np.argmin(lost)], state)) if np.any(lost) else state


def check_sizes(task: Task, state: State, rnn: RNN, observer: Observer | None) -> Any:
    """Raise the errors of the task that do not depend on the numbers in the state, because a later phase starts from others.

    Returns the shapes of what is observed.
    """
    state = first_of(state) if state.batch else state
    task = first_of(task) if task.batch else task

    def prepare(state: State) -> dict[str, Any]:
        objective = task.objective(state, rnn)
        if observer is None:
            return {}
        observer.check(state, objective)
        return observer(state, objective)

    return jax.eval_shape(prepare, state)


def require_one_shape(phases: Sequence[Phase], shapes: Sequence[Any]) -> None:
    """Raise ValueError unless what is observed has the same shapes in all phases."""
    for phase, found in zip(phases, shapes, strict=True):
        if found != shapes[0]:
            listed = [{name: one.shape for name, one in each.items()} for each in (shapes[0], found)]
            came = f"the shapes are {listed[0]} in phase {phases[0].name!r} and {listed[1]} in {phase.name!r}"
            raise argument_error("observe", "ask for what has one shape in all phases", came, "Run the phases one by one.")


def checked_key(key: Any, rule: Rule, batch: int | None) -> Any:
    if isinstance(rule, GradientFlow):
        raise argument_error(
            "rule",
            "be a GradientDescent for a task that draws samples",
            "a GradientFlow came",
            "Such a task draws new samples at each step, and a flow has no steps.",
        )
    if key is None:
        raise argument_error("key", "be a jax.random key or an integer seed for a task that draws samples", "None came")
    return key if batch is None else jax.numpy.broadcast_to(key, (batch,))


def sees_neurons(state: State, rule: Rule) -> bool:
    """Whether the rule looks at single neurons, as Adam does. Raises ValueError if such a rule cannot train the state."""
    if isinstance(rule, GradientFlow) or rule.optimizer is None:
        return False
    learning_rate = PROBING_RATE if is_traced(rule.learning_rate) else float(np.max(rule.learning_rate))
    try:
        with jax.ensure_compile_time_eval():
            reason = why_not_equivariant(rule.optimizer, learning_rate, state.matrix_learns)
    except (AttributeError, TypeError) as error:
        raise argument_error(
            "optimizer",
            "return an optax transformation that needs gradients and parameters alone",
            f"trying it gave: {error}",
            "A rule that searches along a line also needs values of the loss, which `learn` does not give to it.",
        ) from error
    if reason and not state.takes_neuron_rules:
        raise argument_error(
            "optimizer",
            "commute with rotations of neuron space and not depend on the number of neurons, to train anything but a network",
            f"{getattr(rule.optimizer, '__name__', 'this one')} {reason}",
            "Train a finite network with it (overlaps.sample(n, key), or the DenseNetwork before its reduction), or use plain "
            "descent, momentum or weight decay.",
        )
    return bool(reason)


def _points(rule: Rule, saves: int, chunks: int, dtype: np.dtype) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two results: the steps or learning times at which to save, and the chunks in which the run is computed.

    The chunks hold the points to save and the ends of chunks. All chunks have the same length, so that one compiled program
    serves all of them. Neighbouring chunks share their boundary, and the last chunk repeats its end to have this length. Times
    have the precision of the solver, so that the solver reaches them to the last digit.
    """
    saved, points = fractions(saves, chunks)
    if isinstance(rule, GradientDescent):
        saved, points = (np.unique(np.round(rule.steps * each).astype(int)) for each in (saved, points))
    else:
        saved, points = ((rule.duration * each).astype(dtype) for each in (saved, points))
    return saved, in_chunks(points, saves, chunks)


def fractions(saves: int, chunks: int) -> tuple[np.ndarray, np.ndarray]:
    """The points to save, and these together with the ends of chunks, as fractions of the duration of a phase."""
    saved = np.arange(saves) * chunks
    points = np.union1d(saved, np.arange(chunks + 1) * (saves - 1)) / (chunks * (saves - 1))
    return saved / (chunks * (saves - 1)), points


def in_chunks(points: np.ndarray, saves: int, chunks: int) -> list[np.ndarray]:
    """The points in chunks of equal length, as `_points` describes them."""
    length = math.ceil((saves + chunks) / chunks)
    chunks = math.ceil((len(points) - 1) / length)
    points = np.append(points, np.full(chunks * length + 1 - len(points), points[-1]))
    return [points[index * length : (index + 1) * length + 1] for index in range(chunks)]
