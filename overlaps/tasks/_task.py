"""What `learn` asks of a task."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx

from overlaps._connectivity import State
from overlaps._rnn import RNN


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
