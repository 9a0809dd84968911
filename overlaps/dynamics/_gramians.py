"""Gramians by doubling: sums and integrals of matrix powers and exponentials, finite and infinite.

For x' = A x the Gramian over a horizon T is X = int_0^T exp(A t) Q exp(A t)^T dt; for x_{k+1} = Phi x_k over K samples it is
X = sum_{k<K} Phi^k Q (Phi^k)^T. Both obey X_{2n} = X_n + Phi^n X_n (Phi^n)^T, which is the one algorithm here: O(n^3 log T),
differentiable to any order, and exact to rounding (docs/theory.md, "The loss in closed form").
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from overlaps._support import AnyArray

Square = Float[AnyArray, "n n"]
Pair = tuple[Square, Square]

TAYLOR_ORDER = 12
LARGEST_TAYLOR_NORM = 0.25  # (2 * 0.25)^13 / 14! is 1e-15: the truncation error is below rounding
MOST_DOUBLINGS = 60


def finite_sum(phi: Square, source: Square, steps: int, scanned: bool = False) -> Square:
    """sum_{k < steps} Phi^k Q (Phi^k)^T, for a static number of steps.

    With `scanned`, doublings are a loop of the compiled program: it compiles faster, and small matrices run several times
    slower. The numbers are the same to rounding. `finite_integral` has the same switch.
    """
    # Powers are kept as Phi^n - 1, which loses no digits where Phi is close to the identity (small dt).
    step = phi - jnp.eye(phi.shape[0])

    def add(pair: Pair) -> Pair:
        excess, total = pair
        return step + phi @ excess, source + phi @ total @ phi.T

    def double(pair: Pair, odd: Any) -> Pair:
        pair = _double(*pair)
        if scanned:
            return jax.lax.cond(odd, add, lambda pair: pair, pair)
        return add(pair) if odd else pair

    bits = [bit == "1" for bit in f"{steps:b}"[1:]]
    return _repeat(double, (step, source), np.array(bits, bool) if scanned else bits)[1]


def finite_integral(a: Square, source: Square, steps: int, horizon: float, scanned: bool = False) -> Square:
    """int_0^horizon exp(A t) Q exp(A t)^T dt from a series over horizon / 2^steps, doubled that many times.

    Where the norm of A leaves the range of that series the result is NaN, never a wrong number.
    """
    step = a * (horizon / 2**steps)

    def add_term(sums: tuple, order: Any) -> tuple:
        excess, power, total, term = sums
        power = step @ power / order
        excess = excess + power
        half = step @ term / (order + 1)
        term = half + half.T
        return excess, power, total + term, term

    def double(pair: Pair, _: Any) -> Pair:
        return _double(*pair)

    orders, doublings = (np.array(each) if scanned else each for each in (range(1, TAYLOR_ORDER + 1), range(steps)))
    excess, power = jnp.zeros_like(a), jnp.eye(a.shape[0])
    total = term = source * (horizon / 2**steps)
    excess, _, total, _ = _repeat(add_term, (excess, power, total, term), orders)
    _, total = _repeat(double, (excess, total), doublings)
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


def _repeat(body: Callable, carry: Any, items: Any) -> Any:
    """Apply `body` to what it returned and to each item: unrolled, or as a loop of the program if items are an array."""
    if isinstance(items, np.ndarray):
        return jax.lax.scan(lambda carry, item: (body(carry, item), None), carry, items)[0]
    for item in items:
        carry = body(carry, item)
    return carry


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
