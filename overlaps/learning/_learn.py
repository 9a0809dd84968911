"""The one verb: train any state on any task by any rule."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._checks import argument_error, choice, count, is_traced
from overlaps._connectivity import Network, Overlaps, State
from overlaps._precision import random_key, require_x64
from overlaps._rnn import RNN
from overlaps.learning._datasets import description, initial_state, trajectory
from overlaps.learning._descent import descend
from overlaps.learning._describe import restore
from overlaps.learning._equivariance import is_equivariant
from overlaps.learning._flow import integrate
from overlaps.learning._problem import Problem
from overlaps.learning._record import Record
from overlaps.learning._rules import GradientDescent, GradientFlow

# Pieces in which a run is computed, so that it can report, be interrupted and stop early. Each costs half a millisecond, which
# shows in overlap space alone.
OVERLAP_CHUNKS, NETWORK_CHUNKS = 10, 50


class DivergenceError(RuntimeError):
    """Learning could not go on. `dataset` holds the trajectory up to that point."""

    dataset: xr.Dataset


def learn(
    state: State,
    task: Any,
    rnn: RNN,
    rule: GradientFlow | GradientDescent,
    saves: int = 201,
    key: Any = None,
    progress: bool = False,
    precision: str = "float64",
) -> xr.Dataset:
    """Train `state` on `task` and return its trajectory.

    `state`: `Overlaps` (theory, independent of N; exact for linear phi) or `Network` (all N neurons are simulated). `task`:
    from `overlaps.tasks`. `rule`: `GradientFlow` or `GradientDescent`. `saves`: number of saved points, first and last
    included, at most one per step of descent. `key`: a jax.random key or an integer seed for tasks that draw samples; kept in
    the description. `progress`: show a bar. `precision`: "float32" accepts and computes in single precision.

    Returns a Dataset with dims `time` (learning time = learning rate x step; coord `step` for descent) and `overlap` (labels;
    coords `left`, `right`, `visible`), variables `sigma(time, overlap)` and `loss(time)`, for networks also
    `initial_vectors` and `final_vectors` (neuron, vector), and a JSON description in the attributes. Equations:
    docs/theory.md, "The learning flow".

    Raises ValueError for arguments that do not fit together, and `DivergenceError`, which carries the trajectory so far, when
    the loss explodes or the solver fails. An interrupt from the keyboard carries it too, as its attribute `dataset`.
    """
    choice("precision", precision, ("float64", "float32"))
    _check_state(state, precision)
    if not isinstance(rule, GradientFlow | GradientDescent):
        raise argument_error("rule", "be a GradientFlow or a GradientDescent", f"{type(rule).__name__} came")
    if key is not None:
        key = random_key("key", key)
    with jax.enable_x64(precision == "float64"):
        if precision == "float32":
            state = jax.tree.map(np.float32, state)
        rates = np.asarray(state.layout.columns(dict(rule.rates or {})), np.dtype(precision))
        if not rates.any():
            raise argument_error("rates", "leave something to learn", "every vector is frozen")
        columns = tuple(int(column) for column in np.flatnonzero(rates))
        problem = Problem(state, task.objective(state, rnn), columns, _sees_neurons(state, rule))
        chunks = OVERLAP_CHUNKS if isinstance(state, Overlaps) else NETWORK_CHUNKS
        saved = _saved_points(rule, count("saves", saves, least=2), chunks)
        trained = rates[None, list(columns)]
        if isinstance(rule, GradientDescent):
            run = descend(problem, rule, trained, saved)
        else:
            run = integrate(problem, rule, trained, saved)
        records: list[Record] = []
        settings = {"saves": saves, "key": key, "precision": precision}

        def dataset() -> xr.Dataset:
            ended = records[-1].failure is None
            end = problem.state(records[-1].parameters) if ended else None
            return trajectory(records, state, end, rnn, task, rule, settings)

        with tqdm(total=float(saved[-1][-1]), disable=not progress, desc="learning", unit="", leave=False) as bar:
            try:
                for points, record in zip(saved, run, strict=True):
                    records.append(record)
                    bar.update(float(points[-1]) - bar.n)
                    if record.failure is not None:
                        raise _divergence(record.failure, rule)
                    bar.set_postfix(loss=f"{record.loss[-1]:.3g}")
            except (DivergenceError, KeyboardInterrupt) as stop:
                if records:
                    stop.dataset = dataset()  # pyright: ignore[reportAttributeAccessIssue]
                raise
        return dataset()


def rerun(dataset: xr.Dataset, progress: bool = False) -> xr.Dataset:
    """Run again what a Dataset of `learn` describes; works after a netCDF round trip.

    Raises ValueError for a Dataset that does not come from `learn`, or whose rule held something that cannot be written
    down, such as a lambda.
    """
    task, rnn, rule = (restore(description(dataset, name)) for name in ("task", "rnn", "rule"))
    saves, key, precision = (description(dataset, name) for name in ("saves", "key", "precision"))
    if key is not None:
        key = jax.random.wrap_key_data(jnp.asarray(key, jnp.uint32))
    return learn(initial_state(dataset), task, rnn, rule, saves, key, progress, precision)


def _check_state(state: Any, precision: str) -> None:
    if not isinstance(state, Overlaps | Network):
        raise argument_error("state", "be an Overlaps or a Network", f"{type(state).__name__} came")
    if is_traced(state):
        require_x64("learn")
        raise argument_error(
            "state", "be concrete", "it is traced by a surrounding jit, vmap or grad", "Call `learn` outside of it."
        )
    if state.factor.ndim != 2:
        raise argument_error("state", "be a single network", f"a batch of shape {state.factor.shape[:-2]} came")
    narrow = {str(leaf.dtype) for leaf in jax.tree.leaves(state)} - {"float64"}
    if precision == "float64" and narrow:
        raise argument_error(
            "state",
            "hold float64 arrays",
            f"it holds {', '.join(sorted(narrow))}",
            'Convert it with jax.tree.map(numpy.float64, state), or ask for precision="float32".',
        )


def _sees_neurons(state: State, rule: GradientFlow | GradientDescent) -> bool:
    """Whether the rule works on single neurons; raises ValueError where that does not close."""
    if isinstance(rule, GradientFlow) or rule.optimizer is None or is_equivariant(rule.optimizer, rule.learning_rate):
        return False
    if isinstance(state, Overlaps):
        raise argument_error(
            "optimizer",
            "commute with rotations of neuron space to train overlaps",
            "this one does not: its updates depend on the single neurons, so that overlaps do not determine them",
            "Train a finite network with it (overlaps.sample(n, key)), or use plain descent, momentum or weight decay.",
        )
    return True


def _saved_points(rule: GradientFlow | GradientDescent, saves: int, chunks: int) -> list[np.ndarray]:
    """Steps or learning times at which to save, in chunks of one length, so that one compiled program serves all.

    Chunks share their boundary, and the last one repeats its end where it has to be filled up.
    """
    if isinstance(rule, GradientDescent):
        points = np.round(np.linspace(0, rule.steps, min(saves, rule.steps + 1))).astype(int)
    else:
        points = np.linspace(0.0, rule.duration, saves)
    length = math.ceil((len(points) - 1) / chunks)
    chunks = math.ceil((len(points) - 1) / length)
    points = np.append(points, np.full(chunks * length + 1 - len(points), points[-1]))
    return [points[index * length : (index + 1) * length + 1] for index in range(chunks)]


def _divergence(failure: str, rule: GradientFlow | GradientDescent) -> DivergenceError:
    if isinstance(rule, GradientDescent):
        mend = f"Lower `learning_rate` (now {rule.learning_rate:g})."
    else:
        mend = (
            "The network may have run into instability, or the flow may be stiff: try solver=diffrax.Kvaerno5(), looser "
            "`rtol` and `atol`, or a smaller start."
        )
    return DivergenceError(f"Learning stopped: {failure}. {mend} The trajectory so far is in the `dataset` of this error.")
