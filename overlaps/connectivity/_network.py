"""Networks of N neurons, given by their connectivity vectors and perhaps by a bulk, a matrix that does not learn."""

from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, numpy_for
from overlaps.connectivity._bulk import (
    bulk_variables,
    checked_bulk,
    read_bulk,
    require_no_bulk,
    require_stored,
    stored_bulk,
    through_bulk,
    word_overlaps,
)
from overlaps.connectivity._charges import signs, without_spectrum
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._neurons import Neurons
from overlaps.connectivity._projection import Projection, Transfer
from overlaps.connectivity._protocols import Model, Results, Variable
from overlaps.connectivity._readout_bias import ONLY_IF_SET, without_row
from overlaps.connectivity._spectrum import by_modulus

if TYPE_CHECKING:
    from overlaps.connectivity._bulk_overlaps import BulkOverlaps
    from overlaps.connectivity._overlaps import Overlaps


class Network(Neurons):
    """A rank-R network of N neurons, given by its connectivity vectors.

        tau dh/dt = -h + W phi(h) + m x + b,     h(0) = h0,     W = J + u v^T / N,     y = z^T phi(h) / N + c

    Here h is the activity, x the input and y the output. `RNN` sets phi, tau and the time step.

    - `m`: input vectors, (N, I).
    - `u`, `v`: recurrent vectors, (N, R) each.
    - `z`: readout vectors, (N, O).
    - `b`: biases of the neurons, (N,); None for none. They learn as the vectors do, under the name "b".
    - `h0`: the activity at the start of each trial, (N,); None for 0. It learns too, under the name "h".
    - `c`: biases of the readout, (O,); None for none. They learn too, under the name "c".
    - `bulk`: the matrix J, (N, N), or a `RandomBulk` that draws it; None for 0. It does not learn (docs/bulk.md).
    - `recipe`: (4,), the numbers of the `RandomBulk` that drew J. A network sets them by itself, and a copy of it keeps them.

    All of them are array-like and have no unit. Entries of vectors are of order 1, and those of J of order 1 / sqrt(N). A 1-D
    array stands for a single vector. float32 arrays stay float32. A batch of networks has one more axis, in front. Raises
    ValueError when the shapes do not fit.

    >>> net = Network(m=[1, 0, 0, 1], u=[0, 2, 0, 0], v=[0, 1, 1, 0], z=[1, 0, 1, 0])
    >>> net.overlaps()["vu"].tolist()  # v^T u / N
    [[0.5]]
    """

    simulated: ClassVar[bool] = True
    takes_neuron_rules: ClassVar[bool] = True

    bulk: Any = eqx.field(metadata=ONLY_IF_SET)  # (batch, N, N), or None
    recipe: Any = eqx.field(metadata={"undescribed": True})  # (batch, 4), of a bulk that was drawn, or None

    def __init__(
        self,
        m: Any,
        u: Any,
        v: Any,
        z: Any,
        b: Any = None,
        h0: Any = None,
        c: Any = None,
        bulk: Any = None,
        recipe: Any = None,
    ):
        super().__init__(m, u, v, z, b, h0, c)
        self.bulk, self.recipe = checked_bulk(bulk, self.m.shape[:-1], recipe)

    @property
    def weights(self) -> Float[AnyArray, "*batch N"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return np.full(self.m.shape[:-1], 1 / self.n, self.m.dtype)

    @property
    def W(self) -> Float[AnyArray, "*batch N N"]:
        """The recurrent weights J + u v^T / N, (N, N)."""
        low_rank = self.u @ self.v.swapaxes(-1, -2) / self.n
        return low_rank if self.bulk is None else self.dense_bulk + low_rank

    @property
    def dense_bulk(self) -> Float[AnyArray, "*batch N N"]:
        """The matrix J with a row and a column for each unit."""
        return self.bulk

    def times_bulk(self, vectors: Float[AnyArray, "N vectors"]) -> Float[AnyArray, "N vectors"]:
        """J times some vectors."""
        return self.bulk @ vectors

    @property
    def has_bulk(self) -> bool:
        return self.bulk is not None

    @property
    def latent_layout(self) -> Any:
        """With a bulk, activity does not stay in the space of m and u: there is one latent for each unit."""
        return self.layout if self.bulk is None else self.unit_layout

    @property
    def drivers(self) -> Float[AnyArray, "*batch N driving"]:
        return super().drivers if self.bulk is None else self.unit_drivers

    def projection(self, transfer: Transfer) -> Projection:
        return super().projection(transfer) if self.bulk is None else through_bulk(self, transfer)

    def linear_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        return self.W, self.m, numpy_for(self).swapaxes(self.z, -1, -2) / self.n

    def latent_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        return super().latent_system() if self.bulk is None else self.linear_system()

    def fed_back(self, recurrent: Float[AnyArray, "R I"], activity: Float[AnyArray, "N I"]) -> Float[AnyArray, "N I"]:
        """The input W h that the recurrence gives to each unit.

        `recurrent`: what the low-rank part reads through `readers`. `activity`: h.
        """
        low_rank = self.u @ recurrent
        return low_rank if self.bulk is None else low_rank + self.times_bulk(activity)

    def recurrent_norm(self) -> Any:
        """An upper bound of the spectral norm of the recurrent weights: |J| + |u| |v| / N, with spectral norms."""
        u, v = (np.asarray(vectors) / np.sqrt(self.n) for vectors in (self.u, self.v))
        low_rank = np.linalg.norm(u, 2, axis=(-2, -1)) * np.linalg.norm(v, 2, axis=(-2, -1))
        return low_rank if self.bulk is None else low_rank + np.linalg.norm(np.asarray(self.bulk), 2, axis=(-2, -1))

    def eigenvalues(self) -> np.ndarray:
        """The eigenvalues of W, the one with the largest modulus first.

        Without a bulk, these are the R eigenvalues that can differ from 0; with a bulk, all N eigenvalues.
        """
        return super().eigenvalues() if self.bulk is None else by_modulus(np.linalg.eigvals(np.asarray(self.W, float)))

    def overlaps(self) -> "Overlaps":
        mend = "Use `krylov(order)`, or `gram` for the overlap matrix of the vectors alone."
        require_no_bulk(self, "to be described by its overlaps", mend)
        return super().overlaps()

    def _selected(self, rnn: Model, visible: bool) -> dict[str, Any]:
        mend = "Overlaps with powers of J are visible too: `bulk.words(state)` tells which."
        require_no_bulk(self, "to be fixed by visible overlaps of its vectors", mend)
        return super()._selected(rnn, visible)

    def krylov(self, order: int) -> "BulkOverlaps":
        """The overlaps of this network with its bulk J, if phi is linear: those of words of up to `order` letters J and J^T.

        A word is a product of matrices J and J^T, applied to one of the vectors m, u, v, z. The small network that stands for
        the words has at most D (2^(order + 1) - 1) units, where D is the number of vectors. For small J of radius g the error
        is of order g^(2 order + 2), at every N (docs/bulk.md). Raises ValueError for a network without a bulk, for a batch,
        and for a negative order.
        """
        from overlaps.connectivity._bulk_overlaps import projected  # here, because `BulkOverlaps` is a kind of network

        return projected(self, order)

    def lifted(self, reduced: "BulkOverlaps") -> "Network":
        """The network of N neurons for which a trained small one stands. Its vectors are sqrt(N / k) Q m', and so on.

        Here Q is the basis of the k directions of the small network, and m' are its vectors. `reduced`: what learning has made
        of `krylov(order)` of this network. Raises ValueError for a small network that was not made from this network.
        """
        from overlaps.connectivity._bulk_overlaps import lifted

        return lifted(self, reduced)

    def charges(self, rates: Float[np.ndarray, " D"], linear: bool) -> dict[str, np.ndarray]:
        charges = super().charges(rates, linear)
        if self.bulk is not None:
            return without_spectrum(charges)
        if linear and np.all(rates > 0):
            vectors = np.asarray(self.vectors)
            charges["K"] = -(vectors * signs(self.layout) / rates) @ np.swapaxes(vectors, -1, -2) / self.n
        return charges

    @property
    def sizes(self) -> dict[str, Any]:
        return super().sizes | ({} if self.bulk is None else {"bulk": (self.n, self.n)})

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        values = super().recorded(factor)
        if self.bulk is None:
            return values
        return values | {"sigma_bulk": word_overlaps(self.times_bulk, without_row(factor, self.c)[0], self.layout)}

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        variables, coordinates = super().tracked(values, rnn)
        words, labels = bulk_variables(values, self.layout)
        return variables | words, coordinates | labels

    @property
    def description(self) -> dict[str, Any]:
        return super().description | ({} if self.bulk is None else {"bulk": True})

    def stored(self, name: str) -> dict[str, Variable]:
        return super().stored(name) | stored_bulk(name, self.bulk, self.recipe)

    @classmethod
    def read(cls, name: str, results: Results) -> "Network":
        vectors = Layout.of(results.description).vectors(results.variable(f"{name}_vectors"))
        network = cls(**vectors, c=results.variable(f"{name}_c"), bulk=read_bulk(results))
        require_stored(network.bulk, results)
        return network
