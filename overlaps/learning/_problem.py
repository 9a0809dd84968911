"""The learning problem that every rule sees: trainable parameters, their loss, and the overlaps they stand for."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._connectivity import State
from overlaps._typing import AnyArray

Parameters = Float[AnyArray, "rows trained"]


class Problem(eqx.Module):
    """The columns of the factor F of a state that learn, with G = F^T F and one row per neuron.

    Overlaps, mean field and network differ only in their factor, so that a rule written for this class trains all of them.
    With `per_neuron` the parameters are the vectors P = sqrt(N) F instead, for rules that look at single neurons (Adam).
    """

    start: State
    objective: Any  # State -> loss
    columns: tuple[int, ...] = eqx.field(static=True)
    per_neuron: bool = eqx.field(static=True)

    def parameters(self) -> Parameters:
        """What the rule starts from."""
        return self.start.factor[:, list(self.columns)] * self._scale()

    def factor(self, parameters: Parameters) -> Float[AnyArray, "rows D"]:
        """The whole factor, frozen columns included."""
        trained = parameters / self._scale()
        if len(self.columns) == self.start.layout.size:
            return trained
        return jnp.asarray(self.start.factor).at[:, list(self.columns)].set(trained)

    def loss(self, parameters: Parameters) -> Float[AnyArray, ""]:
        return self.objective(self.start.with_factor(self.factor(parameters)))

    def gram(self, parameters: Parameters) -> Float[AnyArray, "D D"]:
        factor = self.factor(parameters)
        return factor.T @ factor

    def state(self, parameters: Parameters) -> State:
        return self.start.with_factor(np.asarray(self.factor(parameters)))

    def _scale(self) -> float:
        return float(np.sqrt(self.start.factor.shape[-2])) if self.per_neuron else 1.0
