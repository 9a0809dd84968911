"""Figures of networks whose whole W learns: eigenvalues of W, the outlier among them, and theories side by side."""

import json
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import LEARNING_TIME, axes_of, label_of, legend_above, legend_beside, page, time_of, wrapped

SHORT = {
    "simulation": {"color": "k", "marker": "o", "linestyle": "none"},
    "rich": {"color": "#0072B2"},
    "krylov": {"color": "#009E73"},
    "lazy": {"color": "#D55E00", "linestyle": "--"},
}


def plot_eigenvalues(dataset: xr.Dataset, ax: Any = None, target: Any = None, bulk: float | None = None, **style: Any) -> Any:
    """Draw the eigenvalues of W in the complex plane, at the start and at the end of learning, and the path of the outlier.

    The outlier is the eigenvalue, or the complex conjugate pair, that couples input and readout most.

    - `dataset`: a result of `learn` on one DenseNetwork.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `target`: wanted eigenvalues of W, one complex number or several, such as 1 - rate; crosses mark them. None takes those of
      a filter task: 1 + tau times the eigenvalues of its matrix A or, for Euler steps, the eigenvalues whose Euler steps give
      the same response. Other tasks have no crosses then.
    - `bulk`: radius of a circle to draw, such as that of the disk which the eigenvalues of a random W fill (the bulk).
    - `style`: matplotlib arguments of the final eigenvalues.

    The network has learned the target if the outlier ends on the cross. The dotted line is the limit of stability: a network
    with an eigenvalue beyond real part 1 is unstable. Returns the Axes. Raises ValueError for another Dataset, and for a batch.
    """
    ax = axes_of(ax)
    if "eigenvalue_real" not in dataset or "batch" in dataset.dims:
        raise argument_error("dataset", "be that of `learn` on one DenseNetwork", f"it has {list(dataset.data_vars)}")
    real, imag = dataset["eigenvalue_real"], dataset["eigenvalue_imag"]
    if bulk is not None:
        angle = np.linspace(0, 2 * np.pi, 201)
        ax.plot(bulk * np.cos(angle), bulk * np.sin(angle), color="0.5", linewidth=0.8, label="bulk")
    ax.plot(real.isel(time=0), imag.isel(time=0), ".", color="0.75", label="start")
    ax.plot(
        real.isel(time=-1), imag.isel(time=-1), **{"linestyle": "none", "marker": ".", "color": "k", "label": "end", **style}
    )
    for sign in (1, -1):
        ax.plot(
            dataset["outlier_real"],
            sign * dataset["outlier_imag"],
            color="#0072B2",
            label="path of outlier" if sign > 0 else None,
        )
    poles: Any = np.atleast_1d(_poles(dataset) if target is None else target)
    if poles.size:
        marks = {"linestyle": "none", "marker": "x", "color": "#D55E00", "markersize": 8, "label": "target"}
        ax.plot(poles.real, poles.imag, **marks)  # pyright: ignore[reportArgumentType]
    ax.axvline(1.0, color="0.5", linestyle=":", linewidth=0.8, label="limit of\nstability")
    ax.set(xlabel="real part of eigenvalues of W", ylabel="imaginary part")
    ax.set_aspect("equal", adjustable="datalim")
    legend_beside(ax)
    return ax


def plot_outlier(dataset: xr.Dataset, ax: Any = None, label: str = "", **style: Any) -> Any:
    """Draw the outlier over learning time: its real part and, dashed, its imaginary part.

    The outlier is the eigenvalue of W, or the complex conjugate pair, that couples input and readout most.

    - `dataset`: a result of `learn` on a DenseNetwork, or of a flow of `overlaps.integration`, such as `outlier_flow`. A batch
      gives one line per network.
    - `ax`: matplotlib Axes to draw into; None makes new ones.
    - `label`: a name for the legend, to which "Re" or "Im" is added.
    - `style`: matplotlib arguments of the lines.

    The imaginary part is drawn only if it is not zero at the end. Returns the Axes.
    """
    ax = axes_of(ax)
    time = time_of(dataset)
    lines = ax.plot(time, dataset["outlier_real"].transpose("time", ...), **style)
    lines[0].set_label(f"{label} Re".strip())
    if np.nanmax(np.abs(dataset["outlier_imag"].isel(time=-1))) > 1e-9:
        same = {"linestyle": "--", **style, "color": lines[0].get_color()}
        ax.plot(time, dataset["outlier_imag"].transpose("time", ...), **same)[0].set_label(f"{label} Im".strip())
    ax.set(xlabel=LEARNING_TIME, ylabel="outlier (an eigenvalue of W)")
    legend_beside(ax)
    return ax


def plot_regimes(dataset: xr.Dataset) -> Any:
    """Draw loss, outlier and change of W over learning time, for a simulation (circles) and several theories of it (lines).

    The outlier is the eigenvalue of W, or the complex conjugate pair, that couples input and readout most.

    - `dataset`: a result of `integration.compare_regimes`.

    The grey band is the range of the bulk, the disk that the eigenvalues of the random initial W fill. The lazy theory has no
    outlier. Returns the Figure. Raises ValueError for another Dataset.
    """
    if "compare_regimes" not in dataset.attrs:
        raise argument_error("dataset", "be a result of integration.compare_regimes", f"it has {list(dataset.data_vars)}")
    figure, (left, middle, right) = page("AA;BC", 4.6)
    for theory in dataset["theory"].values:
        one, style = dataset.sel(theory=theory), SHORT[str(theory)]
        style = style | {"markerfacecolor": "none", "markersize": 4, "label": theory}
        left.plot(one["time"], one["loss"], **style)
        right.plot(one["time"], one["weight_change"], **style)
        if one["outlier_real"].notnull().all():
            middle.plot(one["time"], one["outlier_real"], **style)
            if float(np.abs(one["outlier_imag"]).max()) > 1e-9:
                middle.plot(one["time"], one["outlier_imag"], **{**style, "label": None, "alpha": 0.4})
    settings = json.loads(dataset.attrs["compare_regimes"])
    middle.axhspan(-settings["sigma"], settings["sigma"], color="0.93", zorder=0, label="bulk of eigenvalues")
    middle.axhline(1 - settings["rate"], color="0.5", linestyle=":", label="target")
    if settings["frequency"]:
        middle.axhline(settings["frequency"], color="0.5", linestyle=":", alpha=0.5)
    left.set(xlabel=LEARNING_TIME, ylabel=label_of(dataset["loss"]), yscale="log")
    middle.set(xlabel=LEARNING_TIME, ylabel="outlier (an eigenvalue of W)", title="pale: imaginary part of the outlier")
    right.set(xlabel=LEARNING_TIME, ylabel=wrapped(label_of(dataset["weight_change"])))
    legend_above(figure, [left, middle], 6)
    left.set_title(f"bulk radius {settings['sigma']:g}, readout scale {settings['scale']:g}, {settings['n']} neurons")
    return figure


def _poles(dataset: xr.Dataset) -> np.ndarray:
    """The eigenvalues of W with which the network solves a filter task; none for other tasks."""
    task, rnn = (json.loads(dataset.attrs[name]) for name in ("task", "rnn"))
    if not isinstance(task, dict) or "A" not in task:
        return np.array([])
    poles, dt = np.linalg.eigvals(task["A"]), rnn["dt"]
    return 1 + rnn["tau"] * (poles if dt is None else np.expm1(poles * dt) / dt)
