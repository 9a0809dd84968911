"""The overlaps of words of a linear network with a random bulk, as a small network that stands for them."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, is_traced, numpy_for, parameter, real_array, said
from overlaps.connectivity._bulk import RandomBulk, checked_correlation
from overlaps.connectivity._fock import fock_bulk
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._network import Network
from overlaps.connectivity._protocols import Results, Variable
from overlaps.connectivity._readout_bias import without_row
from overlaps.connectivity._subspace import checked_basis, same_space, stored_basis, subspace

EDGE = 64  # points on the ellipse around the eigenvalues of an infinitely large J


class BulkOverlaps(Network):
    """The overlaps of a linear network W = J + u v^T / N with a random bulk J, without its neurons (docs/bulk.md).

    Learning moves m, u, v and z along words: products of matrices J and J^T, applied to the initial vectors. The overlaps of
    all words with each other describe how the network learns. A `BulkOverlaps` keeps those of words of up to `order` letters,
    as a network of k units, one for each direction in the space of the words. `learn` trains it like any other network. The
    library refuses rules for single neurons (Adam) and nonlinear phi, because the small network would not be exact for them.

    `Overlaps.with_bulk` makes one for N -> infinity, and `Network.krylov` one for a given J. For a bulk of radius g the words
    that are left out contribute at order g^(2 order + 2) to output, loss and overlaps. The arguments are:

    - `m`, `u`, `v`, `z`, `b`, `h0`, `c`: as in `Network`, for k units. m^T m / k is the overlap of the large network.
    - `bulk`: the matrix J among the units, (k, k). A smaller one, (words, words), acts on the words, and each word stands for
      k / words units, one after the other, on which it acts alike.
    - `order`: the largest number of letters of a word.
    - `edge`: real and imaginary parts of eigenvalues of the whole J, (points, 2): those that decide whether activity decays.
    - `basis`: (N, k), with orthonormal columns: the directions in the space of N neurons for which the units stand. None at
      N -> infinity.
    - `recipe`: None, as for every matrix that no `RandomBulk` drew.

    Raises ValueError when the shapes do not fit.
    """

    takes_neuron_rules: ClassVar[bool] = False

    edge: Float[AnyArray, "*batch points 2"]
    basis: Float[AnyArray, "*batch N k"] | None
    order: int = eqx.field(static=True)

    def __init__(
        self,
        m: Any,
        u: Any,
        v: Any,
        z: Any,
        bulk: Any,
        order: int,
        edge: Any,
        basis: Any = None,
        b: Any = None,
        h0: Any = None,
        c: Any = None,
        recipe: None = None,
    ):
        super().__init__(m, u, v, z, b, h0, c, recipe=recipe)
        self.bulk = real_array("bulk", bulk)
        words = self.bulk.shape[-1]
        if self.bulk.shape != (*self.batch, words, words) or self.n % words:
            must = f"have as many rows and columns as there are words, of which {self.n} units are a multiple"
            raise argument_error("bulk", must, f"its shape is {self.bulk.shape}")
        self.order = count("order", order, least=0)
        edge = real_array("edge", edge)
        if edge.ndim < 2 or edge.shape[-1] != 2:
            raise argument_error("edge", "have shape (points, 2)", f"its shape is {edge.shape}")
        self.edge = numpy_for(edge).broadcast_to(edge, (*self.batch, *edge.shape[-2:]))
        self.basis = checked_basis(basis, self.m.shape[:-1])

    @property
    def dense_bulk(self) -> Float[AnyArray, "*batch k k"]:
        same = np.eye(self.n // self.bulk.shape[-1])
        whole = numpy_for(self).einsum("...ab,ij->...aibj", self.bulk, same)
        return whole.reshape(*self.batch, self.n, self.n)

    def times_bulk(self, vectors: Float[AnyArray, "k vectors"]) -> Float[AnyArray, "k vectors"]:
        return (self.bulk @ vectors.reshape(self.bulk.shape[-1], -1)).reshape(vectors.shape)

    def check_transfer(self, phi: Any) -> None:
        if phi != "linear":
            came = "a BulkOverlaps came. Its units are words, sums over neurons, and phi of a sum is not the sum of phi"
            mend = "Train the Network itself. Without learning, `bulk.activity` has the limit of infinitely many neurons."
            raise argument_error("state", f"be a whole network for phi {phi!r}", came, mend)

    def krylov(self, order: int) -> "BulkOverlaps":
        """Raises ValueError: this network is reduced already."""
        came = "it is a BulkOverlaps, which stands for a whole network already"
        raise argument_error("state", "be a network of neurons to be reduced", came, "Reduce the Network itself.")

    def with_bulk(self, *_: Any, **__: Any) -> Any:
        """Raises ValueError: there is a bulk already."""
        mend = "Ask the Overlaps without a bulk."
        raise argument_error("bulk", "be given once", "the state has one already", mend)

    def sample(self, *_: Any, **__: Any) -> Any:
        """Raises ValueError: overlaps of words are not enough to draw a J and vectors that have them."""
        mend = "Draw it from the Overlaps before learning: net.sample(n, key, bulk=g)."
        raise argument_error("state", "be an Overlaps to draw a network", "a BulkOverlaps came", mend)

    def mean_field(self, *_: Any, **__: Any) -> Any:
        """Raises ValueError: with a bulk, neurons are not independent of each other, so that no nodes can stand for them."""
        came = "it has one. J couples each neuron to all others, so neurons do not learn as independent draws"
        raise argument_error(
            "state", "have no bulk to have a mean field", came, 'See docs/bulk_nonlinear.md, "Learning does not close".'
        )

    def neurons(self) -> None:
        return None

    def modes(self) -> np.ndarray:
        """The eigenvalues of W on the words, and those at the edge of the bulk, which words of finite length do not show."""
        return np.concatenate([self.eigenvalues(), self.edge[..., 0] + 1j * self.edge[..., 1]], axis=-1)

    @property
    def sizes(self) -> dict[str, Any]:
        sizes = {"units" if name == "n" else name: size for name, size in super().sizes.items() if name != "bulk"}
        return sizes | {"order": self.order}

    @property
    def description(self) -> dict[str, Any]:
        return super().description | {"order": self.order}

    def stored(self, name: str) -> dict[str, Variable]:
        variables = super().stored(name)
        if name == "initial":
            variables["bulk"] = (("row", "column"), np.asarray(self.bulk), said("bulk J among the words"))
            variables["edge"] = (("point", "part"), np.asarray(self.edge), said("eigenvalues of the bulk, real and imaginary"))
        return variables | stored_basis(name, self.basis)

    @classmethod
    def read(cls, name: str, results: Results) -> "BulkOverlaps":
        fields = Layout.of(results.description).vectors(results.variable(f"{name}_vectors"))
        fields |= {name: results.variable(name) for name in ("bulk", "edge", "basis")}
        return cls(**fields, order=results.description["order"], c=results.variable(f"{name}_c"))


def infinite(net: Any, radius: Any, order: int, correlation: float) -> BulkOverlaps:
    """The limit that `Overlaps.with_bulk` describes."""
    order, correlation = count("order", order, least=0), checked_correlation(correlation)
    shape = None if isinstance(radius, RandomBulk) else np.shape(radius)
    if shape is None or len(shape) > 1:
        mend = "For a J of your own, use net.sample(n, key, bulk=J).krylov(order)."
        came = "a RandomBulk came" if shape is None else f"an array of shape {shape} came"
        raise argument_error("radius", "be a number, or one for each network", came, mend)
    radius = parameter("radius", radius, least=0.0)
    start, _ = without_row(net.factor, net.c)
    xp, size = numpy_for(start, radius), net.layout.size
    words = fock_bulk(order, correlation)
    if radius.ndim and net.batch not in ((), radius.shape):
        raise argument_error("radius", f"be a number or {net.batch[0]} numbers, one per network", f"{radius.size} came")
    batch, units = net.batch or radius.shape, len(words) * size
    vectors = xp.concatenate([start, xp.zeros((*net.batch, units - size, size))], axis=-2) * np.sqrt(units)
    vectors = xp.broadcast_to(vectors, (*batch, units, size))
    radius = xp.broadcast_to(radius, batch)[..., None, None]
    angles = 2 * np.pi / EDGE * np.arange(EDGE)
    ellipse = np.stack([(1 + correlation) * np.cos(angles), (1 - correlation) * np.sin(angles)], axis=-1)
    c = None if net.c is None else xp.broadcast_to(net.c, (*batch, net.outputs))
    return BulkOverlaps(**net.layout.vectors(vectors), bulk=radius * words, order=order, edge=radius * ellipse, c=c)


def projected(network: Network, order: int) -> BulkOverlaps:
    """The projection of a network on its words that `Network.krylov` describes."""
    order = count("order", order, least=0)
    if network.bulk is None:
        mend = "Without a bulk, `overlaps()` is exact."
        raise argument_error("state", "have a bulk", "it has none", mend)
    if is_traced(network) or network.batch:
        raise argument_error("state", "be a single network of known numbers", f"{network!r} came")
    J, vectors, basis = np.asarray(network.bulk, float), np.asarray(network.vectors, float), _words(network, order)
    values = np.linalg.eigvals(J)
    return BulkOverlaps(
        **network.layout.vectors(np.sqrt(basis.shape[1] / network.n) * basis.T @ vectors),
        bulk=basis.T @ J @ basis,
        order=order,
        edge=np.stack([values.real, values.imag], axis=-1),
        basis=basis,
        c=None if network.c is None else np.asarray(network.c, float),
    )


def lifted(network: Network, reduced: Any) -> Network:
    """The trained network that `Network.lifted` describes."""
    basis = getattr(reduced, "basis", None)
    if not isinstance(reduced, BulkOverlaps) or basis is None or reduced.batch or network.bulk is None:
        raise argument_error("reduced", "be a single reduction of this network by `krylov`", f"{reduced!r} came")
    if basis.shape[0] != network.n or not same_space(_words(network, reduced.order), basis):
        raise argument_error("reduced", "be a reduction of this network", "it is that of another one")
    vectors = np.sqrt(network.n / reduced.n) * basis @ np.asarray(reduced.vectors)
    return Network(**network.layout.vectors(vectors), c=reduced.c, bulk=network.bulk)


def _words(network: Network, order: int) -> Float[np.ndarray, "N k"]:
    return subspace(np.asarray(network.bulk, float), np.asarray(network.vectors, float), order)
