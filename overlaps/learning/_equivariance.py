"""Which optimisers close on overlaps: those that commute with isometries of neuron space."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._typing import AnyArray
from overlaps.learning._rules import OptimizerFactory

VECTORS, FEW_NEURONS, MANY_NEURONS = 3, 3, 7
GRADIENT_SIZES = (1e-3, 1.0, 1e2, 1e-2)  # small and large, so that clipping and normalisation show
TOLERANCE = 1e-9


@functools.lru_cache
def is_equivariant(optimizer: OptimizerFactory, learning_rate: float) -> bool:
    """Whether updates of Q F are Q times the updates of F, for an isometry Q into a larger neuron space.

    Then the overlaps of N neurons are those of the minimal network at every step (docs/theory.md, "Which rules close").
    Rotations alone would not do: a rule that looks at the number of entries, such as a root mean square, commutes with them
    and yet treats small and large networks differently. Decided numerically over several steps.
    """
    generator = np.random.default_rng(0)
    isometry, _ = np.linalg.qr(generator.standard_normal((MANY_NEURONS, FEW_NEURONS)))
    start, *gradients = generator.standard_normal((1 + len(GRADIENT_SIZES), FEW_NEURONS, VECTORS))

    def deviation() -> Float[AnyArray, ""]:
        transformation: Any = optimizer(learning_rate)
        few, many = jnp.asarray(start), isometry @ start
        memory_few, memory_many = transformation.init(few), transformation.init(many)
        worst = jnp.zeros(())
        for size, direction in zip(GRADIENT_SIZES, gradients, strict=True):
            gradient = size * direction
            update_few, memory_few = transformation.update(jnp.asarray(gradient), memory_few, few)
            update_many, memory_many = transformation.update(isometry @ gradient, memory_many, many)
            scale = jnp.linalg.norm(update_few) + jnp.linalg.norm(update_many)
            worst = jnp.maximum(worst, jnp.linalg.norm(update_many - isometry @ update_few) / scale)
            few, many = few + update_few, many + update_many
        return worst

    with jax.enable_x64(True):
        return bool(jax.jit(deviation)() <= TOLERANCE)
