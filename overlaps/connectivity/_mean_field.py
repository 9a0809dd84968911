"""The limit of infinitely many neurons, as nodes of a quadrature."""

from typing import Any

import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, real_array, said
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._neurons import Neurons
from overlaps.connectivity._protocols import Results, Variable


class MeanField(Neurons):
    """The limit of infinitely many neurons: weighted nodes that stand for all neurons, and learn as neurons do.

    In this limit each neuron is an independent draw of theta = (m, u, v, z), and all neurons see the same latents (the few
    numbers that make up the activity). The nodes are those of a quadrature over the initial distribution of theta. Averages
    over neurons become sums over nodes theta_j with weights w_j. Node j follows d theta_j/ds = -(1 / w_j) dL / d theta_j, where
    L is the loss and s the learning time, learning rate x step (docs/large_n.md, "The mean field").

    `Overlaps.mean_field` makes the nodes for a Gaussian initial distribution. For other distributions pass nodes of your own:

    - `m`, `u`, `v`, `z`, `b`, `h0`, `c`: as in `Network`, with one row per node.
    - `weights`: (nodes,), positive, with the sum 1.

    Raises ValueError for other weights or shapes.
    """

    weights: Float[AnyArray, "*batch N"]

    def __init__(self, m: Any, u: Any, v: Any, z: Any, weights: Any, b: Any = None, h0: Any = None, c: Any = None):
        super().__init__(m, u, v, z, b, h0, c)
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
        fields = Layout.of(results.description).vectors(vectors)
        return cls(**fields, weights=np.broadcast_to(weights, vectors.shape[:-1]), c=results.variable(f"{name}_c"))
