"""Learning in continuous time: diffrax on the parameters of a problem."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from overlaps._support import AnyArray
from overlaps.learning._compiler import NO_FUSION_EMITTERS, compiled
from overlaps.learning._devices import side_by_side
from overlaps.learning._problem import Parameters, Problem
from overlaps.learning._record import Ending, Record, Resumption, endings, limits
from overlaps.learning._rules import GradientFlow
from overlaps.tasks import quick_to_compile

FIRST_STEP, SMALLEST_STEP = 1e-3, 1e-13  # relative to the learning time of a chunk; below the latter, the solver has failed
STATISTICS = ("num_steps", "num_accepted_steps", "num_rejected_steps")


class Solution(NamedTuple):
    """Rows at the asked times and at the end, infinity after it; then what the solver says."""

    time: Float[AnyArray, "*batch rows"]
    values: dict[str, AnyArray]  # as in Record
    parameters: Parameters
    stopped: AnyArray
    successful: AnyArray
    exhausted: AnyArray
    statistics: dict[str, AnyArray]


class Settings(NamedTuple):
    """How to solve: the numbers here are traced, the rest of the rule is part of the compiled program."""

    tolerances: Float[AnyArray, "2"]
    stops: Float[AnyArray, "2"]
    rates: Float[AnyArray, "rows trained"]


def integrate(
    problem: Problem,
    rule: GradientFlow,
    rates: Float[np.ndarray, "rows trained"],
    chunks: list[np.ndarray],
    lost: Bool[np.ndarray, "*batch"],
    resumed: Resumption | None = None,
) -> Iterator[Record]:
    """Solve the flow; yield what was recorded at the times of each chunk, until there is nothing left to do.

    Chunks share their boundary times. Networks that are `lost` to begin with are NaN. `resumed` goes on after an earlier run.
    """
    batched = lost.ndim > 0
    # A solver turns rounding into other steps. With copies, a network does in a batch what it does alone, to the last digit.
    problem = problem.with_copies(len(lost)) if batched and problem.shared else problem
    parameters = problem.parameters()
    solver = diffrax.Tsit5() if rule.solver is None else rule.solver
    stops = limits(rule.stop_loss, rule.stop_gradient, rates.dtype)
    settings = Settings(np.asarray([rule.rtol, rule.atol], rates.dtype), stops, rates)
    watched = bool(np.any(stops > -np.inf))
    failed, halted = lost, np.full(lost.shape, np.inf)  # networks without a state; times at which networks stopped
    # A call of the solver cannot be interrupted: one network is solved in slices, and goes on where the last one ended.
    slice_steps = rule.max_steps if batched else min(rule.max_steps or np.iinfo(int).max, problem.start.solver_steps)
    taken, last, reached, unfinished, begin = np.zeros(lost.shape, int), np.asarray(-1.0), np.zeros(lost.shape), False, 0
    if resumed is not None:
        begin = resumed.next_chunk
        parameters, failed, halted, taken, last, reached, unfinished = resumed.recall(
            (parameters, failed, halted, taken, last, reached, np.asarray(unfinished))
        )
    for index, times in enumerate(chunks[begin:], begin):
        while True:
            remaining = np.maximum(times, reached) if np.any(unfinished) else times
            solution = _compiled()(problem, settings, solver, slice_steps, watched, parameters, remaining, batched)
            solution = jax.tree.map(np.asarray, solution)
            parameters = solution.parameters
            statistics = {name: int(np.sum(solution.statistics[name])) for name in STATISTICS}
            taken = taken + solution.statistics["num_steps"]
            rows = np.sum(np.isfinite(solution.time), axis=-1)
            reached, loss, gradient_norm = (
                np.take_along_axis(values, rows[..., None] - 1, axis=-1)[..., 0]
                for values in (solution.time, solution.values["loss"], solution.values["gradient_norm"])
            )
            spent = np.zeros_like(failed) if rule.max_steps is None else solution.exhausted & (taken >= rule.max_steps)
            unfinished = solution.exhausted & ~spent & (reached < times[-1])
            # A last step that was cut short to end in time may look too small: only a run that did not arrive has failed.
            arrived = solution.successful | solution.stopped | unfinished | (reached >= times[-1])
            failing = ~arrived & ~failed
            halted = np.where(solution.stopped, np.minimum(halted, reached), halted)
            if batched:
                fresh = np.flatnonzero(np.diff(times, prepend=last) > 0)
                asked, last = times[fresh], np.asarray(times[-1], float)
                time = np.minimum(asked, halted[:, None]) if watched else asked
                saved = {name: _on_shared_times(values, fresh, rows) for name, values in solution.values.items()}
                for values in saved.values():
                    values[failed[:, None] | (failing[:, None] & (asked > reached[:, None]))] = np.nan
            else:
                kept = np.isfinite(solution.time)  # infinity stands where the solver did not arrive
                kept[kept] = np.diff(solution.time[kept], prepend=last) > 0
                kept &= np.isin(solution.time, times) | bool(solution.stopped | failing | unfinished)
                asked = time = solution.time[kept]
                last = np.asarray(time[-1] if time.size else last, float)
                saved = {name: values[kept] for name, values in solution.values.items()}
            failed = failed | failing
            over = solution.stopped | failed
            yield Record(
                asked=asked,
                time=time,
                values=saved,
                position=float(np.max(reached)),
                parameters=parameters,
                ending=np.where(over, endings(loss, gradient_norm, failed, stops), Ending.COMPLETE),
                newly_failed=failing,
                failure=_failure(failing, spent, reached, rule) if np.any(failing) else "",
                statistics=statistics,
                memory=(parameters, failed, halted, taken, last, np.asarray(reached, float), np.any(unfinished)),
                next_chunk=index if np.any(unfinished) else index + 1,
            )
            if not np.any(unfinished):
                break


def _failure(failing: Any, spent: Any, reached: Any, rule: GradientFlow) -> str:
    """What happened to the first network that failed."""
    which = np.unravel_index(np.argmax(failing), failing.shape)
    if spent[which]:
        return f"the solver needed more than max_steps = {rule.max_steps} steps"
    return f"the solver stopped at learning time {reached[which]:.6g}"


def _on_shared_times(values: np.ndarray, fresh: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a batch at the asked times; a network that stopped stays at its last one."""
    return np.stack([network[np.minimum(fresh, count - 1)] for network, count in zip(values, rows, strict=True)])


