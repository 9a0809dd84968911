"""What every resolution of connectivity has in common."""

import abc
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray
from overlaps.connectivity._layout import Layout


@runtime_checkable
class Model(Protocol):
    """What decides which overlaps are visible: an `RNN`."""

    def visible(self, layout: Layout) -> tuple[bool, ...]: ...


class State(eqx.Module):
    """Connectivity that can be trained: anything with a factor F whose overlap matrix is G = F^T F.

    The loss gradient with respect to the rows of F is what every learning rule acts on, so that one implementation of
    a rule serves all resolutions (docs/theory.md, "The minimal network").
    """

    @property
    @abc.abstractmethod
    def layout(self) -> Any:
        """Order and names of the connectivity vectors."""

    @property
    @abc.abstractmethod
    def factor(self) -> Float[AnyArray, "*batch rows D"]:
        """A matrix F with F^T F = G, one row per neuron."""

    @abc.abstractmethod
    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "State":
        """The state that has this factor."""

    @abc.abstractmethod
    def overlaps(self) -> Any:
        """The overlap matrix of this state."""

    def visible(self, rnn: Model) -> dict[str, Any]:
        """The overlaps that fix the activity, output and loss of this network under `rnn`, by label."""
        return self.overlaps().visible(rnn)

    def invisible(self, rnn: Model) -> dict[str, Any]:
        """The overlaps that change nothing now but steer learning under `rnn`, by label."""
        return self.overlaps().invisible(rnn)

    @property
    def scales(self) -> Any:
        """What columns of the factor are multiplied by to give the vectors that a rule for single neurons sees."""
        return np.full(self.layout.size, np.sqrt(self.factor.shape[-2]))

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        """What a trajectory keeps of a factor; in jax.numpy."""
        return {"gram": factor.T @ factor}
