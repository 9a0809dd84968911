"""Learning in continuous time: diffrax on the parameters of a problem."""

from collections.abc import Iterator
from typing import Any, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._typing import AnyArray
from overlaps.learning._problem import Parameters, Problem
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientFlow

SMALLEST_STEP = 1e-13  # relative to the learning time of a chunk: below, the solver has failed


def integrate(
    problem: Problem, rule: GradientFlow, rates: Float[np.ndarray, "1 trained"], chunks: list[np.ndarray]
) -> Iterator[Record]:
    """Solve the flow; yield what was recorded at the times of each chunk. Chunks share their boundary times."""
    parameters = problem.parameters()
    solver = diffrax.Tsit5() if rule.solver is None else rule.solver
    steps, last_time = 0, -1.0
    for times in chunks:
        tolerances = np.asarray([rule.rtol, rule.atol])
        solution = _solve(problem, solver, tolerances, rule.max_steps, rates, parameters, times)
        time, (grams, losses), reached, parameters, statistics, result = solution
        time = np.asarray(time)
        statistics = {name: int(value) for name, value in statistics.items() if name.startswith("num_")}
        steps += statistics["num_steps"]
        failure = None
        # A last step that was cut short to end at the right time may look too small: only a run that did not arrive failed.
        if result != diffrax.RESULTS.successful and float(reached) < times[-1]:
            failure = f"the solver stopped at learning time {float(reached):.6g} ({diffrax.RESULTS[result]})"
        elif rule.max_steps is not None and steps > rule.max_steps:
            failure = f"the solver needed more than max_steps = {rule.max_steps} steps"
        kept = np.isfinite(time)  # the solver leaves infinity where it did not arrive
        kept[kept] = np.diff(time[kept], prepend=last_time) > 0
        last_time = times[-1]
        yield Record(
            time=time[kept],
            gram=np.asarray(grams)[kept],
            loss=np.asarray(losses)[kept],
            parameters=np.asarray(parameters),
            failure=failure,
            statistics=statistics,
        )


@eqx.filter_jit
def _solve(
    problem: Problem,
    solver: diffrax.AbstractSolver,
    tolerances: Float[AnyArray, "2"],
    max_steps: int | None,
    rates: Float[AnyArray, "1 trained"],
    parameters: Parameters,
    times: Float[AnyArray, " saves"],
) -> tuple[Any, ...]:
    def field(_: Any, now: Parameters, __: Any) -> Parameters:
        return -rates * jax.grad(problem.loss)(now)

    def observe(_: Any, now: Parameters, __: Any) -> tuple[AnyArray, AnyArray]:
        return problem.gram(now), problem.loss(now)

    span = times[-1] - times[0]
    pid = diffrax.PIDController(rtol=tolerances[0], atol=tolerances[1], dtmin=SMALLEST_STEP * span, force_dtmin=False)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=parameters,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=jnp.asarray(times), fn=observe), diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=pid,
        max_steps=max_steps,
        throw=False,
    )
    times_of, values_of = cast(list, solution.ts), cast(list, solution.ys)
    return times_of[0], values_of[0], times_of[1][-1], values_of[1][-1], solution.stats, solution.result
