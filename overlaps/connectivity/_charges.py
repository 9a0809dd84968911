"""What gradient flow conserves, as functions of overlap matrices (docs/symmetries.md)."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from overlaps._support import said
from overlaps.connectivity._gram import square_root
from overlaps.connectivity._layout import Layout

CHARGES = {
    "gauge": (("latent", "latent_"), "u^T u / r_u - v^T v / r_v over N"),
    "balance": ((), "m.m / r_m - z.z / r_z over N"),
    "spectrum": (("mode",), "eigenvalues of J M^-1 G"),
}
"""The charges of overlap matrices: the dimensions and the meaning of one of them."""


def gram_charges(
    gram: Float[np.ndarray, "*many D D"], layout: Layout, rates: Float[np.ndarray, " D"], linear: bool
) -> dict[str, np.ndarray]:
    """The charges of overlap matrices (..., D, D); for nonlinear phi those of the gauge alone."""
    m, u, v, z = (np.arange(layout.size)[part] for part in layout.slices.values())
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = gram / np.sqrt(np.outer(rates, rates))
    gauge = weighted[..., u[:, None], u] - weighted[..., v[:, None], v]
    products = rates[u] * rates[v]
    gauge = np.where(np.isclose(products[:, None], products, rtol=1e-12, atol=0.0) & (products > 0), gauge, np.nan)
    charges = {"gauge": gauge}
    if not linear:
        return charges
    if np.all(rates[[*m, *z]] > 0):
        diagonal = np.diagonal(weighted, axis1=-2, axis2=-1)
        charges["balance"] = diagonal[..., m].sum(-1) - diagonal[..., z].sum(-1)
    if np.all(rates > 0):
        # J M^-1 G has the eigenvalues of F' J F'^T, which is symmetric, for a factor F' of the weighted matrix.
        known = np.all(np.isfinite(weighted), axis=(-2, -1))
        factor = square_root(np.where(known[..., None, None], weighted, 0.0))
        spectrum = np.linalg.eigvalsh((factor * signs(layout)) @ factor)
        charges["spectrum"] = np.where(known[..., None], spectrum, np.nan)
    return charges


def charge_variables(charges: dict[str, np.ndarray], lead: Sequence[Hashable]) -> dict[str, tuple]:
    """The variables of a Dataset that charges of many overlap matrices are; `lead` names the dimensions of the many."""
    return {name: ((*lead, *CHARGES[name][0]), values, said(CHARGES[name][1])) for name, values in charges.items()}


def signs(layout: Layout) -> np.ndarray:
    """+1 on m and u, -1 on v and z."""
    return np.repeat([1.0, -1.0], [layout.inputs + layout.rank, layout.rank + layout.outputs])
