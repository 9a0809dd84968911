"""Connectivity as vectors: those of N neurons, or of nodes that stand for infinitely many."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, numpy_for, real_array
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._state import State

if TYPE_CHECKING:
    from overlaps.connectivity._overlaps import Overlaps


class Neurons(State):
    """Connectivity by its vectors m, u, v, z: one row per neuron, each with a weight in averages over neurons."""

    m: Float[AnyArray, "*batch N I"]
    u: Float[AnyArray, "*batch N R"]
    v: Float[AnyArray, "*batch N R"]
    z: Float[AnyArray, "*batch N O"]
    weights: eqx.AbstractVar[Float[AnyArray, "*batch N"]]  # of rows in averages over neurons, with the sum 1

    def __init__(self, m: Any, u: Any, v: Any, z: Any):
        self.m, self.u, self.v, self.z = (columns(name, x) for name, x in zip("muvz", (m, u, v, z), strict=True))
        for name, block in (("u", self.u), ("v", self.v), ("z", self.z)):
            if block.shape[:-1] != self.m.shape[:-1]:
                raise argument_error(name, f"have {self.n} rows, one per neuron, as `m` has", f"it has {block.shape[-2]}")
        if self.v.shape[-1] != self.u.shape[-1]:
            raise argument_error("v", f"have {self.u.shape[-1]} columns, as `u` has", f"it has {self.v.shape[-1]}")

    @property
    def n(self) -> int:
        """The number of rows: of neurons, or of quadrature nodes."""
        return self.m.shape[-2]

    @property
    def layout(self) -> Layout:
        return Layout(self.m.shape[-1], self.u.shape[-1], self.z.shape[-1])

    @property
    def vectors(self) -> Float[AnyArray, "*batch N D"]:
        """P = [m u v z]."""
        blocks = (self.m, self.u, self.v, self.z)
        return numpy_for(blocks).concatenate(blocks, axis=-1)

    @property
    def drivers(self) -> Float[AnyArray, "*batch N split"]:
        """[m u], along which the latents drive activity."""
        return self.vectors[..., : self.layout.inputs + self.layout.rank]

    @property
    def readers(self) -> Float[AnyArray, "*batch N read"]:
        """[v z] / N, with which recurrence and output read rates, or each row times its weight."""
        return self.weights[..., None] * self.vectors[..., self.layout.inputs + self.layout.rank :]

    @property
    def factor(self) -> Float[AnyArray, "*batch N D"]:
        """P / sqrt(N), or each row times the square root of its weight."""
        return self.vectors * self._roots

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Neurons":
        return eqx.tree_at(lambda net: (net.m, net.u, net.v, net.z), self, self.layout.split(factor / self._roots))

    def overlaps(self) -> "Overlaps":
        """The overlap matrix P^T P / N, or its weighted average, computed in float64."""
        from overlaps.connectivity._overlaps import Overlaps  # here, because overlaps can be sampled as networks

        xp = numpy_for(self)
        vectors, weights = (array if is_traced(array) else np.asarray(array, float) for array in (self.vectors, self.weights))
        return Overlaps(xp.swapaxes(vectors, -1, -2) @ (weights[..., None] * vectors), *self.layout)

    @property
    def _roots(self) -> Float[AnyArray, "*batch N 1"]:
        return numpy_for(self.weights).sqrt(self.weights)[..., None]

    def __repr__(self) -> str:
        inputs, rank, outputs = self.layout
        batch = f", batch of {self.m.shape[:-2]}" if self.m.ndim != 2 else ""
        return f"{type(self).__name__}(n={self.n}, inputs={inputs}, rank={rank}, outputs={outputs}, {self.m.dtype}{batch})"


class Network(Neurons):
    """A rank-R network of N neurons: tau dh/dt = -h + W phi(h) + m x, W = u v^T / N, y = z^T phi(h) / N.

    m: (N, I) input vectors; u, v: (N, R) recurrent vectors; z: (N, O) readout vectors, array-like; 1-D arrays stand for a
    single vector. Entries are O(1). float32 arrays stay float32. Raises ValueError when the shapes do not fit.
    """

    @property
    def weights(self) -> Float[AnyArray, "*batch N"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.full(self.m.shape[:-1], 1 / self.n, self.m.dtype)

    @property
    def W(self) -> Float[AnyArray, "*batch N N"]:
        """The recurrent weights u v^T / N."""
        return self.u @ self.v.swapaxes(-1, -2) / self.n


class MeanField(Neurons):
    """The limit of infinitely many neurons: nodes of a quadrature over their initial distribution, which learn as neurons do.

    Neurons are independent draws of theta = (m, u, v, z), and all of them see the same latents. Averages over neurons become
    sums over nodes theta_j with weights w_j, and node j follows d theta_j/ds = -(1 / w_j) dL / d theta_j (docs/large_n.md).
    Made by `Overlaps.mean_field`, or from nodes of one's own, for initial distributions that are not Gaussian.

    m, u, v, z: nodes as in `Network`; `weights`: (nodes,), positive, with the sum 1. Raises ValueError if they are not.
    """

    weights: Float[AnyArray, "*batch N"]

    def __init__(self, m: Any, u: Any, v: Any, z: Any, weights: Any):
        super().__init__(m, u, v, z)
        self.weights = real_array("weights", weights)
        if self.weights.shape != self.m.shape[:-1]:
            raise argument_error(
                "weights", f"have shape {self.m.shape[:-1]}, one per node", f"its shape is {self.weights.shape}"
            )
        if not is_traced(self.weights) and (np.any(self.weights <= 0) or not np.allclose(self.weights.sum(-1), 1, atol=1e-6)):
            came = f"the smallest is {np.min(self.weights):.3g} and their sum is {np.max(self.weights.sum(-1)):.6g}"
            raise argument_error("weights", "be positive, with the sum 1", came)


def columns(name: str, value: Any) -> Any:
    array = real_array(name, value)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim < 2 or 0 in array.shape:
        raise argument_error(name, "be of shape (neurons, vectors) or (neurons,), and not empty", f"its shape is {array.shape}")
    return array
