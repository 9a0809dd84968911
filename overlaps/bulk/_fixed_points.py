"""Stationary states of infinitely many neurons with W = J + u v^T / N, and their stability (docs/bulk_nonlinear.md)."""

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
from overlaps.bulk._arguments import checked
from overlaps.bulk._averages import averages
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN, distinct

TOLERANCE = 1e-12
MOST_STARTS = 4096
POLISH = 60  # Newton steps after each search. Where fixed points meet, a step removes only a third of the distance
FLAT = 1e-10  # singular values of the Jacobian below this belong to a line or ring of fixed points
APART = 1e-5  # smallest distance between two fixed points, and largest residual and Newton step at one, relative to the extent
MARGINAL = 1e-6  # distances from the border of stability below this count as zero


@in_float64
def fixed_points(
    net: Any, radius: Any, rnn: Any, input: Any = 0.0, starts: int | None = None, extent: float | None = None
) -> xr.Dataset:
    """Stationary states of a network of infinitely many neurons with W = J + u v^T / N under a constant input.

    The vectors are jointly Gaussian over neurons with the overlaps of `net`, and independent of the random matrix J, as in
    `activity`. A stationary state is a solution of k = v^T phi(h) / N and q = g^2 E[phi(h)^2]. Here the activity h is Gaussian
    over neurons, and q is the part of its variance that J makes (docs/bulk_nonlinear.md). The search starts from many points
    (k, q).

    - `net`: a single `Overlaps`.
    - `radius`: g, the radius of the disk that the eigenvalues of J fill. A `RandomBulk` stands for its radius.
    - `rnn`: the model, in continuous time or with a step `dt`.
    - `input`: a number, or one number for each input.
    - `starts`: the number of starting points. The default is 256 at rank 1, and doubles for each further rank, up to 4096.
    - `extent`: how far out the search for k starts. By default twice the largest latents that a phi between -1 and 1 can reach.

    Returns a Dataset with the dims `fixed_point`, `latent`, `readout` and `mode`, and these variables:

    - `position`: the latents k. `output`: the output. `variance`: that of h over neurons. `bulk_variance`: its part q.
    - `bulk_radius`: r = g sqrt(E[phi'(h)^2]). Nearly all eigenvalues of the Jacobian of dh/dt fill the disk around -1 / tau of
      radius r / tau.
    - `eigenvalue_real`, `eigenvalue_imag`: the eigenvalues of this Jacobian outside of the disk, in units of 1 / time. There
      are up to R + 1. The others are NaN.
    - `kind`: "stable"; "saddle" if r < 1 and an eigenvalue outside of the disk grows; "chaotic" if r > 1. Then a network does
      not stay at this point, and the solution describes no state that lasts. "marginal" is within 1e-6 of the border.
    - `stable`: whether `kind` is "stable".

    With `dt`, stability is that of the Euler map. A point at a kink of phi (relu without activity) has no Jacobian, and the
    result on its stability has no meaning. Raises ValueError for other states, for arguments that do not fit, and for a bulk
    whose entries are correlated.
    """
    g = checked(net, radius, rnn)
    rank, held = net.layout.rank, _held(net, input)
    number_of_starts = min(64 * 2 ** max(rank + 1, 2), MOST_STARTS) if starts is None else count("starts", starts)
    readers = np.diagonal(net.gram)[net.layout.slices["v"]]
    reach = 2 * float(np.sqrt(readers.max())) or 1.0 if extent is None else number("extent", extent, above=0.0)
    points = scipy.stats.qmc.Sobol(rank + 1, scramble=False).random_base2(int(np.ceil(np.log2(max(number_of_starts, 2)))))
    begun = np.column_stack([reach * (2 * points[:, :-1] - 1), points[:, -1]])
    begun[0] = 0.0
    results = [np.asarray(one) for one in _search(rnn, net, jnp.asarray(g), jnp.asarray(held), jnp.asarray(begun))]
    ends, output, variance, bulk, modes, left = results
    scale = max(reach, 1.0)
    found = np.flatnonzero((left <= APART * scale) & (ends[:, -1] >= -APART * scale))
    kept = np.array(distinct(ends, found[np.argsort(left[found], kind="stable")], APART * scale), int)
    kept = kept[np.lexsort(ends[kept].T[::-1])]
    positions = ends[kept]
    positions[np.abs(positions) < TOLERANCE * scale] = 0.0
    modes, bulk = modes[kept], bulk[kept]
    modes = np.where(np.abs(modes) > bulk[:, None] + MARGINAL, modes, np.nan)  # the bulk swallows the others
    modes: Any = np.take_along_axis(modes, np.argsort(-np.real(modes), axis=1), axis=1)
    eigenvalues = (modes - 1) / rnn.tau
    step = 0.0 if rnn.dt is None else rnn.dt / rnn.tau
    growth = modes.real - 1 if not step else (np.abs(1 + step * (modes - 1)) - 1) / step
    kinds = [_kind(one[np.isfinite(one)], edge) for one, edge in zip(growth, bulk - 1, strict=True)]
    rate = ("fixed_point", "mode")
    return xr.Dataset(
        {
            "position": (("fixed_point", "latent"), positions[:, :-1], said("latent variable")),
            "output": (("fixed_point", "readout"), output[kept], said("output")),
            "variance": ("fixed_point", variance[kept], said("variance of the activity over neurons")),
            "bulk_variance": ("fixed_point", positions[:, -1], said("variance that the bulk makes")),
            "bulk_radius": ("fixed_point", bulk, said("radius of the bulk of eigenvalues", "1 / tau")),
            "eigenvalue_real": (rate, eigenvalues.real, said("growth rate", "1 / time")),
            "eigenvalue_imag": (rate, eigenvalues.imag, said("angular frequency", "1 / time")),
            "kind": ("fixed_point", np.array(kinds, dtype="U8"), said("kind of fixed point")),
            "stable": ("fixed_point", np.array([kind == "stable" for kind in kinds], bool), said("whether stable")),
        },
        {"latent": list(net.layout.latents[-rank:]), "readout": list(net.layout.readouts)},
        {"radius": g, "input": held.tolist()},
    )


