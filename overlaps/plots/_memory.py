"""Figures of what networks remember of a task B: training on A, B, A beside A, A, A, and the table of learning rules."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, PAGE, label_of, legend_above, page, scaled, shade_phases, wrapped
from overlaps.plots._style import KINDS, overlap_style

LAWS = 3  # panels of scaling laws in a row
SUMMARY = 2.4  # columns that the summary in words takes
ROW, PANEL = 0.2, 1.75  # inches: heights of a row of the table and of a scaling law
LINES = {"A-B-A": "-", "A-A-A": "--"}
COLUMNS = {
    "charge_end": "uu - vv\nkept\n(part)",
    "forgetting_rate": "uu - vv\nlost\n(1/time)",
    "written": "B\nwritten\n(norm)",
    "function_distance": "outputs\ndiffer\nby",
    "decay_rate": "B\nfades\n(1/time)",
}


def plot_memory(dataset: xr.Dataset) -> Any:
    """Draw a network that learns the tasks A, B and A again, beside a control that learns A three times.

    - `dataset`: a result of `studies.memory`.

    Top: the loss. Left: the invisible overlaps, on which the loss does not depend. Solid lines are A-B-A, and dashed lines
    are the control A-A-A. Right: the distance between the two networks, as the Euclidean norm over visible and over invisible
    overlaps. The star is the root mean square difference of their outputs at the end. Returns the Figure. Raises ValueError for
    another Dataset.
    """
    if "memory" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.memory", f"it has {list(dataset.data_vars)}")
    figure, (left, middle, right) = page("AA;BC", 5.0)
    time, invisible = dataset["time"], dataset["overlap"].values[~dataset["visible"].values]
    for protocol, line in LINES.items():
        one = dataset.sel(protocol=protocol)
        color = "k" if line == "-" else "0.5"
        left.plot(time, one["loss"].where(one["loss"] > 0), line, color=color, label=protocol)
        for label in map(str, invisible):
            solid = label if line == "-" else None
            middle.plot(time, one["sigma"].sel(overlap=label), line, color=overlap_style(label)["color"], label=solid)
    for name, color in KINDS.items():
        distance = dataset[f"{name}_distance"]
        right.plot(time, distance.where(distance > 0), color=color, label=f"{name} overlaps, distance")
    right.plot(
        time[-1],
        dataset["function_distance"][0],
        "k*",
        markersize=9,
        clip_on=False,
        zorder=5,
        label="outputs, distance at the end",
    )
    left.set(ylabel=label_of(dataset["loss"]), yscale="log")
    middle.set(ylabel="invisible overlaps a.b / N")
    right.set(ylabel=wrapped("distance between A-B-A and A-A-A", 20), yscale="log")
    for ax in (left, middle, right):
        ax.set(xlabel=LEARNING_TIME, xlim=(time[0], time[-1]))
        shade_phases(dataset, ax)
    legend_above(figure, [left, middle, right], 4)
    return figure


def plot_memory_table(dataset: xr.Dataset) -> Any:
    """Draw what networks remember under each learning rule: a table of numbers above the measured scaling laws.

    - `dataset`: a result of `studies.memory_table`.

    The table has one row per learning rule and kind of network (system). Its columns are

    - the part of the initial uu - vv that the control A, A, A has at the end (gradient flow conserves uu - vv, so this number
      says how much the network still knows of its start);
    - the rate at which uu - vv decays in the third A of the control;
    - B written: the distance of the invisible overlaps after A, B, A from those of the control;
    - the root mean square difference of the outputs of these two networks;
    - the rate at which the distance of the invisible overlaps decays in the last A;
    - a summary of these numbers in words.

    Rates are per learning time. Cells are coloured by the size of the number, from pale (history is kept, B is not written)
    to dark. Each small panel shows one measured quantity against a parameter of the rule, on logarithmic scales, with a
    fitted line. Its slope is the exponent of the law, which the title says. Returns the Figure. Raises ValueError for another
    Dataset.
    """
    import matplotlib.pyplot as plt

    if "memory_table" not in dataset.attrs:
        raise argument_error("dataset", "be a result of studies.memory_table", f"it has {list(dataset.data_vars)}")
    cells = [
        dataset.sel(rule=rule, system=system)
        for rule in dataset["rule"].values
        for system in dataset["system"].values
        if dataset["measured"].sel(rule=rule, system=system).item()
    ]
    rows = int(np.ceil(len(cells) / LAWS))
    heights = ROW * len(cells) + 0.7, PANEL * rows
    figure: Any = plt.figure(figsize=scaled(PAGE, sum(heights)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    _matrix(above.subplots(), cells)
    for ax, cell in zip(
        np.ravel(below.subplots(rows, LAWS, squeeze=False)), [*cells, *[None] * (LAWS * rows - len(cells))], strict=True
    ):
        if cell is None:
            ax.axis("off")
        else:
            _law(ax, cell)
    return figure


def _matrix(ax: Any, cells: list[xr.Dataset]) -> None:
    """Draw the table of numbers, with the summary in words at the right."""
    shown = np.array([[cell[name].item() for name in COLUMNS] for cell in cells])
    shown[:, 0] /= [cell["charge_start"].item() for cell in cells]
    # Shades are logarithmic: 0 (pale) up to 1e-6, and 1 from 1 on. In the column "kept" they show the lost part.
    shades = np.clip(np.log10(np.abs(shown) + 1e-300) / 6 + 1, 0, 1)
    shades[:, 0] = np.clip(np.log10(np.abs(1 - shown[:, 0]) + 1e-300) / 6 + 1, 0, 1)
    ax.imshow(shades, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for row, numbers in enumerate(shown):
        for column, value in enumerate(numbers):
            text = f"{value:.4f}" if column == 0 else f"{value:.1e}"
            ax.text(column, row, text, ha="center", va="center")
        ax.text(len(COLUMNS) - 0.4, row, cells[row]["kept"].item(), va="center")
    ax.set_xticks(range(len(COLUMNS)), list(COLUMNS.values()))
    ax.set_yticks(range(len(cells)), [_name(cell) for cell in cells])
    ax.tick_params(length=0, labeltop=True, bottom=False, labelbottom=False)
    ax.set_xlim(-0.5, len(COLUMNS) + SUMMARY)
    for side in ax.spines.values():
        side.set_visible(False)


def _law(ax: Any, cell: xr.Dataset) -> None:
    """Draw one scaling law: the measured values as circles, and the fitted power law as a line."""
    values, results = cell["values"].values, np.abs(cell["results"].values)
    exponent, error = cell["exponent"].item(), cell["exponent_error"].item()
    line = np.exp(np.mean(np.log(results)) + exponent * (np.log(values) - np.mean(np.log(values))))
    ax.loglog(values, results, "ko", markersize=4, markerfacecolor="none")
    ax.loglog(values, line, color="#0072B2")
    ax.minorticks_off()
    for axis, numbers in ((ax.xaxis, values), (ax.yaxis, results)):
        ends = [numbers.min(), numbers.max()]
        axis.set_ticks(ends, [f"{end:.2g}" for end in ends])
    ax.set_xlabel(wrapped(cell["parameter"].item(), 20))
    ax.set_ylabel(wrapped(cell["measured"].item(), 18))
    ax.set_title(f"{cell['rule'].item()},\n{cell['system'].item()}\nexponent {exponent:.3g} ± {error:.1g}")


def _name(cell: xr.Dataset) -> str:
    """The learning rule and the kind of network."""
    return f"{cell['rule'].item()}, {cell['system'].item()}"