@eqx.filter_jit  # traced once, however often the solver's program calls it
def _descent(problem: Problem, now: Parameters) -> tuple[Float[AnyArray, ""], Parameters]:
    return problem.descent(now)


@functools.cache
def _compiled() -> Callable[..., Solution]:
    return compiled(_solve, NO_FUSION_EMITTERS)


def _solve(
    problem: Problem,
    settings: Settings,
    solver: diffrax.AbstractSolver,
    max_steps: int | None,
    watched: bool,
    parameters: Parameters,
    times: Float[AnyArray, " saves"],
    batched: bool,
) -> Solution:
    solve_one = functools.partial(solve, settings, solver, max_steps, watched, times)
    if not batched:
        return solve_one(problem, parameters)
    return side_by_side(lambda _, problem, start: solve_one(problem, start), None, problem, parameters)


def solve(
    settings: Settings,
    solver: diffrax.AbstractSolver,
    max_steps: int | None,
    watched: bool,
    times: Float[AnyArray, " saves"],
    problem: Problem,
    parameters: Parameters,
    adjoint: diffrax.AbstractAdjoint | None = None,
) -> Solution:
    """Solve the flow of one network over these times. `adjoint`: how derivatives of the solution are computed."""
    tolerances, stops, rates = settings
    span = times[-1] - times[0]
    pid = diffrax.PIDController(rtol=tolerances[0], atol=tolerances[1], dtmin=SMALLEST_STEP * span, force_dtmin=False)
    # The compiler inlines the gradient wherever it is asked for. The field runs at every stage of a step, the others less.
    seldom = dataclasses.replace(problem, objective=quick_to_compile(problem.objective))

    def field(_: Any, now: Parameters, __: Any) -> Parameters:
        return -rates * _descent(problem, now)[1]

    def observe(now: Parameters) -> dict[str, AnyArray]:
        loss, gradient = _descent(seldom, now)
        return {"loss": loss, "gradient_norm": problem.gradient_norm(gradient)} | seldom.observe(now)

    def reached(_: Any, now: Parameters, __: Any, **___: Any) -> AnyArray:
        loss, gradient = _descent(seldom, now)
        return (loss <= stops[0]) | (problem.gradient_norm(gradient) <= stops[1])

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=times[0],
        t1=times[-1],
        dt0=FIRST_STEP * span,
        y0=parameters,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times), t1=True),
        stepsize_controller=pid,
        max_steps=max_steps,
        event=diffrax.Event(reached) if watched else None,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        throw=False,
    )
    time, rows = cast(Any, solution.ts), cast(Any, solution.ys)
    values = jax.lax.map(observe, rows)  # once, here: each call inside the solver would be compiled anew
    return Solution(
        time=time,
        values=values,
        parameters=rows[jnp.sum(jnp.isfinite(time)) - 1],
        stopped=solution.result == diffrax.RESULTS.event_occurred,
        successful=solution.result == diffrax.RESULTS.successful,
        exhausted=solution.result == diffrax.RESULTS.max_steps_reached,
        statistics={name: solution.stats[name] for name in STATISTICS},
    )
