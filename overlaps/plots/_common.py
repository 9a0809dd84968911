"""Parts that several figures use."""

import itertools
import re
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

PAGE = 7.0  # inches, the width of figures with several panels, for letters of LETTERS points
LETTERS = 8.0
PHASE = "name of a phase"  # the mark of these texts
HARD_SPACE = "\N{NO-BREAK SPACE}"
LEARNING_TIME = "learning time (learning rate x step)"  # the axis label


def axes_of(ax: Any) -> Any:
    """The given Axes, or those of a new figure for None."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def scaled(width: float, height: float) -> tuple[float, float]:
    """The size of a figure in inches, from the size for letters of 8 pt: all fits with larger letters as well."""
    import matplotlib.pyplot as plt

    scale = plt.rcParams["font.size"] / LETTERS
    return width * scale, height * scale


def page(panels: str, height: float, **options: Any) -> tuple[Any, list[Any]]:
    """A new figure with the width of a page, and its Axes.

    `panels`: one letter for each Axes, as in matplotlib's `subplot_mosaic`, such as "AA;BC". `height`: in inches, as in
    `scaled`.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic(panels, figsize=scaled(PAGE, height), layout="constrained", **options)
    return figure, list(axes.values())


def legend_beside(ax: Any, most: int = 12, **options: Any) -> None:
    """Set the legend to the right of the Axes, where it hides no curve, with at most `most` entries in a column."""
    entries = ax.get_legend_handles_labels()[1]
    columns = 1 + (len(entries) - 1) // most
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, frameon=False, ncols=columns, **options)


def legend_above(figure: Any, axes: Iterable[Any], columns: int) -> None:
    """Set one legend for all these Axes above them. Equal labels are said once."""
    entries = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=columns, frameon=False)


def colour_bar(ax: Any, image: Any, label: str) -> None:
    """Add the colour bar of an image directly beside its Axes, also where legends of other panels need room."""
    ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)), label=label)


def wrapped(text: str, width: int = 26) -> str:
    """A text in lines of at most `width` letters, for the label of a small panel. Units such as (1 / time) stay whole."""
    whole = re.sub(r"\([^)]{1,12}\)", lambda unit: unit[0].replace(" ", HARD_SPACE), text)
    return textwrap.fill(whole, width).replace(HARD_SPACE, " ")


def time_of(dataset: xr.Dataset) -> xr.DataArray:
    """Learning time along the first axis. If the networks of a batch have times of their own, the second axis is the batch."""
    return (dataset["learning_time"] if "learning_time" in dataset.coords else dataset["time"]).transpose("time", ...)


def shade_phases(dataset: xr.Dataset, ax: Any) -> None:
    """Shade every second phase and name all phases, once. Draws nothing if networks of a batch have times of their own."""
    if "phase" not in dataset.coords or time_of(dataset).ndim > 1 or _phases_named(ax):
        return
    phases, time = dataset["phase"].values, time_of(dataset).values
    starts = [0, *(np.flatnonzero(phases[1:] != phases[:-1]) + 1), len(phases)]
    for index, (first, last) in enumerate(itertools.pairwise(starts)):
        if index % 2:
            ax.axvspan(time[first], time[last - 1], color="0.93", zorder=0)
        middle = (time[first] + time[last - 1]) / 2
        place = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "bottom", "gid": PHASE}
        ax.text(middle, 1.0, phases[first], **place)


def set_title(ax: Any, text: str) -> None:
    """Set the title of Axes, above the names of phases if there are any."""
    import matplotlib.pyplot as plt

    letters, pad = plt.rcParams["font.size"], plt.rcParams["axes.titlepad"]
    ax.set_title(text, pad=pad + 1.5 * letters if _phases_named(ax) else pad)


def _phases_named(ax: Any) -> bool:
    return any(text.get_gid() == PHASE for text in ax.texts)


def label_of(variable: xr.DataArray) -> str:
    """The axis label of a variable: its long name, with its units in brackets."""
    units = variable.attrs["units"]
    return variable.attrs["long_name"] + ("" if units == "1" else f" ({units})")
