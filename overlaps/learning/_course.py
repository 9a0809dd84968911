"""A phase of learning as arrays and static settings, and its computation as a pure function."""

import math
from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, as_float, count, is_traced, numpy_for, real_array
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning import _descent, _flow
from overlaps.learning._bounded import repeat_up_to
from overlaps.learning._observables import Observer
from overlaps.learning._phase import Phase, checked_key, fractions, in_chunks, sees_neurons
from overlaps.learning._problem import Problem
from overlaps.learning._record import limits
from overlaps.learning._rules import GradientDescent
from overlaps.tasks import Task, quick_to_run

CHECKPOINTS = 64  # of the solver, if the number of its steps is not limited

Rows = dict[str, Any]


class Course(eqx.Module):
    """What is to be computed in a phase. Its numbers are arrays, so that other numbers need no compilation."""

    task: Task
    key: Any
    rates: Float[AnyArray, "rows trained"]
    pace: AnyArray  # the learning rate, or the tolerances of the solver
    stops: Float[AnyArray, "2"]
    times: Float[AnyArray, "chunks times"] | None  # of a flow: learning times at which it is known
    steps: tuple[int, ...] = eqx.field(static=True)  # of a descent: steps at which it is known, the last one at the end
    saved: tuple[int, ...] = eqx.field(static=True)  # which of these, in the order in which they come, are asked for
    method: Any = eqx.field(static=True)  # the optimiser, or the solver
    max_steps: int | None = eqx.field(static=True)
    columns: tuple[int, ...] = eqx.field(static=True)
    per_neuron: bool = eqx.field(static=True)
    partly: bool = eqx.field(static=True)  # whether columns learn in part
    watched: bool = eqx.field(static=True)

    @classmethod
    def of(cls, state: State, phase: Phase, saves: Any, key: Any) -> "Course":
        """The course of a phase from a state with the shapes of `state`. Raises ValueError for arguments that do not fit."""
        rule = phase.rule
        rates = np.atleast_2d(state.rates(dict(rule.rates or {})))
        columns = tuple(int(column) for column in np.flatnonzero(rates.any(axis=0)))
        if not columns:
            raise argument_error("rates", "leave something to learn", "every vector is frozen")
        trained = rates[:, list(columns)]
        stops = limits(rule.stop_loss, rule.stop_gradient, trained.dtype)
        descends = isinstance(rule, GradientDescent)
        if descends:
            times, (steps, saved) = None, _steps(rule, saves)
        else:
            (times, saved), steps = _times(rule.duration, saves, state), ()
        return cls(
            task=phase.task,
            key=checked_key(key, rule, None) if phase.task.random else None,
            rates=trained,
            pace=as_float(rule.learning_rate if descends else [rule.rtol, rule.atol]),
            stops=stops,
            times=times,
            steps=steps,
            saved=saved,
            method=rule.optimizer if descends else (rule.solver or diffrax.Tsit5()),
            max_steps=None if descends else rule.max_steps,
            columns=columns,
            per_neuron=sees_neurons(state, rule),
            partly=not trained.all(),
            watched=bool(np.any(stops > -np.inf)),
        )


def follow(state: State, course: Course, rnn: RNN, seen: Observer, reverse: bool) -> tuple[Rows, State]:
    """The saved rows of a phase that starts at a state, and the state at its end."""
    objective = course.task.objective(state, rnn)
    frozen = course.rates == 0 if course.partly else None
    problem = Problem(state, objective, course.columns, course.per_neuron, seen, False, frozen)
    rows, parameters = (_descend if course.times is None else _integrate)(problem, course, reverse)
    saved = np.asarray(course.saved)
    return {name: values[saved] for name, values in rows.items()}, problem.state(parameters)


def _descend(problem: Problem, course: Course, reverse: bool) -> tuple[Rows, AnyArray]:
    rank = problem.start.layout.rank
    problem = eqx.tree_at(lambda one: one.objective, problem, quick_to_run(problem.objective, rank))
    parameters, learning_rate = jnp.asarray(problem.parameters()), jnp.asarray(course.pace)
    fixed = _descent.Settings(problem, learning_rate, course.key, course.rates, course.stops)
    memory = None if course.method is None else course.method(learning_rate).init(parameters)
    carry = _descent.beginning(parameters, memory, np.zeros((), bool))
    steps = np.asarray(course.steps)
    if reverse:  # the first point is on its own, because it takes fewer steps than the others
        block, farthest = math.isqrt(int(steps[-1])) + 1, int(np.max(np.diff(steps), initial=1))
        loops = [(steps[:1], repeat_up_to(int(steps[0]) + 1, block)), (steps[1:], repeat_up_to(farthest, block))]
    else:
        loops = [(steps, jax.lax.while_loop)]
    parts = []
    for targets, loop in loops:
        carry, part = _descent.advance(fixed, course.method, carry, targets, loop)
        parts.append(part)
    rows = jax.tree.map(lambda *values: jnp.concatenate(values), *parts)
    lost = ~(rows["loss"] < carry.limit)
    time = rows["step"] * learning_rate
    step = rows.pop("step")
    rows = {name: jnp.where(_along(lost, values), jnp.nan, values) for name, values in rows.items()}
    return {"time": time, "step": step, **rows}, jnp.where(carry.loss < carry.limit, carry.seen, jnp.nan)


