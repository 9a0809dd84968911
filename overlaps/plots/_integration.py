"""Figures of networks whose whole matrix learns: eigenvalues, outliers, regimes."""

import json
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.plots._common import axes_of, label_of, time_of

SHORT = {"simulation": "ko", "rich": "C0-", "krylov": "C1-", "lazy": "C3--"}


def plot_eigenvalues(dataset: xr.Dataset, ax: Any = None, target: Any = None, bulk: float | None = None, **style: Any) -> Any:
    """Eigenvalues of W in the complex plane: at the start, at the end, and the way of the outlier; returns the Axes.

    `dataset`: of `learn` on a DenseNetwork. `target`: poles to mark by crosses, as eigenvalues of W, such as 1 - rate; by
    default those of a filter task, 1 + tau times the eigenvalues of its A, or what Euler steps make of them. `bulk`: the radius
    of a circle to draw. A target is reached where the outlier ends on its cross; beyond the line Re = 1 the network is
    unstable. `style` goes to the final eigenvalues. Raises ValueError for a Dataset of another kind, and a batch.
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
        ax.plot(dataset["outlier_real"], sign * dataset["outlier_imag"], color="C0", label="outlier" if sign > 0 else None)
    poles: Any = np.atleast_1d(_poles(dataset) if target is None else target)
    if poles.size:
        marks = {"linestyle": "none", "marker": "x", "color": "C3", "markersize": 9, "label": "target"}
        ax.plot(poles.real, poles.imag, **marks)  # pyright: ignore[reportArgumentType]
    ax.axvline(1.0, color="0.5", linestyle=":", linewidth=0.8)
    ax.set(xlabel="Re eigenvalue of W", ylabel="Im eigenvalue of W")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(fontsize="small")
    return ax


def plot_outlier(dataset: xr.Dataset, ax: Any = None, label: str = "", **style: Any) -> Any:
    """Real part of the outlier over learning time, and its imaginary part, dashed, if it has one at the end; returns the Axes.

    `dataset`: of `learn` on a DenseNetwork, or of a flow of `overlaps.integration`; of a batch, one line per network. `style`
    goes to matplotlib.
    """
    ax = axes_of(ax)
    time = time_of(dataset)
    lines = ax.plot(time, dataset["outlier_real"].transpose("time", ...), **style)
    lines[0].set_label(f"{label} Re".strip())
    if np.nanmax(np.abs(dataset["outlier_imag"].isel(time=-1))) > 1e-9:
        same = {"linestyle": "--", **style, "color": lines[0].get_color()}
        ax.plot(time, dataset["outlier_imag"].transpose("time", ...), **same)[0].set_label(f"{label} Im".strip())
    ax.set(xlabel="learning time", ylabel="outlier of W")
    ax.legend(fontsize="small")
    return ax


def plot_regimes(dataset: xr.Dataset) -> Any:
    """Loss, outlier and change of W over learning time: simulation as circles, theories as lines; returns the Figure.

    `dataset`: of `integration.compare_regimes`.
    """
    import matplotlib.pyplot as plt

    if "compare_regimes" not in dataset.attrs:
        raise argument_error("dataset", "be a result of integration.compare_regimes", f"it has {list(dataset.data_vars)}")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    for theory in dataset["theory"].values:
        one, style = dataset.sel(theory=theory), SHORT[str(theory)]
        circles = {"markerfacecolor": "none", "markersize": 4}
        left.plot(one["time"], one["loss"], style, label=theory, **circles)
        right.plot(one["time"], one["weight_change"], style, label=theory, **circles)
        if one["outlier_real"].notnull().all():
            middle.plot(one["time"], one["outlier_real"], style, label=theory, **circles)
            if float(np.abs(one["outlier_imag"]).max()) > 1e-9:
                middle.plot(one["time"], one["outlier_imag"], style, alpha=0.5, **circles)
    settings = json.loads(dataset.attrs["compare_regimes"])
    middle.axhspan(-settings["sigma"], settings["sigma"], color="0.93", zorder=0, label="bulk")
    middle.axhline(1 - settings["rate"], color="0.5", linestyle=":")
    if settings["frequency"]:
        middle.axhline(settings["frequency"], color="0.5", linestyle=":", alpha=0.5)
    left.set(xlabel="learning time", ylabel=label_of(dataset["loss"]), yscale="log")
    middle.set(xlabel="learning time", ylabel="outlier of W (Im: pale; target: dotted)")
    right.set(xlabel="learning time", ylabel=label_of(dataset["weight_change"]))
    for ax in (left, middle, right):
        ax.legend(fontsize="small")
    figure.suptitle(f"sigma = {settings['sigma']:g}, readout scale {settings['scale']:g}, {settings['n']} neurons")
    return figure


def _poles(dataset: xr.Dataset) -> np.ndarray:
    task, rnn = (json.loads(dataset.attrs[name]) for name in ("task", "rnn"))
    if not isinstance(task, dict) or "A" not in task:
        return np.array([])
    poles, dt = np.linalg.eigvals(task["A"]), rnn["dt"]
    return 1 + rnn["tau"] * (poles if dt is None else np.expm1(poles * dt) / dt)
