"""The xarray edge: trajectories become labelled Datasets, and Datasets become states again."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._checks import argument_error
from overlaps._connectivity import MeanField, Network, Neurons, Overlaps, State
from overlaps._labels import said
from overlaps._layout import Layout
from overlaps._rnn import RNN
from overlaps.learning._describe import describe, restore
from overlaps.learning._observables import DIMENSIONS, MEANINGS
from overlaps.learning._phase import Run
from overlaps.learning._record import Ending, Record

VERSION = version("overlaps")


@dataclass(frozen=True)
class Trajectory:
    """What was recorded of one phase."""

    run: Run
    records: list[Record] = field(default_factory=list)

    @functools.cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """What was recorded at the points that were asked for, and the last one: its time, its step for descent, and values."""
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
        """Where the phase ended, from its own start; None for networks that diverged."""
        lost = ~np.isfinite(self.rows["loss"][..., -1])
        ends: dict[str, Any] = {}
        for name in self.rows.keys() & {"time", "step", "loss", "gradient_norm"}:
            values = np.broadcast_to(self.rows[name][..., -1], lost.shape).astype(object)
            values[lost] = None
            ends[name] = values.tolist()
        return dict(sorted(ends.items()))


def assemble(done: Sequence[Trajectory], start: State, end: State | None, rnn: RNN, settings: Mapping[str, Any]) -> xr.Dataset:
    """The Dataset of a run; `end` is None where the run did not reach a state worth keeping.

    The vectors of a network are variables, from which the run can be repeated and continued.
    """
    layout = start.layout
    pairs = layout.pairs
    lead = ("batch",) * (done[0].rows["loss"].ndim - 1)
    phases = [one.run.phase for one in done]
    values = {name: np.concatenate([one.rows[name] for one in done], len(lead)) for name in done[0].records[0].values}
    sigma = values["gram"][..., [pair.row for pair in pairs], [pair.column for pair in pairs]]
    units = phases[0].task.loss_units
    variables = {
        "sigma": ((*lead, "time", "overlap"), sigma, said("overlap a.b / N")),
        "loss": ((*lead, "time"), values["loss"], said("loss", units)),
        "gradient_norm": ((*lead, "time"), values["gradient_norm"], said("norm of the loss gradient dL/dF", units)),
    }
    for name in values.keys() & DIMENSIONS.keys():
        variables[name] = ((*lead, "time", *DIMENSIONS[name]), values[name], said(MEANINGS[name]))
    coordinates = {
        "overlap": ("overlap", [pair.label for pair in pairs], said("overlap")),
        "left": ("overlap", [pair.left for pair in pairs], said("first vector")),
        "right": ("overlap", [pair.right for pair in pairs], said("second vector")),
        "visible": ("overlap", list(rnn.visible(layout)), said("loss-visible")),
        **_times(done),
    }
    if lead:
        coordinates["batch"] = ("batch", np.arange(len(sigma)), said("network of the batch"))
    if isinstance(start, Neurons):
        coordinates["vector"] = ("vector", list(layout.labels), said("connectivity vector"))
        if isinstance(start, MeanField):
            dims = (*lead[: start.m.ndim - 2], "neuron")
            variables["weights"] = (dims, np.asarray(start.weights), said("weight of a node among all neurons"))
        for name, state in (("initial", start), ("final", end)):
            if isinstance(state, Neurons):
                dims = (*lead[: state.m.ndim - 2], "neuron", "vector")
                variables[f"{name}_vectors"] = (dims, np.asarray(state.vectors), said(f"{name} connectivity vectors"))
    dataset = xr.Dataset(variables, coordinates)
    records = [record for one in done for record in one.records]
    for name in sorted({name for record in records for name in record.statistics}):
        dataset.attrs[f"solver_{name}"] = sum(record.statistics.get(name, 0) for record in records)
    single = not phases[0].name
    described = {
        "state": {"type": type(start).__name__, "n": start.n, **layout._asdict()} if isinstance(start, Neurons) else start,
        "rnn": rnn,
        "task": phases[0].task if single else phases,
        "rule": phases[0].rule if single else None,
        "acts_on": ["vectors P" if one.run.problem.per_neuron else "factor F" for one in done],
        "endings": [_ending(one.records[-1].ending) for one in done],
        "reached": [one.reached() for one in done],
        "version": VERSION,
    }
    for name, value in {**described, **settings}.items():
        dataset.attrs[name] = json.dumps(describe(value))
    return dataset


def final_state(dataset: xr.Dataset) -> State:
    """The trained state at the end of a run of `learn`, to continue, branch or resample; works after a netCDF round trip.

    Raises ValueError for a Dataset that does not come from `learn`, and for a network run that diverged.
    """
    start = description(dataset, "state")
    layout = layout_of(dataset)
    lost = np.flatnonzero(~np.isfinite(dataset["loss"].values[..., -1]))
    if lost.size and "batch" in dataset.dims:
        mend = "Select the others first, with dataset.isel(batch=...)."
        raise argument_error("dataset", "hold runs that reached their end", f"networks {lost.tolist()} diverged", mend)
    if lost.size or "failed" in description(dataset, "endings"):
        mend = "Its last saved overlaps are in `sigma`."
        raise argument_error("dataset", "come from a run that reached its end", "this one diverged", mend)
    if start["type"] != "Overlaps":
        return _neurons(dataset, "final_vectors")
    return Overlaps(grams(dataset)[..., -1, :, :], *layout)


def initial_state(dataset: xr.Dataset) -> State:
    """The state that a run of `learn` started from; of a batch, those of the networks that are in the Dataset.

    Raises ValueError for a Dataset that does not come from `learn`.
    """
    start = description(dataset, "state")
    if start["type"] != "Overlaps":
        return _neurons(dataset, "initial_vectors")
    state = restore(start)
    return select(dataset, state) if state.gram.ndim > 2 else state


def _neurons(dataset: xr.Dataset, name: str) -> State:
    blocks = layout_of(dataset).split(dataset[name].values)
    if "weights" in dataset:
        return MeanField(*blocks, weights=np.broadcast_to(dataset["weights"].values, blocks[0].shape[:-1]))
    return Network(*blocks)  # pyright: ignore[reportCallIssue]


def select(dataset: xr.Dataset, batched: Any) -> Any:
    """Of arrays with a leading batch axis, the part for the networks that are in a Dataset."""
    if "batch" not in dataset.coords:
        raise argument_error("dataset", "have the coordinate `batch`, which says which networks it holds", "it was dropped")
    networks = dataset["batch"].values
    return jax.tree.map(lambda leaf: leaf[networks, ...], batched)


def grams(dataset: xr.Dataset) -> np.ndarray:
    """The overlap matrices (..., time, D, D) of a Dataset of `learn`."""
    layout = layout_of(dataset)
    sigma = dataset["sigma"].values
    result = np.zeros((*sigma.shape[:-1], layout.size, layout.size))
    for index, pair in enumerate(layout.pairs):
        result[..., pair.row, pair.column] = result[..., pair.column, pair.row] = sigma[..., index]
    return result


def layout_of(dataset: xr.Dataset) -> Layout:
    """The layout of the network that a run of `learn` trained."""
    start = description(dataset, "state")
    return Layout(start["inputs"], start["rank"], start["outputs"])


def description(dataset: xr.Dataset, name: str) -> Any:
    """What `learn` wrote down about a run: its "state", "task", "rnn", "rule", "saves", "key", "precision" or "version"."""
    if name not in dataset.attrs:
        raise argument_error("dataset", "be a result of `learn`", f"it has no attribute {name!r}")
    return json.loads(dataset.attrs[name])


def _times(done: Sequence[Trajectory]) -> dict[str, Any]:
    """Coordinates along time, cumulative over phases; one row per network where networks of a batch differ in them."""
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
