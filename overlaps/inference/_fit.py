"""Overlaps from learning curves: the fit of the theory to what was observed."""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, count, in_float64, random_key
from overlaps.connectivity import Layout, Overlaps
from overlaps.dynamics import RNN
from overlaps.inference._fit_dataset import fit_dataset
from overlaps.inference._fit_result import Result
from overlaps.inference._levenberg_marquardt import Minima, least_squares
from overlaps.inference._measurements import Measurement, Model, measurements_of
from overlaps.inference._noise import Gaussian
from overlaps.inference._path_noise import random_paths, with_path_noise
from overlaps.learning import describe

SLOTS = 32  # networks side by side in the compiled program
ROUNDS = 2  # of fits with the noise of the paths of the network that was found before
ROWS = 4  # of random starts, per vector: how many neurons their overlaps come from


def fit(
    observations: Any,
    protocol: Any,
    rnn: RNN,
    start: Overlaps | None = None,
    noise: Any = 1e-3,
    rank: int = 1,
    starts: int = 100,
    key: Any = 0,
    observe: str | None = None,
    task_key: Any = None,
    steps: int = 150,
) -> xr.Dataset:
    """The overlaps of a network at the start of learning, from curves that were observed while it learned.

    An overlap is the scalar product of two connectivity vectors, divided by the number of neurons. The fit finds the overlap
    matrix G whose curves have the smallest chi2, which is the sum of the squared deviations from the data, in units of their
    noise. It varies a factor F with G = F^T F, so that G stays positive semi-definite, by the method of Levenberg and Marquardt
    from many starts (docs/fitting.md).

    - `observations`: a DataArray with the dimension `time` (learning time) and those of what is observed, as
      `overlaps.inference.observations` makes it; NaN is a gap. A further dimension `subject` holds several animals or networks,
      each of which is fitted on its own. Or a list of such DataArrays of the same network, one for each protocol.
    - `protocol`: a `Phase(name, task, rule)` or a list of them; for a list of observations a list of protocols.
    - `rnn`: an `RNN`.
    - `start`: an `Overlaps` from which to start, or a batch of them. None: random ones.
    - `noise`: the standard deviation of independent Gaussian noise of the observations (a number, or an array or DataArray that
      broadcasts to them), or `Gaussian(std)`, or `Counts(trials, link)`, or `Correlated(covariance)`; for a list of
      observations, also a list of these.
    - `rank`: the rank of random starts. `choose_rank` compares ranks.
    - `starts`: how many random starts. `key`: a jax.random key or an integer seed for them.
    - `observe`: what was observed. None: the name of the observations.
    - `task_key`: the `key` of `learn`, if the tasks draw trials or noise that are known. None, and a task with label noise:
      the samples are not known. The fit then takes the tasks without label noise, and adds to the noise the covariance of the
      paths that learning takes for other samples, as in `path_noise`. It fits three times: without this covariance, and twice
      with that of the network that it found before. `start_sigma` and the like are those of the last time.
    - `steps`: the largest number of steps of a start.

    Returns a Dataset. Its first dimension is `subject`, if the observations have it.

    - `sigma(overlap)` and `gram(vector, vector_)`: the overlaps with the smallest chi2.
    - `standard_error(overlap)`, infinite where a direction of overlap space that the curves do not show changes the overlap.
      `free_error(overlap)`: that of the part of the overlap without these directions. `covariance(overlap, overlap_)`: that of
      the overlaps without these directions. They contain what the bends of curves along each direction add
      (docs/fitting.md). Where label noise leaves large errors along some directions, those along others are still too small.
    - `component(direction, overlap)`, `singular_value(direction)`, `null(direction)`, `why(direction)`: the directions, from
      those that the curves show best to those that they do not show, as in `identifiability`. A direction whose standard error
      is above the trace of G counts as not shown, and adds the trace of G to `standard_error`, times its component.
    - `chi2`, `degrees_of_freedom` (observed numbers minus directions that the curves show), `p_value` (the probability of a
      larger chi2 if the model holds) and `message`, which says whether the model describes the data.
    - `start_sigma(start, overlap)`, `start_chi2(start)`, `start_steps(start)`: where each start ended, and `arrived(start)`:
      whether its chi2 is above the smallest one by less than 1.
    - `twin_gram(twin, vector, vector_)`, `twin_chi2(twin)` and `alike(twin)`: discrete twins, and whether their chi2 is above
      the smallest one by less than 1, so that these data do not tell them from the result.
    - `observed`, `error_bar`, `predicted` and `residual` (in units of the noise): data and fitted curve. Those of a second
      protocol have the names `observed_2` and so on, and dimensions such as `time_2`.

    `rerun` repeats a fit, since the Dataset holds the data.

    Raises ValueError for arguments that do not fit, and RuntimeError if all starts diverge under the protocol.

    >>> import overlaps as ov
    >>> phase = ov.Phase("A", ov.tasks.exponential_filter(rate=0.2, horizon=5.0), ov.GradientDescent(steps=20))
    >>> net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.1)
    >>> data = ov.inference.observations(net, phase, rnn, saves=5, noise_key=1)
    >>> found = ov.inference.fit(data, phase, rnn, start=net)
    >>> found["message"].item()
    'The model describes the data.'
    """
    measured = measurements_of(observations, protocol, rnn, noise, observe, task_key)
    subjects = measured[0].data["subject"]
    layout = layout_of(start, measured[0], rank)
    factors = _starts(start, layout, starts, key)
    owners = np.repeat(np.arange(len(subjects)), len(factors))
    places = np.tile(factors.reshape(len(factors), -1), (len(subjects), 1))
    search = functools.partial(_search, layout=layout, owners=owners, steps=count("steps", steps))
    if any(random_paths(one) for one in measured):
        results, weighed = _search_with_path_noise(search, measured, places, random_key("key", key))
    else:
        results, weighed = search(measured, places), measured
    dataset = fit_dataset(results, weighed, layout)
    experiments = [one.experiment for one in measured]
    arguments = {"protocol": [one.phases for one in experiments], "rnn": rnn, "start": start, "rank": layout.rank}
    arguments |= {"noise": [_asked_noise(one) for one in measured]}
    arguments |= {"starts": starts, "steps": steps, "observe": [one.observe for one in experiments]}
    arguments |= {"key": random_key("key", key), "task_key": experiments[0].key}
    dataset.attrs = {"fit": json.dumps(describe(arguments))}
    return dataset if "subject" in _dims(observations) else dataset.isel(subject=0, drop=True)


