"""Runs that begin from what was written down: repeated from a Dataset, or continued from a store."""

import dataclasses
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from overlaps._support import argument_error
from overlaps.learning._datasets import description, initial_state, select
from overlaps.learning._describe import KEYS, restore
from overlaps.learning._learn import learn
from overlaps.learning._log import FOLDER, checked
from overlaps.learning._phase import Phase, Rule
from overlaps.learning._rules import GradientDescent
from overlaps.learning._store import RUN, START, folder_of


def resume(path: Any, progress: bool = False) -> xr.Dataset:
    """Go on with a run that `learn(..., store=path)` began, and return its whole Dataset.

    The numbers are those of a run that was never stopped, to the last digit. `path`: the folder. `progress`: whether to show a
    progress bar. Raises ValueError for a folder that is no store, and if the run used something that cannot be written down,
    such as a lambda: then call `learn` with the same arguments again.
    """
    log, must = folder_of(path, "path") / FOLDER, "be a store that `learn` began"
    if not (log / RUN).exists():
        raise argument_error("path", must, f"{path!r} came")
    try:
        start = xr.load_dataset(io.BytesIO(checked(log / START)), engine="h5netcdf")
    except (OSError, ValueError) as error:
        mend = "Call `learn` with the same arguments: it goes on from the records, and mends this file."
        raise argument_error("path", must, f"its file {FOLDER}/{START} is damaged: {error}", mend) from error
    return _again(start, progress, path)


def rerun(dataset: xr.Dataset, progress: bool = False) -> xr.Dataset:
    """Run again what a Dataset of `learn` describes, and return the new Dataset.

    The Dataset may come from a netCDF file. If it holds a selection of the networks of a batch, only these run again:
    rerun(dataset.isel(batch=0)) repeats the first network. Raises ValueError for a Dataset that does not come from `learn`, or
    if the run used something that cannot be written down, such as a lambda.
    """
    return _again(dataset, progress, None)


def _again(dataset: xr.Dataset, progress: bool, store: Any) -> xr.Dataset:
    task, rule = restore(description(dataset, "task")), restore(description(dataset, "rule"))
    rnn = restore(description(dataset, "rnn"))
    saves, key, precision = (description(dataset, name) for name in ("saves", "key", "precision"))
    if key is not None:
        key = _key(restore(key))
        key = select(dataset, key) if key.ndim else key
    if rule is None:
        task = [Phase(phase.name, *_selected(dataset, phase.task, phase.rule)) for phase in task]
    else:
        task, rule = _selected(dataset, task, rule)
    observe = description(dataset, "observe")
    return learn(initial_state(dataset), task, rnn, rule, saves, key, progress, precision, observe, store)


def _key(described: Any) -> jax.Array:
    """The random keys of a run; those that are described by their numbers alone have the kind that `describe` does not name."""
    if isinstance(described, jax.Array):
        return described
    numbers = jnp.asarray(described, jnp.uint32)
    return jax.random.wrap_key_data(numbers, impl=KEYS if numbers.shape[-1] == 2 else None)


def _selected(dataset: xr.Dataset, task: Any, rule: Rule) -> tuple[Any, Rule]:
    """The part of a task and a rule that belongs to the networks that the Dataset holds."""
    if task.batch:
        task = select(dataset, task)
    if isinstance(rule, GradientDescent) and np.ndim(rule.learning_rate):
        rule = dataclasses.replace(rule, learning_rate=select(dataset, np.asarray(rule.learning_rate)))
    return task, rule
