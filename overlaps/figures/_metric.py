"""Which overlap steers which: the zero pattern of the metric of gradient flow."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, draw_matrix, letter
from overlaps.learning import metric

RANKS = (1, 2)
STEP = 0.5  # change of an overlap, small enough to leave the identity matrix positive semi-definite
KINDS = ("zero", "invisible overlaps", "visible overlaps")  # what an entry of the metric is made of
COLOURS = ("#ffffff", "#f2c879", "#9ecae1")


def _compute(quick: bool) -> xr.DataTree:
    return xr.DataTree.from_dict({f"rank_{rank}": pattern(rank) for rank in RANKS})


def pattern(rank: int) -> xr.Dataset:
    """Which overlaps each entry of the metric consists of.

    Each entry is a sum of overlaps. So the change of the metric with one of the overlaps tells how often it is in the sum.
    """
    rnn, net = RNN(), Overlaps(np.eye(2 * rank + 2), rank=rank)
    start = metric(net, rnn)
    labels, visible = start["overlap"].values, start["visible"].values
    changes = [
        (metric(net.replace(**{pair.label: float(pair.left == pair.right) + STEP}), rnn) - start).values
        for pair in net.layout.pairs
    ]
    counts = np.rint(np.stack(changes, -1) / STEP).astype(int)
    kind = counts.any(-1).astype(int) + counts[..., visible].any(-1)
    text = np.array([[_sum(cell, labels) for cell in row] for row in counts])
    dims = ("overlap", "source")
    variables = {"kind": (dims, kind, {"meaning": ", ".join(KINDS)}), "text": (dims, text)}
    return xr.Dataset(variables, start.coords)


def _sum(counts: np.ndarray, labels: np.ndarray) -> str:
    """A sum of overlaps as text, such as "mm + zz"."""
    terms = [label if count == 1 else f"{count} {label}" for count, label in zip(counts, labels, strict=True) if count]
    return " + ".join(terms)


def _draw(tree: xr.DataTree) -> Any:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    figure = canvas(PAGE, 3.9)
    axes = figure.subplots(1, len(RANKS))
    for ax, rank in zip(axes, RANKS, strict=True):
        pattern = tree[f"rank_{rank}"].to_dataset()
        order = np.argsort(~pattern["visible"].values, kind="stable")
        pattern = pattern.isel(overlap=order, source=order)
        labels, size = pattern["overlap"].values, pattern.sizes["overlap"]
        draw_matrix(pattern["kind"], ax, cmap=ListedColormap(COLOURS), vmin=0, vmax=2)
        ax.set_aspect("equal")
        if rank == 1:
            for row, column in np.ndindex(size, size):
                text = str(pattern["text"].values[row, column]).replace(" + ", "\n+ ")
                ax.text(column, row, text, ha="center", va="center", fontsize=5.5, linespacing=0.9)
        small = 7 if rank == 1 else 4.5
        ax.set_xticks(range(size), labels, rotation=90, fontsize=small)
        ax.set_yticks(range(size), labels, fontsize=small)
        ax.set_xticks(np.arange(size - 1) + 0.5, minor=True)
        ax.set_yticks(np.arange(size - 1) + 0.5, minor=True)
        ax.grid(which="minor", color="0.85", linewidth=0.4)
        ax.tick_params(which="both", length=0)
        border = int(pattern["visible"].sum()) - 0.5
        ax.axhline(border, color="k", linewidth=1)
        ax.axvline(border, color="k", linewidth=1)
        ax.set(xlabel="the slope of the loss in this overlap ...", ylabel="... moves this overlap", title=f"rank {rank}")
    letter(axes)
    patches = [Patch(facecolor=color, edgecolor="0.6", label=kind) for color, kind in zip(COLOURS, KINDS, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, title="the coupling consists of")
    return figure


FIGURE = PaperFigure(
    name="metric",
    source="[GB26], the zero pattern of the metric",
    shows="Which overlaps the slope of the loss in each overlap moves, at ranks 1 and 2. Black lines part visible overlaps "
    "(first) from invisible ones. Between visible overlaps, the coupling consists of invisible ones.",
    compute=_compute,
    draw=_draw,
    differences="The entries are written as sums of overlaps, and rank 2 is shown too.",
)
