"""How curves scatter over the random paths that learning takes under label noise."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, count, in_float64, random_key
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.inference._correlated import Correlated
from overlaps.inference._experiment import Experiment
from overlaps.inference._measurements import Measurement, Settings
from overlaps.inference._noise import Gaussian, require_fitting
from overlaps.learning import BARRIERS_STAY, compiled
from overlaps.tasks import LabelNoise

DRAWS = 1024  # paths; several times the number of directions in which curves scatter
PER_NUMBER = 2  # paths, at least, per observed number: with fewer of them, the inverse covariance and chi2 are too large


def path_noise(
    state: State,
    protocol: Any,
    rnn: RNN,
    observe: str = "impulse_response",
    noise: Any = 1e-3,
    saves: Any = 41,
    times: Any = None,
    key: Any = 0,
    draws: int = DRAWS,
) -> Correlated:
    """The noise of an experiment in which label noise, whose samples are not known, makes learning take a random path.

    The deviations of a path from the mean path are alike at neighbouring learning times and lags. The covariance is that of
    simulated paths of this network, plus the variance of independent noise of the measurement.

    - `state`: a single network of any kind, at the start.
    - `protocol`: a `Phase(name, task, rule)` with a task that draws samples, or a list of phases.
    - `rnn`, `observe`, `saves`, `times`: as in `observations`.
    - `noise`: the standard deviation of independent Gaussian noise on each observed number, or `Gaussian(std)`.
    - `key`: a jax.random key or an integer seed for the paths. `draws`: how many paths; take several times more than there
      are observed numbers, or overlaps times saved points, whichever is smaller.

    Returns a `Correlated`, for the `noise` of `fit` with the same protocol without label noise. Raises ValueError for
    arguments that do not fit, and for a network that diverges.
    """
    experiment = Experiment.checked(protocol, rnn, observe, noise, saves, times, None)
    if not isinstance(experiment.noise, Gaussian):
        raise argument_error("noise", "be Gaussian", f"{type(experiment.noise).__name__} came")
    curves = _paths(experiment, state, random_key("key", key), count("draws", draws, least=2))
    require_fitting(experiment.noise, curves.shape[1:])
    std = np.broadcast_to(np.asarray(experiment.noise.std), curves.shape[1:])
    return Correlated(_scatter(curves) + np.diag(std.ravel() ** 2))


def random_paths(measured: Measurement) -> bool:
    """Whether the path of learning is random, because the samples of label noise are not known."""
    return measured.experiment.key is None and any(isinstance(one.task, LabelNoise) for one in measured.experiment.phases)


def with_path_noise(measurements: list[Measurement], states: Sequence[State] | None, key: Any) -> list[Measurement]:
    """The measurements with tasks without label noise, and with the noise of the paths of these states, one for each subject.

    Measurements whose path is known stay as they are. `states` None: no noise of paths. Raises ValueError for noise of the
    measurement that is not Gaussian, and for networks that diverge.
    """
    return [
        _with_path_noise(one, states, jax.random.fold_in(key, index)) if random_paths(one) else one
        for index, one in enumerate(measurements)
    ]


def _with_path_noise(measured: Measurement, states: Sequence[State] | None, key: Any) -> Measurement:
    experiment, numbers = measured.experiment, measured.data[0].size
    if measured.correlated is not None:
        covariance = measured.correlated.covariance
    elif isinstance(experiment.noise, Gaussian):
        variance = measured.noise.std.reshape(-1, numbers) ** 2
        covariance = variance[:, :, None] * np.eye(numbers)
    else:
        mend = "Pass `task_key`, if the samples of the label noise are known."
        raise argument_error("noise", "be Gaussian, if label noise is not known", "another noise came", mend)
    if states is not None:
        draws = max(DRAWS, PER_NUMBER * numbers)
        covariance = covariance + np.array([_scatter(_paths(experiment, one, key, draws)) for one in states])
    tasks = [one.task.task if isinstance(one.task, LabelNoise) else one.task for one in experiment.phases]
    phases = [dataclasses.replace(one, task=task) for one, task in zip(experiment.phases, tasks, strict=True)]
    quiet = dataclasses.replace(experiment, phases=phases)
    return dataclasses.replace(measured, experiment=quiet, correlated=Correlated(covariance))


def _scatter(curves: Float[np.ndarray, "draws *observed"]) -> Float[np.ndarray, "numbers numbers"]:
    """The covariance of curves over draws."""
    deviations = (curves - curves.mean(axis=0)).reshape(len(curves), -1)
    return deviations.T @ deviations / (len(curves) - 1)


@in_float64
def _paths(experiment: Experiment, state: State, key: Any, draws: int) -> Float[np.ndarray, "draws *observed"]:
    """The curves of a network for some keys of its tasks."""
    tasks = [phase.task for phase in experiment.phases]
    curves = np.asarray(_program()(state, jax.random.split(key, draws), tasks, Settings.of(experiment)))
    if not np.all(np.isfinite(curves)):
        came = "the network diverges for some samples"
        raise argument_error("protocol", "be one in which the network learns", came, "Lower the learning rate.")
    return curves


@functools.cache
def _program() -> Any:
    return compiled(_curves, BARRIERS_STAY)


def _curves(state: State, keys: Any, tasks: list[Any], settings: Settings) -> AnyArray:
    return jax.vmap(lambda key: settings.experiment_with(tasks, Gaussian(1.0), key).expected(state))(keys)
