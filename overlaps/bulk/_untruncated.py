"""The whole network for which a `BulkOverlaps` stands: its vectors, with all the words that their activity reaches."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, real_array
from overlaps.connectivity import BulkOverlaps, Network

MOST_WORDS = 256  # of the whole network, if chains of two letters do not take more
ENDS = 1e-12  # the share of the squared activity in the chains that their ends should hold
SAME = 1e-6  # how far J among the words may be from J of the network


class Untruncated(NamedTuple):
    """A network with the vectors of a `BulkOverlaps`, whose activity the order does not cut off.

    - `network`: the network.
    - `basis`: (units, k), the directions for which the units of the `BulkOverlaps` stand.
    - `ends`: how many of its units, the last ones, are the ends of chains; 0 for a network of N neurons.
    """

    network: Network
    basis: Float[np.ndarray, "units k"]
    ends: int


def untruncated(state: BulkOverlaps, bulk: Any) -> Untruncated:
    """The network that `state` approximates: that of N neurons with the given bulk J, or the limit N -> infinity.

    In the limit, J leads from a word w of the largest length to the chain 1w, 11w, ... of longer words, and J^T leads to the
    chain of a second letter. Activity reaches no other words. So these chains, up to some length, are enough (docs/
    bulk_truncation.md, "The error at a moment"). Raises ValueError if `bulk` does not fit.
    """
    if state.basis is None:
        if bulk is not None:
            mend = "Leave `bulk` out."
            raise argument_error("bulk", "be None for a state of infinitely many neurons", "a matrix came", mend)
        return _infinite(state)
    basis = np.asarray(state.basis)
    if bulk is None:
        mend = "Pass `network.bulk`."
        raise argument_error("bulk", "be the matrix J of the network that was reduced", "None came", mend)
    J = np.asarray(real_array("bulk", bulk, ndim=2))
    fits = J.shape == (len(basis), len(basis))
    if not fits or np.linalg.norm(basis.T @ J @ basis - state.dense_bulk) > SAME * np.linalg.norm(J):
        came = "it has other entries" if fits else f"its shape is {J.shape}"
        raise argument_error("bulk", "be the matrix J of the network that was reduced", came, "Pass `network.bulk`.")
    vectors = np.sqrt(len(J) / state.n) * basis @ np.asarray(state.vectors)
    return Untruncated(Network(**state.layout.vectors(vectors), c=state.c, bulk=J), basis, 0)


def _infinite(state: BulkOverlaps) -> Untruncated:
    inner, (wide, tall) = np.asarray(state.bulk), np.max(np.asarray(state.edge), axis=0)
    words = len(inner)
    radius, correlation = (wide + tall) / 2, (wide - tall) / (wide + tall) if wide + tall else 0.0
    last = words - words // 2 if words == 2 ** (state.order + 1) - 1 else 1  # how many words have the largest length
    most = max(2, (MOST_WORDS - words) // (last * (2 if abs(correlation) < 1 else 1)))
    levels = min(most, _levels(radius, correlation))
    J, letters = chain(levels, radius, correlation)
    whole, same = np.zeros((words + (len(J) - 1) * last,) * 2), np.eye(last)
    first = words - last  # the words of the largest length come last
    whole[:words, :words] = inner
    whole[words:, words:] = np.kron(J[1:, 1:], same)
    whole[words:, first:words], whole[first:words, words:] = np.kron(J[1:, :1], same), np.kron(J[:1, 1:], same)
    basis = np.eye(len(whole) * state.layout.size, state.n)
    vectors = np.sqrt(len(basis) / state.n) * basis @ np.asarray(state.vectors)
    network = BulkOverlaps(**state.layout.vectors(vectors), c=state.c, bulk=whole, order=state.order + levels, edge=state.edge)
    return Untruncated(network, basis, letters * last * state.layout.size)


def decay(radius: float, correlation: float) -> float:
    """The factor by which slow activity falls from one letter of a chain to the next; 1 if it does not fall."""
    root = 1 - 4 * radius**2 * correlation
    return min(1.0, 2 * radius / (1 + float(np.sqrt(root)))) if root > 0 else 1.0


def _levels(radius: float, correlation: float) -> int:
    """The length of chains at whose ends little is left."""
    factor = decay(radius, correlation)
    return 2 if factor == 0 else MOST_WORDS if factor == 1 else max(2, int(np.ceil(np.log(ENDS) / (2 * np.log(factor)))))


def chain(levels: int, radius: float, correlation: float) -> tuple[Float[np.ndarray, "units units"], int]:
    """J on a word w and on the words of 1 to `levels` equal letters in front of it, and the number of units of the last level.

    J puts the letter 1 in front, and J^T the letter phi = eta 1 + sqrt(1 - eta^2) 2, with the correlation eta. J takes phi
    away, and J^T takes 1. Two words of `length` equal letters, 1 and phi, have the scalar product eta^length.
    """
    letters = 2 if abs(correlation) < 1 else 1
    products = [np.array([[1.0, correlation**length], [correlation**length, 1.0]]) for length in range(levels + 1)]
    sizes = [1, *[letters] * levels]
    roots = [np.linalg.inv(np.linalg.cholesky(products[length][:size, :size])) for length, size in enumerate(sizes)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    J = np.zeros((starts[-1], starts[-1]))
    put, take = np.array([[1.0], [correlation]])[:letters], np.array([[correlation, 1.0]])[:, :letters]
    for length in range(levels):
        low, high = slice(*starts[length : length + 2]), slice(*starts[length + 1 : length + 3])
        between = products[length][:letters, : sizes[length]]
        J[high, low] = radius * roots[length + 1] @ (put * between) @ roots[length].T
        J[low, high] = radius * roots[length] @ (between.T * take) @ roots[length + 1].T
    return J, letters
