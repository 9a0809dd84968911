"""Learning in discrete steps: one compiled loop, the same for every state, task and optimiser."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from overlaps._support import AnyArray
from overlaps.learning._compiler import BARRIERS_STAY, compiled
from overlaps.learning._devices import side_by_side
from overlaps.learning._problem import Parameters, Problem
from overlaps.learning._record import Record, Resumption, endings, limits
from overlaps.learning._rules import GradientDescent, OptimizerFactory
from overlaps.tasks import quick_to_run

EXPLOSION = 1e9  # a network has diverged if its loss exceeds this number times max(initial loss, 1)


class Carry(NamedTuple):
    """What changes from step to step: the parameters that the next step evaluates, and the last ones that were evaluated."""

    step: Int[AnyArray, "*batch"]
    parameters: Parameters
    memory: Any
    seen: Parameters
    loss: Float[AnyArray, "*batch"]
    gradient_norm: Float[AnyArray, "*batch"]
    limit: Float[AnyArray, "*batch"]


class Settings(NamedTuple):
    """What stays the same from step to step."""

    problem: Problem
    learning_rate: Float[AnyArray, "*batch"]
    key: Any
    rates: Float[AnyArray, "*batch rows trained"]
    stops: Float[AnyArray, "*batch 2"]


def descend(
    problem: Problem,
    rule: GradientDescent,
    rates: Float[np.ndarray, "rows trained"],
    key: Any,
    chunks: list[np.ndarray],
    lost: Bool[np.ndarray, "*batch"],
    resumed: Resumption | None = None,
) -> Iterator[Record]:
    """Run the rule, and yield one record per chunk of steps, with what was recorded at these steps.

    Networks that are `lost` at the start do not move. They are NaN in the records. `resumed` goes on after an earlier run.
    """
    shape = lost.shape
    problem = dataclasses.replace(problem, objective=quick_to_run(problem.objective, problem.start.layout.rank))
    parameters = problem.parameters()
    parameters = np.asarray(parameters, jax.dtypes.canonicalize_dtype(parameters.dtype))
    stops = limits(rule.stop_loss, rule.stop_gradient, rates.dtype)
    learning_rate = np.broadcast_to(np.asarray(rule.learning_rate, rates.dtype), shape)
    fixed = Settings(
        problem, learning_rate, key, np.broadcast_to(rates, (*shape, *rates.shape)), np.broadcast_to(stops, (*shape, 2))
    )
    carry = beginning(parameters, _remember(rule.optimizer, learning_rate, parameters), lost)
    fixed = jax.device_put(fixed)
    first, last, known, watched, begin = np.asarray(carry.loss), -1, lost, bool(np.any(stops > -np.inf)), 0
    if resumed is not None:
        begin = resumed.next_chunk
        carry, first, known = resumed.recall((carry, first, known))
        last = chunks[begin - 1][-1]
    for index, targets in enumerate(chunks[begin:], begin):
        carry, saved = _advance(fixed, rule.optimizer, carry, targets, bool(shape))
        saved = jax.tree.map(np.array, saved)
        steps, losses = saved.pop("step"), saved["loss"]
        loss, limit, step = np.asarray(carry.loss), np.asarray(carry.limit), np.asarray(carry.step) - 1
        first = losses[..., 0] if index == 0 else first
        bad = ~(losses < limit[..., None])
        kept = np.diff(targets, prepend=last) > 0
        if shape:
            asked, points = targets, np.where(bad, targets, steps) if watched else targets
            for values in saved.values():
                values[bad] = np.nan
        else:
            kept, asked, points = (np.diff(steps, prepend=last) > 0) & ~bad, steps, steps
        last = targets[-1]
        failed = ~(loss < limit)
        newly, known = failed & ~known, failed
        yield Record(
            asked=asked[kept],
            time=points[..., kept] * np.asarray(rule.learning_rate)[..., None],
            step=points[..., kept],
            values={name: np.compress(kept, values, len(shape)) for name, values in saved.items()},
            position=float(np.max(step)),
            parameters=np.asarray(carry.seen),
            ending=endings(loss, np.asarray(carry.gradient_norm), failed, stops),
            newly_failed=newly,
            failure=_failure(newly, step, learning_rate, first, loss) if np.any(newly) else "",
            memory=(carry, first, known),
            next_chunk=index + 1,
        )


def beginning(parameters: Parameters, memory: Any, lost: Bool[np.ndarray, "*batch"]) -> Carry:
    """What changes from step to step, before the first step. Networks that are `lost` will not move."""
    huge = np.full(lost.shape, np.finfo(parameters.dtype).max)
    limit = np.where(lost, -np.inf, np.inf).astype(parameters.dtype)
    step = np.zeros(lost.shape, jax.dtypes.canonicalize_dtype(int))
    return Carry(step, parameters, memory, parameters, huge, huge, limit)


def _failure(failed: Any, step: Any, learning_rate: Any, first: Any, loss: Any) -> str:
    """A message that says what happened to the first network that failed."""
    which = np.unravel_index(np.argmax(failed), failed.shape)
    return (
        f"at step {step[which]} (learning time {step[which] * learning_rate[which]:.6g}) the loss was {loss[which]:.3g}, "
        f"from {first[which]:.3g} at the start"
    )


def _remember(optimizer: OptimizerFactory | None, learning_rate: np.ndarray, parameters: Parameters) -> Any:
    if optimizer is None:
        return None

    def start(rate: Any, one: Any) -> Any:
        return optimizer(rate).init(one)

    return (jax.vmap(start) if learning_rate.ndim else start)(learning_rate, jnp.asarray(parameters))


def _advance(*arguments: Any) -> tuple[Carry, dict[str, AnyArray]]:
    return _compiled()(*arguments)


@functools.cache
def _compiled() -> Callable:
    return compiled(_run, BARRIERS_STAY)


def _run(
    fixed: Settings, optimizer: OptimizerFactory | None, carry: Carry, targets: Int[AnyArray, " saves"], batched: bool
) -> tuple[Carry, dict[str, AnyArray]]:
    if not batched:
        return advance(fixed, optimizer, carry, targets)
    shared, problem = fixed.problem.split()

    def one(shared: Any, fixed: Settings, carry: Carry) -> tuple[Carry, dict[str, AnyArray]]:
        return advance(fixed._replace(problem=fixed.problem.joined(shared)), optimizer, carry, targets)

    return side_by_side(one, shared, fixed._replace(problem=problem), carry)


def advance(
    fixed: Settings,
    optimizer: OptimizerFactory | None,
    carry: Carry,
    targets: Int[AnyArray, " saves"],
    repeat: Callable[..., Carry] = jax.lax.while_loop,
) -> tuple[Carry, dict[str, AnyArray]]:
    """Run one network, and record at these steps. A network that has stopped repeats its last record.

    `repeat`: the loop over steps, with the arguments of `while_loop`, for at most as many steps as lie between two targets.
    """
    problem = fixed.problem
    transformation: Any = None if optimizer is None else optimizer(fixed.learning_rate)

    def running(now: Carry) -> AnyArray:
        return (now.loss < now.limit) & (now.loss > fixed.stops[0]) & (now.gradient_norm > fixed.stops[1])

    def step(now: Carry) -> Carry:
        key = None if fixed.key is None else jax.random.fold_in(fixed.key, now.step)
        loss, gradient = problem.descent(now.parameters, key)
        if transformation is None:
            update, memory = -fixed.learning_rate * gradient, None
        else:
            update, memory = transformation.update(gradient, now.memory, now.parameters)
        limit = jnp.where(now.step == 0, EXPLOSION * jnp.maximum(loss, 1.0), now.limit)
        parameters = now.parameters + fixed.rates * update
        return Carry(now.step + 1, parameters, memory, now.parameters, loss, problem.gradient_norm(gradient), limit)

    def save(now: Carry, target: Int[AnyArray, ""]) -> tuple[Carry, dict[str, AnyArray]]:
        now = repeat(lambda now: (now.step <= target) & running(now), step, now)
        seen = {"step": now.step - 1, "loss": now.loss, "gradient_norm": now.gradient_norm}
        return now, seen | problem.observe(now.seen)

    return jax.lax.scan(save, carry, targets)
