"""What a rule hands back while it runs."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np


class Ending(IntEnum):
    """Why a run stands where it stands."""

    COMPLETE = 0
    STOP_LOSS = 1
    STOP_GRADIENT = 2
    FAILED = 3


@dataclass(frozen=True)
class Record:
    """One chunk of a trajectory: values at the saved points, and where the parameters stand at its end.

    A batch of networks adds a leading axis to all arrays but `asked`; to `time` and `step` only where they can differ.
    `values` holds "loss" and "gradient_norm" (saves,), "gram" (saves, D, D), and what else was asked for.
    """

    asked: np.ndarray  # (saves,) the step or learning time that each row was meant for
    time: np.ndarray  # (saves,) learning time
    values: dict[str, np.ndarray]
    position: float  # how far the run has come, in steps or learning time
    parameters: np.ndarray
    ending: np.ndarray  # Ending so far, one per network of a batch
    step: np.ndarray | None = None  # (saves,) for descent
    newly_failed: np.ndarray = field(default_factory=lambda: np.zeros((), bool))  # in this chunk, one per network of a batch
    failure: str = ""  # what went wrong, for the first of these
    statistics: dict[str, int] = field(default_factory=dict)

    @property
    def loss(self) -> np.ndarray:
        return self.values["loss"]

    @property
    def failed_altogether(self) -> bool:
        """Whether no network is left that has a state."""
        return bool(np.all(self.ending == Ending.FAILED))

    @property
    def over(self) -> bool:
        """Whether no network goes on."""
        return bool(np.all(self.ending != Ending.COMPLETE))


def limits(stop_loss: float | None, stop_gradient: float | None, dtype: np.dtype) -> np.ndarray:
    """Loss and gradient norm below which a run stops; minus infinity where nothing was asked for."""
    return np.asarray([-np.inf if stop is None else stop for stop in (stop_loss, stop_gradient)], dtype)


def endings(loss: np.ndarray, gradient_norm: np.ndarray, failed: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The ending that a loss and a gradient norm mean under the limits `stops` for them."""
    ending = np.where(gradient_norm <= stops[1], Ending.STOP_GRADIENT, Ending.COMPLETE)
    ending = np.where(loss <= stops[0], Ending.STOP_LOSS, ending)
    return np.where(failed, Ending.FAILED, ending)
