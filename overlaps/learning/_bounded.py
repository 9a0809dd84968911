"""Loops of known length, which JAX can differentiate in both directions with little memory."""

import math
from collections.abc import Callable
from typing import Any

import jax


def repeat_up_to(most: int, block: int) -> Callable[[Callable, Callable, Any], Any]:
    """A loop with the arguments of jax.lax.while_loop that takes at most `most` steps, for reverse-mode derivatives.

    It keeps what changes from step to step once per `block` steps, and computes the steps of a block again on the way back.
    """
    blocks = max(1, math.ceil(most / block))
    length = math.ceil(most / blocks)

    def repeat(condition: Callable, step: Callable, start: Any) -> Any:
        def guarded(now: Any, _: None) -> tuple[Any, None]:
            return jax.lax.cond(condition(now), step, lambda now: now, now), None

        @jax.checkpoint
        def steps(now: Any, _: None) -> tuple[Any, None]:
            return jax.lax.scan(guarded, now, length=length)

        return jax.lax.scan(steps, start, length=blocks)[0]

    return repeat
