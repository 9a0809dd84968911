"""Gaussian noise of observations that is correlated from number to number."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, real_array

ROUNDING = 1e-12  # by which a symmetric matrix may differ from its transpose, relative to its largest entry


class Correlated(eqx.Module):
    """Gaussian noise with correlations between the observed numbers.

    - `covariance`: the covariance matrix of all observed numbers of one subject, (numbers, numbers), or one matrix for each
      subject, (subjects, numbers, numbers). The numbers have the order of the raveled array with the dimensions
      (time, ...), as `overlaps.inference.observations` returns it.

    `fit` takes it as `noise`. Raises ValueError for matrices that are not square, symmetric and finite.
    """

    covariance: Float[AnyArray, "*subjects numbers numbers"]

    def __init__(self, covariance: Any):
        matrix = np.asarray(real_array("covariance", covariance), float)
        must = "be a symmetric matrix (numbers, numbers), or one for each subject"
        if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2]:
            raise argument_error("covariance", must, f"its shape is {matrix.shape}")
        rounding = ROUNDING * np.max(np.abs(matrix), initial=0.0)
        if not np.allclose(matrix, matrix.swapaxes(-1, -2), rtol=0, atol=rounding):
            raise argument_error("covariance", must, "it is not symmetric")
        self.covariance = matrix

    def whitening(self, data: Float[np.ndarray, "subjects *observed"]) -> "Whitening":
        """The maps to independent numbers of variance 1, for these data, in which NaN is a gap.

        Raises ValueError if the covariance does not fit the data, or is not positive definite.
        """
        flat = data.reshape(len(data), -1)
        shape = (*flat.shape, flat.shape[1])
        if self.covariance.shape not in (shape, shape[1:]):
            must = f"have a covariance of shape {shape[1:]} or {shape}, one row for each observed number"
            raise argument_error("noise", must, f"its shape is {self.covariance.shape}")
        matrices = np.broadcast_to(self.covariance, shape)
        whitened = [_whitener(one, ~np.isnan(values)) for one, values in zip(matrices, flat, strict=True)]
        std = np.sqrt(np.einsum("sii->si", matrices)).reshape(data.shape)
        return Whitening(np.array(whitened), std)


def _whitener(covariance: np.ndarray, seen: np.ndarray) -> Float[np.ndarray, "numbers numbers"]:
    """The inverse of the Cholesky factor of the covariance of the numbers that are seen; zero in the rows of gaps."""
    matrix = np.zeros_like(covariance)
    try:
        factor = np.linalg.cholesky(covariance[np.ix_(seen, seen)])
    except np.linalg.LinAlgError:
        mend = "Add the variance of independent noise to its diagonal."
        raise argument_error("noise", "have a positive definite covariance", "another one came", mend) from None
    matrix[np.ix_(seen, seen)] = scipy.linalg.solve_triangular(factor, np.eye(len(factor)), lower=True)
    return matrix


class Whitening(eqx.Module):
    """Correlated noise beside the data of subjects: `matrix` maps deviations to independent ones of variance 1.

    `std` is the standard deviation of each number. Entries of one subject are those of the noise of this subject.
    """

    matrix: Float[AnyArray, "*subjects numbers numbers"]
    std: Float[AnyArray, "*subjects_and_observed"]

    def mean(self, expected: AnyArray) -> AnyArray:
        """The mean of what is observed."""
        return expected

    def residuals(self, expected: AnyArray, observed: AnyArray) -> AnyArray:
        """Independent deviations. Half the sum of their squares is minus the log likelihood, up to a constant.

        A gap in what was observed, which is NaN, has no deviation.
        """
        gap = jnp.isnan(observed)
        return self.matrix @ jnp.where(gap, 0.0, jnp.where(gap, 0.0, observed) - expected).ravel()
