"""The xarray edge: trajectories become labelled Datasets, and Datasets become states again."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from overlaps._checks import argument_error
from overlaps._connectivity import Network, Overlaps, State
from overlaps._layout import Layout
from overlaps._rnn import RNN
from overlaps.learning._describe import describe, restore
from overlaps.learning._record import Record

VERSION = version("overlaps")


def trajectory(
    records: Sequence[Record], start: State, end: State | None, rnn: RNN, task: Any, rule: Any, settings: Mapping[str, Any]
) -> xr.Dataset:
    """The Dataset of a training run: sigma(time, overlap), loss(time), and a JSON description in the attributes.

    `end` is None when the run did not reach a state worth keeping. The vectors of a network are variables, from which the run
    can be repeated and continued.
    """
    layout = start.layout
    pairs = layout.pairs
    gram = _joined(records, "gram")
    sigma = gram[:, [pair.row for pair in pairs], [pair.column for pair in pairs]]
    # The loss is a difference of large numbers near a solution: what rounding leaves may be negative.
    loss = np.maximum(_joined(records, "loss"), 0.0)
    variables = {
        "sigma": (("time", "overlap"), sigma, _said("overlap a.b / N")),
        "loss": ("time", loss, _said("loss", task.loss_units)),
    }
    coordinates = {
        "time": ("time", _joined(records, "time"), _said("learning time, learning rate x step")),
        "overlap": ("overlap", [pair.label for pair in pairs], _said("overlap")),
        "left": ("overlap", [pair.left for pair in pairs], _said("first vector")),
        "right": ("overlap", [pair.right for pair in pairs], _said("second vector")),
        "visible": ("overlap", list(rnn.visible(layout)), _said("loss-visible")),
    }
    if records[0].step is not None:
        coordinates["step"] = ("time", _joined(records, "step"), _said("gradient step"))
    if isinstance(start, Network):
        coordinates["vector"] = ("vector", list(layout.labels), _said("connectivity vector"))
        for name, state in (("initial", start), ("final", end)):
            if isinstance(state, Network):
                values = np.asarray(state.vectors)
                variables[f"{name}_vectors"] = (("neuron", "vector"), values, _said(f"{name} connectivity vectors"))
    dataset = xr.Dataset(variables, coordinates)
    for name in sorted({name for record in records for name in record.statistics}):
        dataset.attrs[f"solver_{name}"] = sum(record.statistics.get(name, 0) for record in records)
    described = {"state": _sizes(start) if isinstance(start, Network) else start, "rnn": rnn, "task": task, "rule": rule}
    for name, value in {**described, **settings, "version": VERSION}.items():
        dataset.attrs[name] = json.dumps(describe(value))
    return dataset


def final_state(dataset: xr.Dataset) -> State:
    """The trained state at the end of a run of `learn`, to continue, branch or resample; works after a netCDF round trip.

    Raises ValueError for a Dataset that does not come from `learn`, and for a network run that diverged.
    """
    start = description(dataset, "state")
    layout = Layout(start["inputs"], start["rank"], start["outputs"])
    if start["type"] == "Network":
        if "final_vectors" not in dataset:
            raise argument_error("dataset", "come from a run that reached its end", "this network diverged")
        return Network(*layout.split(dataset["final_vectors"].values))
    gram = np.zeros((layout.size, layout.size))
    for pair, value in zip(layout.pairs, dataset["sigma"].isel(time=-1).values, strict=True):
        gram[pair.row, pair.column] = gram[pair.column, pair.row] = value
    return Overlaps(gram, *layout)


def initial_state(dataset: xr.Dataset) -> State:
    """The state that a run of `learn` started from; raises ValueError for a Dataset that does not come from `learn`."""
    start = description(dataset, "state")
    if start["type"] == "Network":
        layout = Layout(start["inputs"], start["rank"], start["outputs"])
        return Network(*layout.split(dataset["initial_vectors"].values))
    return restore(start)


def description(dataset: xr.Dataset, name: str) -> Any:
    """What `learn` wrote down about a run: its "state", "task", "rnn", "rule", "saves", "key", "precision" or "version"."""
    if name not in dataset.attrs:
        raise argument_error("dataset", "be a result of `learn`", f"it has no attribute {name!r}")
    return json.loads(dataset.attrs[name])


def _joined(records: Sequence[Record], field: str) -> np.ndarray:
    return np.concatenate([getattr(record, field) for record in records])


def _said(long_name: str, units: str = "1") -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _sizes(network: Network) -> dict[str, Any]:
    return {"type": "Network", "n": network.n, **network.layout._asdict()}
