"""The one verb: train any state on any task by any rule."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, choice, count, is_inside_trace, is_traced, random_key, require_x64, warn
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning._datasets import Trajectory, assemble, description, initial_state, select
from overlaps.learning._describe import restore
from overlaps.learning._phase import Phase, Rule, Run, batch_size
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientDescent


class DivergenceError(RuntimeError):
    """Learning could not go on. `dataset` holds the trajectory up to that point."""

    dataset: xr.Dataset


def learn(
    state: State,
    task: Any,
    rnn: RNN,
    rule: Rule | None = None,
    saves: int = 201,
    key: Any = None,
    progress: bool = False,
    precision: str = "float64",
    observe: Sequence[str] = (),
) -> xr.Dataset:
    """Train `state` on `task` by `rule`, or through a list of phases, and return its trajectory.

    `state`: `Overlaps` (theory, independent of N; exact for linear phi), `MeanField` (N to infinity, exact for every phi) or
    `Network` (all N neurons are simulated), or `DenseNetwork`, whose whole W learns. `task`: from `overlaps.tasks`, or a list
    of `Phase(name, task, rule)`, which run one after the other; `rule` is None then. `rule`: `GradientFlow` or
    `GradientDescent`. `saves`: number of saved points per phase, first and last included, at most one per step of descent.
    `key`: a jax.random key or an integer seed, for tasks that draw samples. `progress`: show a bar. `precision`: "float32"
    accepts and computes in single precision. `observe`: what else to record at the saved points: "moments" of the neurons of a
    network or a mean field (`skewness` and `kurtosis` per vector, `non_gaussianity` of all), "output" on the trials of the
    task, (trial, sample, readout).

    A leading axis of states, task parameters, learning rates or keys is a batch of networks, trained side by side. Where one
    of them diverges it is NaN from there on, in later phases too, and a RuntimeWarning names it. With a single key all of them
    see the same samples and the same noise; an array of keys gives each its own.

    Returns a Dataset with dims `time` (learning time = learning rate x step; coords `step` for descent, `phase` for phases) and
    `overlap` (labels; coords `left`, `right`, `visible`), variables `sigma(time, overlap)`, `loss(time)` and
    `gradient_norm(time)`, the norm of dL/dF; for networks also `initial_vectors` and `final_vectors` (neuron, vector). A
    `DenseNetwork` has in place of `sigma` the eigenvalues of W, as lines that do not swap, `eigenvalue_real` and
    `eigenvalue_imag` (time, eigenvalue), the one of them of the largest `coupling` of input and readout at the end,
    `outlier_real` and `outlier_imag` (time), the cosines between vectors and eigenvectors, `alignment_right` and
    `alignment_left` (time, eigenvalue, vector), `weight_change(time)`, the Frobenius norm of the change of W, and `initial_W`
    and `final_W` (docs/integration.md). A batch adds the leading dim `batch`, and has `learning_time(batch, time)` in place of
    `time` where learning rates differ or a rule can stop early, with `step(batch, time)` then: a network that stopped repeats
    its last row until all have. A JSON description is in the attributes, as are `endings`, how each phase ended, `reached`, the
    time, step, loss and gradient norm where it did, counted from its start (null for networks that diverged), and `acts_on`,
    whether the rule saw the factor F or the vectors P (docs/optimizers.md). Equations: docs/theory.md, "The learning flow".

    Raises ValueError for arguments that do not fit together, all phases being checked before the first one runs, and
    `DivergenceError` when the loss explodes or the solver fails. What ends a run in its middle, an interrupt from the keyboard
    included, carries the trajectory so far as its attribute `dataset`.
    """
    choice("precision", precision, ("float64", "float32"))
    _check_state(state, precision)
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    phases = _phases(task, rule)
    saves = count("saves", saves, least=2)
    if key is not None:
        key = random_key("key", key)
    with jax.enable_x64(precision == "float64"):
        if precision == "float32":
            state = jax.tree.map(np.float32, state)
        batch = batch_size(state, phases, key)
        observe = (observe,) if isinstance(observe, str) else tuple(observe)
        settings = {"saves": saves, "key": key, "precision": precision, "observe": observe}
        keys = [key if rule is not None or key is None else _fold_in(key, index) for index in range(len(phases))]
        runs = [Run(phase, state, rnn, saves, key, batch, observe) for phase, key in zip(phases, keys, strict=True)]
        _check_observables(runs)
        done: list[Trajectory] = []
        end, lost = state, np.zeros(() if batch is None else batch, bool)
        with tqdm(total=sum(_length(phase.rule) for phase in phases), disable=not progress, unit="", leave=False) as bar:
            try:
                for run in runs:
                    bar.set_description(run.phase.name or "learning")
                    before = bar.n
                    run.start(end, lost)
                    _report_unstable(run, lost)
                    done.append(Trajectory(run))
                    for record in run:
                        done[-1].records.append(record)
                        bar.update(before + record.position - bar.n)
                        _report(record, run.phase.rule)
                        if record.loss.size:
                            bar.set_postfix(loss=f"{np.nanmean(record.loss[..., -1]):.3g}")
                    end, lost = run.end(), run.lost
            except (Exception, KeyboardInterrupt) as stop:
                begun = [trajectory for trajectory in done if any(record.loss.size for record in trajectory.records)]
                if begun:
                    end = begun[-1].run.end()
                    stop.dataset = assemble(begun, state, end, rnn, settings)  # pyright: ignore[reportAttributeAccessIssue]
                raise
        return assemble(done, state, end, rnn, settings)


def rerun(dataset: xr.Dataset, progress: bool = False) -> xr.Dataset:
    """Run again what a Dataset of `learn` describes; works after a netCDF round trip.

    Of a batch, those networks that are in the Dataset: rerun(dataset.isel(batch=0)) repeats the first. Raises ValueError for a
    Dataset that does not come from `learn`, or whose rule held something that cannot be written down, such as a lambda.
    """
    task, rule = restore(description(dataset, "task")), restore(description(dataset, "rule"))
    rnn = restore(description(dataset, "rnn"))
    saves, key, precision = (description(dataset, name) for name in ("saves", "key", "precision"))
    if key is not None:
        key = jax.random.wrap_key_data(jnp.asarray(key, jnp.uint32))
        key = select(dataset, key) if key.ndim else key
    if rule is None:
        task = [Phase(phase.name, *_selected(dataset, phase.task, phase.rule)) for phase in task]
    else:
        task, rule = _selected(dataset, task, rule)
    return learn(initial_state(dataset), task, rnn, rule, saves, key, progress, precision, description(dataset, "observe"))


def _selected(dataset: xr.Dataset, task: Any, rule: Rule) -> tuple[Any, Rule]:
    """A task and a rule for the networks that are in a Dataset."""
    if task.batch:
        task = select(dataset, task)
    if isinstance(rule, GradientDescent) and np.ndim(rule.learning_rate):
        rule = dataclasses.replace(rule, learning_rate=select(dataset, np.asarray(rule.learning_rate)))
    return task, rule


def _phases(task: Any, rule: Any) -> list[Phase]:
    if isinstance(task, Sequence):
        if not task or not all(isinstance(phase, Phase) for phase in task):
            raise argument_error("task", "be a task or a list of Phase(name, task, rule)", f"{task!r} came")
        if rule is not None:
            raise argument_error("rule", "be None for a list of phases, which have their own", f"{type(rule).__name__} came")
        return list(task)
    return [Phase.unnamed(task, rule)]


def _length(rule: Rule) -> float:
    return rule.steps if isinstance(rule, GradientDescent) else rule.duration


def _fold_in(key: jax.Array, index: int) -> jax.Array:
    return jax.vmap(lambda one: jax.random.fold_in(one, index))(key) if key.shape else jax.random.fold_in(key, index)


def _check_observables(runs: list[Run]) -> None:
    first, *others = runs
    for run in others:
        if run.observable_shapes != first.observable_shapes:
            shapes = [{name: one.shape for name, one in each.observable_shapes.items()} for each in (first, run)]
            came = f"they are {shapes[0]} in phase {first.phase.name!r} and {shapes[1]} in {run.phase.name!r}"
            raise argument_error("observe", "ask for what has one shape in all phases", came, "Run the phases one by one.")


def _check_state(state: Any, precision: str) -> None:
    if not isinstance(state, State):
        raise argument_error("state", "be an Overlaps, MeanField, Network or DenseNetwork", f"{type(state).__name__} came")
    if is_traced(state) or is_inside_trace():
        require_x64("learn")
        raise argument_error(
            "state", "be concrete", "it is traced by a surrounding jit, vmap or grad", "Call `learn` outside of it."
        )
    narrow = {str(leaf.dtype) for leaf in jax.tree.leaves(state)} - {"float64"}
    if precision == "float64" and narrow:
        raise argument_error(
            "state",
            "hold float64 arrays",
            f"it holds {', '.join(sorted(narrow))}",
            'Convert it with jax.tree.map(numpy.float64, state), or ask for precision="float32".',
        )


def _report_unstable(run: Run, lost: np.ndarray) -> None:
    """Warn of networks of a batch that cannot start a phase."""
    unfit = np.flatnonzero(run.lost & ~lost)
    if unfit.size:
        warn(
            f"{unfit.size} of {lost.size} networks cannot start phase {run.phase.name!r} and are NaN from there on: networks "
            f"{unfit.tolist()} are unstable, or too fast for the horizon of the task.",
        )


def _report(record: Record, rule: Rule) -> None:
    """Raise for a network that diverged, or for a batch of which nothing is left; warn of single ones of a batch."""
    if not record.failure:
        return
    if isinstance(rule, GradientDescent):
        mend = f"Lower `learning_rate` (now {np.max(rule.learning_rate):g})."
    else:
        mend = (
            "The network may have run into instability, or the flow may be stiff: try solver=diffrax.Kvaerno5(), looser "
            "`rtol` and `atol`, or a smaller start."
        )
    if record.failed_altogether and record.position <= 0:
        raise DivergenceError(
            f"Learning cannot start: {record.failure}. Activity of the initial network may grow too much over the horizon, or "
            "be too fast to be resolved: scale u and v down, or shorten the horizon."
        )
    if record.failed_altogether:
        raise DivergenceError(
            f"Learning stopped: {record.failure}. {mend} The trajectory so far is in the `dataset` of this error."
        )
    failed = np.flatnonzero(record.newly_failed)
    warn(
        f"{len(failed)} of {record.ending.size} networks diverged and are NaN from there on: first network {failed[0]}, "
        f"{record.failure}. {mend}",
    )
