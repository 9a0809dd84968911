"""Nodes and weights of a quadrature for averages over the standard normal distribution in D dimensions."""

import itertools
from typing import Any

import jax
import numpy as np
import scipy
from jaxtyping import Float

from overlaps.connectivity._gram import square_root

FEWEST_PER_AXIS = 3  # so few Gauss-Hermite nodes are already better than scattered points at equal cost (docs/large_n.md)
DEFAULT_NODES, MOST_TENSOR_NODES = 6**4, 5000  # the second one is the default in more than four dimensions
MOST_NODES = 20_000


def gaussian_nodes(size: int, nodes: int | None, key: Any) -> tuple[Float[np.ndarray, "n D"], Float[np.ndarray, " n"]]:
    """At most about `nodes` nodes and their weights. To rounding, the mean is 0 and the covariance is the identity.

    The nodes are a tensor product of Gauss-Hermite rules, of spectral accuracy, if there are then enough nodes per axis.
    Otherwise they are scrambled Sobol points.
    """
    if nodes is None:
        nodes = DEFAULT_NODES if size <= 4 else MOST_TENSOR_NODES
    per_axis = int(nodes ** (1 / size) + 1e-9)
    return _tensor(size, per_axis) if per_axis >= FEWEST_PER_AXIS else _sobol(size, nodes, key)


def refinements(size: int) -> list[int]:
    """Numbers of nodes of growing accuracy: those of tensor products if there are several, else those of scattered points."""
    tensors = [per_axis**size for per_axis in range(FEWEST_PER_AXIS + (size <= 4), 12) if per_axis**size <= MOST_NODES]
    return tensors if len(tensors) > 1 else [2**power for power in range(10, 15)]


def _tensor(size: int, per_axis: int) -> tuple[np.ndarray, np.ndarray]:
    x, weights = scipy.special.roots_hermitenorm(per_axis)
    nodes = np.array(list(itertools.product(x, repeat=size)))
    weights = np.prod(np.array(list(itertools.product(weights / weights.sum(), repeat=size))), axis=1)
    return nodes, weights


def _sobol(size: int, nodes: int, key: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sobol points, mapped to Gaussian ones by the inverse normal, with their mirror images, stretched to unit covariance."""
    seed = int(jax.random.bits(jax.random.fold_in(key, 2)))
    half = scipy.stats.qmc.Sobol(size, rng=seed).random_base2(
        max(int(np.ceil(np.log2(nodes))) - 1, int(np.ceil(np.log2(size))) + 1)
    )
    half = scipy.special.ndtri(np.clip(half, 1e-12, 1 - 1e-12))
    x = np.concatenate([half, -half])
    # Of the linear maps to unit covariance, the inverse of the symmetric square root moves the points the least.
    return x @ np.linalg.inv(square_root(x.T @ x / len(x))), np.full(len(x), 1 / len(x))
