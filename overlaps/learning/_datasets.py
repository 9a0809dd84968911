"""Datasets: this module turns trajectories into labelled xarray Datasets, and Datasets into states again."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error, said
from overlaps.connectivity import Layout, State, Variable
from overlaps.dynamics import RNN
from overlaps.learning._describe import describe, kind_of, restore
from overlaps.learning._observables import DIMENSIONS, MEANINGS, UNITS
from overlaps.learning._phase import Phase, Run
from overlaps.learning._record import Ending, Record

VERSION = version("overlaps")


@dataclass(frozen=True)
class PhaseRecords:
    """What was recorded during one phase."""

    run: Run
    records: list[Record] = field(default_factory=list)

    @functools.cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Time, step (for descent) and recorded values at the points that the user asked for, and at the last point."""
        asked = np.concatenate([record.asked for record in self.records])
        kept = np.isin(asked, self.run.saved)
        kept[-1:] = True
        rows = {}
        for name in ("time", *(["step"] if self.records[0].step is not None else [])):
            rows[name] = np.compress(kept, np.concatenate([getattr(record, name) for record in self.records], -1), -1)
        axis = self.records[0].loss.ndim - 1
        for name in self.records[0].values:
            rows[name] = np.compress(kept, np.concatenate([record.values[name] for record in self.records], axis), axis)
        return rows

    def reached(self) -> dict[str, Any]:
        """Time, step, loss and gradient norm at the end of the phase, counted from its start; None for diverged networks."""
        lost = ~np.isfinite(self.rows["loss"][..., -1])
        ends: dict[str, Any] = {}
        for name in self.rows.keys() & {"time", "step", "loss", "gradient_norm"}:
            values = np.broadcast_to(self.rows[name][..., -1], lost.shape).astype(object)
            values[lost] = None
            ends[name] = values.tolist()
        return dict(sorted(ends.items()))


def assemble(
    done: Sequence[PhaseRecords], start: State, end: State | None, rnn: RNN, settings: Mapping[str, Any]
) -> xr.Dataset:
    """The Dataset of a run from the state `start` to the state `end`. `end` is None if no network has a state at the end.

    The first and the last state are stored as variables, so that the run can be repeated and continued.
    """
    lead = ("batch",) * (done[0].rows["loss"].ndim - 1)
    phases = [one.run.phase for one in done]
    values = {name: np.concatenate([one.rows[name] for one in done], len(lead)) for name in done[0].records[0].values}
    units = phases[0].task.loss_units
    variables: dict[str, Variable] = {
        "loss": (("time",), values["loss"], said("loss", units)),
        "gradient_norm": (("time",), values["gradient_norm"], said("norm of the loss gradient dL/dF", units)),
    }
    for name in values.keys() & DIMENSIONS.keys():
        variables[name] = (("time", *DIMENSIONS[name]), values[name], said(MEANINGS[name], UNITS.get(name, "1")))
    coordinates = _times(done)
    if "impulse_response" in values and (observer := done[0].run.observer) is not None:
        coordinates["lag"] = ("lag", list(observer.lags), said("time since the impulse", "as tau"))
    if lead:
        coordinates["batch"] = ("batch", np.arange(len(values["loss"])), said("network of the batch"))
    tracked, labels = start.tracked(values, rnn)
    stored = start.stored("initial") | ({} if end is None else end.stored("final"))
    variables = {name: _with_batch(one, lead) for name, one in {**tracked, **variables, **stored}.items()}
    coordinates = labels | coordinates
    dataset = xr.Dataset(variables, coordinates)
    records = [record for one in done for record in one.records]
    for name in sorted({name for record in records for name in record.statistics}):
        dataset.attrs[f"solver_{name}"] = sum(record.statistics.get(name, 0) for record in records)
    course = {
        "acts_on": ["vectors P" if one.run.problem.per_neuron else "factor F" for one in done],
        "endings": [_ending(one.records[-1].ending) for one in done],
        "reached": [one.reached() for one in done],
    }
    dataset.attrs |= described(start, rnn, phases, settings)
    dataset.attrs |= {name: json.dumps(value) for name, value in course.items()}
    return dataset


def described(start: State, rnn: RNN, phases: Sequence[Phase], settings: Mapping[str, Any]) -> dict[str, str]:
    """What a run is, by name, as JSON texts."""
    single = not phases[0].name
    description = {
        "state": {"type": type(start).__name__, **start.description},
        "rnn": rnn,
        "task": phases[0].task if single else list(phases),
        "rule": phases[0].rule if single else None,
        "version": VERSION,
        **settings,
    }
    return {name: json.dumps(describe(value)) for name, value in description.items()}


def beginning(start: State, batch: int | None, attributes: Mapping[str, str]) -> xr.Dataset:
    """What can be said of a run before it begins: its description and its first state."""
    variables = {name: _with_batch(one, () if batch is None else ("batch",)) for name, one in start.stored("initial").items()}
    coordinates = {} if batch is None else {"batch": ("batch", np.arange(batch))}
    return xr.Dataset(variables, coordinates, dict(attributes))


