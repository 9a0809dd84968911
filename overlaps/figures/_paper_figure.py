"""What a figure of a paper consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr


@dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper, made from runs of the library.

    - `name`: what the command calls it, and the name of its files.
    - `source`: the paper, and what part of it the figure belongs to.
    - `shows`: what one sees, in one sentence.
    - `compute(quick)`: makes the data. With quick=True it takes seconds, by smaller networks or fewer steps. The attributes of
      each node are those of the function that made it, so `rerun` can repeat it.
    - `draw(tree)`: makes the matplotlib Figure from the data, and computes nothing, so a saved tree can be drawn again.
    - `differences`: what differs from the paper, and why. Empty if nothing is known to differ.
    """

    name: str
    source: str
    shows: str
    compute: Callable[[bool], xr.DataTree]
    draw: Callable[[xr.DataTree], Any]
    differences: str = ""
