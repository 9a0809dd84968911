"""What `learn` asks of a task."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np

from overlaps._support import argument_error
from overlaps.connectivity import State
from overlaps.dynamics import RNN


class Task(eqx.Module):
    """Something that gives states a loss. A batch of tasks has a leading axis on all of its arrays."""

    loss_units: ClassVar[str] = "1"

    @property
    @abc.abstractmethod
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch axis: () for a single task."""

    @property
    def random(self) -> bool:
        """Whether each step draws samples, so that `learn` needs a key."""
        return False

    @abc.abstractmethod
    def objective(self, state: State, rnn: RNN) -> Callable[..., Any]:
        """The loss as a function of a single state shaped like `state`, with everything else prepared.

        For a random task it is a function of state and key, which returns the loss with the samples and the loss to report.
        `state` may be a batch: it is checked as a whole, and the one objective suits all networks. The objective of a batch of
        tasks has the leading axis of the batch on all of its arrays.
        """

    def admits(self, state: State, rnn: RNN) -> np.ndarray:
        """Whether `objective` can be computed for each network of a batch, (batch,)."""
        return np.ones(state.batch, bool)


def first_of(tree: Any) -> Any:
    """The first one of a batch."""
    return jax.tree.map(lambda leaf: leaf[0, ...], tree)


def refuse_batch(state: State, task: Task) -> None:
    """Raise ValueError for a batch of states or tasks, which `learn` takes and a single evaluation of the loss does not."""
    batches = {"state": state.batch, "task": task.batch}
    for name, shape in batches.items():
        if shape:
            raise argument_error(
                name, "be a single one to have a loss", f"a batch of {shape[0]} came", "Map over it with jax.vmap, or loop."
            )


def require_sizes(state: State, inputs: int, outputs: int) -> None:
    """Raise ValueError unless the state has as many inputs and outputs as the task."""
    for name, has, needs in (("inputs", state.layout.inputs, inputs), ("outputs", state.layout.outputs, outputs)):
        if has != needs:
            raise argument_error("state", f"have {needs} {name}, as the task has", f"it has {has}")


@eqx.filter_jit
def evaluate(objective: Callable[[State], Any], state: State) -> Any:
    """The loss of a state, compiled."""
    return objective(state)
