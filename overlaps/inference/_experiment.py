"""An experiment: what is done with a network, what is observed meanwhile, and the noise of the observation."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import AnyArray, argument_error, choice, random_key, said
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.inference._noise import Counts, Noise, error_probability, noise_of, require_fitting
from overlaps.learning import GradientDescent, Phase, Trajectory, describe, lags_of, trajectory

DIMENSIONS = {
    "loss": ("time",),
    "output": ("time", "trial", "sample", "readout"),
    "impulse_response": ("time", "lag", "readout", "input"),
}
ROUNDING = 1e-6  # of learning times, relative to the duration of a phase


def phases_in(name: str, verb: str, protocol: Any) -> list[Phase]:
    """The phases of a protocol. The argument `name` must be, hold or make it. Raises ValueError for anything else."""
    phases = [protocol] if isinstance(protocol, Phase) else protocol
    if not isinstance(phases, Sequence) or not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise argument_error(name, f"{verb} a Phase(name, task, rule), or a list of them", f"{protocol!r} came")
    return list(phases)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is done and what is observed. `saves` and `times` are as in `trajectory`."""

    phases: list[Phase]
    rnn: RNN
    observe: str
    noise: Noise
    saves: Any
    times: Any
    key: Any

    @classmethod
    def checked(
        cls,
        protocol: Any,
        rnn: RNN,
        observe: str = "impulse_response",
        noise: Any = 1e-3,
        saves: Any = 41,
        times: Any = None,
        key: Any = None,
    ) -> "Experiment":
        """An experiment of these arguments. Raises ValueError for arguments that do not fit."""
        phases = phases_in("protocol", "be", protocol)
        if not isinstance(rnn, RNN):
            raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
        choice("observe", observe, DIMENSIONS)
        if any(phase.rule.stop_loss is not None or phase.rule.stop_gradient is not None for phase in phases):
            must = "have phases of known duration, without stop_loss and stop_gradient"
            raise argument_error("protocol", must, "a phase that may stop early came", "Shorten its duration instead.")
        noise = noise_of(noise)
        if isinstance(noise, Counts) and noise.link is error_probability and observe != "loss":
            mend = "Pass Counts(trials, link) with a link of your own, or observe the loss."
            raise argument_error("noise", "have a link that fits what is observed", "`error_probability` takes a loss", mend)
        key = None if key is None else random_key("key", key)
        return cls(phases, rnn, observe, noise, saves, times, key)

    def trajectory(self, state: State, reverse: bool = False) -> Trajectory:
        """The course of the experiment with a network that starts as `state`."""
        observe = () if self.observe == "loss" else self.observe
        course = trajectory(
            state, self.phases, self.rnn, saves=self.saves, key=self.key, observe=observe, times=self.times, reverse=reverse
        )
        require_fitting(self.noise, getattr(course, self.observe).shape)
        return course

    def expected(self, state: State, reverse: bool = False) -> AnyArray:
        """What is observed without noise, (time, ...): an array of jax.numpy, for use inside jit, vmap, jacfwd and grad."""
        return getattr(self.trajectory(state, reverse), self.observe)

    def whitened(self, state: State) -> AnyArray:
        """A vector whose Jacobian J has the Fisher information J^T J about whatever the state depends on."""
        expected = self.expected(state)
        return (jax.lax.stop_gradient(self.noise.weights(expected)) * expected).ravel()

    @property
    def durations(self) -> list[float]:
        """How long each phase is, in learning time."""
        rules = [phase.rule for phase in self.phases]
        return [rule.steps * rule.learning_rate if isinstance(rule, GradientDescent) else rule.duration for rule in rules]

    def labelled(self, course: Trajectory, values: Any) -> xr.DataArray:
        """Values of what is observed, (time, ...), as a DataArray with the coordinates of a `course` of the experiment."""
        dims = DIMENSIONS[self.observe]
        coordinates: dict[str, Any] = {"time": ("time", np.asarray(course.time), said("learning time, learning rate x step"))}
        coordinates["phase"] = ("time", self._names(np.asarray(course.time)), said("phase of the protocol"))
        if "lag" in dims:
            lags = list(lags_of(self.times, self.phases[0].task, self.rnn))
            coordinates["lag"] = ("lag", lags, said("time since the impulse", "as tau"))
        units = {"loss": self.phases[0].task.loss_units, "impulse_response": "1 / time"}.get(self.observe, "1")
        return xr.DataArray(np.asarray(values), coordinates, dims, self.observe, said(self.observe.replace("_", " "), units))

    def _names(self, times: np.ndarray) -> list[str]:
        return [self.phases[index].name for index in phase_of_rows(times, self.durations)]

    def seen_at(self, data: xr.DataArray) -> "Experiment":
        """The same experiment, observed at the learning times and lags of these data.

        Raises ValueError unless the times increase from 0 to the end of the protocol, and for lags after the horizon of all
        tasks.
        """
        times, durations = np.asarray(data["time"].values, float), self.durations
        named = [str(name) for name in data["phase"].values] if "phase" in data.coords else None
        index = phase_of_rows(times, durations, named, [phase.name for phase in self.phases])
        starts = np.concatenate([[0.0], np.cumsum(durations)])
        saves = [np.clip(times[index == number] - starts[number], 0.0, durations[number]) for number in range(len(self.phases))]
        empty = [phase.name for phase, one in zip(self.phases, saves, strict=True) if not one.size]
        if empty:
            must = "have a row in each phase of the protocol, which may be NaN"
            raise argument_error("observations", must, f"there is none in {', '.join(empty)}")
        lags = np.asarray(data["lag"].values, float) if "lag" in data.coords else None
        horizons = [phase.task.horizon for phase in self.phases]
        if lags is not None and all(horizons) and lags.max(initial=0.0) > max(horizons):
            must = f"have lags up to {max(horizons):g}, the horizon of the task"
            mend = "Give the lags in the unit of tau, and leave out later ones."
            raise argument_error("observations", must, f"the lag {lags.max():g} came", mend)
        return dataclasses.replace(self, saves=saves, times=lags)