def _with_batch(variable: Variable, lead: tuple[str, ...]) -> Variable:
    """The variable with the dimension `batch` in front, if its values have one axis more than it has names of dimensions."""
    dims, values, attributes = variable
    return (*lead[: np.ndim(values) - len(dims)], *dims), values, attributes


@dataclass(frozen=True)
class _Stored:
    """A Dataset of `learn` with the methods that a state needs to read itself back."""

    dataset: xr.Dataset
    description: Mapping[str, Any]

    def variable(self, name: str) -> Any:
        return self.dataset[name].values if name in self.dataset else None

    def networks(self, batched: np.ndarray) -> Any:
        return select(self.dataset, batched)


def _read(dataset: xr.Dataset, name: str) -> State:
    start = description(dataset, "state")
    numbers = {key: restore(value) for key, value in start.items() if key != "type"}
    return kind_of(start["type"]).read(name, _Stored(dataset, numbers))


def final_state(dataset: xr.Dataset) -> State:
    """The trained state at the end of a run of `learn`, from which you can continue, branch or resample.

    `dataset`: a result of `learn`, which may come from a netCDF file. Returns a state of the kind that was trained, such as
    `Overlaps` or `Network`. For a batch the result is a batch of those networks that the Dataset holds, and for
    dataset.isel(batch=0) it is a single state.

    Raises ValueError for a Dataset that does not come from `learn`, if any of its networks diverged, and if the random key of a
    bulk gives other random numbers than when the Dataset was made.
    """
    description(dataset, "state")  # raises for a Dataset of another kind
    lost = np.flatnonzero(~np.isfinite(dataset["loss"].values[..., -1]))
    if lost.size and "batch" in dataset.dims:
        mend = "Select the other networks first, with dataset.isel(batch=...)."
        raise argument_error("dataset", "hold runs that reached their end", f"networks {lost.tolist()} diverged", mend)
    if lost.size or "failed" in description(dataset, "endings"):
        mend = "The trajectory before that is in the dataset."
        raise argument_error("dataset", "come from a run that reached its end", "this one diverged", mend)
    return _read(dataset, "final")


def initial_state(dataset: xr.Dataset) -> State:
    """The state from which a run of `learn` started.

    `dataset`: a result of `learn`, which may come from a netCDF file. For a batch the result is a batch of those networks that
    the Dataset holds, and for dataset.isel(batch=0) it is a single state. Raises ValueError for a Dataset that does not come
    from `learn`, and if the random key of a bulk gives other random numbers than when the Dataset was made.
    """
    return _read(dataset, "initial")


def select(dataset: xr.Dataset, batched: Any) -> Any:
    """The part of arrays with a leading batch axis that belongs to the networks that the Dataset holds."""
    if "batch" not in dataset.coords:
        must = "have the coordinate `batch`, which says which networks it holds"
        raise argument_error("dataset", must, "it was dropped", "Select networks without drop=True.")
    networks = dataset["batch"].values
    return jax.tree.map(lambda leaf: leaf[networks, ...], batched)


def grams(dataset: xr.Dataset) -> np.ndarray:
    """The overlap matrices (..., time, D, D) of a Dataset of `learn`."""
    if "sigma" not in dataset:
        mend = "Its eigenvalues are in `eigenvalue_real` and `eigenvalue_imag`."
        came = "it has none, as that of a network whose whole W learned"
        raise argument_error("dataset", "be that of a network with overlaps", came, mend)
    return layout_of(dataset).matrix(dataset["sigma"].values)


def layout_of(dataset: xr.Dataset) -> Layout:
    """The layout (the order and names of the connectivity vectors) of the network that a run of `learn` trained."""
    return Layout.of(description(dataset, "state"))


def description(dataset: xr.Dataset, name: str) -> Any:
    """What `learn` wrote into an attribute: "state", "task", "rnn", "rule", "saves", "key", "precision", "version", ..."""
    if name not in dataset.attrs:
        raise argument_error("dataset", "be a result of `learn`", f"it has no attribute {name!r}")
    return json.loads(dataset.attrs[name])


def _times(done: Sequence[PhaseRecords]) -> dict[str, Any]:
    """The coordinates along time, added up over phases. They have one row per network if networks of a batch can differ."""
    coordinates: dict[str, Any] = {}
    for name, meaning in (("time", "learning time, learning rate x step"), ("step", "gradient step")):
        if any(name not in one.rows for one in done):
            continue
        joined, offset = [], 0
        for one in done:
            joined.append(one.rows[name] + np.asarray(offset)[..., None])
            offset = joined[-1][..., -1]
        shape = np.broadcast_shapes(*(values.shape[:-1] for values in joined))
        values = np.concatenate([np.broadcast_to(values, (*shape, values.shape[-1])) for values in joined], -1)
        coordinates["learning_time" if name == "time" and shape else name] = (
            (*("batch",) * len(shape), "time"),
            values,
            said(meaning),
        )
    if done[0].run.phase.name:
        names = [one.run.phase.name for one in done for _ in range(one.rows["loss"].shape[-1])]
        coordinates["phase"] = ("time", names, said("phase of the protocol"))
    return coordinates


def _ending(ending: np.ndarray) -> Any:
    names = [Ending(one).name.lower() for one in np.ravel(ending)]
    return names if ending.ndim else names[0]
