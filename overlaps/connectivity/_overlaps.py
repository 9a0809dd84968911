"""Connectivity as the matrix of all overlaps, without neurons."""

import dataclasses
import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, in_float64, is_traced, number, numpy_for, random_key
from overlaps.connectivity._bulk import recipe_of
from overlaps.connectivity._bulk_overlaps import BulkOverlaps, infinite
from overlaps.connectivity._draws import concrete, normal, orthonormal
from overlaps.connectivity._gram import checked_gram, gram_of, square_root
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._mean_field import MeanField
from overlaps.connectivity._network import Network
from overlaps.connectivity._populations import Populations
from overlaps.connectivity._protocols import Results, Variable
from overlaps.connectivity._quadrature import gaussian_nodes, refinements
from overlaps.connectivity._readout_bias import ONLY_IF_SET, checked_bias, stored_bias, with_row, without_row
from overlaps.connectivity._replacement import replaced
from overlaps.connectivity._state import State, scalar


class Overlaps(State):
    """The overlap matrix G = P^T P / N of a rank-R network, which describes the network without its neurons ([GB26]).

    A network of N neurons obeys tau dh/dt = -h + u v^T phi(h) / N + m x and y = z^T phi(h) / N, with activity h, input x and
    output y. P = [m u v z] contains its connectivity vectors: input vectors m (N, I), recurrent vectors u and v (N, R) and
    readout vectors z (N, O). An overlap is the scalar product of two of these vectors, divided by N. Overlaps are pure
    numbers and do not depend on N. `net["zu"]` are the overlaps of z and u.

    - `gram`: the matrix G, array-like of shape (D, D) with D = I + 2R + O. Rows and columns are in the order
      [m.. u.. v.. z..]. G is symmetric and positive semi-definite. A batch of networks has one more axis, in front.
    - `inputs`, `rank`, `outputs`: the numbers I, R and O.
    - `bias`: whether the neurons have biases b. The order is then [m.. b u.. v.. z..], and overlaps such as "zb" exist.
    - `initial`: whether the activity starts at h(0) = h and not at 0. The vector h then follows m and b.
    - `c`: a readout bias, (O,), which is added to the output; None for none.

    Raises ValueError if `gram` has another shape, or is not symmetric and positive semi-definite.

    >>> net = Overlaps([[1, .2, 0, 0], [.2, 1, 0, 0], [0, 0, 1, .5], [0, 0, .5, 1]])
    >>> net["zv"].tolist()
    [[0.5]]
    """

    solver_steps: ClassVar[int] = 5000

    gram: Float[AnyArray, "*batch D D"]
    inputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    bias: bool = eqx.field(static=True, metadata=ONLY_IF_SET)
    initial: bool = eqx.field(static=True, metadata=ONLY_IF_SET)
    c: Float[AnyArray, "*batch O"] | None = eqx.field(metadata=ONLY_IF_SET)

    def __init__(
        self,
        gram: Any,
        inputs: int = 1,
        rank: int = 1,
        outputs: int = 1,
        bias: bool = False,
        initial: bool = False,
        c: Any = None,
    ):
        layout = Layout.checked(inputs, rank, outputs, bias, initial)
        self.inputs, self.rank, self.outputs, self.bias, self.initial = dataclasses.astuple(layout)
        self.gram = checked_gram(gram, layout)
        self.c = checked_bias(c, self.gram.shape[:-2], outputs)

    @classmethod
    def from_vectors(
        cls, m: Any, u: Any, v: Any, z: Any, few_neurons: bool = False, b: Any = None, h0: Any = None, c: Any = None
    ) -> "Overlaps":
        """The overlaps of given vectors of N neurons.

        - `m`, `u`, `v`, `z`: arrays (N, I), (N, R), (N, R) and (N, O), or 1-D arrays for a single vector.
        - `b`, `h0`, `c`: biases, initial activity and readout bias, as in `Network`.
        - `few_neurons`: whether to accept fewer neurons than vectors, N < D. The library refuses such arrays by default,
          because most of them are transposed by mistake.

        Gives a RuntimeWarning for vectors whose mean is far from zero (see `Network.overlaps`). Raises ValueError when the
        shapes do not fit.
        """
        network = Network(m, u, v, z, b, h0, c)  # pyright: ignore[reportCallIssue]
        size = network.layout.size
        if network.n < size and not few_neurons:
            turned = max(network.layout.counts.values()) > network.n  # more vectors of a kind than neurons
            raise argument_error(
                "m",
                f"have at least as many rows (neurons) as there are vectors, {size}",
                f"its shape is {network.m.shape}{': is it transposed?' if turned else ''}",
                "Pass arrays of shape (neurons, vectors), or few_neurons=True if there are so few neurons.",
            )
        return network.overlaps()

    @classmethod
    @in_float64
    def random(
        cls,
        key: Any,
        rank: int = 1,
        inputs: int = 1,
        outputs: int = 1,
        scale: float = 1.0,
        n: int | None = 500,
        bias: bool = False,
        initial: bool = False,
    ) -> "Overlaps":
        """The overlaps of random vectors, whose entries are independent Gaussian numbers.

        - `key`: a jax.random key or an integer seed.
        - `rank`, `inputs`, `outputs`: how many vectors there are of each kind.
        - `scale`: the standard deviation of the entries. Their mean is 0.
        - `n`: the number of neurons. None is the limit of large n, where the matrix is scale^2 times the identity.
        - `bias`, `initial`: whether there are vectors b and h too, as in `Overlaps`.

        Raises ValueError for a scale that is not positive, and for numbers below 1.
        """
        layout = Layout.checked(inputs, rank, outputs, bias, initial)
        scale = number("scale", scale, above=0.0)
        if n is None:
            gram = np.eye(layout.size)
        else:
            vectors = concrete(normal(random_key("key", key), count("n", n), layout.size))
            gram = vectors.T @ vectors / n
        return cls(scale**2 * gram, *layout)

    @property
    def layout(self) -> Layout:
        return Layout(self.inputs, self.rank, self.outputs, self.bias, self.initial)

    @property
    def readout_bias(self) -> Any:
        return self.c

    @property
    def labels(self) -> list[str]:
        """Names of the D vectors in order: "m" for a single one, "m1", "m2", ... for several."""
        return list(self.layout.labels)

    @property
    def factor(self) -> Float[AnyArray, "*batch rows D"]:
        """The symmetric square root of the overlap matrix: the vectors of the minimal network, which has D neurons.

        A readout bias is one more row.
        """
        return with_row(square_root(self.gram), self.c)

    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "Overlaps":
        vectors, c = without_row(factor, self.c)
        state = eqx.tree_at(lambda state: state.gram, self, gram_of(vectors))
        return state if c is None else eqx.tree_at(lambda state: state.c, state, c)

    @property
    def batch(self) -> tuple[int, ...]:
        return self.gram.shape[:-2]

    def overlaps(self) -> "Overlaps":
        return self

    def __getitem__(self, name: str) -> Any:
        """A block of overlaps such as net["zu"], of shape (O, R), or a single overlap such as net["zu1"].

        The two vectors may come in either order. Raises KeyError for an unknown name.
        """
        block = self.layout.block(name)
        if block is not None:
            return self.gram[..., block[0], block[1]]
        row, column = self.layout.entry(name)
        return scalar(self.gram[..., row, column])

    def replace(self, **overlaps: Any) -> "Overlaps":
        """The same network with new values for some overlaps, as in `net.replace(uu=2.0, mu=0.8)`.

        A name is that of a block ("uu") or of a single overlap ("u1u2"). The value for a block has the shape of the block, and
        may be a number for a 1 x 1 block. Raises KeyError for an unknown name. Raises ValueError for a value of the wrong
        shape, for two names that set the same overlap, and if the result is not positive semi-definite: no vectors have it.
        """
        return Overlaps(replaced(self.gram, self.layout, overlaps), *self.layout, c=self.c)

    @in_float64
    def sample(self, n: int, key: Any, exact: bool = True, bulk: Any = None) -> Network:
        """A random network of `n` neurons with this overlap matrix G, or a batch of networks for a batch of overlap matrices.

        - `exact=True`: the network has exactly these overlaps. Its vectors are sqrt(n) Q F, where F is `factor` and Q is a
          random (n, D) matrix with orthonormal columns. This needs n >= D.
        - `exact=False`: each neuron is an independent draw from the Gaussian with zero mean and covariance G. The overlaps of
          the network differ from G by O(1/sqrt(n)).
        - `key`: a jax.random key or an integer seed. All networks of a batch are then made from the same random matrix, so that
          they differ only as their overlaps do. An array of keys, one per network, gives each network its own random matrix.
        - `bulk`: the bulk J of W = J + u v^T / N, which does not learn. A number g draws independent entries of variance
          g^2 / n from `key`. A `RandomBulk` or a matrix is taken as it is, and None is no bulk.

        Raises ValueError for too few neurons, and if the number of keys is not the number of networks.
        """
        size = self.layout.size
        n = count("n", n)
        if exact and n < size:
            raise argument_error(
                "n", f"be at least {size}, the number of vectors, to realise the overlaps exactly", f"{n} came"
            )
        key = random_key("key", key)
        if key.shape not in ((), self.batch):
            must = f"be one key, or one for each of the {self.batch[0]} networks" if self.batch else "be a single key"
            raise argument_error("key", must, f"an array of shape {key.shape} came")
        # Not the random numbers of `random`: the same seed for both methods must not give correlated vectors.
        draw = functools.partial(normal, rows=n, columns=size, stream=1)
        rows = concrete(jax.vmap(draw)(key) if key.shape else draw(key))
        rows = np.sqrt(n) * orthonormal(rows) if exact else rows
        return Network(**self.layout.vectors(rows @ square_root(self.gram)), c=self.c, bulk=recipe_of(bulk, key))

    def with_bulk(self, radius: Any, order: int = 4, correlation: float = 0.0) -> BulkOverlaps:
        """The overlaps of a linear network that has these overlaps and a random bulk J, at N -> infinity (docs/bulk.md).

        J does not learn. Its entries are Gaussian with the variance radius^2 / N, and independent of the vectors. A word is a
        product of matrices J and J^T, applied to one of the vectors.

        - `radius`: g, at least 0. For `correlation` 0 the eigenvalues of J fill the disk of this radius. An array (batch,)
          makes a batch of networks.
        - `order`: the largest number of letters of the words that are kept. The others contribute at order
          radius^(2 order + 2). There are D (2^(order + 1) - 1) words, for D vectors, and D (order + 1) for the correlations 1
          and -1.
        - `correlation`: that of J_ij with J_ji, from -1 to 1 (see `RandomBulk`).

        Raises ValueError for values out of range, and for an order above 8 (for the correlations 1 and -1: above 510).
        """
        return infinite(self, radius, order, correlation)

    @in_float64
    def mean_field(self, nodes: int | None = None, key: Any = 0) -> MeanField:
        """The limit of infinitely many neurons, drawn from the Gaussian with zero mean and this overlap matrix as covariance.

        A `MeanField` represents this limit by the nodes of a quadrature. The nodes have exactly these overlaps.

        - `nodes`: the largest number of nodes, roughly. None means 6^4 for up to four vectors, and 5,000 for more.
        - `key`: a jax.random key or an integer seed. It matters only for Sobol points.

        If there can be three nodes per vector, they form a tensor product of Gauss-Hermite rules. Results then converge
        spectrally (each further node per vector divides the error by a factor), more slowly for larger activity. Otherwise the
        nodes are scrambled Sobol points (evenly scattered points) and their mirror images. Results then converge roughly as
        1 / nodes. `learn_mean_field` finds the number of nodes that a task needs. Raises ValueError for fewer than one node.
        """
        nodes = None if nodes is None else count("nodes", nodes)
        key = random_key("key", key)
        if key.shape:
            raise argument_error("key", "be a single key", f"an array of shape {key.shape} came")
        positions, weights = gaussian_nodes(self.layout.size, nodes, key)
        vectors = positions @ square_root(self.gram)
        weights = numpy_for(vectors).broadcast_to(weights, vectors.shape[:-1])
        return MeanField(**self.layout.vectors(vectors), weights=weights, c=self.c)

    @property
    def refinements(self) -> list[int]:
        """Numbers of nodes of growing accuracy for `mean_field`."""
        return refinements(self.layout.size)

    def populations(self) -> Populations:
        """The same network as a single population of neurons with zero mean, whose covariance is the overlap matrix."""
        weights, means = np.ones((*self.batch, 1)), np.zeros((*self.batch, 1, self.layout.size))
        return Populations(weights, means, self.gram[..., None, :, :], *self.layout, c=self.c)

    def pieces(self, saves: int) -> int:
        return 10  # a step takes microseconds, so the cost of more pieces would be noticeable

    @property
    def description(self) -> dict[str, Any]:
        return {"gram": self.gram, **self.layout.description}

    def stored(self, name: str) -> dict[str, Variable]:
        return stored_bias(name, self.c)  # `description` holds the first overlap matrix, and `sigma` the last one

    @classmethod
    def read(cls, name: str, results: Results) -> "Overlaps":
        layout, c = Layout.of(results.description), results.variable(f"{name}_c")
        if name == "final":
            return cls(layout.matrix(results.variable("sigma"))[..., -1, :, :], *layout, c=c)
        gram = np.asarray(results.description["gram"])
        gram = results.networks(gram) if gram.ndim > 2 else gram
        return cls(gram, *layout, c=c)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self.layout.description.items())
        if is_traced(self.gram) or self.gram.ndim != 2:
            return f"Overlaps({sizes}, gram of shape {self.gram.shape})"
        labels = self.layout.labels
        width = max(8, *(len(label) + 2 for label in labels))
        head = " " * 4 + "".join(label.rjust(width) for label in labels)
        rows = [
            label.ljust(4) + "".join(f"{value:.3f}".rjust(width) for value in row)
            for label, row in zip(labels, np.asarray(self.gram), strict=True)
        ]
        return "\n".join([f"Overlaps({sizes})", head, *rows])
