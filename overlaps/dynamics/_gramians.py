"""Gramians by doubling: sums and integrals of matrix powers and exponentials, finite and infinite.

For x' = A x the Gramian over a horizon T is X = int_0^T exp(A t) Q exp(A t)^T dt; for x_{k+1} = Phi x_k over K samples it is
X = sum_{k<K} Phi^k Q (Phi^k)^T. Both obey X_{2n} = X_n + Phi^n X_n (Phi^n)^T, which is the one algorithm here: O(n^3 log T),
differentiable to any order, and exact to rounding (docs/theory.md, "The loss in closed form").
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from overlaps._support import AnyArray

Square = Float[AnyArray, "n n"]

TAYLOR_ORDER = 12
LARGEST_TAYLOR_NORM = 0.25  # (2 * 0.25)^13 / 14! is 1e-15: the truncation error is below rounding
MOST_DOUBLINGS = 60


def finite_sum(phi: Square, source: Square, steps: int) -> Square:
    """sum_{k < steps} Phi^k Q (Phi^k)^T, for a static number of steps."""
    # Powers are kept as Phi^n - 1, which loses no digits where Phi is close to the identity (small dt).
    step = phi - jnp.eye(phi.shape[0])
    excess, total = step, source
    for bit in f"{steps:b}"[1:]:
        excess, total = _double(excess, total)
        if bit == "1":
            excess, total = step + phi @ excess, source + phi @ total @ phi.T
    return total


def finite_integral(a: Square, source: Square, steps: int, horizon: float) -> Square:
    """int_0^horizon exp(A t) Q exp(A t)^T dt from a series over horizon / 2^steps, doubled that many times.

    Where the norm of A leaves the range of that series the result is NaN, never a wrong number.
    """
    step = a * (horizon / 2**steps)
    excess, power = jnp.zeros_like(a), jnp.eye(a.shape[0])
    total = term = source * (horizon / 2**steps)
    for order in range(1, TAYLOR_ORDER + 1):
        power = step @ power / order
        excess = excess + power
        half = step @ term / (order + 1)
        term = half + half.T
        total = total + term
    for _ in range(steps):
        excess, total = _double(excess, total)
    inside = jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(step)), axis=0)) <= LARGEST_TAYLOR_NORM
    return jnp.where(inside, total, jnp.nan)


def infinite_sum(phi: Square, source: Square) -> Square:
    """The solution of the Stein equation X = Phi X Phi^T + Q; infinite unless all eigenvalues are inside the unit circle."""

    def residual(x: Square) -> Square:
        return x - phi @ x @ phi.T

    def solve(_: Callable, right: Square) -> Square:
        return _squared_smith(phi, right)

    def solve_transposed(_: Callable, right: Square) -> Square:
        return _squared_smith(phi.T, right)

    return jax.lax.custom_linear_solve(residual, source, solve, solve_transposed)


def infinite_integral(a: Square, source: Square) -> Square:
    """The solution of the Lyapunov equation A X + X A^T + Q = 0; infinite unless all eigenvalues have negative real part."""

    def residual(x: Square) -> Square:
        return -(a @ x + x @ a.T)

    def solve(_: Callable, right: Square) -> Square:
        return _cayley(a, right)

    def solve_transposed(_: Callable, right: Square) -> Square:
        return _cayley(a.T, right)

    # The derivative of a solution solves an equation with the same matrix: nothing inside `solve` is differentiated.
    return jax.lax.custom_linear_solve(residual, source, solve, solve_transposed)


def orbit(phi: Square, start: Float[AnyArray, "n I"], samples: int) -> Float[AnyArray, "samples n I"]:
    """Phi^k B for k < samples, by doubling: all of them in O(log samples) products."""
    states = start[None]
    while states.shape[0] < samples:
        states = jnp.concatenate([states, phi @ states])
        phi = phi @ phi
    return states[:samples]


def _double(excess: Square, total: Square) -> tuple[Square, Square]:
    """(Phi^n - 1, X_n) to (Phi^2n - 1, X_2n)."""
    moved = excess @ total
    total = 2 * total + moved + moved.T + moved @ excess.T
    return 2 * excess + excess @ excess, total


def _cayley(a: Square, source: Square) -> Square:
    # The Cayley transform with shift p maps the equation to a Stein equation with the same solution. Any p > 0 will do; the
    # geometric mean of the largest and smallest singular value makes doubling converge fastest.
    eye = jnp.eye(a.shape[0])
    shift = jnp.sqrt(jnp.linalg.norm(a) / jnp.linalg.norm(jnp.linalg.inv(a)))
    resolvent = jnp.linalg.inv(shift * eye - a)
    return _squared_smith((shift * eye + a) @ resolvent, 2 * shift * resolvent @ source @ resolvent.T)


def _squared_smith(phi: Square, source: Square) -> Square:
    def unfinished(carry: tuple) -> Array:
        power, _, count = carry
        size = jnp.sum(power**2)
        return (size > jnp.finfo(power.dtype).eps) & jnp.isfinite(size) & (count < MOST_DOUBLINGS)

    def double(carry: tuple) -> tuple:
        power, total, count = carry
        return power @ power, total + power @ total @ power.T, count + 1

    power, total, _ = jax.lax.while_loop(unfinished, double, (phi, source, 0))
    return jnp.where(jnp.sum(power**2) < 1.0, total, jnp.inf)
