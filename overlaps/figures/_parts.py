"""Parts that several figures use."""

from collections.abc import Iterable
from typing import Any

COLUMN, PAGE = 3.4, 7.0  # width of a figure of one column, and of one that is as wide as the page, in inches
CIRCLES = {"linestyle": "none", "marker": "o", "markersize": 3, "markerfacecolor": "none", "markeredgewidth": 0.7}


def canvas(width: float, height: float) -> Any:
    """An empty matplotlib Figure of this size in inches, which lays its panels out so that nothing overlaps."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def letter(axes: Iterable[Any], first: str = "a") -> None:
    """Name panels a, b, c, ... at their upper left corners."""
    for index, ax in enumerate(axes):
        ax.set_title(chr(ord(first) + index), loc="left", fontweight="bold")
