"""Connectivity as vectors: those of N neurons, or those of a few nodes that stand for infinitely many neurons."""

from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, numpy_for, said, warn
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._projection import Projection, Transfer, through_units
from overlaps.connectivity._protocols import Model, Results, Variable
from overlaps.connectivity._readout_bias import scales_with_row, with_bias, with_row, without_row
from overlaps.connectivity._units import Units, columns

if TYPE_CHECKING:
    from overlaps.connectivity._overlaps import Overlaps

CHANCE = 1e-6  # a mean that Gaussian vectors have with less than this probability counts as more than chance


class Neurons(Units):
    """Connectivity as its vectors m, u, v, z: one row per neuron, and each row has a weight in averages over neurons."""

    needs_gain: ClassVar[bool] = False

    u: Float[AnyArray, "*batch N R"]
    v: Float[AnyArray, "*batch N R"]
    weights: eqx.AbstractVar[Float[AnyArray, "*batch N"]]  # of rows in averages over neurons; their sum is 1

    def __init__(self, m: Any, u: Any, v: Any, z: Any, b: Any = None, h0: Any = None, c: Any = None):
        m, self.u, self.v, z = (columns(name, x) for name, x in zip("muvz", (m, u, v, z), strict=True))
        for name, block in (("u", self.u), ("v", self.v), ("z", z)):
            if block.shape[:-1] != m.shape[:-1]:
                came, mend = f"it has {block.shape[-2]}", "Arrays have the shape (neurons, vectors): are they transposed?"
                raise argument_error(name, f"have {m.shape[-2]} rows, one per neuron, as `m` has", came, mend)
        if self.v.shape[-1] != self.u.shape[-1]:
            raise argument_error("v", f"have {self.u.shape[-1]} columns, as `u` has", f"it has {self.v.shape[-1]}")
        self._set(m, z, b, h0, c)

    @property
    def batch(self) -> tuple[int, ...]:
        return self.m.shape[:-2]

    @property
    def layout(self) -> Layout:
        return Layout(self.m.shape[-1], self.u.shape[-1], self.z.shape[-1], self.b is not None, self.h0 is not None)

    @property
    def vectors(self) -> Float[AnyArray, "*batch N D"]:
        """P = [m b h0 u v z], all vectors side by side, without b and h0 if there are none."""
        blocks = (self.external, self.u, self.v, self.z)
        return numpy_for(blocks).concatenate(blocks, axis=-1)

    @property
    def drivers(self) -> Float[AnyArray, "*batch N driving"]:
        """[m b h0 u], the vectors along which the latents kappa drive the activity h = [m b h0 u] kappa."""
        return self.vectors[..., : self.layout.driving]

    @property
    def readers(self) -> Float[AnyArray, "*batch N read"]:
        """[v z] / N, with which recurrence and output read phi(h). Rows with weights have their weight in place of 1 / N."""
        return self.weights[..., None] * self.vectors[..., self.layout.driving :]

    @property
    def gram(self) -> Float[AnyArray, "*batch D D"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The overlap matrix P^T P / N, computed in float64. Rows with weights have their weight in place of 1 / N."""
        xp = numpy_for(self)
        vectors, weights = (array if is_traced(array) else np.asarray(array, float) for array in (self.vectors, self.weights))
        return xp.swapaxes(vectors, -1, -2) @ (weights[..., None] * vectors)

    @property
    def factor(self) -> Float[AnyArray, "*batch N D"]:
        """P / sqrt(N), with one more row for a readout bias.

        Rows with weights are multiplied by the root of their weight instead.
        """
        return with_row(self.vectors * self._roots, self.c)

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Neurons":
        rows, c = without_row(factor, self.c)
        external, u, v, z = self.layout.split(rows / self._roots)
        fields = with_bias(self._parts(external) | {"u": u, "v": v, "z": z}, c)
        return eqx.tree_at(lambda net: [getattr(net, name) for name in fields], self, list(fields.values()))

    @property
    def scales(self) -> Any:
        return scales_with_row(np.full(self.layout.size, np.sqrt(self.n), self.m.dtype), self.n, self.c)

    def overlaps(self) -> "Overlaps":
        """The overlap matrix P^T P / N of these vectors, as an `Overlaps` object in float64.

        For a `MeanField` it is the weighted average over the nodes. For nonlinear phi, overlaps describe a network by the
        Gaussian closure. This approximation assumes that the vectors have zero mean over neurons. A RuntimeWarning names
        vectors whose mean is so far from zero that by chance it happens to one Gaussian vector in a million (for many neurons:
        beyond 4.9 / sqrt(N) of the root mean square). For linear phi the mean does not matter.
        """
        if not is_traced(self):
            _warn_of_means(self)
        return super().overlaps()

    @property
    def _roots(self) -> Float[AnyArray, "*batch N 1"]:
        return numpy_for(self.weights).sqrt(self.weights)[..., None]

    def projection(self, transfer: Transfer) -> Projection:
        return through_units(self.drivers, self.readers, transfer)

    def neurons(self) -> tuple[AnyArray, AnyArray] | None:
        return self.vectors, self.weights

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        variables, coordinates = super().tracked(values, rnn)
        return variables, {**coordinates, "vector": (("vector",), list(self.layout.labels), said("connectivity vector"))}

    def stored(self, name: str) -> dict[str, Variable]:
        return self._stored(name, self.vectors)

    @classmethod
    def read(cls, name: str, results: Results) -> "Neurons":
        vectors = Layout.of(results.description).vectors(results.variable(f"{name}_vectors"))
        return cls(**vectors, c=results.variable(f"{name}_c"))


def _warn_of_means(neurons: Neurons) -> None:
    """Warn of vectors whose mean over neurons is farther away from 0 than chance allows, by Student's t-test."""
    vectors, weights = np.asarray(neurons.vectors, float), np.asarray(neurons.weights, float)[..., None]
    means, squares = np.sum(weights * vectors, axis=-2), np.sum(weights * vectors**2, axis=-2)
    shares = np.abs(means) / np.sqrt(np.where(squares > 0, squares, 1.0))
    shares = np.max(shares.reshape(-1, shares.shape[-1]), axis=0)  # over a batch
    freedom = max(neurons.n - 1, 1)
    t = scipy.stats.t.isf(CHANCE / 2, freedom)
    limit = t / np.sqrt(t**2 + freedom)
    far = [
        f"{label} ({share:.2g} of its root mean square)"
        for label, share in zip(neurons.layout.labels, shares, strict=True)
        if share > limit
    ]
    if far:
        warn(
            f"The mean over neurons is far from zero for {', '.join(far)}. The Gaussian closure, by which "
            "overlaps describe nonlinear networks, assumes that means are zero. It is wrong for these vectors unless phi is "
            "linear. Train the network itself, `Populations` fitted to it, or a MeanField of its neurons."
        )
