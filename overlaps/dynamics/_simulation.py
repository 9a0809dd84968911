"""Simulation of all N units of a linear network: an independent check of what is computed from overlaps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity import FiniteNetwork
from overlaps.dynamics._rnn import RNN

TAYLOR_ORDER = 24
QUADRATURE_NODES = 10  # per panel
LARGEST_LAST_TERM = 1e-13  # of the power series, relative to the activity
LARGEST_PANEL_NORM = 2.0  # largest rate x length of a panel for which the quadrature is exact to rounding


def euler_response(network: FiniteNetwork, rnn: RNN, dt: float, samples: int) -> Float[AnyArray, "samples O I"]:
    """The output z^T h / N at times k dt after a unit impulse at each input, by forward Euler steps of h, (N, I)."""
    project, step = _projection(network), dt / rnn.tau

    def advance(h: Float[AnyArray, "N I"], _: None) -> tuple[Float[AnyArray, "N I"], Float[AnyArray, "O I"]]:
        recurrent, output = project(h)
        return h + step * (recurrent - h), output

    return jax.lax.scan(advance, network.m / rnn.tau, None, length=samples, unroll=4)[1]


def exact_response(network: FiniteNetwork, rnn: RNN, panels: int, horizon: float) -> Float[AnyArray, "samples O I"]:
    """The output z^T h / N after unit impulses in continuous time, at the times of `quadrature(panels, horizon)`.

    The horizon is cut into equal panels. In each panel the exponential of the N x N generator acts on h through its power
    series. If the weights are too large for the length of a panel, the result is NaN, never a wrong number.
    """
    project = _projection(network)
    step = horizon / panels / rnn.tau
    orders = jnp.arange(1.0, TAYLOR_ORDER + 1)
    powers = np.vander(_unit_quadrature()[0], TAYLOR_ORDER, increasing=True)

    def advance(h: Float[AnyArray, "N I"], _: None) -> tuple[Float[AnyArray, "N I"], Float[AnyArray, "nodes O I"]]:
        def differentiate(carry: Any, order: Any) -> tuple[Any, Any]:
            term, total = carry
            recurrent, output = project(term)
            term = step / order * (recurrent - term)
            return (term, total + term), output

        (term, total), outputs = jax.lax.scan(differentiate, (h, h), orders, unroll=4)
        converged = jnp.max(jnp.abs(term)) <= LARGEST_LAST_TERM * jnp.max(jnp.abs(h))
        return jnp.where(converged, total, jnp.nan), jnp.einsum("np,poi->noi", powers, outputs)

    response = jax.lax.scan(advance, network.m / rnn.tau, None, length=panels)[1]
    return response.reshape(-1, *response.shape[2:])


def _projection(network: FiniteNetwork) -> Callable[[AnyArray], tuple[AnyArray, AnyArray]]:
    """The map from h to W h and the output z^T h / N."""
    readers, rank = network.readers.T, network.layout.rank

    def project(h: Float[AnyArray, "N I"]) -> tuple[Float[AnyArray, "N I"], Float[AnyArray, "O I"]]:
        projected = readers @ h
        return network.fed_back(projected[:rank], h), projected[rank:]

    return project


def quadrature(panels: int, horizon: float) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    """Times and weights of a Gauss-Legendre quadrature over the time from 0 to `horizon`, in panels of equal length."""
    nodes, weights = _unit_quadrature()
    length = horizon / panels
    times = (np.arange(panels)[:, None] + nodes) * length
    return times.ravel(), np.tile(weights * length, panels)


def _unit_quadrature() -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return (nodes + 1) / 2, weights / 2
