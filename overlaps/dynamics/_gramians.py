"""Gramians by doubling: sums and integrals of matrix powers and exponentials, finite and infinite.

For x' = A x the Gramian over a horizon T is X = int_0^T exp(A t) Q exp(A t)^T dt; for x_{k+1} = Phi x_k over K samples it is
X = sum_{k<K} Phi^k Q (Phi^k)^T. Both obey X_{a+b} = X_b + Phi^b X_a (Phi^b)^T, which is the one algorithm here, mostly with
a = b: O(n^3 log T), differentiable to any order, and exact to rounding (docs/theory.md, "The loss in closed form").

Finite Gramians can belong to a system of two parts: one that learns, and a fixed one that drives it. Matrices are then
[[own, driven], [0, fixed]]. The fixed blocks are computed once, as a `Course`, the others again at each step of learning.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from overlaps._support import AnyArray, is_traced, numpy_for

Square = Float[AnyArray, "*batch n n"]

TAYLOR_ORDER = 12
LARGEST_TAYLOR_NORM = 0.25  # (2 * 0.25)^13 / 14! is 1e-15: the truncation error is below rounding
MOST_DOUBLINGS = 60


class Piece(NamedTuple):
    """What is known of n samples: Phi^n - 1, which loses no digits where Phi is close to the identity, and the Gramian."""

    excess: Square
    driven: Float[AnyArray, "*batch n q"]  # the block of Phi^n from the first q states of the fixed part to the own ones
    gramian: Square
    cross: Float[AnyArray, "*batch n c"]  # the block of the Gramian between own and fixed states


class Fixed(NamedTuple):
    """The same of the fixed part, which nothing drives."""

    excess: Float[AnyArray, "*batch c c"]
    gramian: Float[AnyArray, "*batch c c"]


class Course(NamedTuple):
    """All pieces of a fixed part, along the axis -3, in the order in which the algorithm meets them; the last is the result.

    For an integral also the powers step^j / j! and the terms of the Gramian from which its series is added up.
    """

    pieces: Fixed
    series: Fixed | None


NOTHING = Fixed(np.zeros((0, 0)), np.zeros((0, 0)))


def finite_sum(
    phi: Square, source: Square, steps: int, scanned: bool = False, drive: Any = None, course: Course | None = None
) -> tuple[Square, AnyArray]:
    """sum_{k < steps} Phi^k Q (Phi^k)^T for a static number of steps: the own block, and the one with the fixed part.

    `source`: the own block of Q. `drive`: the block (n, q) of Phi from the first q states of the fixed part, whose `course` is
    that of `sum_course`. With `scanned`, the steps of the algorithm are a loop of the compiled program: it compiles faster, and
    small matrices run several times slower. The numbers are the same to rounding. `finite_integral` has the same switch.
    """
    first = _first(phi - np.eye(phi.shape[-1]), source, drive, course)
    last = _scanned(first, _doubles(steps), course) if scanned else _pieces(first, _doubles(steps), course)[-1]
    return last.gramian, last.cross


def finite_integral(
    a: Square,
    source: Square,
    steps: int,
    horizon: float,
    scanned: bool = False,
    drive: Any = None,
    course: Course | None = None,
) -> tuple[Square, AnyArray]:
    """int_0^horizon exp(A t) Q exp(A t)^T dt from a series over horizon / 2^steps, doubled that many times.

    `drive` is the block of A from the fixed part, whose `course` is that of `integral_course`; what is returned and the other
    arguments are as in `finite_sum`. Where the norm of A leaves the range of the series the result is NaN, never a wrong
    number.
    """
    scale = horizon / 2**steps
    step = _first(a * scale, source * scale, None if drive is None else drive * scale, course)
    first = _series(step, course, scanned)
    doubles = np.ones(steps, bool)
    last = _scanned(first, doubles, course) if scanned else _pieces(first, doubles, course)[-1]
    return last.gramian, last.cross


def sum_course(phi: Square, source: Square, steps: int) -> Course:
    """The course of a fixed part with the block `phi` of Phi and the block `source` of Q, for `finite_sum`."""
    return Course(_stacked(_pieces(_first(phi - np.eye(phi.shape[-1]), source), _doubles(steps))), None)


def integral_course(a: Square, source: Square, steps: int, horizon: float) -> Course:
    """The course of a fixed part with the block `a` of A and the block `source` of Q, for `finite_integral`."""
    step = _first(a * (horizon / 2**steps), source * (horizon / 2**steps))
    pieces = _pieces(_series(step), np.ones(steps, bool))
    return Course(_stacked(pieces), _stacked(_terms(step)))


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


def _first(step: Square, source: Square, drive: Any = None, course: Course | None = None) -> Piece:
    """One sample, or one term of a series: before it, the fixed part has not acted on the own states."""
    fixed = 0 if course is None else course.pieces.excess.shape[-1]
    rows = step.shape[:-1]
    source = np.broadcast_to(source, step.shape) if isinstance(source, np.ndarray) else source
    return Piece(step, np.zeros((*rows, 0)) if drive is None else drive, source, np.zeros((*rows, fixed)))


def _doubles(steps: int) -> np.ndarray:
    """For each step of the algorithm whether it doubles the number of samples; otherwise it adds one."""
    return np.array([double for bit in f"{steps:b}"[1:] for double in ((True, False) if bit == "1" else (True,))], bool)


def _pieces(first: Piece, doubles: np.ndarray, course: Course | None = None) -> list[Piece]:
    pieces = [first]
    for index, double in enumerate(doubles):
        one = (first, _entry(course and course.pieces, 0))
        last = (pieces[-1], _entry(course and course.pieces, index))
        pieces.append(_join(last if double else one, last))
    return pieces


def _scanned(first: Piece, doubles: np.ndarray, course: Course | None) -> Piece:
    def step(early: Piece, item: tuple[Any, Fixed]) -> tuple[Piece, None]:
        double, fixed = item
        last, one = (early, fixed), (first, _entry(course and course.pieces, 0))
        return _join(jax.tree.map(lambda two, one: jnp.where(double, two, one), last, one), last), None

    entries = _entries(course and course.pieces, len(doubles))
    return jax.lax.scan(step, jax.tree.map(jnp.asarray, first), (doubles, entries))[0]


def _join(late: tuple[Piece, Fixed], early: tuple[Piece, Fixed]) -> Piece:
    """The piece of a + b samples, from that of the first a and that of b more."""
    (phi, last), (total, fixed) = late, early
    inputs = phi.driven.shape[-1]
    moved, crossed = _kept(
        (
            total.gramian + phi.excess @ total.gramian + phi.driven @ _transposed(total.cross[..., :inputs]),
            total.cross + phi.excess @ total.cross + phi.driven @ fixed.gramian[..., :inputs, :],
        )
    )
    return _kept(
        Piece(
            total.excess + phi.excess + phi.excess @ total.excess,
            total.driven + phi.driven + phi.excess @ total.driven + phi.driven @ fixed.excess[..., :inputs, :inputs],
            phi.gramian + moved + moved @ _transposed(phi.excess) + crossed[..., :inputs] @ _transposed(phi.driven),
            phi.cross + crossed + crossed @ _transposed(last.excess),
        )
    )


def _series(step: Piece, course: Course | None = None, scanned: bool = False) -> Piece:
    """The piece for a short time, from that of first order in it."""
    start = _terms(step, course)[0]
    total = start._replace(excess=0 * start.excess)
    if scanned:
        first, entries = jax.tree.map(jnp.asarray, (total, start)), _entries(course and course.series, TAYLOR_ORDER)

        def add(sums: tuple[Piece, Piece], item: tuple[Any, Fixed]) -> tuple[tuple[Piece, Piece], None]:
            term = _next_term(step, course, sums[1], *item)
            return (_added(sums[0], term), term), None

        total = jax.lax.scan(add, first, (np.arange(1, TAYLOR_ORDER + 1), entries))[0][0]
    else:
        for term in _terms(step, course)[1:]:
            total = _added(total, term)
    xp, inputs = numpy_for(step), step.driven.shape[-1]
    fixed = NOTHING if course is None else _entry(course.series, 1)
    drivers = xp.sum(xp.abs(step.driven), axis=-2) + xp.sum(xp.abs(fixed.excess[..., :inputs, :inputs]), axis=-2)
    norm = xp.max(xp.concatenate([xp.sum(xp.abs(step.excess), axis=-2), drivers], axis=-1), axis=-1)[..., None, None]
    return jax.tree.map(lambda values: xp.where(norm <= LARGEST_TAYLOR_NORM, values, np.nan), total)


def _terms(step: Piece, course: Course | None = None) -> list[Piece]:
    """The terms of the series: powers of the step over factorials, and what each order adds to the Gramian."""
    eye = np.broadcast_to(np.eye(step.excess.shape[-1]), step.excess.shape)
    terms = [step._replace(excess=eye, driven=np.zeros(step.driven.shape))]
    for order in range(1, TAYLOR_ORDER + 1):
        terms.append(_next_term(step, course, terms[-1], order, _entry(course and course.series, order - 1)))
    return terms


def _next_term(step: Piece, course: Course | None, term: Piece, order: Any, fixed: Fixed) -> Piece:
    inputs = step.driven.shape[-1]
    moved = step.excess @ term.gramian + step.driven @ _transposed(term.cross[..., :inputs])
    crossed = step.excess @ term.cross + step.driven @ fixed.gramian[..., :inputs, :]
    crossed = crossed + term.cross @ _transposed(_entry(course and course.series, 1).excess)
    driven = step.excess @ term.driven + step.driven @ fixed.excess[..., :inputs, :inputs]
    return _kept(
        Piece(
            step.excess @ term.excess / order, driven / order, (moved + _transposed(moved)) / (order + 1), crossed / (order + 1)
        )
    )


def _added(one: Piece, other: Piece) -> Piece:
    return Piece(*(left + right for left, right in zip(one, other, strict=True)))


def _entry(entries: Fixed | None, index: int) -> Fixed:
    return NOTHING if entries is None else Fixed(*(values[index] for values in entries))


def _entries(entries: Fixed | None, number: int) -> Fixed:
    """The first ones, stacked."""
    return Fixed(*(np.zeros((number, 0, 0)) if values is None else values[:number] for values in entries or (None, None)))


def _stacked(pieces: list[Piece]) -> Fixed:
    xp, shape = numpy_for(pieces), pieces[-1].gramian.shape
    excess, gramian = (
        xp.stack([xp.broadcast_to(values, shape) for values in each], axis=-3)
        for each in zip(*((piece.excess, piece.gramian) for piece in pieces), strict=True)
    )
    return Fixed(excess, gramian)


def _kept(values: Any) -> Any:
    """The same values, computed once: compilers that fuse loops compute again and again what several results need.

    It needs the options with which rules of learning are compiled. Elsewhere nothing changes.
    """
    return jax.lax.optimization_barrier(values) if is_traced(values) else values


def _transposed(matrix: AnyArray) -> AnyArray:
    return matrix.swapaxes(-1, -2)


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
