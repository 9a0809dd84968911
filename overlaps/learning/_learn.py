"""The function `learn`, which trains any state on any task by any rule, and `rerun`, which repeats a run."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, choice, count, is_inside_trace, is_traced, random_key, require_x64, warn
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning._datasets import PhaseRecords, assemble, beginning, described
from overlaps.learning._log import recalled
from overlaps.learning._observables import observer
from overlaps.learning._phase import Phase, Rule, Run, batch_size, keys_of, phases_of, require_one_shape
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientDescent
from overlaps.learning._store import Store

NOTHING = np.empty(0)  # in place of what a record holds for going on, and nobody needs once the next one is there


class DivergenceError(RuntimeError):
    """The error that `learn` raises when it cannot go on, because the loss explodes or the solver fails.

    If anything was recorded before, the attribute `dataset` holds the trajectory up to that point.
    """

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
    store: Any = None,
) -> xr.Dataset:
    """Train a network, or its overlaps, on a task by a learning rule, and return the trajectory as an xarray Dataset.

    The connectivity vectors are the input vectors m, the recurrent vectors u and v, and the readout vectors z. An overlap is
    the scalar product of two of them, divided by the number of neurons N. For example, zm is z.m / N. Equations:
    docs/theory.md, "The learning flow".

    The arguments are:

    - `state`: what to train. `Overlaps` are the matrix of overlaps alone: the theory, which does not depend on N. It is exact
      for a linear transfer function phi. For other phi it is an approximation, the Gaussian closure (docs/activity.md).
      `Populations` are the same for a mixture of Gaussian populations of neurons (docs/populations.md). A `MeanField` is the
      limit of N to infinity, exact for every phi. A `Network` has N neurons, which are all simulated. A `DenseNetwork` has N
      neurons and a recurrent matrix W that learns as a whole.
    - `task`: a task from `overlaps.tasks`, or a list of `Phase(name, task, rule)`, which run one after the other.
    - `rnn`: an `RNN`, the dynamics of the network.
    - `rule`: a `GradientFlow` or a `GradientDescent`; None for a list of phases, which have their own rules.
    - `saves`: the number of saved points per phase, with the first and the last one. Descent saves at most one per step.
    - `key`: a jax.random key or an integer seed, for tasks that draw samples (fresh trials, noise).
    - `progress`: whether to show a progress bar.
    - `precision`: "float64" or "float32". "float32" accepts arrays in single precision and computes in single precision.
    - `observe`: what else to record at the saved points, one name or a list of names. "moments" are moments over the neurons of
      a network or a mean field: `skewness` and `kurtosis` (time, vector), and `non_gaussianity` (time), the distance of all
      vectors from a joint normal distribution. "output" is `output` (time, trial, sample, readout) on the trials of the task.
      "impulse_response" is `impulse_response` (time, lag, readout, input) of a linear network, at 20 lags over the horizon of
      the first task, or over 20 tau if it has none.
    - `store`: a path to which the run is written while it goes on. It becomes a folder, a Zarr group, which
      xarray.open_zarr(path) opens at any moment. The same call goes on where a run stopped or was killed, to the same digits
      (docs/long_runs.md).

    A leading axis of the arrays of a state, of task parameters, of learning rates or of keys makes a batch: several networks
    that are trained side by side. With a single key all of them see the same samples and the same noise. With an array of keys
    each network has its own. If a network of a batch diverges, it is NaN from there on, also in later phases, and a
    RuntimeWarning names it. The same happens to a network that cannot start a later phase, because it has become unstable
    under an infinite horizon, or too fast for a finite one.

    The Dataset has these dimensions and coordinates:

    - `time`: learning time, which is learning rate x step, added up over phases. Coordinates along it are `step`, for descent,
      and `phase`, the name of the phase, for a list of phases.
    - `overlap`: the labels of the overlaps, such as "zm". Coordinates along it are `left` and `right`, the two vectors, and
      `visible`, which tells whether the loss depends on the overlap.

    The Dataset has these variables:

    - `sigma` (time, overlap), the overlaps.
    - `loss` (time).
    - `gradient_norm` (time), the norm of dL/dF over the vectors that learn. F is the factor, a matrix with F^T F = G, where G
      is the overlap matrix. For N neurons F is P / sqrt(N), where P = [m u v z] has the vectors as columns. For a
      `DenseNetwork` F is [W, m / sqrt(N), z / sqrt(N)].
    - `initial_vectors` and `final_vectors` (neuron, vector), for every state but `Overlaps`.

    For a `DenseNetwork` these variables take the place of `sigma` (docs/integration.md):

    - `eigenvalue_real` and `eigenvalue_imag` (time, eigenvalue), the eigenvalues of W. Each is followed over time as a line
      that does not swap with others.
    - `coupling` (time, eigenvalue), how strongly each eigenvalue couples input and readout.
    - `outlier_real` and `outlier_imag` (time), the outlier: the line with the largest coupling at the end.
    - `alignment_right` and `alignment_left` (time, eigenvalue, vector), the cosines between vectors and eigenvectors of W.
    - `weight_change` (time), the Frobenius norm of the change of W.
    - `initial_W` and `final_W` (neuron, source).

    A batch adds the leading dimension `batch`. If the learning rate is an array, or if the rule can stop early,
    `learning_time` (batch, time) replaces the coordinate `time`. If descent can stop early, `step` has the dimensions (batch,
    time) too. A network that stopped repeats its last row until all networks have stopped.

    Attributes of the Dataset describe the run as JSON texts, so that `rerun` can repeat it. Other attributes are JSON lists
    with one entry per phase. For a batch, `endings` and `reached` have a value for each network.

    - `endings`: how the phase ended: "complete", "stop_loss", "stop_gradient" or "failed".
    - `reached`: the time, step, loss and gradient norm at the end of the phase. Time and step count from its start. Networks
      that diverged have null.
    - `acts_on`: whether the rule saw the "factor F" or the "vectors P" (docs/optimizers.md).

    Raises ValueError for arguments that do not fit together. All phases are checked before the first one runs, except for what
    depends on the network at the start of a later phase. Raises `DivergenceError` when the loss explodes or the solver fails;
    for a batch, when this happens to all networks. An exception that ends a run in its middle, also an interrupt from the
    keyboard, carries the trajectory so far as its attribute `dataset`.

    >>> import overlaps as ov
    >>> task, rule = ov.tasks.exponential_filter(rate=0.2), ov.GradientDescent(learning_rate=5e-3, steps=100)
    >>> dataset = ov.learn(ov.Overlaps.random(0), task, ov.RNN(dt=0.05), rule, saves=11)
    >>> dataset["sigma"].dims, dataset["sigma"].shape, bool(dataset["loss"][-1] < dataset["loss"][0])
    (('time', 'overlap'), (11, 10), True)
    """
    choice("precision", precision, ("float64", "float32"))
    _check_state(state, precision)
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    phases = phases_of(task, rule)
    saves = count("saves", saves, least=2)
    if key is not None:
        key = random_key("key", key)
    # Without the second one, a graphics card multiplies float32 matrices with three digits.
    with jax.enable_x64(precision == "float64"), jax.default_matmul_precision("highest"):
        if precision == "float32":
            state = jax.tree.map(np.float32, state)
        batch = batch_size(state, phases, key)
        observe = (observe,) if isinstance(observe, str) else tuple(observe)
        settings = {"saves": saves, "key": key, "precision": precision, "observe": observe}
        keys = keys_of(key, phases)
        seen = observer(observe, rnn, phases[0].task) if observe else None
        runs = [Run(phase, state, rnn, saves, key, batch, seen) for phase, key in zip(phases, keys, strict=True)]
        require_one_shape(phases, [run.observable_shapes for run in runs])
        kept = None if store is None else _opened(store, state, rnn, phases, settings, runs, batch)
        done: list[PhaseRecords] = []
        end, lost = state, np.zeros(() if batch is None else batch, bool)
        total = sum(_length(phase.rule) for phase in phases)
        with contextlib.closing(kept or contextlib.ExitStack()), _bar(total, progress) as bar:
            try:
                for index, run in enumerate(runs):
                    bar.set_description(run.phase.name or "learning")
                    before = bar.n
                    earlier, memory = ([], b"") if kept is None else kept.log.read(index)
                    _report_unfit(run.start(end, lost, earlier, functools.partial(recalled, memory)), run.phase.name)
                    done.append(PhaseRecords(run))
                    for record in itertools.chain(earlier, run):
                        number = len(done[-1].records)
                        done[-1].records.append(dataclasses.replace(record, memory=None, parameters=NOTHING))
                        bar.update(before + record.position - bar.n)
                        if kept is not None and number >= len(earlier):
                            kept.append(index, number, record)
                            kept.show(lambda: _so_far(done, state, rnn, settings))
                        _report(record, run.phase.rule)
                        if record.loss.size:
                            bar.set_postfix(loss=f"{np.nanmean(record.loss[..., -1]):.3g}")
                    end, lost = run.end(), run.lost
                dataset = assemble(done, state, end, rnn, settings)
                if kept is not None:
                    kept.finish(dataset)
            except (Exception, KeyboardInterrupt) as stop:
                begun = _so_far(done, state, rnn, settings)
                if begun is not None:
                    stop.dataset = begun  # pyright: ignore[reportAttributeAccessIssue]
                    if kept is not None:
                        with contextlib.suppress(OSError):  # of a full disk; what stopped the run matters more
                            kept.flush()
                            kept.show(lambda: begun, now=True)
                raise
        return dataset


def _bar(total: float, progress: bool) -> Any:
    return tqdm(total=total, disable=not progress, unit="", leave=False)


def _so_far(done: Sequence[PhaseRecords], state: State, rnn: RNN, settings: Mapping[str, Any]) -> xr.Dataset | None:
    """The Dataset of the phases of which something was recorded, if any."""
    begun = [PhaseRecords(one.run, list(one.records)) for one in done if any(record.loss.size for record in one.records)]
    return assemble(begun, state, begun[-1].run.end(), rnn, settings) if begun else None


def _opened(
    path: Any, state: State, rnn: RNN, phases: Sequence[Phase], settings: Mapping[str, Any], runs: list[Run], batch: int | None
) -> Store:
    description = described(state, rnn, phases, settings)
    first = beginning(state, batch, description)
    return Store(path, description, state, first, sum(len(run.saved) for run in runs))


def _length(rule: Rule) -> float:
    return rule.steps if isinstance(rule, GradientDescent) else rule.duration


def _check_state(state: Any, precision: str) -> None:
    if not isinstance(state, State):
        raise argument_error("state", "be an Overlaps, MeanField, Network or DenseNetwork", f"{type(state).__name__} came")
    if is_traced(state) or is_inside_trace():
        require_x64("learn")
        raise argument_error(
            "state", "hold known numbers", "a surrounding jit, vmap or grad traces them", "Call `learn` outside of it."
        )
    narrow = {str(leaf.dtype) for leaf in jax.tree.leaves(state)} - {"float64"}
    if precision == "float64" and narrow:
        raise argument_error(
            "state",
            "hold float64 arrays",
            f"it holds {', '.join(sorted(narrow))}",
            'Convert it with jax.tree.map(numpy.float64, state), or ask for precision="float32".',
        )


def _report_unfit(unfit: np.ndarray, phase: str) -> None:
    """Warn of the networks of a batch that cannot start a phase."""
    if np.any(unfit):
        warn(
            f"{np.sum(unfit)} of {unfit.size} networks cannot start phase {phase!r} and are NaN from there on: networks "
            f"{np.flatnonzero(unfit).tolist()} are unstable, or too fast to be resolved over the horizon of the task."
        )


def _report(record: Record, rule: Rule) -> None:
    """Raise an error if the network, or all networks of a batch, diverged. Warn if some networks of a batch diverged."""
    if not record.failure:
        return
    if isinstance(rule, GradientDescent):
        mend = f"Lower `learning_rate` (now {np.max(rule.learning_rate):g})."
    else:
        mend = (
            "The network may have become unstable, or the flow may be stiff (with very fast and very slow changes): try "
            "solver=diffrax.Kvaerno5(), larger `rtol` and `atol`, or smaller initial vectors."
        )
    if record.failed_altogether and record.position <= 0:
        raise DivergenceError(
            f"Learning cannot start: {record.failure}. The activity of the initial network may grow too much over the horizon, "
            "or may be too fast to be resolved: scale u and v down, or shorten the horizon."
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
