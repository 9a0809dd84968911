"""Connectivity as a mixture of Gaussian populations of neurons: the closure for networks whose neurons are not one Gaussian."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, in_float64, is_traced, numpy_for, random_key, real_array, said
from overlaps.connectivity._assignment import scores, turned
from overlaps.connectivity._draws import drawn
from overlaps.connectivity._gram import checked_symmetric, gram_of, square_root
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._mixture_fits import PopulationFits, compared, fitted, labelled
from overlaps.connectivity._network import MeanField, Network
from overlaps.connectivity._projection import Projection, Transfer, mixture_closure
from overlaps.connectivity._protocols import Model, Results, Simulator, Variable
from overlaps.connectivity._quadrature import gaussian_nodes, refinements
from overlaps.connectivity._readout_bias import ONLY_IF_SET, checked_bias, stored_bias, tracked_bias, with_row, without_row
from overlaps.connectivity._state import State, scalar
from overlaps.connectivity._weights import checked_weights

MEND = "No neurons have these covariances: lower the off-diagonal entries or raise the diagonal ones."


class Populations(State):
    """A network of P Gaussian populations of neurons, which is described without its neurons.

    A neuron belongs to population p with the probability w_p. Its entries (m_i, u_i, v_i, z_i) in the D connectivity vectors
    are then a draw from a Gaussian with mean a_p and covariance C_p. Overlaps are averages over all neurons: the overlap matrix
    is G = sum_p w_p (C_p + a_p a_p^T). A single population of mean zero is an `Overlaps` with G = C_1. Activity and learning
    are those of infinitely many neurons, as long as each population stays Gaussian (docs/populations.md).

    - `weights`: the shares w_p of the populations, (P,), positive with the sum 1.
    - `means`: the means a_p, (P, D), in the order [m.. u.. v.. z..].
    - `covariances`: the matrices C_p, (P, D, D), symmetric and positive semi-definite.
    - `inputs`, `rank`, `outputs`, `bias`, `initial`, `c`: as in `Overlaps`.

    A batch of networks has one more axis, in front. `fit` makes populations from a trained network, and `from_labels` from a
    network whose neurons have labels. Raises ValueError when shapes do not fit, for weights that are not positive with the sum
    1, and for matrices that are no covariances.

    >>> net = Populations([0.5, 0.5], [[0, 1, 1, 0], [0, -1, -1, 0]], [np.eye(4), np.eye(4)])
    >>> net.overlaps()["vu"].round(12).tolist()  # from the means alone
    [[1.0]]
    """

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
        layout = Layout.checked(inputs, rank, outputs, bias, initial)
        self.inputs, self.rank, self.outputs, self.bias, self.initial = dataclasses.astuple(layout)
        self.weights, means = checked_weights(weights), real_array("means", means)
        shape = (*self.weights.shape, layout.size)
        covariances = real_array("covariances", covariances)
        for name, array, expected in (("means", means, shape), ("covariances", covariances, (*shape, layout.size))):
            if array.shape != expected:
                mend = "Pass `inputs`, `rank` and `outputs`, and order the vectors as [m.. u.. v.. z..]."
                came = f"its shape is {array.shape}"
                raise argument_error(name, f"have shape {expected}, for these weights and vectors", came, mend)
        self.means = means if is_traced(means) else means.astype(float)
        self.covariances = checked_symmetric("covariances", covariances, MEND)
        self.c = checked_bias(c, self.weights.shape[:-1], outputs)

    @classmethod
    def from_labels(cls, network: Network, labels: Sequence[Any]) -> "Populations":
        """The populations of a network whose neurons have labels: means and covariances over the neurons of each label.

        `network`: a single `Network`. `labels`: one label for each neuron, such as 0, 1 or "E", "I". The populations are in the
        order of the sorted labels. Raises ValueError for a population of so few neurons that its covariance is singular.
        """
        return cls(*labelled(network, np.asarray(labels)), *network.layout, c=network.c)

    @classmethod
    def fit(
        cls,
        network: Network,
        count: int | Sequence[int],
        key: Any,
        rnn: Simulator | None = None,
        inputs: Any = None,
        draws: int = 20,
    ) -> "Populations | PopulationFits":
        """Fit a mixture of Gaussian populations to the neurons of a network. This needs scikit-learn (the extra `studies`).

        The expectation-maximisation algorithm fits the rows of [m u v z]. Each population then gets the mean and the covariance
        of all neurons, weighted by the probability that they belong to it. So the overlap matrix is that of the network, to
        rounding.

        - `network`: a single `Network`.
        - `count`: the number of populations. A sequence of numbers compares them, and needs `rnn` and `inputs`.
        - `key`: a jax.random key or an integer seed, for the start of the fit and for `draws`.
        - `rnn`: the `RNN` of the network. If its phi is odd, the neurons are folded: the fit may take the mirror image of any
          neuron (see `align`), which acts alike. Its error is often far smaller (docs/populations.md, "Folded fits").
        - `inputs`: input samples (trials, time, I), on which the outputs of several numbers of populations are compared.
        - `draws`: how many times neurons are redrawn, to tell how much the output depends on single neurons.

        Returns a `Populations`. For a sequence of counts, returns a named tuple of `fits`, a dictionary from counts to
        `Populations`, and `report`, a Dataset over `count` with `bic` (the Bayesian information criterion, better if smaller),
        `output_error` (the root mean square of the closure's error of the output, relative to that of the output) and
        `resampling_error(draw)` (the same for the network with neurons redrawn with replacement: what finite size can explain).

        Raises ValueError for more populations than the neurons can tell apart, for a vector that is 0, and if a population ends
        with too few neurons. Raises ImportError without scikit-learn.
        """
        key = random_key("key", key)
        if not isinstance(count, Sequence | np.ndarray):
            return cls(*fitted(network, count, key, rnn)[0], *network.layout, c=network.c)

        def make(parts: Any) -> Populations:
            return cls(*parts, *network.layout, c=network.c)

        return compared(network, [int(number) for number in count], key, make, rnn, inputs, draws)

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

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Populations":
        rows, c = without_row(factor, self.c)
        means, covariances = self._moments(rows)
        fields = {"means": means, "covariances": covariances} | ({} if c is None else {"c": c})
        return eqx.tree_at(lambda state: [getattr(state, name) for name in fields], self, list(fields.values()))

    def _moments(self, rows: AnyArray) -> tuple[AnyArray, AnyArray]:
        size = self.layout.size
        blocks = rows.reshape(*rows.shape[:-2], -1, size + 1, size)
        roots = numpy_for(self.weights).sqrt(self.weights)[..., None, None]
        blocks = blocks / roots.reshape(*[1] * (blocks.ndim - roots.ndim), *roots.shape)
        return blocks[..., 0, :], gram_of(blocks[..., 1:, :])

    def projection(self, transfer: Transfer) -> Projection:
        return mixture_closure(self.weights, self.means, self.covariances, self.layout.driving, transfer)

    def assign(self, network: Network) -> np.ndarray:
        """The most probable population of each neuron of `network`, which has the same vectors: whole numbers from 0, (N,)."""
        return self._scores(network).argmax(axis=0)

    def align(self, network: Network) -> Network:
        """The network with the mirror image of a neuron, -1 times all its entries, wherever it fits these populations better.

        For odd phi both networks act and learn alike, and `fit` with an `rnn` describes neurons up to this sign.
        """
        return turned(self._scores, network)

    def _scores(self, network: Network) -> np.ndarray:
        if not isinstance(network, Network) or network.batch or self.batch or network.layout != self.layout:
            raise argument_error("network", f"be a single Network with the vectors of {self!r}", f"{network!r} came")
        parts = (self.weights, self.means, self.covariances, network.vectors)
        return scores(*(np.asarray(part, float) for part in parts))

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

    @in_float64
    def sample(self, n: int, key: Any, exact: bool = False) -> Network:
        """A random network of `n` neurons from these populations. Neurons of one population stand together, in order.

        - `exact=False`: each neuron is an independent draw.
        - `exact=True`: the neurons of each population have exactly its mean and its covariance. This needs whole numbers n w_p
          of neurons, each larger than the number of vectors.
        - `key`: a jax.random key or an integer seed, one for all networks of a batch.

        Raises ValueError for numbers of neurons with which this does not work.
        """
        n, key = count("n", n), random_key("key", key)
        if key.shape:
            raise argument_error("key", "be a single key", f"an array of shape {key.shape} came")
        if self.batch:
            singles = [jax.tree.map(lambda leaf, index=index: leaf[index], self) for index in range(self.batch[0])]
            return jax.tree.map(lambda *leaves: np.stack(leaves), *(one.sample(n, key, exact) for one in singles))
        weights, means, covariances = (np.asarray(part) for part in (self.weights, self.means, self.covariances))
        rows = drawn(weights, means, covariances, n, key, exact)
        return Network(**self.layout.vectors(rows), c=self.c)

    @in_float64
    def mean_field(self, nodes: int | None = None, key: Any = 0) -> MeanField:
        """The limit of infinitely many neurons, drawn from these populations.

        `nodes`: the largest number of nodes, roughly, for all populations together; None as in `Overlaps.mean_field`, for each.
        `key`: a jax.random key or an integer seed, for Sobol points. Raises ValueError for fewer nodes than populations.
        """
        populations = self.weights.shape[-1]
        each = None if nodes is None else count("nodes", nodes, least=populations) // populations
        key = random_key("key", key)
        if key.shape:
            raise argument_error("key", "be a single key", f"an array of shape {key.shape} came")
        positions, shares = gaussian_nodes(self.layout.size, each, key)
        xp = numpy_for(self)
        vectors = self.means[..., None, :] + positions @ square_root(self.covariances)
        weights = self.weights[..., None] * shares
        vectors = vectors.reshape(*self.batch, -1, self.layout.size)
        return MeanField(**self.layout.vectors(vectors), weights=xp.reshape(weights, vectors.shape[:-1]), c=self.c)

    @property
    def refinements(self) -> list[int]:
        """Numbers of nodes of growing accuracy for `mean_field`."""
        return [self.weights.shape[-1] * nodes for nodes in refinements(self.layout.size)]

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        rows, c = without_row(factor, self.c)
        means, covariances = self._moments(rows)
        return {"gram": rows.T @ rows, "mean": means, "covariance": covariances} | ({} if c is None else {"c": c})

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
        return variables | tracked_bias(values), coordinates

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
    def read(cls, name: str, results: Results) -> "Populations":
        layout, weights = Layout.of(results.description), results.variable("weights")
        means, covariances = results.variable("initial_mean"), results.variable("initial_covariance")
        if name == "final":
            means = results.variable("mean")[..., -1, :, :]
            covariances = layout.matrix(results.variable("covariance")[..., -1, :, :])
        weights = np.broadcast_to(weights, means.shape[:-1])
        return cls(weights, means, covariances, *layout, c=results.variable(f"{name}_c"))
