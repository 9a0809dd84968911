"""A numerical check that tells which optimisers close on overlaps: those that commute with isometries of neuron space.

An optimiser closes on overlaps if the overlaps, and its memory, fix the later overlaps, whatever the single neurons are.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.learning._rules import OptimizerFactory

VECTORS, FEW_NEURONS, MANY_NEURONS = 3, 4, 9
GRADIENT_SIZES = (
    1e-3,
    1.0,
    1e3,
    1e-6,
    1e8,
    1e-8,
    1e6,
    1e-2,
    1.0,
    10.0,
    0.1,
    1.0,
)
TOLERANCE = 1e-9


def why_not_equivariant(optimizer: OptimizerFactory, learning_rate: float, dense: bool = False) -> str:
    """A text that says why an optimiser does not close on overlaps, or "" if it does.

    An isometry is a matrix Q with Q^T Q = 1, here into the space of a larger number of neurons. The optimiser closes if its
    updates of Q F are Q times its updates of the factor F, for every Q. Then the overlaps of N neurons are those of the minimal
    network, with one neuron per vector, at every step (docs/optimizers.md). For `dense` networks, the columns of W in the
    factor [W, m, z] belong to neurons too. Then Q W Q^T, Q m, Q z take the place of Q F, and W may have any other part beside
    Q W Q^T.

    The check is numerical. It takes twelve steps, with gradients of very different sizes. It does not detect a rule that
    changes its behaviour only after these steps.
    """
    with jax.enable_x64(True):
        deviation = float(_probe(optimizer, MANY_NEURONS, dense)(learning_rate))
        if deviation <= TOLERANCE:
            return ""
        if not np.isfinite(deviation):
            return "turns finite gradients into NaN"
        rotation = float(_probe(optimizer, FEW_NEURONS, dense)(learning_rate))
    if rotation <= TOLERANCE:
        return (
            f"depends on the number of neurons: for the same overlaps and more neurons, its updates differ by {deviation:.2g}"
            " of their size"
        )
    return f"looks at single neurons: rotating neuron space changes its updates by {rotation:.2g} of their size"


@functools.lru_cache(maxsize=32)
def _probe(optimizer: OptimizerFactory, neurons: int, dense: bool) -> Callable[[float], Float[AnyArray, ""]]:
    """A function of the learning rate: the largest relative difference between updates of Q F and Q times updates of F.

    Q is a random isometry of shape (neurons, few). For dense networks the image of F is Q F [Q^T 0; 0 1], with 1 - Q Q^T added
    to W. What the rule does to this added part, such as weight decay, is not compared.
    """
    generator = np.random.default_rng(0)
    isometry, _ = np.linalg.qr(generator.standard_normal((neurons, FEW_NEURONS)))
    sources = FEW_NEURONS if dense else 0
    start, *gradients = generator.standard_normal((1 + len(GRADIENT_SIZES), FEW_NEURONS, sources + VECTORS))
    right = scipy.linalg.block_diag(isometry.T, np.eye(VECTORS)) if dense else np.eye(VECTORS)
    rest = np.eye(neurons) - isometry @ isometry.T
    beside = np.concatenate([rest, np.zeros((neurons, VECTORS))], axis=1) if dense else 0.0

    def embed(factor: Any) -> Any:
        return isometry @ factor @ right

    @jax.jit
    def deviation(learning_rate: Float[AnyArray, ""]) -> Float[AnyArray, ""]:
        transformation: Any = optimizer(learning_rate)
        few, many = jnp.asarray(start), jnp.asarray(embed(start) + beside)
        memory_few, memory_many = transformation.init(few), transformation.init(many)
        worst = jnp.zeros(())
        for size, direction in zip(GRADIENT_SIZES, gradients, strict=True):
            gradient = size * direction
            update_few, memory_few = transformation.update(jnp.asarray(gradient), memory_few, few)
            update_many, memory_many = transformation.update(embed(gradient), memory_many, many)
            scale = jnp.linalg.norm(update_few) + jnp.linalg.norm(update_many) + jnp.finfo(float).tiny  # an update can be 0
            difference = update_many - embed(update_few)
            if dense:
                difference = jnp.concatenate([(isometry.T @ difference).ravel(), (difference @ right.T).ravel()])
            worst = jnp.maximum(worst, jnp.linalg.norm(difference) / scale)
            few, many = few + update_few, many + update_many
        return worst

    return deviation
