"""Directions of overlap space that learning may not reveal, and the discrete twins of a network.

The coordinates of overlap space are the distinct overlaps in the order of `layout.pairs`. A direction is a row of as many
numbers. All functions take and return arrays; docs/identifiability.md derives what they compute.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps.connectivity import Layout

ROTATION, UNFELT, SCALING, CHANNELS = "rotation of latents", "J", "scaling of latents", "rotation of channels"
SINGULAR = 1e-9  # an overlap matrix is singular if its smallest eigenvalue is below this fraction of the largest
DEPENDENT = 1e-8  # unit directions depend on others if what is left of them at right angles to the others is shorter than this
ROUNDING = 1e-13  # of squares, relative to the largest

Directions = Float[np.ndarray, "directions overlaps"]


def symmetries(
    gram: Float[np.ndarray, "D D"], layout: Layout, seen: Sequence[bool], rates: Sequence[Float[np.ndarray, " D"]]
) -> dict[str, Directions]:
    """The directions on which the outputs during learning may not depend, by the names of their families.

    - "rotation of latents": u -> u a and v -> v a with an orthogonal a. There are R (R - 1) / 2 of them.
    - "J": what no gradient flow feels, see `unfelt`.
    - "scaling of latents": u -> u a and v -> v a^-1 with a symmetric a. It keeps the function as it is.
    - "rotation of channels": m -> m a and z -> z b with orthogonal a and b.

    Only the Jacobian of a protocol tells whether the protocol sees a direction. `seen`: for each pair of `layout.pairs`,
    whether the loss depends on its overlap. `rates`: the relative learning rates of the vectors in each phase.
    """

    def moved(blocks: Sequence[dict[str, np.ndarray]]) -> Directions:
        """The changes Y^T G + G Y of G, for generators Y with these diagonal blocks."""
        directions = np.zeros((len(blocks), len(layout.pairs)))
        for index, parts in enumerate(blocks):
            generator = np.zeros((layout.size, layout.size))
            for letter, block in parts.items():
                generator[layout.slices[letter], layout.slices[letter]] = block
            directions[index] = layout.listed(generator.T @ gram + gram @ generator)
        return directions

    latents, counts = layout.rank, layout.counts
    return {
        ROTATION: moved([{"u": one - one.T, "v": one - one.T} for one in _units(latents, 1)]),
        UNFELT: unfelt(layout, seen, rates),
        SCALING: moved([{"u": one + one.T, "v": -one - one.T} for one in _units(latents, 0)]),
        CHANNELS: moved([{letter: one - one.T} for letter in "mz" for one in _units(counts[letter], 1)]),
    }


def _units(size: int, offset: int) -> list[np.ndarray]:
    """The matrices with a single 1, at each place above the diagonal, or also on it for offset 0."""
    places = np.zeros((size * size, size, size))
    places[range(size * size), *np.divmod(range(size * size), size)] = 1
    return [one for one in places if np.triu(one, offset).any()]


def unfelt(layout: Layout, seen: Sequence[bool], rates: Sequence[Float[np.ndarray, " D"]]) -> Directions:
    """The directions X with M S X + X S M = 0 for all matrices S = 2 dL/dG that losses L can have: no gradient flow feels them.

    M is the diagonal matrix of the relative learning rates. For linear networks with the same M in all phases, J M is such a
    direction, where J is diagonal with 1 for [m u] and -1 for [v z]. It is the only one if all vectors learn.
    """
    everything = layout.matrix(np.eye(len(layout.pairs)))
    equations = np.zeros((len(everything),) * 2)  # the sum of the squares of the left sides, as a quadratic form in X
    for slope in everything[np.asarray(seen, bool)]:
        for rate in rates:
            half = (rate[:, None] * slope) @ everything
            left = (half + half.swapaxes(-1, -2)).reshape(len(everything), -1)
            equations += left @ left.T
    squares, directions = np.linalg.eigh(equations)
    return directions[:, squares < ROUNDING * squares[-1]].T


def twins(gram: Float[np.ndarray, "D D"], layout: Layout) -> dict[str, Float[np.ndarray, "D D"]]:
    """Overlap matrices that may give the same curves as `gram`, although no path of such matrices leads to them; by name.

    - The sign of one latent: u_r -> -u_r and v_r -> -v_r. Together with the rotations of latents, signs make all exchanges of
      latents.
    - The transposition m <-> z, u <-> v, for as many inputs as outputs. It transposes the impulse response. So for a single
      input and a single output it keeps the function.
    - The transposition, followed by a sign.

    Only the curves tell whether they are twins in a protocol: unequal learning rates, for example, break the transposition.
    """
    order = np.arange(layout.size)
    signs, orders = {"": np.ones(layout.size)}, {"": order}
    for u, v in zip(order[layout.slices["u"]], order[layout.slices["v"]], strict=True):
        signs[f"sign of {layout.labels[u]}, {layout.labels[v]}"] = np.where((order == u) | (order == v), -1.0, 1.0)
    if layout.inputs == layout.outputs and not (layout.bias or layout.initial):
        orders["transposition"] = np.concatenate([order[layout.slices[letter]] for letter in "zvum"])
    found = {
        ", ".join(part for part in (how, what) if part): (gram[np.ix_(chosen, chosen)] * np.outer(sign, sign))
        for how, chosen in orders.items()
        for what, sign in signs.items()
    }
    del found[""]
    return found


def tangent(gram: Float[np.ndarray, "D D"], layout: Layout) -> Directions:
    """An orthonormal basis of the directions in which an overlap matrix can move without a change of its rank.

    These are the matrices dF^T F + F^T dF with F^T F = G, or all symmetric matrices X with Q^T X Q = 0, where the columns of Q
    span the null space of G. For a G of full rank they are the whole overlap space.
    """
    values, vectors = np.linalg.eigh(gram)
    null = vectors[:, values < SINGULAR * values[-1]]
    if not null.shape[1]:
        return np.eye(len(layout.pairs))
    inside = null.T @ layout.matrix(np.eye(len(layout.pairs))) @ null
    return scipy.linalg.null_space(inside.reshape(len(inside), -1).T, rcond=DEPENDENT).T


def families(known: dict[str, Directions], basis: Directions) -> dict[str, Directions]:
    """Orthonormal directions of each family within the span of `basis`, at right angles to those of the families before it.

    `basis`: orthonormal rows. Directions of a family that lie outside of their span are left out.
    """
    found, all_found = {}, basis[:0]
    for name, directions in known.items():
        directions = _rest(directions, basis[:0])
        outside, sizes, _ = np.linalg.svd(directions - directions @ basis.T @ basis)
        inside = outside[:, np.append(sizes, np.zeros(len(outside)))[: len(outside)] < DEPENDENT]
        found[name] = _rest(inside.T @ directions, all_found)
        all_found = np.concatenate([all_found, found[name]])
    return found


def complement(basis: Directions, null: Directions) -> Directions:
    """An orthonormal basis of the part of the span of `basis` that is at right angles to the orthonormal rows `null`."""
    return _rest(basis, null)


def _rest(directions: Directions, beside: Directions) -> Directions:
    """An orthonormal basis of what is left of `directions` at right angles to the orthonormal rows of `beside`."""
    lengths = np.linalg.norm(directions, axis=1)
    rest = directions[lengths > 0] / lengths[lengths > 0, None]
    for _ in range(2):  # the second time takes out what rounding leaves
        rest = rest - rest @ beside.T @ beside
    _, sizes, basis = np.linalg.svd(rest, full_matrices=False)
    return basis[sizes > DEPENDENT]
