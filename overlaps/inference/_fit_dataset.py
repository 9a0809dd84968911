"""The Dataset that `fit` returns."""

import json
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import said
from overlaps.connectivity import Layout
from overlaps.inference._correlated import Whitening
from overlaps.inference._fit_result import ARRIVED, Result, goodness
from overlaps.inference._measurements import Measurement
from overlaps.inference._noise import Gaussian
from overlaps.learning import restore


def fit_dataset(results: list[Result], measured: list[Measurement], layout: Layout) -> xr.Dataset:
    """The results of all subjects, with the dimension `subject` in front, beside what was measured."""
    variables: dict[str, Any] = {}

    def add(name: str, dims: tuple[str, ...], values: list[Any], meaning: str, units: str = "1") -> None:
        variables[name] = (("subject", *dims), np.array(values), said(meaning, units))

    size, pair, matrix = layout.size, ("overlap",), ("vector", "vector_")
    add("sigma", pair, [layout.listed(one.gram) for one in results], "overlap a.b / N")
    add("gram", matrix, [one.gram for one in results], "overlap matrix")
    add("standard_error", pair, [one.errors for one in results], "standard error of the overlap")
    add("free_error", pair, [one.free_errors for one in results], "standard error of the part without null directions")
    add("covariance", ("overlap", "overlap_"), [one.covariance for one in results], "covariance without null directions")
    add("component", ("direction", "overlap"), [one.shown.directions for one in results], "component of the direction")
    add(
        "singular_value",
        ("direction",),
        [one.shown.sizes for one in results],
        "change of the curves per step along the direction",
        "noise / overlap",
    )
    add("null", ("direction",), [one.shown.null for one in results], "whether the curves do not change along the direction")
    add("why", ("direction",), [one.shown.why for one in results], "symmetry that makes the direction null")
    freedom = [one.observed - int(np.sum(~one.shown.null)) for one in results]
    verdicts = [goodness(one.chi2, number) for one, number in zip(results, freedom, strict=True)]
    add("chi2", (), [one.chi2 for one in results], "sum of squared deviations in units of the noise")
    add("degrees_of_freedom", (), freedom, "observed numbers minus directions that the curves show")
    add("p_value", (), [p for p, _ in verdicts], "probability of a larger chi2 if the model holds")
    add("message", (), [message for _, message in verdicts], "whether the model describes the data")
    factors = [one.minima.parameters.reshape(-1, size, size) for one in results]
    add("start_sigma", ("start", "overlap"), [layout.listed(one.swapaxes(-1, -2) @ one) for one in factors], "overlap a.b / N")
    ends = [np.where(np.isfinite(one.minima.chi2), one.minima.chi2, np.nan) for one in results]
    add("start_chi2", ("start",), ends, "sum of squared deviations at the end of the start")
    add("start_steps", ("start",), [one.minima.steps for one in results], "steps of the start")
    near = [one.minima.chi2 < one.chi2 + ARRIVED for one in results]
    add("arrived", ("start",), near, "whether the start ended at the lowest chi2")
    names = list(results[0].twins)
    twins = [[one.twins[name] for name in names] for one in results]
    add("twin_gram", ("twin", *matrix), [[gram for gram, _ in each] for each in twins], "overlap matrix of the twin")
    add("twin_chi2", ("twin",), [[chi2 for _, chi2 in each] for each in twins], "sum of squared deviations of the twin")
    alike = [[chi2 < one.chi2 + ARRIVED for _, chi2 in each] for one, each in zip(results, twins, strict=True)]
    add("alike", ("twin",), alike, "whether the data do not tell the twin from the result")
    labels = [one.label for one in layout.pairs]
    coordinates = {
        "overlap": ("overlap", labels, said("overlap")),
        "overlap_": ("overlap_", labels, said("overlap")),
        "left": ("overlap", [one.left for one in layout.pairs], said("first vector")),
        "right": ("overlap", [one.right for one in layout.pairs], said("second vector")),
        "visible": ("overlap", list(measured[0].experiment.rnn.visible(layout)), said("loss-visible")),
        "vector": ("vector", list(layout.labels), said("connectivity vector")),
        "vector_": ("vector_", list(layout.labels), said("connectivity vector")),
        "twin": ("twin", names, said("name of the twin")),
    }
    curves = [_curves(one, [each.curves[number] for each in results], number) for number, one in enumerate(measured)]
    return xr.merge(
        [xr.Dataset(variables, coordinates), *curves], join="exact", compat="equals", combine_attrs="drop_conflicts"
    )


def _curves(measured: Measurement, predicted: list[np.ndarray], number: int) -> xr.Dataset:
    """Data, fitted curves and residuals of the protocol with this number."""
    data, noise = measured.data, measured.noise
    values = np.array(predicted)
    expected = data.copy(data=values)
    deviations = data.copy(data=(data.values - values) / _error_bars(noise, values))
    error = data.copy(data=np.broadcast_to(_error_bars(noise, values), data.shape))
    dataset = xr.Dataset({"observed": data, "predicted": expected, "residual": deviations, "error_bar": error})
    for name, meaning in (("predicted", "fitted"), ("residual", "residual of"), ("error_bar", "standard deviation of")):
        units = "noise" if name == "residual" else data.attrs.get("units", "1")
        dataset[name].attrs = said(f"{meaning} {measured.experiment.observe.replace('_', ' ')}", units)
    if not number:
        return dataset
    names = [name for name in (*dataset.variables, *dataset.dims) if name != "subject"]
    return dataset.rename({name: f"{name}_{number + 1}" for name in names})


def fit_arguments(dataset: xr.Dataset) -> dict[str, Any]:
    """The arguments of `fit` that made this Dataset. Raises ValueError if they cannot be written down."""
    described = json.loads(dataset.attrs["fit"])
    arguments = {name: restore(value) for name, value in described.items()}
    for name in ("key", "task_key"):
        if isinstance(arguments[name], list):
            arguments[name] = np.asarray(arguments[name], np.uint32)
    suffixes = [f"_{place + 1}" if place else "" for place in range(len(arguments["observe"]))]
    data = [_of_protocol(dataset["observed" + suffix], suffix) for suffix in suffixes]
    bars = [_of_protocol(dataset["error_bar" + suffix], suffix) for suffix in suffixes]
    arguments["observations"] = [one.rename(name) for one, name in zip(data, arguments.pop("observe"), strict=True)]
    arguments["noise"] = [bar if noise is None else noise for bar, noise in zip(bars, arguments["noise"], strict=True)]
    return arguments


def _of_protocol(values: xr.DataArray, suffix: str) -> xr.DataArray:
    """The same values, with names of dimensions and coordinates without the suffix of the protocol."""
    names = {str(name) for name in (*values.dims, *values.coords)}
    return values.rename({name: name.removesuffix(suffix) for name in names if suffix and name.endswith(suffix)})


def _error_bars(noise: Any, predicted: np.ndarray) -> np.ndarray:
    """The standard deviation of each observed number."""
    if isinstance(noise, Gaussian | Whitening):
        return np.asarray(noise.std)
    return np.sqrt(predicted * (1 - predicted / noise.trials))