def _held(net: Overlaps, input: Any) -> Float[np.ndarray, " I"]:
    array, inputs = real_array("input", input), net.layout.inputs
    if array.shape not in ((), (inputs,)):
        raise argument_error("input", f"be a number or of shape ({inputs},)", f"its shape is {array.shape}")
    return np.broadcast_to(array, (inputs,)).astype(float)


@eqx.filter_jit
def _search(
    rnn: RNN, net: Overlaps, g: Float[AnyArray, ""], held: Float[AnyArray, " I"], starts: Float[AnyArray, "starts R+1"]
) -> tuple[AnyArray, ...]:
    """The points (k, q) where the searches end, and there: output, variance, radius of the bulk, modes, and what is left.

    The last column of `starts` is relative to the largest q that a phi as large as at the start can make. What is left is the
    larger one of the residual and of the length of a Newton step.
    """
    layout, gram, gauss = net.layout, jnp.asarray(net.gram), averages(rnn.phi)
    driving, rank = layout.driving, layout.rank
    drive, response = gram[:driving, :driving], gram[driving:, :driving]

    def latents(point: Any) -> Any:
        return jnp.concatenate([layout.driven(held), point[:rank]])

    def variance_at(point: Any) -> Any:
        kappa = latents(point)
        return kappa @ drive @ kappa + point[rank]

    def square(variance: Any) -> Any:
        """E[phi^2], and its tangent where a search tries a negative variance."""
        zero = jnp.zeros_like(variance)
        below = jax.jvp(gauss.square, (zero,), (variance,))
        return jnp.where(variance >= 0, gauss.square(jnp.where(variance >= 0, variance, 0.0)), below[0] + below[1])

    def gain(variance: Any) -> Any:
        return rnn.gain(jnp.where(variance >= 0, variance, 0.0))

    def residual(point: Any, _: Any = None) -> Any:
        variance, kappa = variance_at(point), latents(point)
        ahead = jnp.append(gain(variance) * (response[:rank] @ kappa), g**2 * square(variance))
        return ahead - point

    jacobian = jax.jacfwd(residual)

    def newton(point: Any) -> Any:
        """The step to the closest fixed point of the linearised equations. It has no part along a line of fixed points."""
        left, values, right = jnp.linalg.svd(jacobian(point))
        inverse = jnp.where(values > FLAT * jnp.maximum(values[:1], 1.0), 1 / values, 0.0)
        return -right.T @ (inverse * (left.T @ residual(point)))

    def modes(point: Any) -> Any:
        """The eigenvalues mu of W diag(phi') outside of the bulk: those of the map from (k, q) to v^T phi / N and g^2 E[phi^2].

        At rest, q has no mode of its own: it grows as the square of what J adds to the activity.
        """
        ahead = jacobian(point) + jnp.eye(rank + 1)
        resting = (variance_at(point) <= TOLERANCE) & (np.arange(rank + 1) == rank)
        return jnp.linalg.eigvals(jnp.where(resting[:, None], 0.0, ahead))

    def search(start: Any) -> tuple:
        kappa = latents(start)
        start = start.at[rank].multiply(g**2 * gauss.square(kappa @ drive @ kappa + g**2))
        solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
        end = optimistix.root_find(residual, solver, start, max_steps=200, throw=False).value
        end = jax.lax.fori_loop(0, POLISH, lambda _, point: point + newton(point), end)
        end = jnp.where(jnp.isfinite(end), end, 0.0)
        variance = variance_at(end)
        output = gain(variance) * (response[rank:] @ latents(end)) + (0.0 if net.c is None else jnp.asarray(net.c))
        left = jnp.maximum(jnp.linalg.norm(residual(end)), jnp.linalg.norm(newton(end)))
        bulk = g * jnp.sqrt(gauss.slope_square(jnp.maximum(variance, 0.0)))
        return end, output, variance, bulk, modes(end), left

    return jax.lax.map(search, starts, batch_size=64)


def _kind(growth: np.ndarray, edge: float) -> str:
    largest = max([edge, *growth])
    if abs(largest) < MARGINAL:
        return "marginal"
    if edge > 0:
        return "chaotic"
    return "stable" if largest < 0 else "saddle"
