"""What curves reveal about overlaps, from the Jacobian of the curves: directions, null directions and standard errors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from overlaps.inference._coordinates import DEPENDENT, Directions, complement


class Spectrum(NamedTuple):
    """Orthonormal directions of overlap space, from what the curves show best to what they do not show.

    - `directions`: (k, overlaps). First come those that the curves show, with falling `sizes`, then the null directions.
    - `sizes`: (k,), by how much a unit step along the direction changes the curves, in units of their noise.
    - `null`: (k,), whether the curves do not show the direction at all.
    - `share`: (k, families), the squared length of the projection of the direction on each family of known directions.
    """

    directions: Directions
    sizes: Float[np.ndarray, " k"]
    null: Bool[np.ndarray, " k"]
    share: Float[np.ndarray, "k families"]

    @property
    def free_errors(self) -> Float[np.ndarray, " overlaps"]:
        """The standard error of that part of each overlap that is at right angles to all null directions."""
        return np.linalg.norm(self.directions[~self.null] / self.sizes[~self.null, None], axis=0)

    @property
    def errors(self) -> Float[np.ndarray, " overlaps"]:
        """The standard error of each overlap: infinite if a null direction changes the overlap."""
        hidden = np.linalg.norm(self.directions[self.null], axis=0) > DEPENDENT
        return np.where(hidden, np.inf, self.free_errors)

    @property
    def covariance(self) -> Float[np.ndarray, "overlaps overlaps"]:
        """The covariance of the overlaps within the span of the directions that are not null: the inverse information there."""
        scaled = self.directions[~self.null] / self.sizes[~self.null, None]
        return scaled.T @ scaled


def spectrum(
    jacobian: Float[np.ndarray, "numbers overlaps"], known: dict[str, Directions], basis: Directions, tolerance: float
) -> Spectrum:
    """The directions that curves with this Jacobian show, and those that they do not show.

    - `jacobian`: derivatives of the observed numbers with respect to the overlaps, divided by the noise of each number.
    - `known`: orthonormal directions of each family that may be null, from `families`.
    - `basis`: an orthonormal basis of the directions in which the overlaps can move, from `tangent`.
    - `tolerance`: a direction is null if its size is at most this fraction of the largest size.

    Directions of a known family that are null are found first, family by family. So they are pure, whatever the tolerance is.
    """
    limit = tolerance * np.linalg.norm(jacobian @ basis.T, 2)
    nulls = [basis[:0]]
    for directions in known.values():
        _, sizes, turned = np.linalg.svd(jacobian @ directions.T)
        nulls.append(turned[np.append(sizes, np.zeros(len(turned)))[: len(turned)] <= limit] @ directions)
    rest = complement(basis, np.concatenate(nulls))
    _, sizes, turned = np.linalg.svd(jacobian @ rest.T)
    sizes = np.append(sizes, np.zeros(len(turned)))[: len(turned)]
    found = turned @ rest
    directions = np.concatenate([found[sizes > limit], *nulls, found[sizes <= limit]])
    null = np.arange(len(directions)) >= np.sum(sizes > limit)
    share = np.array([np.sum((directions @ one.T) ** 2, axis=1) for one in known.values()]).T
    return Spectrum(directions, np.linalg.norm(directions @ jacobian.T, axis=1), null, share)
