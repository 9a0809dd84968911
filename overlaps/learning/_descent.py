"""Discrete learning: one compiled loop over steps for every state, task and optimiser."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from overlaps._typing import AnyArray
from overlaps.learning._problem import Parameters, Problem
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientDescent, OptimizerFactory

EXPLOSION = 1e9  # growth of the loss, relative to its start (at least 1), that counts as divergence


class Carry(NamedTuple):
    """Parameters that the next step evaluates, and the last ones that were evaluated."""

    step: Int[AnyArray, ""]
    parameters: Parameters
    memory: Any
    seen: Parameters
    loss: Float[AnyArray, ""]
    limit: Float[AnyArray, ""]


def descend(
    problem: Problem, rule: GradientDescent, rates: Float[np.ndarray, "1 trained"], chunks: list[np.ndarray]
) -> Iterator[Record]:
    """Run the rule; yield what was recorded at the steps of each chunk."""
    parameters = problem.parameters()
    memory = None if rule.optimizer is None else rule.optimizer(rule.learning_rate).init(jnp.asarray(parameters))
    nothing = np.zeros((), parameters.dtype)
    carry = Carry(np.zeros((), int), parameters, memory, parameters, nothing, nothing + np.inf)
    problem, learning_rate, rates = jax.device_put((problem, np.asarray(rule.learning_rate), rates))
    first, last = None, -1
    for targets in chunks:
        carry, saved = _advance(problem, learning_rate, rates, rule.optimizer, carry, targets)
        steps, grams, losses = (np.asarray(values) for values in saved)
        first = losses[0] if first is None else first
        failure = None
        if not float(carry.loss) < float(carry.limit):
            step = int(carry.step) - 1
            failure = (
                f"at step {step} (learning time {step * rule.learning_rate:.6g}) the loss was {float(carry.loss):.3g}, "
                f"from {first:.3g} at the start"
            )
        kept = (steps == targets) & (losses < float(carry.limit)) & (np.diff(steps, prepend=last) > 0)
        last = steps[-1]
        yield Record(
            time=steps[kept] * rule.learning_rate,
            step=steps[kept],
            gram=grams[kept],
            loss=losses[kept],
            parameters=np.asarray(carry.seen),
            failure=failure,
        )


@eqx.filter_jit
def _advance(
    problem: Problem,
    learning_rate: Float[AnyArray, ""],
    rates: Float[AnyArray, "1 trained"],
    optimizer: OptimizerFactory | None,
    carry: Carry,
    targets: Int[AnyArray, " saves"],
) -> tuple[Carry, tuple[AnyArray, AnyArray, AnyArray]]:
    transformation: Any = None if optimizer is None else optimizer(learning_rate)

    def step(carry: Carry) -> Carry:
        loss, gradient = jax.value_and_grad(problem.loss)(carry.parameters)
        if transformation is None:
            update, memory = -learning_rate * gradient, None
        else:
            update, memory = transformation.update(gradient, carry.memory, carry.parameters)
        limit = jnp.where(carry.step == 0, EXPLOSION * jnp.maximum(loss, 1.0), carry.limit)
        return Carry(carry.step + 1, carry.parameters + rates * update, memory, carry.parameters, loss, limit)

    def save(carry: Carry, target: Int[AnyArray, ""]) -> tuple[Carry, tuple[AnyArray, AnyArray, AnyArray]]:
        carry = jax.lax.while_loop(lambda now: (now.step <= target) & (now.loss < now.limit), step, carry)
        return carry, (carry.step - 1, problem.gram(carry.seen), carry.loss)

    return jax.lax.scan(save, carry, targets)
