"""What a task is: the methods that `learn` calls."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np

from overlaps._support import argument_error, is_traced
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.tasks._picture import Curves, picture


class Task(eqx.Module):
    """A task gives a loss to a state (a network, or its overlaps). A batch of tasks has a leading axis on all of its arrays."""

    loss_units: ClassVar[str] = "1"

    horizon: ClassVar[Any] = None
    """The duration over which a filter task compares impulse responses; None if it is infinite, and for other tasks."""

    @property
    @abc.abstractmethod
    def batch(self) -> tuple[int, ...]:
        """The shape of the batch axis: () for a single task, (batch,) for a batch."""

    @property
    def random(self) -> bool:
        """Whether each step of descent draws new trials or noise, so that `learn` needs a key."""
        return False

    @abc.abstractmethod
    def objective(self, state: State, rnn: RNN) -> Callable[..., Any]:
        """The loss of a single state with the shapes of `state`: an Equinox module with a method `__call__(state)`.

        All checks and preparations are done here.

        For a random task it is a function of a state and a key. This function returns two losses: the loss to descend, with
        the drawn trials or noise, and the loss to report. If `state` is a batch, all its networks are checked, and one
        objective serves all of them. The objective of a batch of tasks has the batch axis in front of all of its arrays.
        """

    def admits(self, state: State, rnn: RNN) -> np.ndarray:
        """For each network of a batch, whether `objective` can be computed for it: booleans of shape (batch,)."""
        return np.ones(state.batch, bool)

    def shown(self) -> tuple[str, list[Curves]] | None:
        """A title, and the curves that a notebook draws of this task (of the first one of a batch); None for no picture."""
        return None

    def _repr_png_(self) -> bytes | None:
        shown = None if is_traced(self) else self.shown()
        return None if shown is None else picture(*shown)


def first_of(tree: Any) -> Any:
    """The first network or task of a batch."""
    return jax.tree.map(lambda leaf: leaf[0, ...], tree)


def place_in(task: Task) -> str:
    """What the title of a picture says about a task of a batch."""
    return f" (the first of a batch of {task.batch[0]})" if task.batch else ""


def refuse_batch(state: Any, task: Task) -> None:
    """Raise ValueError for a batch of states or tasks: `learn` takes batches, but a single evaluation of the loss does not."""
    if not isinstance(state, State):
        raise argument_error("state", "be an Overlaps, MeanField, Network or DenseNetwork", f"{type(state).__name__} came")
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
    """The loss of a state, computed by a compiled program."""
    return objective(state)
