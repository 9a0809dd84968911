"""The method of Levenberg and Marquardt with geodesic acceleration, for many starts side by side."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from overlaps._support import AnyArray

DAMPING, LOWER, UPPER = 1e-2, 0.2, 2.0  # of steps, relative to the mean square of the Jacobian, and its factors
PROBE = 0.1  # the part of a step along which the second derivative is measured
BEND = 0.75  # the largest acceleration, relative to the step; larger ones say that the step leaves the parabola
LEFT = 1e-6  # a start has arrived at a minimum if a step could lower the sum of squares by less than this
FLAT = 1e-10  # directions in which residuals move by less than this, relative to the largest movement, count as flat
SLOW, PATIENCE = 1e-2, 15  # or if that many steps lowered the sum of squares by less than this
SMALLEST = 1e-100  # size of the Jacobian of a start that is counted with
STUCK = 1e10  # a start with this damping cannot move

Residuals = Callable[[AnyArray, AnyArray], Float[np.ndarray, "slots numbers"]]
Jacobians = Callable[
    [AnyArray, AnyArray], tuple[Float[np.ndarray, "slots numbers"], Float[np.ndarray, "slots numbers parameters"]]
]


class Minima(NamedTuple):
    """Where the starts ended: the parameters, the sums of squares (infinite where there is none) and the numbers of steps."""

    parameters: Float[np.ndarray, "starts parameters"]
    chi2: Float[np.ndarray, " starts"]
    steps: Int[np.ndarray, " starts"]


@np.errstate(over="ignore", invalid="ignore")
def least_squares(
    residuals: Residuals,
    jacobians: Jacobians,
    starts: Float[np.ndarray, "starts parameters"],
    owners: Int[np.ndarray, " starts"],
    slots: int,
    most_steps: int,
) -> Minima:
    """Minimise sums of squares from many starts.

    Each call of the model serves `slots` starts. When one of them ends, the next start takes its slot. So a slow start does not
    keep the others waiting, and a start with residuals that are not finite ends alone.

    - `residuals`, `jacobians`: functions of parameters (slots, parameters) and owners (slots,). The second one also returns
      the residuals.
    - `owners`: for each start, the number of the subject whose data it fits. It is only handed on.

    The step solves (J^T J + lambda) s = -J^T r. Half the geodesic acceleration (Transtrum, Machta and Sethna, Phys. Rev. E 83,
    036701, 2011) is added to it: it follows the narrow, bent valleys of models whose parameters are known to very different
    precision.
    """
    total = len(starts)
    ends = Minima(np.array(starts, float), np.full(total, np.inf), np.zeros(total, int))
    current, following = np.arange(slots) % total, slots  # with fewer starts than slots, slots beyond them repeat some
    live = np.arange(slots) < total
    place, trial = starts[current], starts[current]
    chi2, damping = np.full(slots, np.inf), np.full(slots, DAMPING)
    # The last sum of squares that was clearly lower than the one before, and the number of steps since then.
    mark, waited = np.full(slots, np.inf), np.zeros(slots, int)
    r, jacobian = None, None
    while live.any():
        new_r, new_jacobian = jacobians(trial, owners[current])
        new_chi2 = np.sum(new_r**2, axis=1)
        finite = np.isfinite(new_chi2) & np.all(np.isfinite(new_jacobian), axis=(1, 2))
        better = finite & (new_chi2 < chi2)
        if r is None or jacobian is None:
            r, jacobian = np.zeros_like(new_r), np.zeros_like(new_jacobian)
        damping = np.clip(damping * np.where(better, np.where(np.isinf(chi2), 1.0, LOWER), UPPER), 1 / STUCK**2, 2 * STUCK)
        place[better], chi2[better], r[better], jacobian[better] = (
            value[better] for value in (trial, new_chi2, new_r, new_jacobian)
        )
        ends.steps[current[live]] += 1
        lower = chi2 < mark - SLOW
        waited, mark = np.where(lower, 0, waited + 1), np.where(lower, chi2, mark)
        q, triangle = np.linalg.qr(jacobian)
        u, sizes, v = np.linalg.svd(triangle, full_matrices=False)
        scale = np.maximum(np.sqrt(np.mean(sizes**2, axis=1, keepdims=True)), SMALLEST)
        along = np.einsum("bij,bi->bj", u, np.einsum("bij,bi->bj", q, r))
        steep = sizes > FLAT * sizes[:, :1]
        left = np.sum(np.where(steep, along, 0.0) ** 2, axis=1)
        over = np.isinf(chi2) | (left < LEFT) | (waited >= PATIENCE) | (damping > STUCK) | (ends.steps[current] >= most_steps)
        for slot in np.flatnonzero(over & live):
            ends.parameters[current[slot]], ends.chi2[current[slot]] = place[slot], chi2[slot]
            live[slot] = following < total
            if live[slot]:
                current[slot], chi2[slot], damping[slot], mark[slot], waited[slot] = following, np.inf, DAMPING, np.inf, 0
                following += 1
        if not live.any():
            break
        inverse = sizes / (sizes**2 + damping[:, None] * scale**2)
        step = -np.einsum("bji,bj->bi", v, inverse * along)
        ahead = residuals(place + PROBE * step, owners[current])
        straight = np.einsum("bij,bj->bi", jacobian, step)
        bend = 2 / PROBE * ((np.where(np.isfinite(ahead), ahead, r) - r) / PROBE - straight)
        bend = np.einsum("bij,bi->bj", u, np.einsum("bij,bi->bj", q, bend))
        half = -np.einsum("bji,bj->bi", v, inverse * bend) / 2
        gentle = 2 * np.linalg.norm(half, axis=1) <= BEND * np.linalg.norm(step, axis=1)
        trial = place + step + np.where(gentle & np.all(np.isfinite(ahead), axis=1), 1.0, 0.0)[:, None] * half
        fresh = np.isinf(chi2)
        trial[fresh] = starts[current[fresh]]
    return ends
