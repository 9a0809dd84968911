"""All networks with the same function: the ranges of their invisible overlaps, and random draws of such networks."""

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

DEFINITE = 1e-9  # an overlap matrix is singular if its smallest eigenvalue is below this fraction of the largest
STEPS_PER_OVERLAP = 100  # steps of the random walk after which it has forgotten its start


def admissible(overlaps: Overlaps, rnn: RNN) -> xr.Dataset:
    """The interval of values that each invisible overlap can have without a change of the function.

    An overlap is invisible if the function of the network does not depend on it under `rnn`. The limits of the interval follow
    from the rest of the overlap matrix, which must stay positive semi-definite.

    `overlaps`: the network. `rnn`: decides which overlaps are invisible. Returns a Dataset over the dim `overlap`, which
    contains the invisible overlaps:

    - `value`: the value that the overlap has in this network.
    - `lower` and `upper`: the interval if this overlap alone moves, and all others stay fixed.
    - `least`: the smallest value if the other invisible overlaps may move as well, -inf if there is none. There is then no
      largest value of any overlap: a self-overlap can grow without limit, and the others with it.

    If all other overlaps stay fixed, the overlap of two different vectors a and b obeys (a.b - p)^2 <= s_a s_b. To find p, s_a
    and s_b, project a and b on the span of the other vectors. Then p is the overlap of the two projections, and s_a and s_b are
    the self-overlaps of the remainders. These are Schur complements (docs/invisible_overlaps.md,
    "One function, many networks").

    Raises ValueError for a batch.
    """
    require_overlaps(overlaps, "overlaps")
    gram, layout = np.asarray(overlaps.gram), overlaps.layout
    visible = np.array(rnn.visible(layout))
    seen = layout.matrix(visible)
    chosen = [pair for pair in layout.pairs if not seen[pair.row, pair.column]]
    # All invisible self-overlaps can become arbitrarily large. So only vectors with a visible self-overlap still set a limit.
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
    """The interval in which one entry of a positive semi-definite matrix can move such that the matrix stays so."""
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
    """Draw networks with the same function and random invisible overlaps, as a batch of `Overlaps`.

    The draws are uniform in the volume of the invisible overlaps, over all positive semi-definite overlap matrices with the
    visible overlaps of the given network. A self-overlap could grow without limit. So each invisible self-overlap is at most
    `scale` times that of the given network. Each draw is the end of a random walk of its own (hit and run). Each step of the
    walk chooses a random direction, and then a uniform point on the segment of admissible matrices in this direction.

    - `overlaps`: the network, not a batch. `rnn`: decides which overlaps are invisible.
    - `number_of_networks`: number of draws.
    - `key`: a jax.random key or an integer seed.
    - `scale`: a number above 1.

    Raises ValueError for a batch, for scale <= 1, and for a singular overlap matrix, which leaves no room for a walk.
    """
    require_overlaps(overlaps, "overlaps")
    gram, layout = np.asarray(overlaps.gram), overlaps.layout
    number_of_networks, scale = count("number_of_networks", number_of_networks), number("scale", scale, above=1.0)
    values = np.linalg.eigvalsh(gram)
    if values[0] < DEFINITE * values[-1]:
        came = f"its smallest eigenvalue is {values[0]:.2g}"
        raise argument_error(
            "overlaps", "be positive definite, so that its overlaps can move", came, "Raise its self-overlaps."
        )
    free = 1.0 - layout.matrix(np.array(rnn.visible(layout)))
    steps = STEPS_PER_OVERLAP * int(np.triu(free).sum())
    keys = jax.random.split(random_key("key", key), number_of_networks)
    return Overlaps(np.asarray(_walk(gram, free, scale * np.diagonal(gram), keys, steps)), *layout)


@eqx.filter_jit
def _walk(gram: AnyArray, free: AnyArray, largest: AnyArray, keys: jax.Array, steps: int) -> AnyArray:
    """The ends of random walks of `steps` steps over the entries `free` of a matrix, one walk for each key."""

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
    """The part of the overlaps among the vectors `ends` that lies in the span of the vectors `rest`: G_er G_rr^+ G_re."""
    across = gram[np.ix_(rest, ends)]
    return across.T @ np.linalg.lstsq(gram[np.ix_(rest, rest)], across, rcond=1e-12)[0]
