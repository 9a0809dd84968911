"""The sums over neurons that recurrence and readout see of phi(h).

There are three ways to compute them: from overlaps, in the Gaussian closure; from populations, in a closure for each; and from
the weights of all units.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from overlaps._support import AnyArray

Latents = Float[AnyArray, "points kappa"]
Projection = Callable[[Latents], Float[AnyArray, "points read"]]


@runtime_checkable
class Transfer(Protocol):
    """A transfer function phi, its gain (the Gaussian average of phi') and its Gaussian mean (None if they are unknown)."""

    @property
    def function(self) -> Callable[[Any], Any]: ...

    @property
    def gain(self) -> Callable[[Any], Any] | None: ...

    @property
    def mean(self) -> Callable[[Any, Any], Any] | None: ...


def gaussian_closure(gram: Float[AnyArray, "D D"], split: int, transfer: Transfer) -> Projection:
    """The map kappa -> g(Delta) [vm vu; zm zu] kappa, with Delta = kappa^T [mm mu; um uu] kappa ([GB26]).

    Here kappa are the latents, Delta is the variance of the activity over neurons, and g is the gain. `split`: the number of
    latents, I + R.
    """
    variances, responses = gram[:split, :split], gram[split:, :split]

    def project(latents: Latents) -> Float[AnyArray, "points read"]:
        variance = jnp.sum(latents * _apply(variances, latents), axis=1)
        return transfer.gain(variance)[:, None] * _apply(responses, latents)  # pyright: ignore[reportOptionalCall]

    return project


def mixture_closure(
    weights: Float[AnyArray, " P"],
    means: Float[AnyArray, "P D"],
    covariances: Float[AnyArray, "P D D"],
    split: int,
    transfer: Transfer,
) -> Projection:
    """The map kappa -> sum_p w_p (a_p <phi>_p + C_p kappa <phi'>_p), for weights w_p, means a_p and covariances C_p.

    In population p the activity is Gaussian over neurons, with mean mu_p = a_p . kappa and variance kappa . C_p kappa. <phi>_p
    is the average of phi there, and <phi'>_p its slope in mu_p. Of a_p and C_p, the rows of v and z are read, and the columns
    of the drivers act. `split`: the number of latents (docs/populations.md, "Activity").
    """
    drive, read = means[:, :split], means[:, split:]
    variances, responses = covariances[:, :split, :split], covariances[:, split:, :split]

    def project(latents: Latents) -> Float[AnyArray, "points read"]:
        mean = latents @ drive.T
        variance = jnp.einsum("ti,pij,tj->tp", latents, variances, latents)
        averages: Any = transfer.mean
        value, slope = jax.jvp(lambda mean: averages(mean, variance), (mean,), (jnp.ones_like(mean),))
        response = jnp.einsum("pri,ti->tpr", responses, latents)
        parts = read[None] * value[:, :, None] + response * slope[:, :, None]
        return jnp.einsum("p,tpr->tr", weights, parts)

    return project


def through_units(drivers: Float[AnyArray, "N kappa"], readers: Float[AnyArray, "N read"], transfer: Transfer) -> Projection:
    """The map kappa -> readers^T phi(drivers kappa), a sum over all units. Here kappa are the latents."""

    def project(latents: Latents) -> Float[AnyArray, "points read"]:
        return transfer.function(latents @ drivers.T) @ readers

    return project


def _apply(matrix: Float[AnyArray, "rows columns"], vectors: Float[AnyArray, "points columns"]) -> AnyArray:
    """M x for many x, summed entry by entry.

    For matrices as small as these this is several times faster than a matrix product.
    """
    return jnp.sum(matrix[None, :, :] * vectors[:, None, :], axis=2)
