"""Networks of infinitely many neurons with random W, as small networks."""

import itertools
from typing import Any

import numpy as np

from overlaps._support import argument_error, count, number
from overlaps.connectivity import ReducedNetwork

MOST_UNITS = 2000


def infinite_network(sigma: Any = 0.0, order: int = 4, scale: float = 1.0, inputs: int = 1, outputs: int = 1) -> ReducedNetwork:
    """The limit N to infinity of `DenseNetwork.random`, kept up to products of `order` factors of W and W^T.

    Words of W and W^T applied to independent Gaussian vectors become orthogonal for large N, like words of the letters 1 and 2
    with W = sigma (l_1 + l_2*): l_1 puts a 1 in front, l_2* takes a 2 away from it (a circular element on a free Fock space).
    What is left out is of order sigma^(2 order + 2) in the loss; a network of N neurons deviates by 1 / sqrt(N) besides.
    `scale`: that of the readout. Has (inputs + outputs) (2^(order + 1) - 1) units. Trained by `learn` as any network; see
    docs/integration.md, "Infinitely many neurons". Raises ValueError for values out of range.
    """
    sigma, scale = number("sigma", sigma, least=0.0), number("scale", scale, above=0.0)
    order, inputs, outputs = count("order", order, least=0), count("inputs", inputs), count("outputs", outputs)
    words = [word for length in range(order + 1) for word in itertools.product("12", repeat=length)]
    vectors = inputs + outputs
    if len(words) * vectors > MOST_UNITS:
        came = f"{order} came, which takes {len(words) * vectors}"
        raise argument_error("order", f"take {MOST_UNITS} units or fewer", came)
    place = {word: index for index, word in enumerate(words)}
    W = np.zeros((len(words), len(words)))
    for word in words:
        if len(word) < order:
            W[place["1", *word], place[word]] = sigma
            W[place[word], place["2", *word]] = sigma
    size = len(words) * vectors
    ends = np.sqrt(size) * np.eye(size)[:, :: len(words)]
    return ReducedNetwork(np.kron(np.eye(vectors), W), ends[:, :inputs], scale * ends[:, inputs:])
