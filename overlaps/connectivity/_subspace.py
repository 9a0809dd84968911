"""The subspace in which a network learns whose whole matrix W learns (docs/integration.md, "The invariant subspace")."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, real_array, said
from overlaps.connectivity._protocols import Variable

DEPENDENT = 1e-10  # a direction counts as a combination of others if less than this, relatively, is left of it
OUTSIDE = 1e-4  # two bases span the same space if the part of one outside of the other is shorter; enough for float32


def subspace(W: Float[np.ndarray, "N N"], vectors: Float[np.ndarray, "N V"], order: int | None) -> Float[np.ndarray, "N k"]:
    """An orthonormal basis of all products of up to `order` factors W and W^T with the vectors (for None, of any length).

    Raises ValueError if all vectors are 0, and for order None if the products span the space of all neurons.
    """
    lengths = np.linalg.norm(vectors, axis=0)
    if not lengths.any():
        mend = "A small network consists of products of a matrix and its transpose with the vectors."
        raise argument_error("m", "be something to reduce to, or another vector must be", "all vectors are 0", mend)
    basis = new = _directions(vectors / np.where(lengths > 0, lengths, 1.0), np.zeros((len(W), 0)))
    size = np.linalg.norm(W, 2)
    length = 0
    while new.shape[1] and size > 0 and (order is None or length < order):
        new = _directions(np.concatenate([W @ new, W.T @ new], axis=1) / size, basis)
        basis, length = np.concatenate([basis, new], axis=1), length + 1
    if order is None and basis.shape[1] == len(W) > vectors.shape[1]:
        raise argument_error(
            "W",
            "map a proper subspace that contains m and z into itself, and so must W^T",
            "products of W and W^T with m and z span all neurons",
            "No smaller network learns exactly as this one: approximate it by krylov(order).",
        )
    return basis


def _directions(vectors: Float[np.ndarray, "N k"], basis: Float[np.ndarray, "N done"]) -> Float[np.ndarray, "N new"]:
    """An orthonormal basis of the directions that `vectors`, of norm up to 1, add to the space of `basis`."""
    rest = vectors
    for _ in range(2):  # the second time against rounding
        rest = rest - basis @ (basis.T @ rest)
    left, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    return left[:, sizes > DEPENDENT]


def grown(words: Callable[[int], np.ndarray], columns: int) -> np.ndarray:
    """The first of the bases words(0), words(1), ... with at least so many columns, or the one at which they stop growing."""
    own, order = words(0), 0
    while own.shape[1] < columns:
        order += 1
        before, own = own, words(order)
        if own.shape[1] == before.shape[1]:
            break
    return own


def same_space(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two bases with orthonormal columns span the same space."""
    return one.shape == other.shape and bool(np.linalg.norm(other - one @ (one.T @ other)) <= OUTSIDE)


def checked_basis(basis: Any, units: tuple[int, ...]) -> Any:
    """The basis (batch, N, k) of a network whose units have the shape (batch, k), or None. Raises ValueError for others."""
    if basis is None:
        return None
    basis = real_array("basis", basis)
    if basis.shape[:-2] + basis.shape[-1:] != units:
        raise argument_error("basis", f"have {units[-1]} columns, one per unit", f"its shape is {basis.shape}")
    return basis


def stored_basis(name: str, basis: Any) -> dict[str, Variable]:
    """The variable of a Dataset that holds the basis of a small network, if there is one. Learning does not change it."""
    if basis is None or name != "initial":
        return {}
    return {"basis": (("original", "neuron"), np.asarray(basis), said("direction among the neurons of the original network"))}
