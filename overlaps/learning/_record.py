"""The records that a rule returns while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np


class Resumption(NamedTuple):
    """Where an earlier run of the same rule stopped."""

    next_chunk: int
    recall: Callable[[Any], Any]  # the memory of the last record, from arrays of the same structure


class Ending(IntEnum):
    """How the run of a network ended. COMPLETE also stands for a network that still runs."""

    COMPLETE = 0
    STOP_LOSS = 1
    STOP_GRADIENT = 2
    FAILED = 3


@dataclass(frozen=True)
class Record:
    """One chunk of a trajectory: the values at the saved points, and the parameters at the end of the chunk.

    `values` holds "loss" and "gradient_norm" (saves,), what the state records, such as "gram" (saves, D, D), and what the user
    asked for. A batch of networks adds a leading axis to all arrays except `asked`. `time` and `step` have it only if networks
    can differ in them.
    """

    asked: np.ndarray  # (saves,) the step or learning time that each row was meant for
    time: np.ndarray  # (saves,) learning time
    values: dict[str, np.ndarray]
    position: float  # how far the run has come, in steps or in learning time
    parameters: np.ndarray
    ending: np.ndarray  # the Ending so far, one per network of a batch
    step: np.ndarray | None = None  # (saves,) for descent
    newly_failed: np.ndarray = field(default_factory=lambda: np.zeros((), bool))  # whether it failed in this chunk, per network
    failure: str = ""  # what went wrong in the first network that failed in this chunk
    statistics: dict[str, int] = field(default_factory=dict)
    memory: Any = None  # arrays from which the rule goes on after this record: a run that was killed starts from here
    next_chunk: int = 0  # the chunk that comes after this record

    @property
    def loss(self) -> np.ndarray:
        return self.values["loss"]

    @property
    def failed_altogether(self) -> bool:
        """Whether all networks have failed."""
        return bool(np.all(self.ending == Ending.FAILED))

    @property
    def over(self) -> bool:
        """Whether no network goes on: each has stopped or failed."""
        return bool(np.all(self.ending != Ending.COMPLETE))


def limits(stop_loss: float | None, stop_gradient: float | None, dtype: np.dtype) -> np.ndarray:
    """The loss and the gradient norm at which a run stops early; minus infinity for None."""
    return np.asarray([-np.inf if stop is None else stop for stop in (stop_loss, stop_gradient)], dtype)


def endings(loss: np.ndarray, gradient_norm: np.ndarray, failed: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The Ending of each network, from its loss and gradient norm and from the limits `stops` for them."""
    ending = np.where(gradient_norm <= stops[1], Ending.STOP_GRADIENT, Ending.COMPLETE)
    ending = np.where(loss <= stops[0], Ending.STOP_LOSS, ending)
    return np.where(failed, Ending.FAILED, ending)
