"""Coordinates of overlap space in which the posterior of overlaps is close to a standard normal distribution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity import Overlaps
from overlaps.inference._fit_result import of_overlaps
from overlaps.inference._levenberg_marquardt import least_squares
from overlaps.inference._measurements import Model

INSIDE = 1e-3  # the least eigenvalue of the overlap matrix at the origin, relative to its mean or to the spread of the prior
REACH = 0.5  # the part of the way to the singular matrices along which the bend of the curves is measured, at most
CLOSER = 0.7  # by this factor, points come closer to the origin until they are networks that learn
STEPS = 150  # of the search for the most probable network, at most


class Straight(NamedTuple):
    """Coordinates z of the overlaps sigma = centre + directions (z + bend z z), where (bend z z)_i = sum_jk bend_ijk z_j z_k.

    The columns of `directions` are ordered from those that the curves show best to those that they show least. `bend` moves
    a coordinate by a quadratic function of the coordinates behind it. So the map is one to one, for any `bend`, and its
    determinant is constant.
    """

    centre: Float[AnyArray, " overlaps"]
    directions: Float[AnyArray, "overlaps coordinates"]
    bend: Float[AnyArray, "coordinates coordinates coordinates"]

    def overlaps(self, z: Float[AnyArray, " coordinates"]) -> Float[AnyArray, " overlaps"]:
        """The overlaps at the coordinates z."""
        return self.centre + self.directions @ (z + jnp.einsum("ijk,j,k->i", self.bend, z, z))

    def coordinates(self, sigma: Float[AnyArray, " overlaps"]) -> Float[AnyArray, " coordinates"]:
        """The coordinates of overlaps. The last ones come first, since `bend` moves each of them by those behind it."""
        linear = jnp.linalg.solve(self.directions, sigma - self.centre)
        bend, last = jnp.asarray(self.bend), len(linear) - 1

        def one_more(done: Any, z: Any) -> Any:
            return z.at[last - done].add(-z @ bend[last - done] @ z)

        return jax.lax.fori_loop(0, len(linear), one_more, linear)


def straight(model: Model, gram: Float[np.ndarray, "D D"], spread: float) -> Straight:
    """Coordinates around an overlap matrix. `spread`: the standard deviation of overlaps in the prior.

    The directions are the eigenvectors of the Fisher information J^T J. They are scaled by it, and by the spread where the
    curves say less than the prior. For a step z_j along a direction that the curves hardly show, the residuals also change in
    second order, by r_jj z_j^2 / 2. The coordinates that the curves show better then move, so that the curves stay. Lines
    along which the curves never change, such as those along J, stay straight.
    """
    layout = model.layout
    values, vectors = np.linalg.eigh(gram)
    gram = (vectors * np.maximum(values, INSIDE * max(np.mean(values), spread))) @ vectors.T
    centre = layout.listed(gram)
    jacobian = overlap_jacobians(model, gram[None])[0]
    squares, directions = np.linalg.eigh(jacobian.T @ jacobian)
    directions = directions[:, ::-1] / np.sqrt(squares[::-1] + spread**-2)
    changes = layout.matrix(directions.T)
    inverse = np.linalg.inv(np.linalg.cholesky(gram))
    farthest = 1 / np.max(np.abs(np.linalg.eigvalsh(inverse @ changes @ inverse.T)), axis=-1)
    steps = np.minimum(1.0, REACH * farthest)
    moves = steps[:, None, None] * changes
    ahead, behind = np.split(overlap_jacobians(model, np.concatenate([gram + moves, gram - moves])), 2)
    second = np.einsum("knj,k->njk", (ahead - behind) @ directions, 0.5 / steps)
    bend = np.einsum("ni,njk->ijk", jacobian @ directions, second)
    bend = -np.nan_to_num(bend + bend.swapaxes(1, 2), posinf=0.0, neginf=0.0) / 4
    number = np.arange(len(centre))
    follows = (number[:, None, None] < number[:, None]) & (number[:, None, None] < number)
    return Straight(centre, directions, np.where(follows, bend, 0.0))


def points_inside(
    coordinates: Straight, model: Model, points: Float[np.ndarray, "points coordinates"]
) -> Float[np.ndarray, "points coordinates"]:
    """The points. Those that are no network, or whose network diverges during learning, come closer to the origin.

    A point is a network if its overlap matrix is positive definite.
    """
    layout, points = model.layout, np.array(points)
    while True:
        grams = layout.matrix(np.array([coordinates.overlaps(z) for z in points]))
        inside = np.linalg.eigvalsh(grams)[:, 0] > 0
        factors = np.linalg.cholesky(np.where(inside[:, None, None], grams, np.eye(layout.size))).swapaxes(-1, -2)
        with np.errstate(over="ignore"):
            chi2 = np.sum(model.residuals(factors.reshape(len(points), -1), 0) ** 2, axis=1)
        inside &= np.isfinite(chi2)
        if inside.all():
            return points
        points[~inside] *= CLOSER


def probable(model: Model, gram: Float[np.ndarray, "D D"], spread: float) -> Float[np.ndarray, "D D"]:
    """The overlap matrix of a fit, or one that the posterior finds far more probable.

    With large noise, the fit follows the noise to networks that the prior finds improbable, and the curves of some of them
    change steeply. Up to a constant, -2 times the logarithm of the posterior density is chi2 + tr G / spread^2. With G = F^T F,
    the trace is the sum of the squares of the entries of F. So these entries, divided by `spread`, are residuals, too, and the
    method of Levenberg and Marquardt leads from the fit to the highest density near it. A typical draw lies below it by about
    the number of overlaps. If the fit is not further below, it stays.
    """
    size = model.layout.size
    prior = np.eye(size * size) / spread

    def residuals(places: AnyArray, owners: AnyArray) -> np.ndarray:
        return np.concatenate([model.residuals(places, owners), places @ prior], axis=1)

    def jacobians(places: AnyArray, owners: AnyArray) -> tuple[np.ndarray, np.ndarray]:
        found, derivatives = model.jacobians(places, owners)
        every = np.broadcast_to(prior, (len(places), *prior.shape))
        return np.concatenate([found, places @ prior], axis=1), np.concatenate([derivatives, every], axis=1)

    start, owner = np.asarray(Overlaps(gram, *model.layout).factor).reshape(1, -1), np.zeros(1, int)
    highest = least_squares(residuals, jacobians, start, owner, 1, STEPS)
    if np.sum(residuals(start, owner) ** 2) - highest.chi2[0] <= len(model.layout.pairs):
        return gram
    factor = highest.parameters.reshape(size, size)
    return factor.T @ factor


def overlap_jacobians(model: Model, grams: Float[np.ndarray, "networks D D"]) -> Float[np.ndarray, "networks numbers overlaps"]:
    """The derivatives of the residuals with respect to the overlaps."""
    factors = np.linalg.cholesky(grams).swapaxes(-1, -2)
    derivatives = model.jacobians(factors.reshape(len(factors), -1), 0)[1]
    return np.array([of_overlaps(one, factor, model.layout) for one, factor in zip(derivatives, factors, strict=True)])
