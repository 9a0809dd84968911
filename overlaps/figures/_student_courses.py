"""All overlaps of two students over learning, from one start through different first tasks to the same last task."""

from typing import Any

import xarray as xr

from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import PAGE, canvas, letter
from overlaps.figures._students import HISTORIES, shade_last, trained
from overlaps.studies import twin_starts


def runs(steps: int, saves: int) -> xr.DataTree:
    """Train two students from the same overlaps, one on A and C, and one on B and C."""
    courses = trained(twin_starts(1), steps, saves)
    return xr.DataTree.from_dict({first: run.isel(batch=0) for first, run in courses.items()})


def _compute(quick: bool) -> xr.DataTree:
    return runs(800, 101) if quick else runs(2000, 201)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 5.2)
    panels = figure.subplots(3, 4, sharex=True).ravel()
    runs = {first: tree[first].to_dataset() for first in HISTORIES}
    both = runs["A"]
    visible = both["overlap"].values[both["visible"]], both["overlap"].values[~both["visible"]]
    for ax, name in zip(panels, [None, *visible[0], *visible[1]], strict=False):
        for (first, color), line in zip(HISTORIES.items(), ("-", "--"), strict=True):
            run = runs[first]
            values = run["loss"] if name is None else run["sigma"].sel(overlap=name)
            ax.plot(run["step"], values, line, color=color, label=f"{first}, then C")
        shade_last(ax, both)
    panels[0].set(ylabel="loss", yscale="log")
    for index, names in enumerate(visible):
        start = 1 + index * len(visible[0])
        for ax, name in zip(panels[start : start + len(names)], names, strict=True):
            ax.set_ylabel(f"{name} ({'invisible' if index else 'visible'})")
    for ax in panels[7:11]:
        ax.set_xlabel("gradient step")
        ax.tick_params(labelbottom=True)
    panels[11].axis("off")
    panels[11].legend(*panels[0].get_legend_handles_labels(), loc="center")
    letter(panels[:11])
    return figure


FIGURE = PaperFigure(
    name="student_courses",
    source="[GB26], all overlaps of two students over learning",
    shows="Loss and all ten overlaps of two students from one start. After C the visible overlaps have met again, up to "
    "a factor between u and v that the function does not fix. The invisible ones (zv, vv, zz) have not.",
    compute=_compute,
    draw=_draw,
    differences="Start, trials and learning rule are ours (those of the figure `decoding`). The three overlaps of the "
    "teacher that the paper does not need are chosen so that its overlap matrix is positive definite; the output does not "
    "depend on them.",
)
