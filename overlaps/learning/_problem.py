"""The learning problem that every rule sees: the parameters that learn, their loss, and what a run records of them."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, is_traced, numpy_for
from overlaps.connectivity import State
from overlaps.learning._observables import Observer

Parameters = Float[AnyArray, "*batch rows trained"]


class Problem(eqx.Module):
    """A loss as a function of those columns of the factor F that learn.

    The factor F of a state is a matrix with F^T F = G, the overlap matrix, and with one row per neuron. Overlaps, mean field
    and network differ only in their factor. So a rule that is written for this class trains all of them. With `per_neuron` the
    parameters are the vectors P = sqrt(N) F instead, for rules that look at single neurons (Adam).
    """

    start: State
    objective: Any  # state -> loss; for tasks that draw samples (state, key) -> (loss with the samples, loss)
    columns: tuple[int, ...] = eqx.field(static=True)
    per_neuron: bool = eqx.field(static=True)
    observer: Observer | None = None
    shared: bool = eqx.field(static=True, default=False)  # whether the networks of a batch have one objective
    frozen: Any = None  # for columns that learn only in part, whether each entry is frozen; a run does not see frozen entries

    def split(self) -> tuple[Any, "Problem"]:
        """What the networks of a batch share, and the problem with the arrays of each network alone, for `joined`."""
        return (self.objective, dataclasses.replace(self, objective=None)) if self.shared else (None, self)

    def joined(self, objective: Any) -> "Problem":
        """The problem of one network, with what it shares with others."""
        return dataclasses.replace(self, objective=objective) if self.shared else self

    def with_copies(self, networks: int) -> "Problem":
        """The problem with a copy of the shared objective for each network."""
        copies = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (networks, *np.shape(leaf))), self.objective)
        return dataclasses.replace(self, objective=copies, shared=False)

    def parameters(self) -> Parameters:
        """The parameters from which the rule starts."""
        parameters = self.start.factor[..., list(self.columns)] * self._scale(self.start.factor.ndim)
        return parameters if self.frozen is None else numpy_for(parameters).where(self.frozen, 0.0, parameters)

    def factor(self, parameters: Parameters) -> Float[AnyArray, "rows D"]:
        """The whole factor, with the frozen columns."""
        trained = parameters / self._scale()
        if self.frozen is not None:
            trained = jnp.where(self.frozen, self.start.factor[:, list(self.columns)], trained)
        if len(self.columns) == self.start.factor.shape[-1]:
            return trained
        return jnp.asarray(self.start.factor).at[:, list(self.columns)].set(trained)

    def losses(self, parameters: Parameters, key: Any) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""]]:
        """The loss that descent follows, and the loss that is reported. They differ if `key` draws noise on the targets."""
        state = self.start.with_factor(self.factor(parameters))
        if key is not None:
            return self.objective(state, key)
        loss = self.objective(state)
        return loss, loss

    def descent(self, parameters: Parameters, key: Any = None) -> tuple[Float[AnyArray, ""], Parameters]:
        """The reported loss, and the gradient of the loss that descent follows."""
        (_, loss), gradient = jax.value_and_grad(self.losses, has_aux=True)(parameters, key)
        return loss, gradient

    def gradient_norm(self, gradient: Parameters) -> Float[AnyArray, ""]:
        """The norm of dL/dF over the columns that learn."""
        return jnp.sqrt(jnp.sum((self._scale() * gradient) ** 2))

    def observe(self, parameters: Parameters) -> dict[str, AnyArray]:
        """What a run records: what states of this kind always record, and what the user asked for."""
        factor = self.factor(parameters)
        values = self.start.recorded(factor)
        if self.observer is not None:
            values |= self.observer(self.start.with_factor(factor), self.objective)
        return values

    def state(self, parameters: Parameters) -> State:
        """The state that has these parameters, in NumPy arrays unless they are traced. Frozen columns stay as they were."""
        if is_traced(parameters):
            return self.start.with_factor(self.factor(parameters))
        factor = np.array(self.start.factor)
        trained = np.asarray(parameters) / self._scale(factor.ndim)
        frozen = False if self.frozen is None else self.frozen
        factor[..., list(self.columns)] = np.where(frozen, factor[..., list(self.columns)], trained)
        return self.start.with_factor(factor)

    def _scale(self, ndim: int = 2) -> Any:
        """The numbers that turn columns of the factor into parameters, for arrays with `ndim` dimensions."""
        if not self.per_neuron:
            return 1.0
        scales = self.start.scales[..., list(self.columns)]
        return scales.reshape(*[1] * (ndim - scales.ndim), *scales.shape)
