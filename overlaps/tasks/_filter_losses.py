"""The squared distance between impulse responses, from Gramians and from samples."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, numpy_for
from overlaps.connectivity import State
from overlaps.dynamics import (
    RNN,
    Course,
    euler_response,
    exact_response,
    finite_integral,
    finite_sum,
    infinite_integral,
    infinite_sum,
    integral_course,
    orbit,
    sum_course,
)

# Ranks up to which blocks are quicker. From four rows on XLA calls a library for each product, and blocks need more products.
MOST_LATENTS = 3


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
        if self.steps is None:
            gramian = infinite(joint, source)
        else:
            gramian, _ = finite(joint, source, steps=self.steps, scanned=self.scanned)
        loss = _not_negative(jnp.sum(readout @ gramian * readout))
        return jnp.where(jnp.any(jnp.isinf(gramian)), jnp.inf, loss)  # infinity times zero is NaN in the sum


class BlockLoss(eqx.Module):
    """A `GramianLoss` of finite horizon, by blocks of X.

    The filtered inputs and the target do not learn: their block of X is known, and so is all else of their `course`.
    """

    C: Float[AnyArray, "*batch O n"]  # of the target
    course: Course
    rnn: RNN
    horizon: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __call__(self, state: State) -> Float[AnyArray, ""]:
        (A, _, C), dt, inputs = self.rnn.system(state), self.rnn.dt, state.layout.inputs
        own, drive, none = A[inputs:, inputs:], A[inputs:, :inputs], np.zeros((A.shape[0] - inputs,) * 2)
        if dt is None:
            gramian, cross = finite_integral(own, none, self.steps, self.horizon, drive=drive, course=self.course)
        else:
            phi = np.eye(own.shape[0]) + dt * own
            gramian, cross = finite_sum(phi, none, self.steps, drive=dt * drive, course=self.course)
        readout, fixed = C[:, inputs:], jnp.concatenate([C[:, :inputs], -self.C], axis=1)
        known = self.course.pieces.gramian[-1]
        return _not_negative(jnp.sum(readout @ gramian * readout) + jnp.sum((2 * readout @ cross + fixed @ known) * fixed))


def quick_to_compile(objective: Any) -> Any:
    """The same loss for a place of a program that seldom runs: it compiles faster, and runs slower.

    Losses that have no such form are returned as they are.
    """
    return dataclasses.replace(objective, scanned=True) if isinstance(objective, GramianLoss) else objective


def quick_to_run(objective: Any, rank: int) -> Any:
    """The same loss for programs of many steps: what does not learn is computed here, and the rest in smaller products.

    Losses that have no such form, or are not quicker in it, are returned as they are. The numbers are the same to rounding, and
    rounding differs between a network alone and the same network in a batch.
    """
    if not isinstance(objective, GramianLoss) or objective.steps is None or rank > MOST_LATENTS:
        return objective
    A, B, C, rnn, steps = objective.A, objective.B, objective.C, objective.rnn, objective.steps
    eye = np.broadcast_to(np.eye(B.shape[-1]), (*B.shape[:-2], B.shape[-1], B.shape[-1]))
    B = numpy_for(B).concatenate([eye / rnn.tau, B], axis=-2)
    source = B @ B.swapaxes(-1, -2)
    if rnn.dt is None or objective.propagator is None:
        course = integral_course(_beside(-eye / rnn.tau, A), source, steps, objective.horizon)
    else:
        course = sum_course(_beside((1 - rnn.dt / rnn.tau) * eye, objective.propagator), rnn.dt * source, steps)
    return BlockLoss(C, course, rnn, objective.horizon, steps)


def _not_negative(loss: Float[AnyArray, ""]) -> Float[AnyArray, ""]:
    # A difference of large numbers near a solution: what rounding leaves may be negative. The slope stays as it is.
    return loss + jax.lax.stop_gradient(jnp.maximum(-loss, 0.0))


def _beside(one: AnyArray, other: AnyArray) -> AnyArray:
    """The block diagonal matrix of two, or of two batches."""
    xp = numpy_for(one, other)
    upper = xp.concatenate([one, np.zeros((*one.shape[:-1], other.shape[-1]))], axis=-1)
    lower = xp.concatenate([np.zeros((*other.shape[:-1], one.shape[-1])), other], axis=-1)
    return xp.concatenate([upper, lower], axis=-2)


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
