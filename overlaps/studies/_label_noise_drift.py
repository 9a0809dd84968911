"""How label noise moves a network slowly among the solutions of a task: the rate of this drift, and the path of the network."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import xarray as xr

from overlaps._support import AnyArray, argument_error, count, in_float64, number, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.studies._answers import Answers, answers, labelled, moved, require_overlaps
from overlaps.studies._solutions import LARGEST_GRADIENT
from overlaps.tasks import LabelNoise

RTOL, ATOL = 1e-6, 1e-9


@in_float64
def label_noise_drift(net: Overlaps, task: Any, rnn: RNN) -> xr.DataArray:
    """The drift of each overlap under label noise at a solution, per learning time and per learning rate.

    Label noise is noise on the targets, drawn anew at each step of gradient descent. At a small learning rate eta, descent then
    stays close to the solutions of the task, and slowly drifts among them. The overlaps sigma then obey d sigma/ds = eta times
    the result, with the learning time s (learning rate x step).

    - `net`: overlaps of a network that solves the task without noise.
    - `task`: a `LabelNoise`, made by `tasks.label_noise`. Its loss is the squared error of a fixed set of samples.
    - `rnn`: as in `learn`.

    Returns a DataArray over `overlap`.

    The noise keeps the network at a distance from the solutions. Let H be the Hessian of the loss L in the entries of a factor
    of the overlap matrix, and Sigma the covariance of the gradient over the noise. The covariance of the deviation is eta C
    with H C + C H = Sigma. At this distance the gradient is on average eta d^3 L : C / 2 (the third derivative of L, contracted
    with C). Descent follows this mean gradient downhill. The part of this motion that points along the solutions is the drift
    (docs/invisible_overlaps.md, "What gradient flow leaves behind").

    Raises ValueError for a state that is no solution, for a batch, and for tasks whose loss is no squared error of a fixed set
    of samples.
    """
    function, std, modes = _prepared(net, task, rnn)
    start = jnp.ravel(net.factor)
    drift = std**2 * _drift(start, function, modes)
    return labelled(moved(net, start, drift), net, rnn, "drift", "change of the overlap per learning time and learning rate")


@in_float64
def label_noise_flow(net: Overlaps, task: Any, rnn: RNN, duration: float, saves: int = 101) -> xr.DataArray:
    """The path of the overlaps among the solutions of a task under label noise, from the solution `net` on.

    This is the drift of `label_noise_drift`, integrated over time. It can be compared with gradient descent under label noise
    at small learning rates.

    - `net`, `task`, `rnn`: as in `label_noise_drift`, with the same errors.
    - `duration`: in slow time, which is learning rate x learning time, or squared learning rate x number of steps.
    - `saves`: number of saved points.

    Returns a DataArray over `time` (the slow time) and `overlap`.
    """
    function, std, modes = _prepared(net, task, rnn)
    times = np.linspace(0.0, number("duration", duration, above=0.0), count("saves", saves, least=2))

    def field(_: float, entries: np.ndarray) -> np.ndarray:
        return std**2 * np.asarray(_drift(jnp.asarray(entries), function, modes))

    path = scipy.integrate.solve_ivp(field, times[[0, -1]], np.ravel(net.factor), t_eval=times, rtol=RTOL, atol=ATOL)
    factors = path.y.T.reshape(-1, *net.gram.shape)
    sigma = labelled(np.swapaxes(factors, 1, 2) @ factors, net, rnn, "sigma", "overlap a.b / N")
    return sigma.assign_coords(time=("time", times, said("slow time", "learning rate x learning time")))


def _prepared(net: Any, task: Any, rnn: RNN) -> tuple[Answers, float, int]:
    require_overlaps(net)
    if not isinstance(task, LabelNoise) or task.batch:
        raise argument_error("task", "be one task with label noise, made by `overlaps.tasks.label_noise`", f"{task!r} came")
    function, start = answers(net, task.task, rnn), jnp.ravel(net.factor)
    slope = 2 * float(jnp.linalg.norm((function.respond(start) - function.targets) @ function.slopes(start)))
    if not slope <= LARGEST_GRADIENT:
        mend = "Train it first without noise, by a rule that has stop_gradient=1e-8 and runs long enough to reach it."
        raise argument_error("net", "be a solution of the task", f"the norm of its gradient, |dL/dF|, is {slope:.2g}", mend)
    return function, float(task.std), function.modes(start)


@eqx.filter_jit
def _drift(entries: AnyArray, function: Answers, modes: int) -> AnyArray:
    """The drift of the entries of a factor, for label noise of variance 1."""
    left, sizes, right = jnp.linalg.svd(function.slopes(entries), full_matrices=False)
    left, sizes, right = left[:, :modes], sizes[:modes], right[:modes]
    noise = 4 * jnp.outer(sizes, sizes) * (left.T @ (function.roots[:, None] ** 2 * left))
    covariance = noise / jnp.add.outer(2 * sizes**2, 2 * sizes**2)

    def bend(direction: AnyArray, weights: AnyArray) -> AnyArray:
        """The derivative along `direction` of the gradient of a weighted sum of the answers."""
        return jax.jvp(lambda entries: jax.vjp(function.respond, entries)[1](weights)[0], (entries,), (direction,))[1]

    force = -2 * jnp.sum(jax.vmap(bend)(right, covariance @ (sizes[:, None] * left.T)), axis=0)
    return force - right.T @ (right @ force)
