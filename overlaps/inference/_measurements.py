"""Measured curves beside their experiments, and the residuals of a network's curves, for many networks at once."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from overlaps._support import AnyArray, argument_error
from overlaps.connectivity import Layout, Overlaps
from overlaps.dynamics import RNN
from overlaps.inference._correlated import Correlated
from overlaps.inference._experiment import DIMENSIONS, Experiment, Settings
from overlaps.inference._noise import Counts
from overlaps.learning import BARRIERS_STAY, compiled


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was observed in an experiment: `data` with dims `subject` and those of the observation; NaN is a gap.

    `correlated`: correlated noise, which then takes the place of the noise of the experiment.
    """

    experiment: Experiment
    data: xr.DataArray
    correlated: Correlated | None = None

    @classmethod
    def checked(cls, data: Any, protocol: Any, rnn: RNN, noise: Any, observe: str | None, key: Any) -> "Measurement":
        """A measurement of these arguments. Raises ValueError for arguments that do not fit."""
        if not isinstance(data, xr.DataArray):
            mend = "Name its dimensions as `overlaps.inference.observations` does."
            raise argument_error("observations", "be a DataArray, or a list of them", f"{type(data).__name__} came", mend)
        observe = str(data.name) if observe is None and data.name in DIMENSIONS else observe
        if observe is None:
            known = ", ".join(DIMENSIONS)
            must = f"have the name of what is observed, one of {known}"
            raise argument_error("observations", must, f"its name is {data.name!r}", "Name it, or pass `observe`.")
        dims = DIMENSIONS.get(observe, ())
        if dims and set(data.dims) - {"subject"} != set(dims):
            raise argument_error("observations", f"have the dims {', '.join(dims)}", f"it has {', '.join(map(str, data.dims))}")
        noise = _error_bars(noise, data, dims) if isinstance(noise, xr.DataArray) else noise
        correlated = noise if isinstance(noise, Correlated) else None
        experiment = Experiment.checked(protocol, rnn, observe, 1.0 if correlated else noise, key=key)
        data = (data if "subject" in data.dims else data.expand_dims("subject")).transpose("subject", *dims)
        if data.dtype.kind not in "iuf":
            raise argument_error("observations", "be real numbers", f"an array of type {data.dtype} came")
        data = data.astype(float)
        if np.any(np.isinf(data.values)) or np.any(np.all(np.isnan(data.values), axis=tuple(range(1, data.ndim)))):
            came = "a subject has gaps alone" if not np.any(np.isinf(data.values)) else "an infinite number came"
            raise argument_error("observations", "be numbers, or NaN for gaps", came)
        measured = cls(experiment.seen_at(data), data, correlated)
        if isinstance(experiment.noise, Counts) and (data.min() < 0 or np.any(data.values > measured.noise.trials)):
            came = f"numbers from {data.min().item():g} to {data.max().item():g} came"
            raise argument_error("observations", "be numbers of errors, between 0 and the number of trials", came)
        return measured

    @property
    def noise(self) -> Any:
        """The noise model, with one number for each observed number."""
        if self.correlated is not None:
            return self.correlated.whitening(self.data.values)
        try:
            return jax.tree.map(lambda one: np.array(np.broadcast_to(one, self.data.shape)), self.experiment.noise)
        except ValueError:
            shapes = ", ".join(str(np.shape(one)) for one in jax.tree.leaves(self.experiment.noise))
            raise argument_error("noise", f"broadcast to the shape {self.data.shape}", f"its shape is {shapes}") from None


def _error_bars(noise: xr.DataArray, data: xr.DataArray, dims: tuple[str, ...]) -> np.ndarray:
    """The error bars, in the order of the dimensions of the data."""
    alone = data.isel(subject=0, drop=True) if "subject" in data.dims and "subject" not in noise.dims else data
    try:
        return xr.broadcast(*xr.align(noise, alone, join="exact"))[0].transpose(..., *dims).values
    except ValueError:
        came = f"it has the dims {dict(noise.sizes)}, and the observations have {dict(data.sizes)}"
        mend = "Give it the same coordinates as the observations."
        raise argument_error("noise", "have dims and coordinates of the observations", came, mend) from None


def require_one_subject(observations: Any) -> None:
    """Raise ValueError for observations, or a list of them, of several subjects."""
    listed = observations if isinstance(observations, Sequence) else [observations]
    if any("subject" in getattr(one, "dims", ()) for one in listed):
        mend = "Pass observations.isel(subject=0), and call it for each subject."
        raise argument_error("observations", "be of one subject", "a dimension `subject` came", mend)


