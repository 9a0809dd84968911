"""The learning problem that every rule sees: trainable parameters, their loss, and the overlaps they stand for."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity import State
from overlaps.learning._observables import observe

Parameters = Float[AnyArray, "*batch rows trained"]


class Problem(eqx.Module):
    """The columns of the factor F of a state that learn, with G = F^T F and one row per neuron.

    Overlaps, mean field and network differ only in their factor, so that a rule written for this class trains all of them.
    With `per_neuron` the parameters are the vectors P = sqrt(N) F instead, for rules that look at single neurons (Adam).
    """

    start: State
    objective: Any  # state -> loss; for tasks that draw samples (state, key) -> (loss with the samples, loss)
    columns: tuple[int, ...] = eqx.field(static=True)
    per_neuron: bool = eqx.field(static=True)
    observed: tuple[str, ...] = eqx.field(static=True, default=())

    def parameters(self) -> Parameters:
        """What the rule starts from."""
        return self.start.factor[..., list(self.columns)] * self._scale(self.start.factor.ndim)

    def factor(self, parameters: Parameters) -> Float[AnyArray, "rows D"]:
        """The whole factor, frozen columns included."""
        trained = parameters / self._scale()
        if len(self.columns) == self.start.factor.shape[-1]:
            return trained
        return jnp.asarray(self.start.factor).at[:, list(self.columns)].set(trained)

    def losses(self, parameters: Parameters, key: Any) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""]]:
        """The loss that is descended, and the one that is reported: without the samples drawn from `key`."""
        state = self.start.with_factor(self.factor(parameters))
        if key is not None:
            return self.objective(state, key)
        loss = self.objective(state)
        return loss, loss

    def descent(self, parameters: Parameters, key: Any = None) -> tuple[Float[AnyArray, ""], Parameters]:
        """The reported loss, and the gradient of the descended one."""
        (_, loss), gradient = jax.value_and_grad(self.losses, has_aux=True)(parameters, key)
        return loss, gradient

    def gradient_norm(self, gradient: Parameters) -> Float[AnyArray, ""]:
        """The norm of dL/dF over what learns."""
        return jnp.sqrt(jnp.sum((self._scale() * gradient) ** 2))

    def observe(self, parameters: Parameters) -> dict[str, AnyArray]:
        """What states of this kind record, and what else was asked for."""
        factor = self.factor(parameters)
        values = self.start.recorded(factor)
        if self.observed:
            values |= observe(self.start.with_factor(factor), self.objective, self.observed)
        return values

    def state(self, parameters: Parameters) -> State:
        """The state that these parameters mean, in NumPy arrays; frozen columns as they were."""
        factor = np.array(self.start.factor)
        factor[..., list(self.columns)] = np.asarray(parameters) / self._scale(factor.ndim)
        return self.start.with_factor(factor)

    def _scale(self, ndim: int = 2) -> Any:
        """What turns columns of the factor into parameters, for arrays of so many dimensions."""
        return self.start.scales[list(self.columns)].reshape(*[1] * (ndim - 1), -1) if self.per_neuron else 1.0
