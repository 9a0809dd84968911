"""The figure of a fit of overlaps to learning curves."""

from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, legend_above, page, set_title, shade_phases

CURVES = 6  # drawn at most


def plot_fit(dataset: xr.Dataset, truth: Any = None) -> Any:
    """Draw a fit of overlaps to learning curves: data and fitted curves, residuals, and the overlaps with their errors.

    - `dataset`: a result of `inference.fit`, of one subject. Of several protocols, the first one is drawn.
    - `truth`: the `Overlaps` that are known to be there, of a simulation, or None.

    Top: what was observed over learning time, as points with the error bars of their noise, and the fitted curves as lines. Of
    many curves, six that are spread evenly are drawn. Middle: the deviations of all data from the fit, in units of their noise;
    most lie between -2 and 2 if the fit is good. Bottom: the overlaps. Thick bars are the standard error of the part that the
    curves show. A triangle marks an overlap that the curves fix only in part, because a null direction changes it. Crosses are
    the truth. Open circles are the discrete twins that these data do not tell from the fit. Returns the Figure. Raises
    ValueError for another Dataset.
    """
    if "fit" not in dataset.attrs or "subject" in dataset.dims:
        came = "it has the dimension `subject`" if "subject" in dataset.dims else f"it has {list(dataset.data_vars)}"
        raise argument_error("dataset", "be a result of inference.fit, of one subject", came, "Use isel(subject=0).")
    figure, (left, middle, right) = page("A;B;C", 6.4)
    time = dataset["time"].values
    observed, predicted, bars = (dataset[name].values.reshape(len(time), -1) for name in ("observed", "predicted", "error_bar"))
    chosen = np.unique(np.linspace(0, observed.shape[1] - 1, CURVES).round().astype(int))
    for number, curve in enumerate(chosen):
        color = f"C{number}"
        left.errorbar(time, observed[:, curve], bars[:, curve], fmt="o", markersize=3, color=color, linewidth=0.8)
        left.plot(time, predicted[:, curve], color=color)
    left.set_ylabel(dataset["observed"].attrs["long_name"])
    middle.plot(time, dataset["residual"].values.reshape(len(time), -1), ".", color="0.4", markersize=3)
    for height in (-2, 0, 2):
        middle.axhline(height, color="k", linewidth=0.8, linestyle="-" if height == 0 else ":")
    middle.set(ylabel="(data - fit) / noise")
    for ax in (left, middle):
        ax.set(xlabel=LEARNING_TIME, xlim=(time[0], time[-1]))
        shade_phases(dataset, ax)
    set_title(left, "data (points) and fit (lines)")
    set_title(middle, f"residuals; chi2 / degrees of freedom: {_ratio(dataset):.3g}")
    _overlaps(dataset, truth, right)
    legend_above(figure, [right], 4)
    return figure


def _ratio(dataset: xr.Dataset) -> float:
    return dataset["chi2"].item() / dataset["degrees_of_freedom"].item()


def _overlaps(dataset: xr.Dataset, truth: Any, ax: Any) -> None:
    labels = dataset["overlap"].values.tolist()
    place, sigma = np.arange(len(labels)), dataset["sigma"].values
    error = dataset["free_error"].values
    fixed = dataset["standard_error"].values < 2 * error
    for marker, chosen, label in (("o", fixed, "fitted overlap"), ("^", ~fixed, "fitted overlap, fixed in part")):
        if chosen.any():
            ax.errorbar(place[chosen], sigma[chosen], error[chosen], fmt=marker, color="C0", elinewidth=3, label=label)
    rows = {label: index for index, label in enumerate(dataset["vector"].values)}
    pairs = [(rows[left], rows[right]) for left, right in zip(dataset["left"].values, dataset["right"].values, strict=True)]
    row, column = np.array(pairs).T
    for index, gram in enumerate(dataset["twin_gram"].values[dataset["alike"].values]):
        ax.plot(place, gram[row, column], "o", color="C1", markerfacecolor="none", label="" if index else "discrete twin")
    if truth is not None:
        ax.plot(place, np.asarray(truth.gram)[row, column], "kx", label="true overlap")
    ax.axhline(0.0, color="k", linewidth=0.8)
    ax.set_xticks(place, labels)
    ax.set(ylabel=dataset["sigma"].attrs["long_name"], ylim=_limits(sigma, truth), title="fitted overlaps")


def _limits(sigma: np.ndarray, truth: Any) -> tuple[float, float]:
    """Limits of the axis, which large errors do not change."""
    values = sigma if truth is None else np.append(sigma, np.asarray(truth.gram))
    margin = 0.25 * np.ptp(values)
    return values.min() - margin, values.max() + margin
