"""What searches for stationary states share: where they start, how they end, and which ends are different points."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, number, real_array
from overlaps.connectivity import State

TOLERANCE = 1e-12
MOST_STARTS = 4096
POLISH = 60  # Newton steps after each search. Where fixed points meet, a step removes only a third of the distance
FLAT = 1e-10  # singular values of the Jacobian below this belong to a line or ring of fixed points


def held_input(state: State, input: Any) -> Float[np.ndarray, " I"]:
    """A constant input, which is a number or one number for each input. Raises ValueError for other shapes."""
    array, inputs = real_array("input", input), state.layout.inputs
    if array.shape not in ((), (inputs,)):
        raise argument_error("input", f"be a number or of shape ({inputs},)", f"its shape is {array.shape}")
    return np.broadcast_to(array, (inputs,)).astype(float)


def reach_of(state: State, extent: Any) -> float:
    """How far out searches start. If phi is bounded, each fixed point has |k| <= E|v| max|phi|."""
    _, _, readers, _ = state.layout.split(np.diagonal(state.gram))
    return 2 * float(np.sqrt(readers.max())) or 1.0 if extent is None else number("extent", extent, above=0.0)


def root(residual: Callable[..., Any], start: Float[AnyArray, " D"]) -> Float[AnyArray, " D"]:
    """The point where a search from `start` for residual(point, None) = 0 ends."""
    jacobian = jax.jacfwd(residual)
    solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
    end = optimistix.root_find(residual, solver, start, max_steps=200, throw=False).value
    return jax.lax.fori_loop(0, POLISH, lambda _, point: point + newton_step(jacobian(point), residual(point)), end)


def newton_step(jacobian: Float[AnyArray, "D D"], residual: Float[AnyArray, " D"]) -> Float[AnyArray, " D"]:
    """The step to the closest root of the linearised equations. It has no part along a line of roots."""
    left, values, right = jnp.linalg.svd(jacobian)
    inverse = jnp.where(values > FLAT * jnp.maximum(values[:1], 1.0), 1 / values, 0.0)
    return -right.T @ (inverse * (left.T @ residual))


def distinct(points: Float[np.ndarray, "points D"], order: np.ndarray, apart: float) -> np.ndarray:
    """The indices of the points that are at least `apart` from all points before them in this order."""
    kept: list[int] = []
    for index in order:
        if all(np.linalg.norm(points[index] - points[other]) > apart for other in kept):
            kept.append(int(index))
    return np.array(kept, int)
