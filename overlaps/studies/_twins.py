"""Twins: two networks from the same start that learn different tasks first, and then the same task."""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

from overlaps._support import argument_error, choice, count, in_float64, number, random_key, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, GradientDescent, Phase, describe, grams, layout_of, learn
from overlaps.tasks import Trials, decision_making, flip_flop, teacher

HISTORIES, LAST = ("A", "B"), "C"
STAGES = ("Initial", "A/B", LAST)
MOMENTUM, CLIP, SAVES = 0.9, 0.005, 31
# [GB26] gives all entries except zv, vv and zz. The output of the teacher does not depend on these three.
TEACHER = ((1.8, 1.6, 2.0, 0.5), (1.6, 2.2, 1.5, 2.3), (2.0, 1.5, 3.0, 0.0), (0.5, 2.3, 0.0, 5.0))


@in_float64
def twin_starts(twins: int = 100, key: Any = 0) -> Overlaps:
    """A batch of random rank-1 networks from which twins start.

    As in [GB26], off-diagonal overlaps are |N(0, 0.4^2)|, and diagonal ones are uniform between 0.5 and 2. Of such draws, 13.5
    % are no overlap matrix, because they are not positive semi-definite. These are drawn again. So the starts have this
    distribution, conditioned on being positive semi-definite: off-diagonal overlaps have the mean 0.304 instead of 0.319, and
    diagonal ones 1.279 instead of 1.25.

    `twins`: number of starts. `key`: a jax.random key or an integer seed. Returns `Overlaps` with a batch of `twins` networks.
    Raises ValueError for fewer than one.
    """
    twins, key = count("twins", twins), random_key("key", key)
    accepted = np.zeros((0, 4, 4))
    rows, columns = np.triu_indices(4, 1)
    while len(accepted) < twins:
        key, between, diagonal = jax.random.split(key, 3)
        drawn = np.zeros((twins, 4, 4))
        drawn[:, rows, columns] = drawn[:, columns, rows] = np.abs(0.4 * jax.random.normal(between, (twins, len(rows))))
        drawn[:, range(4), range(4)] = jax.random.uniform(diagonal, (twins, 4), minval=0.5, maxval=2.0)
        accepted = np.concatenate([accepted, drawn[np.linalg.eigvalsh(drawn)[:, 0] >= 0]])
    return Overlaps(accepted[:twins])


@in_float64
def twin_tasks(key: Any = 0, trials: int = 8, dt: float = 0.1) -> dict[str, Trials]:
    """The tasks A, B and C of the experiment on training history in [GB26], as fixed sets of trials.

    All times are in units of tau.

    - A: a flip-flop of duration 10. Pulses of height 2 come every 1 to 2 tau. The output has to hold +-1 from 0.5 tau after the
      end of a pulse on ([GB26] does not give this delay).
    - B: decision-making with input noise 0.05.
    - C: imitation of a teacher, a network with phi = erf and the overlaps zm = 0.5, zu = 2.3, vm = 2.0, vu = 1.5, mu = 1.6,
      mm = 1.8, uu = 2.2. Its inputs are pulses of height 2 in noise of standard deviation 1.5. The output does not depend on
      the other overlaps. They are zv = 0, vv = 3 and zz = 5, so that the overlap matrix is positive definite.

    The arguments are:

    - `key`: a jax.random key or an integer seed, which draws the trials.
    - `trials`: number of trials of each task.
    - `dt`: time between samples. The standard deviations of the noise are per sample, so the effect of the noise depends on
      `dt`.

    Returns a mapping from "A", "B" and "C" to `Trials`. Raises ValueError for values out of range.
    """
    keys = jax.random.split(random_key("key", key), 3)
    rnn, dt = RNN("erf", dt=dt), number("dt", dt, above=0.0)
    return {
        "A": flip_flop(keys[0], trials, 10.0, dt, delay=0.5, interval=(1.0, 2.0), input=2.0, target=1.0),
        "B": decision_making(keys[1], trials, dt, noise=0.05),
        LAST: teacher(Overlaps(TEACHER), rnn, keys[2], trials, pulse=2.0, noise=1.5),
    }  # pyright: ignore[reportReturnType]


def annealed_descent(learning_rate: float = 0.2, steps: int = 2000) -> GradientDescent:
    """Gradient descent that brings every start to a low loss: momentum 0.9, gradients clipped at norm 0.005, a falling rate.

    - `learning_rate`: the learning rate at the start. It falls to 0 along half a period of a cosine.
    - `steps`: number of steps.

    The clipping bounds each step by 0.05 x learning rate in the norm of the factor F of the overlap matrix. Such steps carry
    networks through bifurcations. The falling rate lets stiff solutions settle, such as a line attractor. The rule commutes
    with rotations of neuron space, so it trains overlaps without reference to single neurons (docs/optimizers.md,
    "The criterion: isometries of neuron space").
    """
    steps = count("steps", steps)
    return GradientDescent(learning_rate, steps, functools.partial(_annealed, steps=steps))


def _annealed(learning_rate: Any, steps: int) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(CLIP),
        optax.trace(MOMENTUM),
        optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, steps)),
        optax.scale(-learning_rate),
    )


