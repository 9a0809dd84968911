"""The function `trajectory`: what `learn` computes, as a pure function of JAX arrays, which JAX can differentiate."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from overlaps._support import AnyArray, argument_error, flag, is_inside_trace, is_traced, random_key, require_x64
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning._compiler import BARRIERS_STAY, compiled
from overlaps.learning._course import Course, follow
from overlaps.learning._observables import Observer, observer
from overlaps.learning._phase import Rule, batch_size, check_sizes, keys_of, phases_of, require_one_shape


class Trajectory(NamedTuple):
    """What `trajectory` returns: arrays over the saved points, and the state at the end. What was not asked for is None."""

    time: Float[AnyArray, " saves"]
    step: Int[AnyArray, " saves"] | None
    loss: Float[AnyArray, " saves"]
    gradient_norm: Float[AnyArray, " saves"]
    gram: Float[AnyArray, "saves D D"] | None
    output: Float[AnyArray, "saves trial sample O"] | None
    impulse_response: Float[AnyArray, "saves lag O I"] | None
    final: State


def trajectory(
    state: State,
    task: Any,
    rnn: RNN,
    rule: Rule | None = None,
    saves: Any = 201,
    key: Any = None,
    observe: str | Sequence[str] = (),
    times: Any = None,
    reverse: bool = False,
) -> Trajectory:
    """What `learn` computes for one network, as a pure function of JAX arrays: for use inside jit, vmap, jacfwd and grad.

    It has the same arguments as `learn`, and gives the same numbers. Derivatives may be taken with respect to the arrays of the
    state and of the tasks, to the learning rate of a `GradientDescent` and to the duration of a `GradientFlow`
    (docs/derivatives.md).

    - `state`: what to train, a single network of any kind. For many networks, map over their arrays with jax.vmap.
    - `task`: a task, or a list of `Phase(name, task, rule)`. `rnn`: an `RNN`. `rule`: as in `learn`.
    - `saves`: the number of saved points of each phase, or an increasing array of learning times, counted from the start of the
      phase, or a list with one of these for each phase. A list with floats is an array of times. Descent takes the nearest
      steps.
    - `key`: as in `learn`.
    - `observe`: what else to record: "output", as in `learn`, and "impulse_response", that of a linear network. "loss" may be
      named, too; it is always recorded.
    - `times`: the times after the impulse (lags), for impulse responses. None: as in `learn`. With Euler steps they are
      multiples of dt.
    - `reverse`: whether the result is to be differentiated in reverse mode, by jax.grad, jax.vjp or jax.jacrev, which is better
      for many parameters. The default is forward mode, by jax.jvp, jax.jacfwd or jax.linearize, which is better for few
      parameters. With `reverse`, memory grows as the root of the number of steps. In the wrong mode JAX raises its own
      errors: a ValueError that names `while_loop` means that `reverse=True` is missing, and a TypeError that names
      `custom_vjp` means that a flow has `reverse=True` and is differentiated in forward mode.

    Returns a named tuple, a pytree, with these fields. Rows are saved points, and phases are joined as in `learn`.

    - `time` (saves,): learning time, added up over phases. `step` (saves,): the step, if all phases are descents, else None.
    - `loss` (saves,), and `gradient_norm` (saves,), the norm of dL/dF.
    - `gram` (saves, D, D): the overlap matrix; None for a `DenseNetwork`, which has none.
    - `output` (saves, trial, sample, readout) and `impulse_response` (saves, lag, readout, input); None if not asked for.
    - `final`: the trained state.

    A network that diverges is NaN from there on, and there is no error. A phase that stops early, by `stop_loss` or
    `stop_gradient`, repeats its last row; the derivative of the time at which it stops is not included. A second call with
    other numbers does not compile again. Raises ValueError for arguments that do not fit, and RuntimeError inside jit, vmap or
    grad while JAX computes in float32.

    >>> import jax, overlaps as ov
    >>> task, rule = ov.tasks.exponential_filter(rate=0.2), ov.GradientDescent(learning_rate=5e-3, steps=50)
    >>> def last_loss(gram):
    ...     return ov.trajectory(ov.Overlaps(gram), task, ov.RNN(dt=0.05), rule, saves=2, reverse=True).loss[-1]
    >>> with jax.enable_x64(True):
    ...     slope = jax.grad(last_loss)(ov.Overlaps.random(0).gram)
    >>> slope.shape
    (4, 4)
    """
    if not isinstance(state, State):
        raise argument_error("state", "be an Overlaps, MeanField, Network or DenseNetwork", f"{type(state).__name__} came")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    phases = phases_of(task, rule)
    key = None if key is None else random_key("key", key)
    size = batch_size(state, phases, key)
    if size is not None:
        mend = "Map over their arrays with jax.vmap, or use `learn`."
        raise argument_error("state", "be a single network, with one task, rate and key", f"a batch of {size} came", mend)
    names = (observe,) if isinstance(observe, str) else tuple(observe)
    seen = observer([name for name in names if name != "loss"], rnn, phases[0].task, times)
    if "moments" in seen.names:
        raise argument_error("observe", 'hold "output" or "impulse_response"', "'moments' came", "Use `learn` for moments.")
    listed = saves if isinstance(saves, list) and not any(isinstance(one, float) for one in saves) else [saves] * len(phases)
    if len(listed) != len(phases):
        raise argument_error("saves", f"have one entry for each of the {len(phases)} phases", f"{len(listed)} came")
    numbers = [
        (phase.task, getattr(phase.rule, "learning_rate", None), getattr(phase.rule, "duration", None)) for phase in phases
    ]
    traced = is_traced(state, numbers, listed, key) or is_inside_trace()
    if traced:
        require_x64("trajectory")
    narrow = {str(leaf.dtype) for leaf in jax.tree.leaves(state)} - {"float64"}
    if narrow:
        mend = "Convert it with jax.tree.map(numpy.float64, state)."
        raise argument_error("state", "hold float64 arrays", f"it holds {', '.join(sorted(narrow))}", mend)
    with contextlib.nullcontext() if traced else jax.enable_x64(True):
        require_one_shape(phases, [check_sizes(phase.task, state, rnn, seen) for phase in phases])
        courses = [Course.of(state, *one) for one in zip(phases, listed, keys_of(key, phases), strict=True)]
        arguments = (state, courses, rnn, seen, flag("reverse", reverse))
        if traced:
            return _follow(*arguments)
        phases[0].task.objective(state, rnn)  # raises its errors, which depend on numbers
        return jax.tree.map(np.asarray, _compiled()(*arguments))


@functools.cache
def _compiled() -> Any:
    return compiled(_follow, BARRIERS_STAY)


def _follow(state: State, courses: list[Course], rnn: RNN, seen: Observer, reverse: bool) -> Trajectory:
    parts, elapsed = [], {"time": 0.0, "step": 0}
    for course in courses:
        rows, state = follow(state, course, rnn, seen, reverse)
        for name in elapsed.keys() & rows.keys():
            rows[name] = rows[name] + elapsed[name]
            elapsed[name] = rows[name][-1]
        parts.append(rows)
    names = set.intersection(*(set(rows) for rows in parts)) & set(Trajectory._fields)
    joined = {name: jnp.concatenate([rows[name] for rows in parts]) for name in names}
    return Trajectory(**{name: joined.get(name) for name in Trajectory._fields[:-1]}, final=state)  # pyright: ignore
