"""To which population of a mixture each neuron of a network most probably belongs."""

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

NARROWEST = 1e-12  # variances below this, relative to those of the vectors, count as this, so that planes have a density


def most_probable(
    weights: Float[np.ndarray, " P"],
    means: Float[np.ndarray, "P D"],
    covariances: Float[np.ndarray, "P D D"],
    vectors: Float[np.ndarray, "N D"],
) -> Int[np.ndarray, " N"]:
    """The population p with the largest w_p N(theta; a_p, C_p), for the entries theta of each neuron in the vectors."""
    scales = np.sqrt(np.einsum("p,pi->i", weights, means**2 + np.diagonal(covariances, axis1=1, axis2=2)))
    scales = np.where(scales > 0, scales, 1.0)
    scores = []
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        root = np.linalg.cholesky(covariance / np.outer(scales, scales) + NARROWEST * np.eye(len(mean)))
        white = scipy.linalg.solve_triangular(root, ((vectors - mean) / scales).T, lower=True)
        scores.append(np.log(weight) - np.log(np.diagonal(root)).sum() - (white**2).sum(axis=0) / 2)
    return np.argmax(scores, axis=0)
