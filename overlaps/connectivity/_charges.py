"""Charges: quantities that gradient flow conserves, computed from overlap matrices (docs/symmetries.md)."""

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
"""The dimensions and the meaning of each charge that one overlap matrix has."""


def gram_charges(
    gram: Float[np.ndarray, "*many D D"], layout: Layout, rates: Float[np.ndarray, " D"], linear: bool
) -> dict[str, np.ndarray]:
    """The charges of overlap matrices (..., D, D), by name. If phi is not linear, the gauge charge is the only one.

    Each charge comes from a change of the vectors that leaves the loss as it is. A change of gauge mixes the latents: u -> u a,
    v -> v a^-T. `rates`: the relative learning rate of each vector. Where rates make a charge impossible, it is missing, or NaN
    in single entries of the gauge charge.
    """
    m, u, v, z = layout.split(np.arange(layout.size))
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
        # The eigenvalues of J M^-1 G are those of the symmetric matrix F' J F'^T, where F' is a factor of the weighted matrix.
        known = np.all(np.isfinite(weighted), axis=(-2, -1))
        factor = square_root(np.where(known[..., None, None], weighted, 0.0))
        spectrum = np.linalg.eigvalsh((factor * signs(layout)) @ factor)
        charges["spectrum"] = np.where(known[..., None], spectrum, np.nan)
    return charges


def without_spectrum(charges: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The charges that are left with a bulk J, which the other changes of the vectors would have to leave as it is."""
    return {name: values for name, values in charges.items() if name != "spectrum"}


def charge_variables(charges: dict[str, np.ndarray], lead: Sequence[Hashable]) -> dict[str, tuple]:
    """Charges as variables of a Dataset. `lead`: names of the first dimensions, which run over many overlap matrices."""
    return {name: ((*lead, *CHARGES[name][0]), values, said(CHARGES[name][1])) for name, values in charges.items()}


def signs(layout: Layout) -> np.ndarray:
    """The diagonal of J: +1 on m, b, h and u, -1 on v and z."""
    return np.repeat([1.0, -1.0], [layout.driving, layout.rank + layout.outputs])
