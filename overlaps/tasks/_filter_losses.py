"""The squared distance between impulse responses, from Gramians and from samples."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity import State
from overlaps.dynamics import (
    RNN,
    euler_response,
    exact_response,
    finite_integral,
    finite_sum,
    infinite_integral,
    infinite_sum,
    orbit,
)


class GramianLoss(eqx.Module):
    """|f - f*|^2 as C X C^T with X the Gramian of network and target side by side: no time stepping."""

    A: Float[AnyArray, "*batch n n"]  # of the target, as are B and C
    B: Float[AnyArray, "*batch n I"]
    C: Float[AnyArray, "*batch O n"]
    propagator: Float[AnyArray, "*batch n n"] | None  # exp(A dt), for Euler
    rnn: RNN
    horizon: float = eqx.field(static=True)
    steps: int | None = eqx.field(static=True)  # Euler samples, or doublings in continuous time; None: infinite horizon
    scanned: bool = eqx.field(static=True, default=False)  # see finite_sum

    def __call__(self, state: State) -> Float[AnyArray, ""]:
        system, dt = self.rnn.system(state), self.rnn.dt
        source = jnp.concatenate([system.B, self.B])
        source = source @ source.T
        readout = jnp.concatenate([system.C, -self.C], axis=1)
        if dt is None:
            joint = jax.scipy.linalg.block_diag(system.A, self.A)
            finite, infinite = functools.partial(finite_integral, horizon=self.horizon), infinite_integral
        else:
            joint = jax.scipy.linalg.block_diag(jnp.eye(system.A.shape[0]) + dt * system.A, self.propagator)
            source, finite, infinite = dt * source, finite_sum, infinite_sum
        gramian = (
            infinite(joint, source) if self.steps is None else finite(joint, source, steps=self.steps, scanned=self.scanned)
        )
        loss = jnp.sum(readout @ gramian * readout)
        # A difference of large numbers near a solution: what rounding leaves may be negative. The slope stays as it is.
        loss = loss + jax.lax.stop_gradient(jnp.maximum(-loss, 0.0))
        return jnp.where(jnp.any(jnp.isinf(gramian)), jnp.inf, loss)  # infinity times zero is NaN in the sum


def quick_to_compile(objective: Any) -> Any:
    """The same loss for a place of a program that seldom runs: it compiles faster, and runs slower.

    Losses that have no such form are returned as they are.
    """
    return dataclasses.replace(objective, scanned=True) if isinstance(objective, GramianLoss) else objective


class SampledLoss(eqx.Module):
    """sum_k w_k |f(t_k) - f*(t_k)|^2, where f is simulated with all N units, or is the reduced response under Euler."""

    targets: Float[AnyArray, "*batch samples O I"]
    weights: Float[AnyArray, "*batch samples"]
    rnn: RNN
    steps: int = eqx.field(static=True)  # Euler steps, or panels in continuous time
    horizon: float = eqx.field(static=True)

    def __call__(self, state: State) -> Float[AnyArray, ""]:
        return self.compare(self.response(state), self.targets)

    def compare(self, response: AnyArray, targets: AnyArray) -> Float[AnyArray, ""]:
        """The loss of a response under targets."""
        return jnp.einsum("k,koi->", self.weights, (response - targets) ** 2)

    def response(self, state: Any) -> Float[AnyArray, "samples O I"]:
        """The impulse response at the sample times."""
        dt = self.rnn.dt
        if dt is None:
            return exact_response(state, self.rnn, self.steps, self.horizon)
        if state.simulated:
            return euler_response(state, self.rnn, dt, self.steps)
        system = self.rnn.system(state)
        return system.C @ orbit(jnp.eye(system.A.shape[0]) + dt * system.A, system.B, self.steps)
