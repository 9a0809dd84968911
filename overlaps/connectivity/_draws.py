"""Random numbers for the vectors of neurons."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, is_traced, numpy_for
from overlaps.connectivity._gram import square_root


def normal(key: Any, rows: int, columns: int, stream: int | None = None) -> Any:
    """Independent standard normal numbers. Another `stream` gives independent numbers from the same key."""
    return jax.random.normal(key if stream is None else jax.random.fold_in(key, stream), (rows, columns))


def concrete(draws: Any) -> Any:
    """Random numbers as a NumPy array, unless they are traced."""
    return draws if is_traced(draws) else np.asarray(draws)


def orthonormal(draws: Any) -> Any:
    """Orthonormal columns that span those of `draws`, uniformly random if `draws` is normal."""
    xp = numpy_for(draws)
    basis, triangle = xp.linalg.qr(draws)
    return basis * xp.sign(xp.diagonal(triangle, axis1=-2, axis2=-1))[..., None, :]


def drawn(
    weights: Float[np.ndarray, " P"],
    means: Float[np.ndarray, "P D"],
    covariances: Float[np.ndarray, "P D D"],
    n: int,
    key: Any,
    exact: bool,
) -> Float[np.ndarray, "N D"]:
    """The vectors of n random neurons, in order of their populations. `exact`: with these means and covariances exactly.

    Raises ValueError if `exact` asks for a number of neurons that is not whole, or too small.
    """
    size = means.shape[-1]
    draws_key, numbers_key = jax.random.split(jax.random.fold_in(key, 3))
    if exact:
        numbers = whole(weights, n, size)
    else:
        chosen = jax.random.choice(numbers_key, len(weights), (n,), p=weights)
        numbers = np.bincount(np.asarray(chosen), minlength=len(weights))
    # One call, whose shape does not depend on the numbers: JAX compiles a draw for each new shape.
    parts = np.split(np.asarray(normal(draws_key, n, size)), np.cumsum(numbers)[:-1])
    rows = []
    for mean, covariance, number, draws in zip(means, covariances, numbers, parts, strict=True):
        if exact:
            draws = np.sqrt(number) * orthonormal(draws - draws.mean(axis=0))
        rows.append(mean + draws @ square_root(covariance))
    return np.concatenate(rows)


def whole(weights: Float[np.ndarray, " P"], n: int, size: int) -> np.ndarray:
    """The numbers of neurons of the populations, if they are whole, and larger than the number `size` of vectors."""
    numbers = n * np.asarray(weights)
    rounded = np.round(numbers).astype(int)
    if np.any(np.abs(numbers - rounded) > 1e-6) or np.any(rounded <= size):
        must = f"give each population a whole number of more than {size} neurons to be exact"
        raise argument_error("n", must, f"{n} gives {numbers.round(3).tolist()}", "Or pass exact=False.")
    return rounded
