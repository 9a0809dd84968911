"""The figure of decoding: how well overlaps tell which task a network learned first."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import label_of, legend_above, page
from overlaps.plots._style import KINDS


def plot_decoding(dataset: xr.Dataset, noise: Sequence[float] = (0.0, 0.3)) -> Any:
    """Draw how often a decoder finds out from the overlaps which task a network learned first.

    The decoder reads either the visible overlaps (the loss depends on them) or the invisible ones (it does not depend on them).

    - `dataset`: a result of `studies.decode_history`.
    - `noise`: levels of measurement noise that the Dataset has, the standard deviation of the measurement of an overlap. Each
      level gets a panel with bars at all stages of training.

    All panels have one axis of accuracy. The last one shows the accuracy at the last stage against the noise. Error bars and
    bands are 95 % intervals. The dotted line is chance. Returns the Figure. Raises ValueError for another Dataset, and for
    levels that it does not have.
    """
    if "accuracy" not in dataset:
        raise argument_error("dataset", "be a result of studies.decode_history", f"it has {list(dataset.data_vars)}")
    levels = dataset["noise"].values
    missing = [level for level in noise if level not in levels]
    if missing:
        raise argument_error("noise", f"be levels out of {', '.join(f'{level:g}' for level in levels)}", f"{missing} came")
    letters = string.ascii_letters[: 1 + len(noise)]
    letters += letters[-1] * (len(letters) % 2)  # two panels in a row
    rows = [letters[index : index + 2] for index in range(0, len(letters), 2)]
    figure, (*bars, curve) = page(";".join(rows), 0.4 + 2.2 * len(rows), sharey=True)
    stages = dataset["stage"].values
    for ax, level in zip(bars, noise, strict=True):
        for shift, (name, color) in zip((-0.2, 0.2), KINDS.items(), strict=True):
            middle, errors = _with_errors(dataset.sel(noise=level, features=name))
            ax.bar(
                np.arange(len(stages)) + shift, middle, 0.4, yerr=errors, color=color, capsize=3, label=f"from {name} overlaps"
            )
        ax.set_xticks(range(len(stages)), stages)
        ax.set(title=f"measurement noise {level:g}", xlabel=label_of(dataset["stage"]))
    last = dataset.isel(stage=-1)
    for name, color in KINDS.items():
        one = last.sel(features=name)
        curve.plot(levels, one["accuracy"], "o-", color=color, markersize=4, label=f"from {name} overlaps")
        curve.fill_between(levels, one["accuracy_lower"], one["accuracy_upper"], color=color, alpha=0.2, linewidth=0)
    positive = levels[levels > 0]
    curve.set_xscale("symlog", linthresh=positive.min() if positive.size else 1.0)
    curve.set_xticks(levels, [f"{level:g}" for level in levels])
    curve.minorticks_off()
    curve.set(title=f"at stage {stages[-1]}", xlabel="measurement noise (standard deviation)")
    for ax in (*bars, curve):
        ax.axhline(0.5, color="0.5", linestyle=":", linewidth=0.8, label="chance")
    figure.axes[0].set(ylim=(0.0, 1.05))
    figure.supylabel("accuracy of decoding the first task", fontsize="medium")
    legend_above(figure, [curve], 3)
    return figure


def _with_errors(one: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies, and how far their 95 % intervals reach below and above them."""
    middle = one["accuracy"].values
    return middle, np.maximum([middle - one["accuracy_lower"].values, one["accuracy_upper"].values - middle], 0.0)
