"""What a rule hands back while it runs."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Record:
    """One chunk of a trajectory: values at the saved points, and where the parameters stand at its end."""

    time: np.ndarray  # (saves,) learning time
    gram: np.ndarray  # (saves, D, D)
    loss: np.ndarray  # (saves,)
    parameters: np.ndarray
    step: np.ndarray | None = None  # (saves,) for descent
    failure: str | None = None  # why the run cannot go on
    statistics: dict[str, int] = field(default_factory=dict)
