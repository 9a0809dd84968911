"""What curves reveal about overlaps, from the Jacobian of the curves: directions, null directions and standard errors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from overlaps.inference._coordinates import DEPENDENT, Directions, complement

UNEXPLAINED = "unexplained"


class Spectrum(NamedTuple):
    """Orthonormal directions of overlap space, from what the curves show best to what they do not show.

    - `directions`: (k, overlaps). First come those that the curves show, with falling `sizes`, then the null directions.
    - `sizes`: (k,), by how much a unit step along the direction changes the curves, in units of their noise.
    - `null`: (k,), whether the curves do not show the direction at all.
    - `share`: (k, families), the squared length of the projection of the direction on each family of known directions.
    - `why`: (k,), for null directions the name of their family, or "unexplained"; for all others "".
    """

    directions: Directions
    sizes: Float[np.ndarray, " k"]
    null: Bool[np.ndarray, " k"]
    share: Float[np.ndarray, "k families"]
    why: list[str]

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
    names, nulls = [], basis[:0]
    for name, directions in known.items():
        sizes, turned = _ordered(jacobian, directions)
        nulls = np.concatenate([nulls, turned[sizes <= limit]])
        names += [name] * int(np.sum(sizes <= limit))
    sizes, turned = _ordered(jacobian, complement(basis, nulls))
    shown = int(np.sum(sizes > limit))
    directions = np.concatenate([turned[:shown], nulls, turned[shown:]])
    names = [""] * shown + names + [UNEXPLAINED] * (len(turned) - shown)
    share = np.array([np.sum((directions @ one.T) ** 2, axis=1) for one in known.values()]).T
    return Spectrum(
        directions, np.linalg.norm(directions @ jacobian.T, axis=1), np.arange(len(directions)) >= shown, share, names
    )


def _ordered(jacobian: Float[np.ndarray, "numbers overlaps"], directions: Directions) -> tuple[np.ndarray, Directions]:
    """Orthonormal combinations of orthonormal directions, with falling sizes; and the sizes.

    The sign of each combination makes its largest component positive.
    """
    sizes, turned = np.linalg.svd(jacobian @ directions.T)[1:]
    sizes = np.append(sizes, np.zeros(len(turned)))[: len(turned)]
    found = turned @ directions
    largest = np.take_along_axis(found, np.argmax(np.abs(found).round(9), axis=1, keepdims=True), axis=1)
    return sizes, found * np.sign(largest)
