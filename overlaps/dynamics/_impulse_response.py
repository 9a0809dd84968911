"""The impulse response of a linear network at given lags."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error
from overlaps.connectivity import State
from overlaps.dynamics._gramians import orbit
from overlaps.dynamics._rnn import RNN

WHOLE = 1e-9  # how far from a whole number a lag / dt may be


def impulse_response(state: State, rnn: RNN, lags: tuple[float, ...]) -> Float[AnyArray, "lags O I"]:
    """The output at these times after a unit impulse at each input, for use inside jit, vmap and grad.

    With Euler steps the lags are multiples of dt. Raises ValueError for other lags and for a nonlinear rnn.
    """
    system = rnn.latent_system(state)
    if rnn.dt is None:
        return system.C @ jax.vmap(lambda lag: jax.scipy.linalg.expm(lag * system.A))(jnp.asarray(lags)) @ system.B
    samples = samples_at(lags, rnn.dt)
    states = orbit(jnp.eye(system.A.shape[0]) + rnn.dt * system.A, jnp.asarray(system.B), int(samples.max()) + 1)
    return system.C @ states[samples]


def samples_at(lags: tuple[float, ...], dt: float) -> np.ndarray:
    """The numbers of Euler steps that make these lags. Raises ValueError for lags that are no multiples of dt."""
    steps = np.asarray(lags) / dt
    samples = np.round(steps).astype(int)
    if np.any(np.abs(steps - samples) > WHOLE * np.maximum(samples, 1)):
        wrong = lags[int(np.argmax(np.abs(steps - samples)))]
        raise argument_error("times", f"be whole multiples of dt = {dt:g}", f"{wrong:g} came")
    return samples
