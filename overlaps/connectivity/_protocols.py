"""What states ask of the rest of the library, and what a finite network offers beyond `State`."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from overlaps.connectivity._layout import Layout

Variable = tuple[tuple[str, ...], Any, dict[str, str]]
"""A variable of a Dataset: dimensions, values, attributes. The values of a batch of networks have one more axis, in front."""


@runtime_checkable
class Model(Protocol):
    """An `RNN`, as far as a state needs it: it decides on which overlaps activity and output depend (the visible ones)."""

    def visible(self, layout: Layout, populations: bool = False) -> tuple[bool, ...]: ...


@runtime_checkable
class Simulator(Protocol):
    """An `RNN`, as far as it computes the output of a network on given inputs, and the rates of its neurons."""

    def output(self, state: Any, inputs: Any) -> Any: ...

    def rate(self, activity: Any) -> Any: ...


@runtime_checkable
class FiniteNetwork(Protocol):
    """What a state has in addition if its class says `simulated = True`: N units, each with an activity of its own."""

    m: Any
    """The input vectors, (N, I)."""

    @property
    def layout(self) -> Any: ...

    @property
    def drivers(self) -> Any:
        """The weights (N, I + R) with which the latents (the few numbers that make up the activity) drive the units."""

    @property
    def readers(self) -> Any:
        """The weights (N, R + O) with which recurrence and output read the units."""

    def fed_back(self, recurrent: Any, activity: Any) -> Any:
        """The input (N, I) that the recurrence gives to the units.

        `recurrent`: what the recurrence reads from the units through `readers`, (R, I). `activity`: that of all units, (N, I).
        """

    def recurrent_norm(self) -> Any:
        """An upper bound of the spectral norm of the recurrent weights, computed by NumPy."""


@runtime_checkable
class Results(Protocol):
    """A Dataset of `learn`, as `State.read` sees it when it builds a state from the Dataset."""

    @property
    def description(self) -> Mapping[str, Any]:
        """The description of the state from which the run started, as `State.description` gave it."""
        ...

    def variable(self, name: str) -> Any:
        """The values of the variable with this name, or None if the Dataset has no such variable."""
        ...

    def networks(self, batched: np.ndarray) -> np.ndarray:
        """The entries of `batched` that belong to the networks of this Dataset.

        The first axis of `batched` runs over the original batch of networks. The Dataset may hold only some of them.
        """
        ...
