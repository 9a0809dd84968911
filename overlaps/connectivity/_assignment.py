"""How probable the populations of a mixture are for each neuron of a network."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps.connectivity._network import Network

NARROWEST = 1e-12  # variances below this, relative to those of the vectors, count as this, so that planes have a density


def scores(
    weights: Float[np.ndarray, " P"],
    means: Float[np.ndarray, "P D"],
    covariances: Float[np.ndarray, "P D D"],
    vectors: Float[np.ndarray, "N D"],
) -> Float[np.ndarray, "P N"]:
    """The logarithm of w_p N(theta; a_p, C_p), up to a constant, for the entries theta of each neuron in the vectors."""
    scales = np.sqrt(np.einsum("p,pi->i", weights, means**2 + np.diagonal(covariances, axis1=1, axis2=2)))
    scales = np.where(scales > 0, scales, 1.0)
    rows = []
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        root = np.linalg.cholesky(covariance / np.outer(scales, scales) + NARROWEST * np.eye(len(mean)))
        white = scipy.linalg.solve_triangular(root, ((vectors - mean) / scales).T, lower=True)
        rows.append(np.log(weight) - np.log(np.diagonal(root)).sum() - (white**2).sum(axis=0) / 2)
    return np.stack(rows)


def turned(scores: Callable[[Network], Float[np.ndarray, "P N"]], network: Network) -> Network:
    """The network with the mirror image of each neuron for which the best score is larger."""
    mirror = Network(**network.layout.vectors(-network.vectors), c=network.c)
    better = scores(mirror).max(axis=0) > scores(network).max(axis=0)
    rows = np.where(better[:, None], mirror.vectors, network.vectors)
    return Network(**network.layout.vectors(rows), c=network.c)
