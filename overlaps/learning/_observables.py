"""What a run can record besides overlaps and loss: how far the neurons are from a Gaussian distribution, and outputs."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error
from overlaps.connectivity import State

OBSERVABLES = ("moments", "output")
DIMENSIONS = {
    "skewness": ("vector",),
    "kurtosis": ("vector",),
    "non_gaussianity": (),
    "output": ("trial", "sample", "readout"),
}
MEANINGS = {
    "skewness": "skewness over neurons",
    "kurtosis": "excess kurtosis over neurons",
    "non_gaussianity": "divergence of neurons from a joint normal distribution",
    "output": "output on the trials of the task",
}
SINGULAR = 1e-10  # a direction whose variance is below this, relative to the largest variance, counts as having none


def check_observables(names: Sequence[str], state: State, objective: Any) -> None:
    """Raise ValueError unless the state and the task have the observables of these names."""
    for name in names:
        if name not in OBSERVABLES:
            raise argument_error("observe", f"hold names out of {', '.join(OBSERVABLES)}", f"{name!r} came")
    if "moments" in names and state.neurons() is None:
        mend = "Overlaps are Gaussian by assumption: use overlaps.mean_field() or overlaps.sample(n, key)."
        raise argument_error("observe", "ask for moments of a network or a mean field alone", "the state has no neurons", mend)
    if "output" in names and not hasattr(_clean(objective), "response"):
        mend = "Use fixed trials: flip_flop(key), or task.sample(key) of a task that draws new trials."
        came = "the task has no fixed trials"
        raise argument_error("observe", "ask for the output on tasks of fixed trials alone", came, mend)


def observe(state: State, objective: Any, names: tuple[str, ...]) -> dict[str, AnyArray]:
    """The values of the observables of these names: a dictionary from the name of each variable to its value."""
    values = {}
    if "moments" in names and (neurons := state.neurons()) is not None:
        values |= moments(*neurons)
    if "output" in names:
        values["output"] = _clean(objective).response(state)
    return values


def moments(vectors: Float[AnyArray, "N D"], weights: Float[AnyArray, " N"]) -> dict[str, AnyArray]:
    """Skewness and excess kurtosis of each vector, and the distance of all vectors from a joint normal distribution.

    `vectors` has one row per neuron, and `weights` the weight of each neuron in averages over neurons. The distance is
    |kappa_3|^2 / 12 + |kappa_4|^2 / 48, with the third and fourth cumulants of the whitened vectors. These are the leading
    terms of the Kullback-Leibler divergence from a normal distribution (Edgeworth). For N Gaussian neurons it is about
    (D (D + 1) (D + 2) / 12 + D (D + 1) (D + 2) (D + 3) / 48) / N by chance alone.
    """
    size = vectors.shape[1]
    weights = weights[:, None]
    centred = vectors - jnp.sum(weights * vectors, axis=0, keepdims=True)
    second = jnp.sum(weights * centred**2, axis=0)
    scale = jnp.where(second > 0, second, 1.0)
    values, directions = jnp.linalg.eigh(centred.T @ (weights * centred))
    filled = values > SINGULAR * values[-1]
    white = centred @ (directions * jnp.where(filled, 1 / jnp.sqrt(jnp.where(filled, values, 1.0)), 0.0)[None, :])
    pairs = (white[:, :, None] * white[:, None, :]).reshape(-1, size**2)
    third = white.T @ (weights * pairs)
    eye = jnp.diag(filled.astype(vectors.dtype))
    gaussian = jnp.einsum("ab,cd->abcd", eye, eye) + jnp.einsum("ac,bd->abcd", eye, eye) + jnp.einsum("ad,bc->abcd", eye, eye)
    fourth = pairs.T @ (weights * pairs) - gaussian.reshape(size**2, size**2)
    return {
        "skewness": jnp.sum(weights * centred**3, axis=0) / scale**1.5,
        "kurtosis": jnp.where(second > 0, jnp.sum(weights * centred**4, axis=0) / scale**2 - 3, 0.0),
        "non_gaussianity": jnp.sum(third**2) / 12 + jnp.sum(fourth**2) / 48,
    }


def _clean(objective: Any) -> Any:
    """The objective without label noise, if it has some."""
    return getattr(objective, "clean", objective)