def train_twins(
    starts: Any = None,
    tasks: Any = None,
    rnn: Any = None,
    learning_rate: float = 0.2,
    steps: int = 2000,
    path: Any = None,
    progress: bool = False,
) -> xr.Dataset:
    """Train each start twice, on A and on B, and then train both twins on C.

    This is the experiment of [GB26] (docs/training_history.md, "Decoding history").

    - `starts`: a batch of `Overlaps`. None: twin_starts().
    - `tasks`: a mapping with the keys "A", "B" and "C", of tasks without fresh samples. None: twin_tasks().
    - `rnn`: as in `learn`. None: phi = erf with Euler steps of 0.1.
    - `learning_rate`, `steps`: every phase is annealed_descent(learning_rate, steps).
    - `path`: a netCDF file. If it holds the result of the same arguments, it is loaded, and nothing is trained. If it does not
      exist, it is written after the training.
    - `progress`: whether to show bars.

    Returns a Dataset. A *history* is the first task, "A" or "B". The stages are "Initial", "A/B" (after the first task) and
    "C".

    - `sigma(twin, history, stage, overlap)`: the overlaps at each stage.
    - `loss(twin, history, stage)`: the loss of A or B at the first two stages, and of C at the last stage.
    - `course(twin, history, step, overlap)` and `course_loss(twin, history, step)`: overlaps and loss during the training on C.
    - The coordinate `visible` says which overlaps the loss depends on, as in `learn`.

    Networks that diverge are NaN, and a RuntimeWarning names them. `twin_states` turns the Dataset into states, which can be
    trained further. Raises ValueError for arguments that do not fit, and for a file that holds other work. Such a file is not
    overwritten.
    """
    starts = twin_starts() if starts is None else starts
    if not isinstance(starts, Overlaps) or starts.gram.ndim != 3:
        raise argument_error("starts", "be a batch of Overlaps", f"{starts!r} came")
    rule = annealed_descent(number("learning_rate", learning_rate, above=0.0), steps)
    tasks = twin_tasks() if tasks is None else tasks
    if not isinstance(tasks, Mapping) or set(tasks) != {*HISTORIES, LAST}:
        raise argument_error("tasks", 'be a mapping with the keys "A", "B" and "C"', f"{tasks!r} came")
    rnn = RNN("erf", dt=0.1) if rnn is None else rnn
    settings = {"learning_rate": rule.learning_rate, "steps": rule.steps, "momentum": MOMENTUM, "clip": CLIP}
    work = {"state": starts, "tasks": dict(sorted(tasks.items())), "rnn": rnn, "annealed_descent": settings}
    attributes = {name: json.dumps(describe(value)) for name, value in work.items()}
    if path is not None and Path(path).exists():
        return _loaded(Path(path), attributes)
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise argument_error("path", "be in a folder that exists", f"{str(path)!r} came")
    runs = []
    for history in HISTORIES:
        phases = [Phase(name, tasks[name], rule) for name in (history, LAST)]
        runs.append(_summary(learn(starts, phases, rnn, saves=min(SAVES, rule.steps + 1), progress=progress)))
    dataset: Any = xr.concat(runs, xr.Variable("history", list(HISTORIES), said("first task")))
    dataset = dataset.transpose("twin", "history", "stage", "step", "overlap")
    dataset.attrs = attributes | {"version": VERSION}
    if path is not None:
        unfinished = Path(f"{path}.part")
        dataset.to_netcdf(unfinished)
        os.replace(unfinished, path)
    return dataset


def twin_states(dataset: xr.Dataset, history: str, stage: str = LAST) -> Overlaps:
    """The networks of one history at one stage, as a batch of `Overlaps`.

    `dataset`: the result of `train_twins`. `history`: the first task, "A" or "B". `stage`: "Initial", "A/B" or "C". Raises
    ValueError for other names.
    """
    choice("history", history, HISTORIES)
    choice("stage", stage, STAGES)
    return Overlaps(grams(dataset.sel(history=history, stage=stage)), *layout_of(dataset))


def _summary(run: xr.Dataset) -> xr.Dataset:
    """The overlaps and losses of a run at its start, between its two tasks and at its end, and the course of the last task."""
    start = int(np.argmax(run["phase"].values == LAST))
    sigma, loss = run["sigma"].values, run["loss"].values
    step = run["step"].values[start:] - run["step"].values[start]
    units, stages = run["loss"].attrs["units"], [0, start - 1, -1]
    return xr.Dataset(
        {
            "sigma": (("twin", "stage", "overlap"), sigma[:, stages], said("overlap a.b / N")),
            "loss": (("twin", "stage"), loss[:, stages], said("loss of the first task, and of C at C", units)),
            "course": (("twin", "step", "overlap"), sigma[:, start:], said("overlap a.b / N during C")),
            "course_loss": (("twin", "step"), loss[:, start:], said("loss during C", units)),
        },
        {
            "twin": ("twin", np.arange(len(sigma)), said("start that two networks share")),
            "stage": ("stage", list(STAGES), said("stage of training")),
            "step": ("step", step, said("gradient step of C")),
            **{name: run[name] for name in ("overlap", "left", "right", "visible")},
        },
    )


def _loaded(path: Path, attributes: Mapping[str, str]) -> xr.Dataset:
    """The Dataset in the file `path`. Raises ValueError unless the file holds the work that `attributes` describe."""
    must, mend = "name a file of the same work, or a new one", "Choose another path, or move that file away."
    try:
        dataset = xr.load_dataset(path)
    except (OSError, ValueError) as error:
        raise argument_error("path", must, f"{str(path)!r} is no netCDF file", mend) from error
    other = [name for name, value in attributes.items() if dataset.attrs.get(name) != value]
    if other:
        raise argument_error("path", must, f"{str(path)!r} holds work that differs in {', '.join(other)}", mend)
    return dataset
