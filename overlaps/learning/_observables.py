"""What a run can record besides overlaps and loss: how far the neurons are from a Gaussian distribution, and outputs."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, real_array
from overlaps.connectivity import State, require_no_constants
from overlaps.dynamics import RNN, impulse_response, samples_at
from overlaps.tasks import Task

OBSERVABLES = ("moments", "output", "impulse_response")
DIMENSIONS = {
    "skewness": ("vector",),
    "kurtosis": ("vector",),
    "non_gaussianity": (),
    "output": ("trial", "sample", "readout"),
    "impulse_response": ("lag", "readout", "input"),
}
MEANINGS = {
    "skewness": "skewness over neurons",
    "kurtosis": "excess kurtosis over neurons",
    "non_gaussianity": "divergence of neurons from a joint normal distribution",
    "output": "output on the trials of the task",
    "impulse_response": "output after a unit impulse",
}
UNITS = {"impulse_response": "1 / time"}  # of those that have a unit
LAGS, USUAL_HORIZON = 20, 20.0  # of impulse responses: how many, and how far they reach, in tau, if the task has no horizon
SINGULAR = 1e-10  # a direction whose variance is below this, relative to the largest variance, counts as having none


class Observer(eqx.Module):
    """What is observed of a state besides its overlaps: the observables of these names."""

    names: tuple[str, ...] = eqx.field(static=True)
    rnn: RNN
    lags: tuple[float, ...] = eqx.field(static=True)  # of impulse responses

    def check(self, state: State, objective: Any) -> None:
        """Raise ValueError unless the state and the task have these observables."""
        for name in self.names:
            if name not in OBSERVABLES:
                raise argument_error("observe", f"hold names out of {', '.join(OBSERVABLES)}", f"{name!r} came")
        if "moments" in self.names and state.neurons() is None:
            must, came = "ask for moments of a network or a mean field alone", "the state has no neurons"
            mend = "Overlaps are Gaussian by assumption: use overlaps.mean_field() or overlaps.sample(n, key)."
            raise argument_error("observe", must, came, mend)
        if "output" in self.names and not hasattr(_clean(objective), "response"):
            mend = "Use fixed trials: flip_flop(key), or task.sample(key) of a task that draws new trials."
            came = "the task has no fixed trials"
            raise argument_error("observe", "ask for the output on tasks of fixed trials alone", came, mend)
        if "impulse_response" in self.names:
            self.rnn.require_linear()
            require_no_constants(state)

    def __call__(self, state: State, objective: Any) -> dict[str, AnyArray]:
        """The values of the observables: a dictionary from the name of each variable to its value."""
        values = {}
        if "moments" in self.names and (neurons := state.neurons()) is not None:
            values |= moments(*neurons)
        if "output" in self.names:
            values["output"] = _clean(objective).response(state)
        if "impulse_response" in self.names:
            values["impulse_response"] = impulse_response(state, self.rnn, self.lags)
        return values


def observer(names: Any, rnn: RNN, task: Task, times: Any = None) -> Observer:
    """The observer for these names. `times`: the lags of impulse responses, as in `lags_of`."""
    names = (names,) if isinstance(names, str) else tuple(names)
    return Observer(names, rnn, lags_of(times, task, rnn))


def lags_of(times: Any, task: Task, rnn: RNN) -> tuple[float, ...]:
    """The lags (times after the impulse) of impulse responses. `times`: an array of lags; None for lags that fit the task.

    Raises ValueError for lags that are no increasing numbers of at least 0, or no multiples of dt.
    """
    if times is None:
        lags = np.arange(LAGS) / LAGS * (task.horizon or USUAL_HORIZON * rnn.tau)
        lags = lags if rnn.dt is None else np.unique(np.round(lags / rnn.dt)) * rnn.dt
    else:
        lags = real_array("times", times, ndim=1)
        if is_traced(lags):
            raise argument_error("times", "be known when the program is compiled", "a traced array came", "Use a NumPy array.")
        if not lags.size or lags[0] < 0 or np.any(np.diff(lags) <= 0):
            raise argument_error("times", "be increasing lags of at least 0", f"{lags.tolist()} came")
    lags = tuple(lags.tolist())
    if rnn.dt is not None:
        samples_at(lags, rnn.dt)
    return lags


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