def _integrate(problem: Problem, course: Course, reverse: bool) -> tuple[Rows, AnyArray]:
    settings = _flow.Settings(course.pace, course.stops, course.rates)
    adjoint: Any = diffrax.ForwardMode()
    if reverse:
        adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=CHECKPOINTS if course.max_steps is None else None)
    parameters = jnp.asarray(problem.parameters())

    def solve(start: Any, times: Any) -> Any:
        return _flow.solve(settings, course.method, course.max_steps, course.watched, times, problem, start, adjoint)

    def chunk(before: Any, times: Any) -> Any:
        start, over, taken, last = before
        solution = solve(start, times)
        count = jnp.sum(jnp.isfinite(solution.time))
        rows = {"time": solution.time} | solution.values
        place = jnp.minimum(jnp.arange(len(times)), count - 1)
        rows = {name: jnp.where(over, last[name][None], values[place]) for name, values in rows.items()}
        taken = taken + solution.statistics["num_steps"]
        arrived = solution.stopped | (solution.time[count - 1] >= times[-1])
        arrived &= course.max_steps is None or taken <= course.max_steps
        lost = ~over & ~arrived & (jnp.arange(len(times)) >= count)
        rows = {name: jnp.where(_along(lost, values), jnp.nan, values) for name, values in rows.items()}
        end = jnp.where(over, start, jnp.where(arrived, solution.parameters, jnp.nan))
        return (end, over | solution.stopped, taken, {name: values[-1] for name, values in rows.items()}), rows

    number = jax.ShapeDtypeStruct((), parameters.dtype)
    row = {"time": number, "loss": number, "gradient_norm": number} | jax.eval_shape(problem.observe, parameters)
    last = {name: jnp.zeros(value.shape, value.dtype) for name, value in row.items()}
    before = (parameters, jnp.zeros((), bool), jnp.zeros((), int), last)
    (parameters, *_), rows = jax.lax.scan(chunk, before, jnp.asarray(course.times))
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}, parameters


def saves_of(saves: Any, phases: Sequence[Phase]) -> list[Any]:
    """What to save in each phase: the entries of a list, unless it holds learning times, which are those of every phase."""
    listed = saves if isinstance(saves, list) and not any(isinstance(one, float) for one in saves) else [saves] * len(phases)
    if len(listed) != len(phases):
        raise argument_error("saves", f"have one entry for each of the {len(phases)} phases", f"{len(listed)} came")
    return listed


def _steps(rule: GradientDescent, saves: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The steps at which a descent is known, and which of them are asked for."""
    if np.ndim(saves) == 0:
        saved = np.unique(np.round(rule.steps * fractions(count("saves", saves, least=2), 1)[0]).astype(int))
    elif is_traced(rule.learning_rate, saves):
        mend = "Pass a number of points, or a learning rate that is not traced."
        raise argument_error("saves", "be a number where the learning rate is traced", "an array of times came", mend)
    else:
        saved = np.round(_checked_times(saves, rule.steps * rule.learning_rate) / rule.learning_rate).astype(int)
    steps = np.union1d(saved, rule.steps)
    return tuple(steps.tolist()), tuple(np.searchsorted(steps, saved).tolist())


def _times(duration: Any, saves: Any, state: State) -> tuple[AnyArray, tuple[int, ...]]:
    """The learning times (chunks, times) at which a flow is known, and which of them are asked for."""
    if np.ndim(saves) == 0:
        saves = count("saves", saves, least=2)
        chunks = state.pieces(saves)
        saved, points = fractions(saves, chunks)
        pieces = np.stack(in_chunks(points, saves, chunks))
        return duration * pieces, tuple(np.searchsorted(pieces.ravel(), saved).tolist())
    times = _checked_times(saves, duration)
    xp = numpy_for(times, duration)
    joined = xp.concatenate([np.zeros(1), times, xp.reshape(duration, 1)])
    return joined[None], tuple(range(1, len(times) + 1))


def _checked_times(saves: Any, duration: Any) -> Any:
    times = real_array("saves", saves, ndim=1)
    if not times.size:
        raise argument_error("saves", "hold a learning time", "none came")
    if not is_traced(times, duration):
        within = (times[0] >= 0) & (times[-1] <= duration * (1 + 1e-9))
        if not within or np.any(np.diff(times) < 0):
            came = f"{times.tolist()} came"
            raise argument_error("saves", f"be increasing learning times between 0 and the duration {duration:g}", came)
        times = np.minimum(times, duration)
    return times


def _along(flags: AnyArray, values: AnyArray) -> AnyArray:
    """One flag per row, with as many axes as the values."""
    return flags.reshape(-1, *[1] * (values.ndim - 1))
