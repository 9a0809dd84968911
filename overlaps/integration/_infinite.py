"""Small networks that learn as networks of infinitely many neurons with random W do."""

from typing import Any

import numpy as np

from overlaps._support import argument_error, count, number
from overlaps.connectivity import ReducedNetwork, fock_bulk

MOST_UNITS = 2000


def infinite_network(sigma: Any = 0.0, order: int = 4, scale: float = 1.0, inputs: int = 1, outputs: int = 1) -> ReducedNetwork:
    """A small network that stands for the limit N to infinity of `DenseNetwork.random`. `learn` trains it like any network.

    It keeps products of up to `order` factors of W and W^T, and has (inputs + outputs) (2^(order + 1) - 1) units. The products
    that are left out contribute to the loss at order sigma^(2 order + 2). A network of N neurons deviates from the limit by
    1 / sqrt(N) in addition.

    - `sigma`: radius of the bulk, the disk that the eigenvalues of W fill.
    - `order`: the largest number of factors that is kept.
    - `scale`: the scale of the readout.
    - `inputs`, `outputs`: numbers of input and readout vectors.

    For large N, products of W and W^T applied to independent Gaussian vectors become orthogonal. They behave like words of the
    letters 1 and 2 with W = sigma (l_1 + l_2*). Here l_1 puts a 1 in front of a word, and l_2* takes a 2 away from its front (W
    is a circular element on a free Fock space). See docs/integration.md, "Infinitely many neurons".

    Returns a `ReducedNetwork`. Raises ValueError for values out of range, and for an order that takes more than 2,000 units.
    """
    sigma, scale = number("sigma", sigma, least=0.0), number("scale", scale, above=0.0)
    order, inputs, outputs = count("order", order, least=0), count("inputs", inputs), count("outputs", outputs)
    vectors = inputs + outputs
    size = vectors * (2 ** (order + 1) - 1)
    if size > MOST_UNITS:
        raise argument_error("order", f"take {MOST_UNITS} units or fewer", f"{order} came, which takes {size}")
    W = sigma * fock_bulk(order)
    ends = np.sqrt(size) * np.eye(size)[:, :: len(W)]
    return ReducedNetwork(np.kron(np.eye(vectors), W), ends[:, :inputs], scale * ends[:, inputs:])
