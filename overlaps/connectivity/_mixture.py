"""A mixture of Gaussian populations of neurons as a state: what its factor is, and how activity, runs and files see it."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import (
    AnyArray,
    argument_error,
    as_float,
    is_traced,
    numpy_for,
    real_array,
    require_x64,
    said,
)
from overlaps.connectivity._gram import checked_symmetric, gram_of, square_root
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._projection import Projection, Transfer, mixture_closure
from overlaps.connectivity._protocols import Model, Results, Variable
from overlaps.connectivity._readout_bias import ONLY_IF_SET, checked_bias, stored_bias, with_bias, with_row, without_row
from overlaps.connectivity._state import State, scalar
from overlaps.connectivity._weights import checked_weights

MEND = "No neurons have these covariances: lower the off-diagonal entries or raise the diagonal ones."


class Mixture(State):
    """Weights, means and covariances of P Gaussian populations of neurons, as a state: see `Populations`."""

    needs_gain: ClassVar[bool] = False
    needs_mean: ClassVar[bool] = True
    solver_steps: ClassVar[int] = 500

    weights: Float[AnyArray, "*batch P"]
    means: Float[AnyArray, "*batch P D"]
    covariances: Float[AnyArray, "*batch P D D"]
    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    bias: bool = eqx.field(static=True, metadata=ONLY_IF_SET)
    initial: bool = eqx.field(static=True, metadata=ONLY_IF_SET)
    c: Float[AnyArray, "*batch O"] | None = eqx.field(metadata=ONLY_IF_SET)

    def __init__(
        self,
        weights: Any,
        means: Any,
        covariances: Any,
        inputs: int = 1,
        rank: int = 1,
        outputs: int = 1,
        bias: bool = False,
        initial: bool = False,
        c: Any = None,
    ):
        if is_traced(weights, means, covariances, c):
            require_x64("Populations")
        layout = Layout.checked(inputs, rank, outputs, bias, initial)
        self.inputs, self.rank, self.outputs, self.bias, self.initial = dataclasses.astuple(layout)
        self.weights, means = checked_weights(weights), as_float(real_array("means", means))
        shape = (*self.weights.shape, layout.size)
        covariances = real_array("covariances", covariances)
        for name, array, expected in (("means", means, shape), ("covariances", covariances, (*shape, layout.size))):
            if array.shape != expected:
                mend = "Pass `inputs`, `rank` and `outputs`, and order the vectors as [m.. u.. v.. z..]."
                came = f"its shape is {array.shape}"
                raise argument_error(name, f"have shape {expected}, for these weights and vectors", came, mend)
        self.means = means
        self.covariances = checked_symmetric("covariances", covariances, MEND)
        self.c = checked_bias(c, self.weights.shape[:-1], outputs)

    @property
    def layout(self) -> Layout:
        return Layout(self.inputs, self.rank, self.outputs, self.bias, self.initial)

    @property
    def batch(self) -> tuple[int, ...]:
        return self.weights.shape[:-1]

    @property
    def sizes(self) -> dict[str, int]:
        return {"populations": self.weights.shape[-1], **self.layout.description}

    @property
    def description(self) -> dict[str, Any]:
        return self.sizes

    @property
    def readout_bias(self) -> Any:
        return self.c

    @property
    def gram(self) -> Float[AnyArray, "*batch D D"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The overlap matrix, an average over the neurons of all populations."""
        rows = without_row(self.factor, self.c)[0]
        return numpy_for(rows).swapaxes(rows, -1, -2) @ rows

    @property
    def factor(self) -> Float[AnyArray, "*batch rows D"]:
        """The vectors of the minimal network: for each population its mean, and then the D rows of C_p^(1/2), times sqrt(w_p).

        In these rows the column of ones, whose overlaps with the vectors are their means, is sqrt(w_p) in the first row of each
        population and 0 elsewhere (docs/populations.md, "Learning"). A readout bias is one more row.
        """
        xp = numpy_for(self)
        blocks = xp.concatenate([self.means[..., None, :], square_root(self.covariances)], axis=-2)
        rows = blocks * xp.sqrt(self.weights)[..., None, None]
        return with_row(rows.reshape(*self.batch, -1, self.layout.size), self.c)

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Mixture":
        rows, c = without_row(factor, self.c)
        means, covariances = self._moments(rows)
        fields = with_bias({"means": means, "covariances": covariances}, c)
        return eqx.tree_at(lambda state: [getattr(state, name) for name in fields], self, list(fields.values()))

    def _moments(self, rows: AnyArray) -> tuple[AnyArray, AnyArray]:
        size = self.layout.size
        blocks = rows.reshape(*rows.shape[:-2], -1, size + 1, size)
        roots = numpy_for(self.weights).sqrt(self.weights)[..., None, None]
        blocks = blocks / roots.reshape(*[1] * (blocks.ndim - roots.ndim), *roots.shape)
        return blocks[..., 0, :], gram_of(blocks[..., 1:, :])

    def projection(self, transfer: Transfer) -> Projection:
        return mixture_closure(self.weights, self.means, self.covariances, self.layout.driving, transfer)

    def visible(self, rnn: Model) -> dict[str, Any]:
        """The means and covariances on which activity and output of this network depend now, for each population.

        Returns a dictionary from labels to arrays (P,): "m" is the mean of m in a population, "zm" the covariance of z and m.
        `rnn` decides which ones are visible (see `RNN.visible`).
        """
        return self._selected(rnn, True)

    def invisible(self, rnn: Model) -> dict[str, Any]:
        """The other means and covariances, which steer learning and change nothing now. Otherwise as `visible`."""
        return self._selected(rnn, False)

    def _selected(self, rnn: Model, visible: bool) -> dict[str, Any]:
        layout, seen = self.layout, rnn.visible(self.layout, populations=True)
        values = {label: self.means[..., index] for index, label in enumerate(layout.labels)}
        values |= {pair.label: self.covariances[..., pair.row, pair.column] for pair in layout.pairs}
        return {name: scalar(value) for (name, value), there in zip(values.items(), seen, strict=True) if there is visible}

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        rows, c = without_row(factor, self.c)
        means, covariances = self._moments(rows)
        return with_bias({"gram": rows.T @ rows, "mean": means, "covariance": covariances}, c)

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        layout = self.layout
        variables, coordinates = super().tracked(values, rnn)
        seen = rnn.visible(layout, populations=True)
        covariance = layout.listed(values["covariance"])
        variables["mean"] = (("time", "population", "vector"), values["mean"], said("mean over a population"))
        variables["covariance"] = (("time", "population", "overlap"), covariance, said("covariance over a population"))
        coordinates["visible"] = (("overlap",), list(seen[layout.size :]), said("loss-visible"))
        coordinates["vector"] = (("vector",), list(layout.labels), said("connectivity vector"))
        coordinates["mean_visible"] = (("vector",), list(seen[: layout.size]), said("mean is loss-visible"))
        return variables, coordinates

    def stored(self, name: str) -> dict[str, Variable]:
        if name == "final":
            return stored_bias(name, self.c)  # `mean` and `covariance` hold the last ones
        dims = ("population", "vector")
        return stored_bias(name, self.c) | {
            "weights": (("population",), np.asarray(self.weights), said("share of a population among all neurons")),
            "initial_mean": (dims, np.asarray(self.means), said("initial mean over a population")),
            "initial_covariance": ((*dims, "vector_"), np.asarray(self.covariances), said("initial covariance")),
        }

    @classmethod
    def read(cls, name: str, results: Results) -> "Mixture":
        layout, weights = Layout.of(results.description), results.variable("weights")
        means, covariances = results.variable("initial_mean"), results.variable("initial_covariance")
        if name == "final":
            means = results.variable("mean")[..., -1, :, :]
            covariances = layout.matrix(results.variable("covariance")[..., -1, :, :])
        weights = np.broadcast_to(weights, means.shape[:-1])
        return cls(weights, means, covariances, *layout, c=results.variable(f"{name}_c"))
