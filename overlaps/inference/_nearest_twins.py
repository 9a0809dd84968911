"""One of the discrete twins of each network, where the curves do not tell them apart."""

import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity import Layout
from overlaps.inference._coordinates import twins
from overlaps.inference._measurements import Model
from overlaps.inference._straight import overlap_jacobians

EQUAL = 0.1  # the largest difference between the chi2 of twins that count as equally probable


def nearest_twins(
    sigma: Float[np.ndarray, "chain draw overlaps"], model: Model, centre: Float[np.ndarray, " overlaps"]
) -> Float[np.ndarray, "chain draw overlaps"]:
    """Each draw, or that of its twins whose curves are nearest to those of the overlaps `centre`, to first order.

    The prior is the same for twins, since they have the same trace. Twins of a kind count as equally probable if their chi2 is
    equal, too, for the last draw of each chain.
    """
    kinds = [kind for kind in twin_maps(model.layout) if _equal(sigma[:, -1], kind, model)]
    slopes = overlap_jacobians(model, model.layout.matrix(centre)[None])[0]
    return nearest(sigma, group(kinds, sigma.shape[-1]), centre, np.linalg.qr(slopes).R)


def twin_maps(layout: Layout) -> list[Float[np.ndarray, "overlaps overlaps"]]:
    """The matrices that take overlaps to those of a twin, one for each kind."""
    units = [twins(unit, layout) for unit in layout.matrix(np.eye(len(layout.pairs)))]
    return [np.array([layout.listed(unit[kind]) for unit in units]).T for kind in units[0]]


def group(kinds: list[np.ndarray], size: int) -> list[Float[np.ndarray, "overlaps overlaps"]]:
    """The identity, and all products of these maps."""
    found = [np.eye(size)]
    for one in found:
        for kind in kinds:
            if not any(np.array_equal(kind @ one, other) for other in found):
                found.append(kind @ one)
    return found


def nearest(
    sigma: Float[np.ndarray, "*draws overlaps"],
    maps: list[Float[np.ndarray, "overlaps overlaps"]],
    centre: Float[np.ndarray, " overlaps"],
    slopes: Float[np.ndarray, "numbers overlaps"],
) -> Float[np.ndarray, "*draws overlaps"]:
    """For each draw, the image under one of the maps for which slopes (image - centre) is shortest."""
    images = np.array([sigma @ one.T for one in maps])
    chosen = np.argmin(np.linalg.norm((images - centre) @ slopes.T, axis=-1), axis=0)
    return np.take_along_axis(images, chosen[None, ..., None], axis=0)[0]


def _equal(sigma: Float[np.ndarray, "networks overlaps"], kind: np.ndarray, model: Model) -> bool:
    def chi2(sigma: AnyArray) -> np.ndarray:
        factors = np.linalg.cholesky(model.layout.matrix(sigma)).swapaxes(-1, -2)
        return np.sum(model.residuals(factors.reshape(len(factors), -1), 0) ** 2, axis=1)

    return bool(np.all(np.abs(chi2(sigma @ kind.T) - chi2(sigma)) < EQUAL))
