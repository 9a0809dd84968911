"""The picture of a task in a notebook. Figures for every other purpose are made in `overlaps.plots`."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves over one time axis: `values` of shape (samples, curves), the name of the first one, and how they look."""

    name: str
    times: np.ndarray
    values: np.ndarray
    style: Mapping[str, Any]


INPUT = {"color": "0.6"}
TARGET = {"color": "k", "linewidth": 3, "alpha": 0.35}


def picture(title: str, curves: Sequence[Curves]) -> bytes:
    """A PNG of these curves, in one pair of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for one in curves:
        for index, values in enumerate(one.values.T):
            axes.plot(one.times, values, label=one.name if index == 0 else None, **one.style)
    axes.set(xlabel="time (same unit as tau)")
    axes.set_title(title, fontsize="small")
    figure.legend(fontsize="small", loc="outside right upper", frameon=False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    return written.getvalue()
