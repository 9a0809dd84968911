"""Connectivity as vectors: those of N neurons, or of nodes that stand for infinitely many."""

from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, numpy_for, real_array, said, warn
from overlaps.connectivity._charges import signs
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._projection import Projection, Transfer, through_units
from overlaps.connectivity._state import Model, Results, State, Variable

if TYPE_CHECKING:
    from overlaps.connectivity._overlaps import Overlaps

CHANCE = 5.0  # standard errors of a mean that count as more than chance


class Neurons(State):
    """Connectivity by its vectors m, u, v, z: one row per neuron, each with a weight in averages over neurons."""

    needs_gain: ClassVar[bool] = False

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
    def gram(self) -> Float[AnyArray, "*batch D D"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The overlap matrix P^T P / N, or its weighted average, computed in float64."""
        xp = numpy_for(self)
        vectors, weights = (array if is_traced(array) else np.asarray(array, float) for array in (self.vectors, self.weights))
        return xp.swapaxes(vectors, -1, -2) @ (weights[..., None] * vectors)

    @property
    def factor(self) -> Float[AnyArray, "*batch N D"]:
        """P / sqrt(N), or each row times the square root of its weight."""
        return self.vectors * self._roots

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Neurons":
        return eqx.tree_at(lambda net: (net.m, net.u, net.v, net.z), self, self.layout.split(factor / self._roots))

    def overlaps(self) -> "Overlaps":
        """The overlap matrix P^T P / N, or its weighted average, as a state of its own, in float64.

        The Gaussian closure of a nonlinear network assumes vectors of zero mean. A RuntimeWarning names vectors whose mean is
        far from zero: more than 5 / sqrt(N) of their root mean square, which happens by chance to one Gaussian vector in a
        million. For linear phi the mean does not matter.
        """
        if not is_traced(self):
            _warn_of_means(self)
        return super().overlaps()

    @property
    def _roots(self) -> Float[AnyArray, "*batch N 1"]:
        return numpy_for(self.weights).sqrt(self.weights)[..., None]

    def projection(self, transfer: Transfer) -> Projection:
        return through_units(self.drivers, self.readers, transfer)

    def neurons(self) -> tuple[AnyArray, AnyArray]:
        return self.vectors, self.weights

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        variables, coordinates = super().tracked(values, rnn)
        return variables, {**coordinates, "vector": (("vector",), list(self.layout.labels), said("connectivity vector"))}

    def stored(self, name: str) -> dict[str, Variable]:
        vectors = np.asarray(self.vectors)
        return {f"{name}_vectors": (("neuron", "vector"), vectors, said(f"{name} connectivity vectors"))}

    @classmethod
    def read(cls, name: str, results: Results) -> "Neurons":
        sizes = (results.description[size] for size in Layout._fields)
        return cls(*Layout(*sizes).split(results.variable(f"{name}_vectors")))


class Network(Neurons):
    """A rank-R network of N neurons: tau dh/dt = -h + W phi(h) + m x, W = u v^T / N, y = z^T phi(h) / N.

    m: (N, I) input vectors; u, v: (N, R) recurrent vectors; z: (N, O) readout vectors, array-like; 1-D arrays stand for a
    single vector. Entries are O(1). float32 arrays stay float32. Raises ValueError when the shapes do not fit.
    """

    simulated: ClassVar[bool] = True
    takes_neuron_rules: ClassVar[bool] = True

    @property
    def weights(self) -> Float[AnyArray, "*batch N"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.full(self.m.shape[:-1], 1 / self.n, self.m.dtype)

    @property
    def W(self) -> Float[AnyArray, "*batch N N"]:
        """The recurrent weights u v^T / N."""
        return self.u @ self.v.swapaxes(-1, -2) / self.n

    def linear_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        return self.W, self.m, numpy_for(self).swapaxes(self.z, -1, -2) / self.n

    def fed_back(self, recurrent: Float[AnyArray, "R I"]) -> Float[AnyArray, "N I"]:
        """The input that recurrence gives to each unit, from what `readers` read."""
        return self.u @ recurrent

    def recurrent_norm(self) -> Any:
        """An upper bound of the spectral norm of the recurrent weights, |u| |v| / N."""
        _, u, v, _ = self.layout.split(np.asarray(self.factor))
        return np.linalg.norm(u, 2, axis=(-2, -1)) * np.linalg.norm(v, 2, axis=(-2, -1))

    def charges(self, rates: Float[np.ndarray, " D"], linear: bool) -> dict[str, np.ndarray]:
        charges = super().charges(rates, linear)
        if linear and np.all(rates > 0):
            vectors = np.asarray(self.vectors)
            charges["K"] = -(vectors * signs(self.layout) / rates) @ np.swapaxes(vectors, -1, -2) / self.n
        return charges


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

    def stored(self, name: str) -> dict[str, Variable]:
        weights = (("neuron",), np.asarray(self.weights), said("weight of a node among all neurons"))
        return {**super().stored(name), **({"weights": weights} if name == "initial" else {})}

    @classmethod
    def read(cls, name: str, results: Results) -> "MeanField":
        vectors, weights = results.variable(f"{name}_vectors"), results.variable("weights")
        sizes = (results.description[size] for size in Layout._fields)
        return cls(*Layout(*sizes).split(vectors), weights=np.broadcast_to(weights, vectors.shape[:-1]))


def _warn_of_means(neurons: Neurons) -> None:
    """Warn of vectors whose mean is larger than `CHANCE` standard errors allow."""
    vectors, weights = np.asarray(neurons.vectors, float), np.asarray(neurons.weights, float)[..., None]
    means, squares = np.sum(weights * vectors, axis=-2), np.sum(weights * vectors**2, axis=-2)
    shares = np.abs(means) / np.sqrt(np.where(squares > 0, squares, 1.0))
    shares = np.max(shares.reshape(-1, shares.shape[-1]), axis=0)  # over a batch
    limit = CHANCE / np.sqrt(neurons.n)
    far = [
        f"{label} ({share:.2g} of its root mean square)"
        for label, share in zip(neurons.layout.labels, shares, strict=True)
        if share > limit
    ]
    if far:
        warn(
            f"The mean over neurons is far from zero for {', '.join(far)}. The Gaussian closure assumes that means are zero: "
            "it is wrong for such vectors unless phi is linear. Train the network itself, or a MeanField of its neurons."
        )


def columns(name: str, value: Any) -> Any:
    array = real_array(name, value)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim < 2 or 0 in array.shape:
        raise argument_error(name, "be of shape (neurons, vectors) or (neurons,), and not empty", f"its shape is {array.shape}")
    return array
