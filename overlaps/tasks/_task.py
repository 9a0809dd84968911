"""What `learn` asks of a task."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax

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
        """The loss as a function of states shaped like `state`, with everything else prepared.

        Of a random task, a function of state and key that returns the loss with the samples and the one to report.
        """

    def objectives(self, states: Sequence[State], rnn: RNN) -> list[Callable[..., Any]]:
        """The objectives of a batch of networks, each with its own task where this is a batch: alike in all but numbers."""
        return [task.objective(state, rnn) for task, state in zip(self.lanes(len(states)), states, strict=True)]

    def lanes(self, number: int) -> list[Any]:
        """The task of each of `number` networks: one by one those of a batch, or the same for all."""
        return lanes(self, number) if self.batch else [self] * number


def lanes(tree: Any, number: int) -> list[Any]:
    """What a leading axis of all arrays holds, one by one."""
    return [jax.tree.map(lambda leaf, lane=lane: leaf[lane, ...], tree) for lane in range(number)]


def refuse_batch(state: State, task: Task) -> None:
    """Raise ValueError for a batch of states or tasks, which `learn` takes and a single evaluation of the loss does not."""
    batches = {"state": jax.tree.leaves(state)[0].shape[:-2], "task": task.batch}
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
