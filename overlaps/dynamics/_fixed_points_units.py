"""The search for fixed points of a network with a bulk: all its units are unknown, not the few latents of its low-rank part."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.dynamics._transfer import transfer_of

UNIT_STARTS = 32
RESPONSE_STEPS = 50  # in which the bulk answers to a start
TOLERANCE, MOST_STEPS, POLISH = 1e-10, 100, 3  # of the search, and Newton steps after it


@eqx.filter_jit
def search_units(
    rnn: Any, state: Any, held: Float[AnyArray, " I"], starts: Float[AnyArray, "starts R"], nearby: Float[AnyArray, ""]
) -> tuple[AnyArray, ...]:
    """The points (starts, N) where the searches end, and there what the search for low-rank networks returns.

    A search starts from xi = u k, for a start k. The bulk answers to it by some steps xi <- u k + J phi(m x + xi) with k fixed.
    """
    transfer, project, driven = transfer_of(rnn.phi), rnn.projection(state), state.layout.driven(held)

    def respond(units: Float[AnyArray, " N"]) -> Float[AnyArray, " read"]:
        return project(jnp.concatenate([driven, units])[None])[0]

    def residual(units: Float[AnyArray, " N"], _: Any = None) -> Float[AnyArray, " N"]:
        return respond(units)[: units.size] - units

    def answer(pushed: Float[AnyArray, " N"], units: Float[AnyArray, " N"]) -> Float[AnyArray, " N"]:
        return pushed + state.times_bulk(transfer.function(state.external @ driven + units)[:, None])[:, 0]

    jacobian = jax.jacfwd(residual)
    aside = np.random.default_rng(0).standard_normal((2, state.n))

    def search(start: Float[AnyArray, " R"]) -> tuple:
        pushed = state.u @ start
        begin = jax.lax.fori_loop(0, RESPONSE_STEPS, lambda _, units: answer(pushed, units), pushed)
        begin = jnp.where(jnp.all(jnp.isfinite(begin)), begin, pushed)
        solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
        end = optimistix.root_find(residual, solver, begin, max_steps=MOST_STEPS, throw=False).value
        end = jax.lax.fori_loop(0, POLISH, lambda _, units: units + _newton(jacobian, residual, units), end)
        sides = [jacobian(end + nearby * side) for side in (*aside, *-aside)]
        difference = jnp.max(jnp.ptp(jnp.stack(sides), axis=0))
        left = jnp.linalg.norm(_newton(jacobian, residual, end)) / np.sqrt(end.size)
        speed = jnp.linalg.norm(residual(end)) / np.sqrt(end.size)
        return end, jacobian(end), respond(end)[end.size :], speed, left, difference

    ends, jacobians, *rest = jax.lax.map(search, starts)
    return ends, jnp.linalg.eigvals(jnp.nan_to_num(jacobians, posinf=0.0, neginf=0.0)) / rnn.tau, *rest


def _newton(jacobian: Any, residual: Any, units: Float[AnyArray, " N"]) -> Float[AnyArray, " N"]:
    return -jnp.linalg.solve(jacobian(units), residual(units))
