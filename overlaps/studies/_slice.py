"""Everything that a network could be without changing its function: ranges of its invisible overlaps, and draws of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, in_float64, number, random_key, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.studies._answers import require_overlaps

DEFINITE = 1e-9  # relative size of the smallest eigenvalue from which on an overlap matrix has room around it
STEPS_PER_OVERLAP = 100  # of the random walk, by which it has forgotten its start


def admissible(overlaps: Overlaps, rnn: RNN) -> xr.Dataset:
    """The interval that each invisible overlap may have without changing the function.

    Over the dim `overlap`, the invisible ones under `rnn`: `value`; `lower` and `upper`, between which that overlap alone can
    be moved, all others held; `least`, what it has at least when the other invisible overlaps may move as well. There is no
    largest value then: a self-overlap grows without limit, and with it the others (docs/invisible_overlaps.md). An entry a.b
    is limited by Schur complements, (a.b - p)^2 <= s_a s_b with p and s what the other vectors fix of a.b, a.a and b.b. Raises
    ValueError for a batch.
    """
    require_overlaps(overlaps, "overlaps")
    gram, layout = np.asarray(overlaps.gram), overlaps.layout
    visible = np.array(rnn.visible(layout))
    seen = layout.matrix(visible)
    chosen = [pair for pair in layout.pairs if not seen[pair.row, pair.column]]
    # With the other self-overlaps as large as they please, only vectors whose self-overlaps are fixed still hold one down.
    fixed = np.flatnonzero(np.diagonal(seen))
    least = np.full(len(chosen), -np.inf)
    for index, pair in enumerate(chosen):
        if pair.row == pair.column:
            anchors = fixed[seen[pair.row, fixed]]
            least[index] = _explained(gram, [pair.row], anchors)[0, 0]
    bounds = np.array([interval(gram, pair.row, pair.column) for pair in chosen]).reshape(-1, 2)
    return xr.Dataset(
        {
            "value": ("overlap", layout.listed(gram)[~visible], said("overlap")),
            "lower": ("overlap", bounds[:, 0], said("smallest value, other overlaps held")),
            "upper": ("overlap", bounds[:, 1], said("largest value, other overlaps held")),
            "least": ("overlap", least, said("smallest value, visible overlaps held")),
        },
        {"overlap": [pair.label for pair in chosen]},
    )


def interval(gram: Float[np.ndarray, "D D"], row: int, column: int) -> tuple[float, float]:
    """Between which values one entry of a positive semi-definite matrix keeps it so."""
    ends = sorted({row, column})
    rest = np.setdiff1d(np.arange(len(gram)), ends)
    explained = _explained(gram, ends, rest)
    if row == column:
        return float(explained[0, 0]), np.inf
    left = np.maximum(np.diagonal(gram[np.ix_(ends, ends)] - explained), 0.0)
    reach = float(np.sqrt(left.prod()))
    return float(explained[0, 1]) - reach, float(explained[0, 1]) + reach


@in_float64
def sample_equivalent(overlaps: Overlaps, rnn: RNN, number_of_networks: int, key: Any, scale: float = 2.0) -> Overlaps:
    """Networks with the same function and random invisible overlaps, drawn evenly: a batch of `Overlaps`.

    Even with respect to volume in the invisible overlaps, over all positive semi-definite overlap matrices whose visible
    overlaps are these and whose invisible self-overlaps are at most `scale` times these, without which there would be no end.
    Each is the end of a random walk of its own (hit and run: a random direction, then an even draw from the segment that is
    admissible). `key`: a jax.random key or an integer seed. Raises ValueError for a batch, for scale <= 1, and for a singular
    overlap matrix, which leaves no room.
    """
    require_overlaps(overlaps, "overlaps")
    gram, layout = np.asarray(overlaps.gram), overlaps.layout
    number_of_networks, scale = count("number_of_networks", number_of_networks), number("scale", scale, above=1.0)
    values = np.linalg.eigvalsh(gram)
    if values[0] < DEFINITE * values[-1]:
        came = f"its smallest eigenvalue is {values[0]:.2g}"
        raise argument_error("overlaps", "be positive definite, to have room around it", came, "Raise its self-overlaps.")
    free = 1.0 - layout.matrix(np.array(rnn.visible(layout)))
    steps = STEPS_PER_OVERLAP * int(np.triu(free).sum())
    keys = jax.random.split(random_key("key", key), number_of_networks)
    return Overlaps(np.asarray(_walk(gram, free, scale * np.diagonal(gram), keys, steps)), *layout)


@eqx.filter_jit
def _walk(gram: AnyArray, free: AnyArray, largest: AnyArray, keys: jax.Array, steps: int) -> AnyArray:
    """The ends of random walks of `steps` over the entries `free` of a matrix, one walk per key."""

    def step(now: AnyArray, key: jax.Array) -> tuple[AnyArray, None]:
        direction_key, length_key = jax.random.split(key)
        direction = jnp.triu(jax.random.normal(direction_key, now.shape)) * free
        direction = direction + jnp.triu(direction, 1).T
        root = jnp.linalg.cholesky(now)
        half = jax.scipy.linalg.solve_triangular(root, direction, lower=True)
        values = jnp.linalg.eigvalsh(jax.scipy.linalg.solve_triangular(root, half.T, lower=True))
        slope = jnp.diagonal(direction)
        room = jnp.diagonal(free) * (largest - jnp.diagonal(now))
        rates = jnp.concatenate([-values, jnp.where(room > 0, slope / jnp.where(room > 0, room, 1.0), 0.0)])
        # now + t direction is admissible as long as t times each of these rates is at most 1.
        forward, backward = 1 / jnp.max(rates), 1 / jnp.min(rates)
        length = jax.random.uniform(length_key, minval=backward, maxval=forward)
        return now + length * direction, None

    return jax.vmap(lambda key: jax.lax.scan(step, jnp.asarray(gram), jax.random.split(key, steps))[0])(keys)


def _explained(gram: np.ndarray, ends: Any, rest: Any) -> np.ndarray:
    """What the vectors `rest` fix of the overlaps among the vectors `ends`: G_er G_rr^+ G_re."""
    across = gram[np.ix_(rest, ends)]
    return across.T @ np.linalg.lstsq(gram[np.ix_(rest, rest)], across, rcond=1e-12)[0]