@dataclasses.dataclass(frozen=True)
class Settings:
    """An experiment whose tasks, noise and key are given later. Two are equal if the rest of their descriptions is equal."""

    experiment: Experiment = dataclasses.field(compare=False)
    description: str

    @classmethod
    def of(cls, experiment: Experiment) -> "Settings":
        phases = [(phase.name, phase.rule) for phase in experiment.phases]
        rest = [*phases, experiment.rnn, experiment.observe, experiment.saves, experiment.times]
        return cls(experiment, json.dumps(describe(rest)))

    def experiment_with(self, tasks: list[Any], noise: Any, key: Any) -> Experiment:
        phases = [dataclasses.replace(one, task=task) for one, task in zip(self.experiment.phases, tasks, strict=True)]
        return dataclasses.replace(self.experiment, phases=phases, noise=noise, key=key)


def phase_of_rows(
    times: np.ndarray, durations: Sequence[float], named: Sequence[str] | None = None, names: Sequence[str] = ()
) -> np.ndarray:
    """The number of the phase to which each row belongs, from cumulative learning times.

    Of two rows at the boundary of two phases, the first one belongs to the earlier phase. `named`: for each row the name of its
    phase. Raises ValueError for times that decrease or leave the protocol, and for names that do not fit.
    """
    ends, current, result = np.cumsum(durations), 0, []
    tolerance = ROUNDING * max(durations)
    for row, time in enumerate(times):
        before = times[row - 1] if result and result[-1] == current else -np.inf
        while current < len(ends) and (
            time > ends[current] + tolerance
            or before >= ends[current] - tolerance
            or (named is not None and named[row] != names[current])
        ):
            current, before = current + 1, -np.inf
        if current == len(ends) or (row and time < times[row - 1] - tolerance) or time < -tolerance:
            came = f"row {row} is at learning time {time:g}" + ("" if named is None else f", in phase {named[row]!r}")
            must = f"have learning times that increase from 0 to {ends[-1]:g}, the end of the protocol"
            raise argument_error("observations", must, came)
        result.append(current)
    return np.asarray(result)
