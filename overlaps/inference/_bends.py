"""What the bends of curves add to the errors of overlaps."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from overlaps.connectivity import Layout, square_root
from overlaps.inference._coordinates import Directions
from overlaps.inference._spectrum import Spectrum

NODE = np.sqrt(3.0)  # the outer points of the Gauss-Hermite rule of three points, in standard deviations; their weights are 1/6
SINGULAR = 1e-14  # added to overlap matrices, relative to their trace, so that they have an inverse


def bends(
    residuals: Callable[[np.ndarray], Float[np.ndarray, "networks numbers"]],
    layout: Layout,
    factor: Float[np.ndarray, "D D"],
    jacobian: Float[np.ndarray, "numbers overlaps"],
    shown: Spectrum,
    felt: Bool[np.ndarray, " directions"],
) -> Directions:
    """For each direction that is `felt`, the error that its uncertainty adds to all others because curves bend.

    A network that moves along a direction by t, and then back to the best fit along the directions that the curves show, ends
    beside the straight line, by a distance of the order of t^2. The square of this distance has its mean over a Gaussian t from
    the Gauss-Hermite rule of three points, 0 and +-sqrt(3) standard errors. By symmetry one of the outer points is enough: the
    one on the side on which more overlap matrices are positive semi-definite. The network moves no further than these go.

    - `residuals`: a function of flat factors (networks, D D).
    - `factor`: F with G = F^T F. `jacobian`: the derivatives of the residuals with respect to the overlaps at G.

    Returns rows B. B^T B is what the bends add to the covariance of the overlaps.
    """
    gram, rows = factor.T @ factor, shown.directions[felt]
    moves = layout.matrix(rows)
    back, ahead = _reaches(gram, moves)
    with np.errstate(divide="ignore"):
        far = np.minimum(np.maximum(back, ahead), NODE / shown.sizes[felt])
    steps = np.where(ahead >= back, far, -far)
    roots = square_root(gram + steps[:, None, None] * moves)
    found = residuals(np.concatenate([factor[None], roots]).reshape(1 + len(rows), -1))
    bent = found[1:] - found[0] - steps[:, None] * (rows @ jacobian.T)
    bent = np.where(np.isfinite(bent), bent, 0.0)  # the data exclude networks that diverge
    base, sizes = shown.directions[~shown.null], shown.sizes[~shown.null]
    return (bent @ (jacobian @ base.T)) / sizes**2 @ base / NODE


def _reaches(
    gram: Float[np.ndarray, "D D"], moves: Float[np.ndarray, "directions D D"]
) -> tuple[Float[np.ndarray, " directions"], Float[np.ndarray, " directions"]]:
    """How far an overlap matrix can go against each move, and along it, and stay positive semi-definite."""
    inverse = np.linalg.inv(np.linalg.cholesky(gram + SINGULAR * np.trace(gram) * np.eye(len(gram))))
    rates = np.linalg.eigvalsh(inverse @ moves @ inverse.T)
    with np.errstate(divide="ignore"):
        return 1 / np.maximum(rates[:, -1], 0.0), 1 / np.maximum(-rates[:, 0], 0.0)
