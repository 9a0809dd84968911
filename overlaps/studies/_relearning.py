"""What studies of relearning share: learning times to a criterion, and control networks without a history."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error, count, in_float64, number, random_key, warn
from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.learning import GradientDescent, GradientFlow, Phase, Rule, final_state, learn
from overlaps.studies._answers import require_overlaps
from overlaps.tasks import Task

WINDOWS = 10  # parts of a learning curve, each as long as all earlier ones together, so that short times are resolved too
SAVES = 41  # saved points of each part
DEFINITE = 1e-9  # an overlap matrix is singular if its smallest eigenvalue is below this fraction of the largest


def check_learning(state: Any, tasks: dict[str, Any], rnn: Any, rule: Any) -> None:
    """Raise ValueError unless one definite network learns tasks without random samples by a rule that runs to its end."""
    require_overlaps(state, "state")
    values = np.linalg.eigvalsh(state.gram)
    if values[0] < DEFINITE * values[-1]:
        came = f"its smallest eigenvalue is {values[0]:.2g}"
        raise argument_error("state", "have a positive definite overlap matrix", came, "Raise its self-overlaps.")
    for name, task in tasks.items():
        must = "be a single task that draws no random samples, so that its loss is one number for each network"
        if not isinstance(task, Task):
            raise argument_error(f"tasks[{name!r}]", must, f"{type(task).__name__} came")
        if task.random or task.batch:
            came = f"{type(task).__name__} draws samples" if task.random else f"a batch of {task.batch[0]} came"
            raise argument_error(f"tasks[{name!r}]", must, came, "Pass a key to the task for a fixed set of trials.")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    if not isinstance(rule, GradientFlow | GradientDescent):
        raise argument_error("rule", "be a GradientFlow or a GradientDescent", f"{type(rule).__name__} came")
    if rule.stop_loss is not None or rule.stop_gradient is not None:
        raise argument_error("rule", "run for a given time", "it can stop early", "Give the level of the loss as `criterion`.")
    if np.ndim(getattr(rule, "learning_rate", 0.0)):
        raise argument_error("rule", "have a single learning rate", "a batch came", "Run the study once for each of them.")


def checked_criterion(criterion: Any, absolute: bool) -> float:
    """A positive number, below 1 if it is a fraction of the initial loss."""
    criterion = number("criterion", criterion, above=0.0)
    if not absolute and criterion >= 1:
        mend = "Pass absolute=True for a criterion in the units of the loss."
        raise argument_error("criterion", "be a fraction of the initial loss, below 1", f"{criterion:g} came", mend)
    return criterion


def levels(criterion: float, absolute: bool, initial: Float[np.ndarray, " draws"]) -> Float[np.ndarray, " draws"]:
    """The loss at which each network meets the criterion. Raises ValueError if a network meets it before it learns."""
    level = np.full_like(initial, criterion) if absolute else criterion * initial
    if np.any(initial <= level):
        came = f"the loss at the start is {np.min(initial):.4g} and the criterion {criterion:.4g}"
        raise argument_error("criterion", "lie below the loss at the start, so that there is something to learn", came)
    return level


def starts(state: Overlaps, n: int | None, draws: int, key: Any) -> dict[str, State]:
    """Batches of `draws` networks to start from: the overlaps as they are, and networks of n neurons that have them exactly."""
    copies = Overlaps(np.broadcast_to(state.gram, (draws, *state.gram.shape)), *state.layout)
    found: dict[str, State] = {"theory": copies}
    if n is not None:
        found["networks"] = copies.sample(count("n", n), jax.random.split(key, draws))
    return found


def single_key(key: Any) -> jax.Array:
    """One random key. Raises ValueError for an array of keys."""
    key = random_key("key", key)
    if key.shape:
        raise argument_error("key", "be a single key", f"a batch of {key.shape[0]} came")
    return key


def curves(states: State, task: Any, rnn: RNN, rule: Rule) -> tuple[np.ndarray, np.ndarray, State]:
    """Learning times (points,), losses (batch, points), and the states at the end, of a batch that learns one task.

    Each window of the curve is as long as all earlier ones together, so a learning time is resolved to about 1 / SAVES of
    itself before interpolation. A rule with an optimiser has a memory that would start anew with each window. So it has a
    single window, in which each step is saved.
    """
    if isinstance(rule, GradientDescent) and rule.optimizer is not None:
        windows, saves = [rule], rule.steps + 1
    else:
        halves = 2.0 ** -np.arange(WINDOWS)[::-1]
        if isinstance(rule, GradientDescent):
            ends = np.unique(np.ceil(rule.steps * halves)).astype(int)
            windows = [dataclasses.replace(rule, steps=int(steps)) for steps in np.diff(ends, prepend=0)]
        else:
            windows = [lasting(rule, float(span)) for span in np.diff(rule.duration * halves, prepend=0.0)]
        saves = SAVES
    phases = [Phase(f"window {index}", task, window) for index, window in enumerate(windows)]
    run = learn(states, phases, rnn, saves=saves)
    return run["time"].values, run["loss"].values, final_state(run)


def lasting(rule: Rule, duration: float) -> Rule:
    """The same rule for another learning time, of at least one step."""
    if isinstance(rule, GradientFlow):
        return dataclasses.replace(rule, duration=duration)
    return dataclasses.replace(rule, steps=max(1, round(duration / rule.learning_rate)))


def time_to(level: Any, time: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """The learning time at which each loss (..., points) first is at most `level` (...), interpolated between saved points.

    The interpolation is linear in the logarithm of the loss. The time is infinite if the loss never comes down to the level,
    and NaN if the network diverges first.
    """
    level = np.broadcast_to(level, loss.shape[:-1])
    met = loss <= level[..., None]
    after = np.argmax(met, axis=-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(loss, index[..., None], axis=-1)[..., 0] for index in (after, before))
    tiny = np.finfo(float).tiny
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.log(high / level) / np.log(high / np.maximum(low, tiny))
        reached = np.where(after == 0, time[0], time[before] + part * (time[after] - time[before]))
    never = np.where(np.any(np.isnan(loss), axis=-1), np.nan, np.inf)
    return np.where(np.any(met, axis=-1), reached, never)


def warn_of_unlearned(time: np.ndarray, what: str, rule: Rule) -> None:
    """Warn if some of the first learning times are not finite, because all numbers relative to them are then NaN."""
    if not np.all(np.isfinite(time)):
        length = rule.steps if isinstance(rule, GradientDescent) else f"{rule.duration:g}"
        unit = "steps" if isinstance(rule, GradientDescent) else "learning time"
        warn(
            f"{np.sum(~np.isfinite(time))} of {time.size} networks do not bring {what} down to the criterion within {length} "
            f"({unit}): numbers relative to their first learning time are NaN. Make `rule` longer or raise `criterion`."
        )


@in_float64
def without_history(after: Any, start: Float[np.ndarray, "batch D D"], rnn: RNN) -> tuple[Any, Any]:
    """Networks with the visible overlaps of `after` and the invisible overlaps of `start`, and how far the latter had to move.

    There may be no network with both, because the overlap matrix would not be positive semi-definite. Then all invisible
    self-overlaps are larger than those of `start` by one number, the smallest one that gives a positive semi-definite matrix.
    This number, the *shift*, is the second result.

    The vectors P of `after` become P R^-1 R', where R and R' are the triangular factors of the old and of the new overlap
    matrix. So m and u stay as they are if their overlaps do, and all vectors keep their directions in neuron space as far as
    they can.
    """
    layout = after.layout
    seen = layout.matrix(np.array(rnn.visible(layout))).astype(bool)
    gram = np.asarray(after.overlaps().gram)
    wanted = np.where(seen, gram, start)
    free, fixed = np.flatnonzero(~np.diagonal(seen)), np.flatnonzero(np.diagonal(seen))
    across = wanted[..., fixed[:, None], free]
    inverse = np.linalg.pinv(wanted[..., fixed[:, None], fixed], hermitian=True)
    rest = wanted[..., free[:, None], free] - np.swapaxes(across, -1, -2) @ inverse @ across
    shift = np.maximum(0.0, -np.linalg.eigvalsh(rest)[..., 0]) if free.size else np.zeros(len(gram))
    wanted[..., free, free] += shift[..., None]
    mixing = np.linalg.solve(_triangle(gram), _triangle(wanted))
    return after.with_factor(np.asarray(after.factor) @ mixing), shift


def _triangle(gram: np.ndarray) -> np.ndarray:
    """The upper triangular R of non-negative diagonal with R^T R = G, also for a singular G."""
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0.0))[..., None] * np.swapaxes(vectors, -1, -2)
    triangle = np.linalg.qr(root)[1]
    return np.where(np.diagonal(triangle, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None] * triangle


def joined(states: list[Any]) -> Any:
    """One batch of the networks of several batches."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


def chosen(states: Any, index: np.ndarray) -> Any:
    """The networks of a batch at the places `index`."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], states)


def require_finite(states: State, where: str) -> None:
    """Raise ValueError if networks have diverged."""
    lost = ~np.all(np.isfinite(np.asarray(states.factor)), axis=(-2, -1))
    if np.any(lost):
        mend = "Lower its learning rate."
        raise argument_error("rule", "keep all networks finite", f"{np.sum(lost)} of {lost.size} diverged in {where}", mend)
