"""The xarray edge: trajectories become labelled Datasets, and Datasets become states again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from overlaps._checks import argument_error
from overlaps._connectivity import Network, Overlaps, State
from overlaps._layout import Layout
from overlaps._rnn import RNN
from overlaps.learning._describe import describe, restore
from overlaps.learning._phase import Phase, Run
from overlaps.learning._record import Ending, Record

VERSION = version("overlaps")


@dataclass(frozen=True)
class Trajectory:
    """What was recorded of one phase."""

    phase: Phase
    run: Run
    records: list[Record] = field(default_factory=list)

    def joined(self, name: str, axis: int) -> np.ndarray:
        """A field of the records along its axis of saved points: those that were asked for, and the last one."""
        values = np.concatenate([getattr(record, name) for record in self.records], axis)
        points = np.concatenate([record.time if record.step is None else record.step for record in self.records], -1)
        kept = np.isin(points, self.run.saved)
        kept[-1:] = True
        return np.compress(kept, values, axis)


def assemble(done: Sequence[Trajectory], start: State, end: State | None, rnn: RNN, settings: Mapping[str, Any]) -> xr.Dataset:
    """The Dataset of a run; `end` is None where the run did not reach a state worth keeping.

    The vectors of a network are variables, from which the run can be repeated and continued.
    """
    layout = start.layout
    pairs = layout.pairs
    batched = done[0].records[0].loss.ndim == 2
    lead = ("batch",) if batched else ()
    gram = np.concatenate([one.joined("gram", -3) for one in done], -3)
    # The loss is a difference of large numbers near a solution: what rounding leaves may be negative.
    loss = np.maximum(np.concatenate([one.joined("loss", -1) for one in done], -1), 0.0)
    gradient_norm = np.concatenate([one.joined("gradient_norm", -1) for one in done], -1)
    sigma = gram[..., [pair.row for pair in pairs], [pair.column for pair in pairs]]
    variables = {
        "sigma": ((*lead, "time", "overlap"), sigma, _said("overlap a.b / N")),
        "loss": ((*lead, "time"), loss, _said("loss", done[0].phase.task.loss_units)),
        "gradient_norm": (
            (*lead, "time"),
            gradient_norm,
            _said("norm of the loss gradient dL/dF", done[0].phase.task.loss_units),
        ),
    }
    coordinates = {
        "overlap": ("overlap", [pair.label for pair in pairs], _said("overlap")),
        "left": ("overlap", [pair.left for pair in pairs], _said("first vector")),
        "right": ("overlap", [pair.right for pair in pairs], _said("second vector")),
        "visible": ("overlap", list(rnn.visible(layout)), _said("loss-visible")),
        **_times(done),
    }
    if isinstance(start, Network):
        coordinates["vector"] = ("vector", list(layout.labels), _said("connectivity vector"))
        for name, state in (("initial", start), ("final", end)):
            if isinstance(state, Network):
                dims = (*lead[: state.m.ndim - 2], "neuron", "vector")
                variables[f"{name}_vectors"] = (dims, np.asarray(state.vectors), _said(f"{name} connectivity vectors"))
    dataset = xr.Dataset(variables, coordinates)
    records = [record for one in done for record in one.records]
    for name in sorted({name for record in records for name in record.statistics}):
        dataset.attrs[f"solver_{name}"] = sum(record.statistics.get(name, 0) for record in records)
    phases = [one.phase for one in done]
    single = not phases[0].name
    described = {
        "state": {"type": "Network", "n": start.n, **layout._asdict()} if isinstance(start, Network) else start,
        "rnn": rnn,
        "task": phases[0].task if single else phases,
        "rule": phases[0].rule if single else None,
        "acts_on": ["vectors P" if one.run.problem.per_neuron else "factor F" for one in done],
        "endings": [_ending(one.records[-1].ending) for one in done],
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
    if "failed" in description(dataset, "endings"):
        mend = "Its last saved overlaps are in `sigma`."
        raise argument_error("dataset", "come from a run that reached its end", "this one diverged", mend)
    if start["type"] == "Network":
        return Network(*layout.split(dataset["final_vectors"].values))
    return Overlaps(grams(dataset)[..., -1, :, :], *layout)


def initial_state(dataset: xr.Dataset) -> State:
    """The state that a run of `learn` started from; raises ValueError for a Dataset that does not come from `learn`."""
    start = description(dataset, "state")
    if start["type"] == "Network":
        layout = layout_of(dataset)
        return Network(*layout.split(dataset["initial_vectors"].values))
    return restore(start)


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
    """Coordinates along time, cumulative over phases."""
    times, steps, phases = [], [], []
    time_offset, step_offset = np.zeros(()), 0
    for one in done:
        time = one.joined("time", -1)
        times.append(time + time_offset[..., None])
        time_offset = time_offset + time[..., -1]
        step = one.joined("step", -1) if one.records[0].step is not None else None
        steps.append(None if step is None else step + step_offset)
        step_offset += 0 if step is None else step[-1]
        phases += [one.phase.name] * time.shape[-1]
    said = _said("learning time, learning rate x step")
    if any(time.ndim == 2 for time in times):
        shape = max(time.shape[:-1] for time in times)
        joined = np.concatenate([np.broadcast_to(time, (*shape, time.shape[-1])) for time in times], -1)
        coordinates: dict[str, Any] = {"learning_time": (("batch", "time"), joined, said)}
    else:
        coordinates = {"time": ("time", np.concatenate(times), said)}
    if all(step is not None for step in steps):
        coordinates["step"] = ("time", np.concatenate(steps), _said("gradient step"))
    if done[0].phase.name:
        coordinates["phase"] = ("time", phases, _said("phase of the protocol"))
    return coordinates


def _ending(ending: np.ndarray) -> Any:
    names = [Ending(one).name.lower() for one in np.ravel(ending)]
    return names if ending.ndim else names[0]


def _said(long_name: str, units: str = "1") -> dict[str, str]:
    return {"long_name": long_name, "units": units}