def _search(measured: list[Measurement], places: np.ndarray, layout: Layout, owners: np.ndarray, steps: int) -> list[Result]:
    """The fits of all subjects, from starts at these places, each of which belongs to the subject `owners`."""
    slots = min(SLOTS, len(places))
    model = Model(measured, layout, slots)
    found = least_squares(model.residuals, model.jacobians, places, owners, slots, steps)
    return [
        Result(model, measured, owner, Minima(*(part[owners == owner] for part in found))) for owner in range(owners[-1] + 1)
    ]


def _search_with_path_noise(
    search: Callable[..., list[Result]], measured: list[Measurement], places: np.ndarray, key: Any
) -> tuple[list[Result], list[Measurement]]:
    """The fits, and the measurements with the noise of paths in them, by generalised least squares.

    The noise of paths is that of the network that the fit before found. The starts go on from where they ended then.
    """
    states, results, correlated = None, [], measured
    for _ in range(1 + ROUNDS):
        correlated = with_path_noise(measured, states, key)
        results = search(correlated, places)
        states = [one.state for one in results]
        places = np.concatenate([one.minima.parameters for one in results])
    return results, correlated


def _asked_noise(measured: Measurement) -> Any:
    """The noise that the user passed; None if the error bars of the Dataset hold it."""
    if measured.correlated is not None:
        return measured.correlated
    kept = isinstance(measured.experiment.noise, Gaussian) and not random_paths(measured)
    return None if kept else measured.experiment.noise


def _dims(observations: Any) -> tuple[Any, ...]:
    return (observations if isinstance(observations, xr.DataArray) else observations[0]).dims


@in_float64
def _starts(start: Overlaps | None, layout: Layout, starts: int, key: Any) -> Float[np.ndarray, "starts D D"]:
    """The factors from which to start."""
    if start is not None:
        factors = np.asarray(start.factor)
        return factors.reshape(-1, *factors.shape[-2:])
    rows = ROWS * layout.size
    vectors = jax.random.normal(random_key("key", key), (count("starts", starts), rows, layout.size))
    return np.linalg.qr(np.asarray(vectors) / np.sqrt(rows)).R


def layout_of(start: Any, measured: Measurement, rank: int) -> Layout:
    """The layout of the networks to fit. Raises ValueError for a start that does not fit."""
    sizes = _sizes(measured)
    if start is None:
        if sizes is None:
            came, mend = "None came", "Pass Overlaps.random(key, rank)."
            raise argument_error("start", "be an Overlaps for a task like this one", came, mend)
        return Layout.checked(sizes[0], rank, sizes[1])
    if not isinstance(start, Overlaps) or start.c is not None:
        came = "it has a readout bias" if isinstance(start, Overlaps) else f"{type(start).__name__} came"
        raise argument_error("start", "be an Overlaps without readout bias, or a batch of them", came)
    inputs, outputs = start.layout.inputs, start.layout.outputs
    if sizes not in (None, (inputs, outputs)):
        must = f"have {sizes[0]} inputs and {sizes[1]} readouts, as the observations have"
        raise argument_error("start", must, f"it has {inputs} and {outputs}")
    return start.layout


def _sizes(measured: Measurement) -> tuple[int, int] | None:
    """The numbers of inputs and readouts of the network, if the data or the task say them."""
    sizes, task = measured.data.sizes, measured.experiment.phases[0].task
    if measured.experiment.observe == "impulse_response":
        return sizes["input"], sizes["readout"]
    while hasattr(task, "task"):
        task = task.task
    if isinstance(getattr(task, "inputs", None), int):
        return task.inputs, task.outputs
    if hasattr(task, "inputs") and hasattr(task, "targets"):
        return task.inputs.shape[-1], task.targets.shape[-1]
    return None
