"""Connectivity as a mixture of Gaussian populations of neurons: the closure for networks whose neurons are not one Gaussian."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from overlaps._support import (
    argument_error,
    count,
    in_float64,
    numpy_for,
    random_key,
)
from overlaps.connectivity._assignment import scores, turned
from overlaps.connectivity._draws import drawn, whole
from overlaps.connectivity._gram import square_root
from overlaps.connectivity._html import populations_html
from overlaps.connectivity._mean_field import MeanField
from overlaps.connectivity._mixture import Mixture
from overlaps.connectivity._mixture_fits import PopulationFits, compared, fitted, labelled
from overlaps.connectivity._network import Network
from overlaps.connectivity._protocols import Simulator
from overlaps.connectivity._quadrature import gaussian_nodes, refinements


class Populations(Mixture):
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

        def make(parts: Any) -> Populations:
            return cls(*parts, *network.layout, c=network.c)

        key = random_key("key", key)
        if key.shape:
            raise argument_error("key", "be a single key", f"an array of shape {key.shape} came")
        if np.ndim(count):
            return compared(network, count, key, make, rnn, inputs, draws)
        return make(fitted(network, count, key, rnn)[0])

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

    def numbers(self, n: int) -> np.ndarray:
        """The number of neurons of each population in an exact sample of `n`. Raises ValueError if there is none."""
        return whole(np.asarray(self.weights), n, self.layout.size)

    @in_float64
    def mean_field(self, nodes: int | None = None, key: Any = 0) -> MeanField:
        """The limit of infinitely many neurons, drawn from these populations.

        `nodes`: the largest number of nodes for all populations together, roughly: Sobol points come in powers of 2. None: as
        many as in `Overlaps.mean_field` for each population.
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

    def assign(self, network: Network) -> np.ndarray:
        """The most probable population of each neuron of `network`, which has the same vectors: whole numbers from 0, (N,)."""
        return self._scores(network).argmax(axis=0)

    def align(self, network: Network) -> Network:
        """The network with the mirror image of a neuron, -1 times all its entries, wherever it fits these populations better.

        For odd phi both networks act and learn alike, and `fit` with an `rnn` describes neurons up to this sign.
        """
        return turned(self._scores, network)

    def _repr_html_(self) -> str:
        return populations_html(self)

    def _scores(self, network: Network) -> np.ndarray:
        if not isinstance(network, Network) or network.batch or self.batch or network.layout != self.layout:
            raise argument_error("network", f"be a single Network with the vectors of {self!r}", f"{network!r} came")
        parts = (self.weights, self.means, self.covariances, network.vectors)
        return scores(*(np.asarray(part, float) for part in parts))
