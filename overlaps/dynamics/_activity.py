"""From connectivity to activity: the latent variables of any state, in Euler steps and in continuous time.

If h(0) = 0, the activity stays in the space that m and u span: h = m k_m + u k, for every phi and every N (docs/activity.md,
"Activity stays in a small space"). So the I + R numbers kappa = [k_m, k], the latents, determine the activity. The network
reads phi(h) only through the projections (1/N) [v z]^T phi(h).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced
from overlaps.connectivity import Projection, State
from overlaps.dynamics._transfer import Transfer

RTOL, ATOL = 1e-8, 1e-10  # tolerances of the solver in continuous time
MOST_STEPS = 256  # of the solver for one input sample, while the input is constant
LONG = 2048  # trials of so many samples or more are cut into pieces; the gradient computes each piece again, to save memory

Latents = Float[AnyArray, "points kappa"]


def require_single(state: Any, *others: Any) -> None:
    """Raise ValueError unless `state` is a single network and no argument is traced (inside jit, vmap or grad)."""
    if not isinstance(state, State):
        raise argument_error("state", "be an Overlaps, MeanField, Network or DenseNetwork", f"{type(state).__name__} came")
    if is_traced(state, others):
        raise argument_error(
            "state", "hold known numbers", "JAX traces an argument", "Use `RNN.projection` inside jit, vmap and grad."
        )
    if state.batch:
        raise argument_error("state", "be a single network", f"a batch of shape {state.batch} came")


def projection(transfer: Transfer, state: State) -> Projection:
    """The map from latents kappa to (1/N) [v z]^T phi([m u] kappa), plus the readout bias: what recurrence and readout see.

    The gradient computes the activity of the neurons again. So memory does not hold every neuron at every sample.
    """
    project = jax.checkpoint(state.projection(transfer), prevent_cse=False)  # `lax.scan` around it prevents that already
    c = state.readout_bias
    if c is None:
        return project
    offset = jnp.concatenate([jnp.zeros(state.latent_layout.rank, c.dtype), c])
    return lambda latents: project(latents) + offset[None]


def rollout(
    project: Projection, inputs: Float[AnyArray, "trials time I"], layout: Any, dt: float, tau: float, continuous: bool
) -> tuple[Float[AnyArray, "trials time kappa"], Float[AnyArray, "trials time O"]]:
    """Latents and outputs after each input sample, starting from h = 0, or from the initial activity.

    Time advances by Euler steps of length `dt`. If `continuous`, a solver integrates instead, and holds each input for `dt`.
    `layout`: that of the latents. A bias has the constant input 1, and the latent of an initial activity starts at 1.
    """

    def field(latents: Latents, projected: Float[AnyArray, "trials read"], sample: Float[AnyArray, "trials I"]) -> Latents:
        return (jnp.concatenate([sample, projected[:, :rank]], axis=1) - latents) / tau

    def advance(latents: Latents, sample: Float[AnyArray, "trials I"]) -> tuple[Latents, tuple[Latents, AnyArray]]:
        projected = project(latents)
        if continuous:
            after = _hold(lambda now: field(now, project(now), sample), latents, dt)
        else:
            after = latents + dt * field(latents, projected, sample)
        return after, (latents, projected[:, rank:])

    rank, inputs = layout.rank, layout.driven(inputs)
    start = jnp.zeros((inputs.shape[0], inputs.shape[2] + rank), inputs.dtype)
    start = start.at[:, layout.external - 1].set(1.0) if layout.initial else start
    samples = jnp.moveaxis(inputs, 1, 0)
    end, (latents, outputs) = _scan(jax.checkpoint(advance) if continuous else advance, start, samples)
    latents = jnp.concatenate([latents[1:], end[None]])
    outputs = jnp.concatenate([outputs[1:], project(end)[None, :, rank:]])
    return jnp.moveaxis(latents, 1, 0), jnp.moveaxis(outputs, 1, 0)


def _hold(field: Callable[[Latents], Latents], start: Latents, dt: float) -> Latents:
    """The latents after a time `dt` of constant input. They are NaN if the solver fails."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, now, __: field(now)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=dt,
        dt0=dt,
        y0=start,
        stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
        max_steps=MOST_STEPS,
        throw=False,
    )
    failed = solution.result != diffrax.RESULTS.successful
    return jnp.where(failed, jnp.nan, solution.ys[-1])  # pyright: ignore[reportOptionalSubscript]


def _scan(advance: Callable, start: Any, inputs: Any) -> Any:
    """`lax.scan`. For long trials, its gradient stores only the latents between pieces, and computes each piece again."""
    samples = inputs.shape[0]
    if samples < LONG:
        return jax.lax.scan(advance, start, inputs)
    length = math.isqrt(samples)
    whole = samples - samples % length
    pieces = inputs[:whole].reshape(-1, length, *inputs.shape[1:])
    between, first = jax.lax.scan(jax.checkpoint(functools.partial(jax.lax.scan, advance)), start, pieces)
    end, rest = jax.lax.scan(advance, between, inputs[whole:])
    return end, jax.tree.map(lambda a, b: jnp.concatenate([a.reshape(whole, *a.shape[2:]), b]), first, rest)
