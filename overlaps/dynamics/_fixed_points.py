"""Fixed points of the latents (the few numbers that make up the activity), their stability, and the flow around them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import scipy
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, in_float64, number, real_array, said
from overlaps.connectivity import State
from overlaps.dynamics._activity import require_single
from overlaps.dynamics._fixed_points_units import UNIT_STARTS, search_units

TOLERANCE = 1e-12
MOST_STARTS = 4096
POLISH = 60  # Newton steps after each search. Where fixed points meet, a step removes only a third of the distance
FLAT = 1e-10  # singular values of the Jacobian of tau dk/dt below this belong to a line or ring of fixed points
# The next three are relative to the extent of the search.
SPEED = 1e-9  # largest |tau dk/dt| at a fixed point
APART = 1e-5  # smallest distance between two fixed points, and largest Newton step that is left at one
NEARBY = 1e-7  # distance from a fixed point at which Jacobians on all its sides are compared
KINK = 1e-4  # if these Jacobians differ by more than this, phi has a kink there
MARGINAL = 1e-6  # growth rates below this, times tau, count as zero


@in_float64
def fixed_points(rnn: Any, state: Any, input: Any, starts: Any, extent: Any) -> xr.Dataset:
    """The fixed points, as the docstring of `RNN.fixed_points` describes."""
    held = _held(state, input)
    rank, search = state.layout.rank, search_units if state.has_bulk else _search
    reach = _reach(state, extent)
    usual = UNIT_STARTS if state.has_bulk else min(64 * 2 ** max(rank, 2), MOST_STARTS)
    starts = usual if starts is None else count("starts", starts)
    # Sobol points (evenly spread points). The origin is one of them.
    grid = (
        scipy.stats.qmc.Sobol(rank, scramble=False).random_base2(int(np.ceil(np.log2(starts))))
        if starts > 1
        else np.zeros((1, rank))
    )
    scale = max(reach, 1.0)
    results: list[Any] = [np.asarray(x) for x in search(rnn, state, held, reach * (2 * grid - 1), NEARBY * scale)]
    ends, eigenvalues, output, speed, left, difference = results
    # Near points where fixed points meet, the flow is slow. So a Newton step must not move away from a fixed point either.
    found = np.flatnonzero((speed <= SPEED * scale) & (left <= APART * scale))
    kept = np.array(distinct(ends, found[np.lexsort((speed[found], left[found]))], APART * scale), int)
    kept = kept[np.lexsort(ends[kept].T[::-1])]
    positions, eigenvalues = ends[kept], eigenvalues[kept]
    positions[np.abs(positions) < TOLERANCE * reach] = 0.0
    eigenvalues[difference[kept] > KINK] = np.nan
    growth = eigenvalues.real if rnn.dt is None else (np.abs(1 + rnn.dt * eigenvalues) - 1) / rnn.dt
    kinds = [_kind(one * rnn.tau) for one in growth]
    return xr.Dataset(
        {
            "position": (("fixed_point", "latent"), positions, said("latent variable")),
            "output": (("fixed_point", "readout"), output[kept], said("output")),
            "eigenvalue_real": (("fixed_point", "mode"), eigenvalues.real, said("growth rate", "1 / time")),
            "eigenvalue_imag": (("fixed_point", "mode"), eigenvalues.imag, said("angular frequency", "1 / time")),
            "kind": ("fixed_point", np.array(kinds, dtype="U9"), said("kind of fixed point")),
            "stable": ("fixed_point", np.array([kind == "stable" for kind in kinds], bool), said("whether stable")),
        },
        {"latent": list(state.latent_layout.latents[-ends.shape[1] :]), "readout": list(state.layout.readouts)},
        {"input": held.tolist()},
    )


@in_float64
def phase_portrait(rnn: Any, state: Any, input: Any, points: Any, extent: Any) -> xr.Dataset:
    """The portrait, as the docstring of `RNN.phase_portrait` describes."""
    require_single(state)
    rank = state.layout.rank
    if state.has_bulk:
        raise argument_error("state", "have no bulk for a portrait", "it has one", "Its latents do not fit on a plane.")
    if rank > 2:
        raise argument_error("state", "have rank 1 or 2 for a portrait", f"its rank is {rank}")
    found = fixed_points(rnn, state, input, starts=None, extent=extent)
    if extent is None:
        largest = float(np.max(np.abs(found["position"].values), initial=0.0))
        extent = 4 / 3 * largest if largest > 1e-3 else _reach(state, None) / 2
    axis = np.linspace(-extent, extent, count("points", points, least=2))
    grid = np.stack(np.meshgrid(*[axis] * rank, indexing="ij"), axis=-1)
    held = np.asarray(found.attrs["input"])
    velocity = np.asarray(_velocities(rnn, state, held, grid.reshape(-1, rank)))
    names = [str(name) for name in found["latent"].values]
    variable = ((*names, "latent"), velocity.reshape(grid.shape), said("velocity dk/dt", "1 / time"))
    return found.assign(velocity=variable).assign_coords({name: (name, axis, said("latent variable")) for name in names})


def _held(state: Any, input: Any) -> Float[np.ndarray, " I"]:
    require_single(state, input)
    array, inputs = real_array("input", input), state.layout.inputs
    if array.shape not in ((), (inputs,)):
        raise argument_error("input", f"be a number or of shape ({inputs},)", f"its shape is {array.shape}")
    return np.broadcast_to(array, (inputs,)).astype(float)


def _reach(state: State, extent: Any) -> float:
    """How far out searches start. If phi is bounded, each fixed point has |k| <= E|v| max|phi|."""
    _, _, readers, _ = state.layout.split(np.diagonal(state.gram))
    return 2 * float(np.sqrt(readers.max())) or 1.0 if extent is None else number("extent", extent, above=0.0)


@eqx.filter_jit
def _search(
    rnn: Any, state: State, held: Float[AnyArray, " I"], starts: Float[AnyArray, "starts R"], nearby: float
) -> tuple[AnyArray, ...]:
    """The points where the searches end, and there: eigenvalues of the Jacobian, output, speed, and length of a Newton step.

    The last result is the largest difference among the Jacobians at points at the distance `nearby`. These points are on both
    sides along each axis, and along some more directions.
    """
    project, rank = rnn.projection(state), starts.shape[1]

    def respond(latents: Float[AnyArray, " R"]) -> Float[AnyArray, " read"]:
        return project(jnp.concatenate([state.layout.driven(held), latents])[None])[0]

    def residual(latents: Float[AnyArray, " R"], _: Any = None) -> Float[AnyArray, " R"]:
        return respond(latents)[:rank] - latents

    jacobian = jax.jacfwd(residual)
    directions = np.concatenate([np.eye(rank), np.random.default_rng(0).standard_normal((rank + 2, rank))])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sides = np.concatenate([directions, -directions])

    def newton(latents: Float[AnyArray, " R"]) -> Float[AnyArray, " R"]:
        """The step to the closest fixed point of the linearised flow. It has no part along a line of fixed points."""
        left, values, right = jnp.linalg.svd(jacobian(latents))
        inverse = jnp.where(values > FLAT * jnp.maximum(values[:1], 1.0), 1 / values, 0.0)
        return -right.T @ (inverse * (left.T @ residual(latents)))

    def search(start: Float[AnyArray, " R"]) -> tuple:
        solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
        end = optimistix.root_find(residual, solver, start, max_steps=200, throw=False).value
        end = jax.lax.fori_loop(0, POLISH, lambda _, latents: latents + newton(latents), end)
        around = jax.vmap(jacobian)(end[None] + nearby * sides)
        left, difference = jnp.linalg.norm(newton(end)), jnp.max(jnp.ptp(around, axis=0))
        return end, jacobian(end), respond(end)[rank:], jnp.linalg.norm(residual(end)), left, difference

    ends, jacobians, *rest = jax.lax.map(search, starts, batch_size=64)
    return ends, jnp.linalg.eigvals(jnp.nan_to_num(jacobians, posinf=0.0, neginf=0.0)) / rnn.tau, *rest


@eqx.filter_jit
def _velocities(rnn: Any, state: State, held: Float[AnyArray, " I"], points: Float[AnyArray, "points R"]) -> AnyArray:
    held = state.layout.driven(held)
    latents = jnp.concatenate([jnp.broadcast_to(held[None], (points.shape[0], held.shape[0])), points], axis=1)
    return (rnn.projection(state)(latents)[:, : points.shape[1]] - points) / rnn.tau


def distinct(points: np.ndarray, order: np.ndarray, apart: float) -> list[int]:
    """The points of an order, given by their numbers, without those that are nearer than `apart` to one before them."""
    kept: list[int] = []
    for index in order:
        if all(np.linalg.norm(points[index] - points[other]) > apart for other in kept):
            kept.append(int(index))
    return kept


def _kind(growth: np.ndarray) -> str:
    if np.any(np.isnan(growth)):
        return "nonsmooth"
    if np.any(np.abs(growth) < MARGINAL):
        return "marginal"
    return "stable" if np.all(growth < 0) else "unstable" if np.all(growth > 0) else "saddle"
