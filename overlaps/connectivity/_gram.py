"""The check that a matrix is an overlap matrix, and the square root of such a matrix."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from overlaps._support import AnyArray, argument_error, is_traced, numpy_for, real_array, require_x64
from overlaps.connectivity._layout import Layout

MEND = "No vectors have these overlaps: lower the off-diagonal entries or raise the diagonal ones."
MOST_ROWS = 8  # of factors whose products are written out
# The least eigenvalue of a matrix whose root is differentiated, relative to the largest one. At 0 the root has no derivative,
# and the derivative of what learns from it would be lost.
NEXT_TO_SINGULAR = 1e-16
ROUNDING = 1e-10  # asymmetry and negative eigenvalues below this size, relative to the largest entry, count as rounding


def square_root(gram: Any) -> Any:
    """The symmetric positive semi-definite square root. Negative eigenvalues come from rounding, and count as 0."""
    return _differentiable_root(gram) if is_traced(gram) else _root(*_roots(gram, 0.0))


def _root(values: Any, vectors: Any) -> Any:
    return (vectors * values[..., None, :]) @ vectors.swapaxes(-1, -2)


def _roots(gram: Any, least: float) -> tuple[Any, Any]:
    """The eigenvalues of the square root, and its eigenvectors. `least`: the least eigenvalue of `gram`, of the largest one."""
    xp = numpy_for(gram)
    values, vectors = xp.linalg.eigh(gram)
    return xp.sqrt(xp.maximum(values, least * xp.maximum(values[..., -1:], 0.0))), vectors


@jax.custom_jvp
def _differentiable_root(gram: Any) -> Any:
    """The square root S, with a derivative also where eigenvalues of G coincide: it solves S dS + dS S = dG."""
    return _root(*_roots(gram, NEXT_TO_SINGULAR))


@_differentiable_root.defjvp
def _root_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    root = _differentiable_root(*primals)

    def solve(_: Any, right: Any) -> Any:
        values, vectors = _roots(jax.lax.stop_gradient(primals[0]), NEXT_TO_SINGULAR)
        sums = values[..., :, None] + values[..., None, :]
        inverse = jnp.where(sums > 0, 1 / jnp.where(sums > 0, sums, 1.0), 0.0)  # 0 if G is 0
        turned = vectors.swapaxes(-1, -2)
        return vectors @ (inverse * (turned @ right @ vectors)) @ turned

    (tangent,) = tangents
    derivative = jax.lax.custom_linear_solve(lambda one: root @ one + one @ root, tangent, solve, solve)
    return root, derivative


def checked_gram(gram: Any, layout: Layout) -> Any:
    """`gram` as a symmetric float64 array. Raises ValueError if it is no overlap matrix for `layout`.

    The values of a traced array are not checked.
    """
    size = layout.size
    gram = real_array("gram", gram)
    if gram.shape[-2:] != (size, size):
        raise argument_error(
            "gram",
            f"have shape ({size}, {size}) for {layout.inputs} inputs, rank {layout.rank} and {layout.outputs} outputs",
            f"its shape is {gram.shape}",
            "Pass `inputs`, `rank` and `outputs`, and order the vectors as [m.. u.. v.. z..].",
        )
    if is_traced(gram):
        require_x64("Overlaps")
    return checked_symmetric("gram", gram, MEND)


def checked_symmetric(name: str, matrices: Any, mend: str) -> Any:
    """One or many symmetric positive semi-definite matrices (..., D, D) as a float64 array. Raises ValueError for others.

    The values of a traced array are not checked. `mend`: how to mend matrices that are not positive semi-definite.
    """
    if is_traced(matrices):
        return matrices
    matrices = matrices.astype(float)
    largest = np.max(np.abs(matrices), axis=(-2, -1))
    transposed = np.swapaxes(matrices, -1, -2)
    asymmetry = np.max(np.abs(matrices - transposed), axis=(-2, -1))
    if np.any(asymmetry > ROUNDING * largest):
        raise argument_error(name, "be symmetric", f"entries and their mirror images differ by {np.max(asymmetry):.3g}")
    matrices = (matrices + transposed) / 2
    smallest = smallest_eigenvalue(matrices)
    if smallest < 0:
        raise argument_error(name, "be positive semi-definite", f"its smallest eigenvalue is {smallest:.3g}", mend)
    return matrices


def smallest_eigenvalue(gram: np.ndarray) -> float:
    """The smallest eigenvalue of one or many symmetric matrices if it is negative beyond rounding, else 0."""
    values = np.linalg.eigvalsh(gram)[..., 0]
    largest = np.max(np.abs(gram), axis=(-2, -1))
    negative = (values < -ROUNDING * largest) | (np.min(np.diagonal(gram, axis1=-2, axis2=-1), axis=-1) < 0)
    return float(np.min(values, where=negative, initial=0.0))


def gram_of(factor: AnyArray) -> AnyArray:
    """F^T F, which each step of learning computes."""
    if not is_traced(factor) or max(factor.shape) > MOST_ROWS:
        return factor.swapaxes(-1, -2) @ factor
    # XLA calls a library for such products, which costs ten times as much for small matrices as row after row does.
    rows = [factor[..., index, :] for index in range(factor.shape[-2])]
    gram = functools.reduce(operator.add, (row[..., :, None] * row[..., None, :] for row in rows))
    return jax.lax.optimization_barrier(gram)  # computed once: see overlaps.learning._descent