def measurements_of(observations: Any, protocol: Any, rnn: RNN, noise: Any, observe: str | None, key: Any) -> list[Measurement]:
    """One measurement for each protocol. Raises ValueError for arguments that do not fit."""
    if not isinstance(observations, Sequence) or not observations:
        return [Measurement.checked(observations, protocol, rnn, noise, observe, key)]
    if not isinstance(protocol, Sequence) or len(protocol) != len(observations):
        must = f"be a list of {len(observations)} protocols, one for each of the observations"
        raise argument_error("protocol", must, f"{protocol!r} came")
    noises = noise if isinstance(noise, list) else [noise] * len(observations)
    if len(noises) != len(observations):
        must = f"be one noise, or a list of {len(observations)}"
        raise argument_error("noise", must, f"a list of {len(noises)} came")
    rows = zip(observations, protocol, noises, strict=True)
    found = [Measurement.checked(data, one, rnn, each, observe, key) for data, one, each in rows]
    if len({one.data.sizes["subject"] for one in found}) > 1:
        came = f"they have {', '.join(str(one.data.sizes['subject']) for one in found)} subjects"
        raise argument_error("observations", "have the same subjects in all protocols", came)
    return found


class Model:
    """The residuals of the curves of networks, in units of the noise, as a function of their flat factors F (G = F^T F).

    A program is compiled once for `slots` networks. Each network belongs to a subject, whose data it is compared with.
    """

    def __init__(self, measurements: list[Measurement], layout: Layout, slots: int):
        self.layout, self.slots = layout, slots
        numbers = [
            ([phase.task for phase in one.experiment.phases], one.noise, one.data.values, one.experiment.key)
            for one in measurements
        ]
        settings = tuple(Settings.of(one.experiment) for one in measurements)
        self.arguments: Any = (numbers, settings, Overlaps(np.eye(layout.size), *layout))

    def curves(self, factors: AnyArray, owners: Any) -> tuple[Float[np.ndarray, "networks numbers"], list[np.ndarray]]:
        """The residuals of networks, and their curves without noise, one array for each protocol."""
        return self._in_slots(_programs()[0], factors, owners)

    def residuals(self, factors: AnyArray, owners: Any) -> Float[np.ndarray, "networks numbers"]:
        """The residuals of networks; NaN for networks that diverge."""
        return self.curves(factors, owners)[0]

    def jacobians(self, factors: AnyArray, owners: Any) -> tuple[np.ndarray, np.ndarray]:
        """The residuals of networks and their derivatives with respect to the entries of the factors."""
        return self._in_slots(_programs()[1], factors, owners)

    def _in_slots(self, program: Any, factors: AnyArray, owners: Any) -> Any:
        factors, owners = np.asarray(factors), np.broadcast_to(owners, len(factors))
        parts = []
        with jax.enable_x64(True):
            for first in range(0, len(factors), self.slots):
                chosen = np.arange(first, first + self.slots) % len(factors)
                parts.append(jax.tree.map(np.asarray, program(factors[chosen], owners[chosen], *self.arguments)))
        return jax.tree.map(lambda *values: np.concatenate(values)[: len(factors)], *parts)


@functools.cache
def _programs() -> tuple[Any, Any]:
    return compiled(_curves, BARRIERS_STAY), compiled(_jacobians, BARRIERS_STAY)


def curves_of(
    factor: Float[AnyArray, " entries"], owner: Int[AnyArray, ""], numbers: Any, settings: Any, template: Overlaps
) -> tuple[AnyArray, list[AnyArray]]:
    """The residuals of one network compared with the data of a subject, and its curves; the rest as in `Model.arguments`."""
    size = template.layout.size
    factor = factor.reshape(size, size)
    state = eqx.tree_at(lambda one: one.gram, template, factor.T @ factor)
    residuals, curves = [], []
    for (tasks, noise, data, key), one in zip(numbers, settings, strict=True):
        noise = jax.tree.map(lambda array: jnp.asarray(array)[owner], noise)
        expected = one.experiment_with(tasks, noise, key).expected(state)
        if expected.shape != data.shape[1:]:
            raise argument_error("observations", f"have the shape {expected.shape}", f"{data.shape[1:]} came")
        residuals.append(noise.residuals(expected, jnp.asarray(data)[owner]).ravel())
        curves.append(noise.mean(expected))
    return jnp.concatenate(residuals), curves


def _curves(factors: AnyArray, owners: AnyArray, *arguments: Any) -> Any:
    return jax.vmap(lambda factor, owner: curves_of(factor, owner, *arguments))(factors, owners)


def _jacobians(factors: AnyArray, owners: AnyArray, *arguments: Any) -> Any:
    def residuals(factor: AnyArray, owner: AnyArray) -> tuple[AnyArray, AnyArray]:
        found = curves_of(factor, owner, *arguments)[0]
        return found, found

    derivative = jax.vmap(jax.jacfwd(residuals, has_aux=True))(factors, owners)
    return derivative[1], derivative[0]
