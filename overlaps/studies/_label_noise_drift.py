"""How label noise moves a network among the solutions of a task: the slow drift, as a rate and as a flow."""

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

    `net` is a solution of the task in `task`, a `LabelNoise`. Descent at a small learning rate eta then stays close to the
    solutions and drifts among them by d sigma/ds = eta times what this returns, a DataArray over `overlap`. Noise keeps the
    network at a distance from the solutions, with covariance eta C, H C + C H = Sigma, where H is the Hessian of the loss and
    Sigma the covariance of its gradient over the noise. There the gradient of the loss is on average 1/2 d^3 L : C, and what
    of it lies along the solutions is the drift (docs/invisible_overlaps.md). Raises ValueError for a state that is no
    solution, a batch, and tasks whose loss is no squared error of a fixed set of samples.
    """
    function, std, modes = _prepared(net, task, rnn)
    start = jnp.ravel(net.factor)
    drift = std**2 * _drift(start, function, modes)
    return labelled(moved(net, start, drift), net, rnn, "drift", "change of the overlap per learning time and learning rate")


@in_float64
def label_noise_flow(net: Overlaps, task: Any, rnn: RNN, duration: float, saves: int = 101) -> xr.DataArray:
    """The path of the overlaps under label noise among the solutions of a task, from a solution on: the drift as a flow.

    `duration`: in slow time, learning rate times learning time, which is the squared learning rate times the number of steps.
    A DataArray over `time`, the slow time, and `overlap`, to compare with descent under label noise at small learning rates.
    Arguments and errors are as in `label_noise_drift`.
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
        raise argument_error("task", "be one task with label noise, of `overlaps.tasks.label_noise`", f"{task!r} came")
    function, start = answers(net, task.task, rnn), jnp.ravel(net.factor)
    slope = 2 * float(jnp.linalg.norm((function.respond(start) - function.targets) @ function.slopes(start)))
    if not slope <= LARGEST_GRADIENT:
        mend = "Train it first without noise, by a rule with stop_gradient=1e-8 and long enough to get there."
        raise argument_error("net", "be a solution of the task", f"|dL/dF| is {slope:.2g} there", mend)
    return function, float(task.std), function.modes(start)


@eqx.filter_jit
def _drift(entries: AnyArray, function: Answers, modes: int) -> AnyArray:
    """The drift of the entries of a factor for noise of variance 1."""
    left, sizes, right = jnp.linalg.svd(function.slopes(entries), full_matrices=False)
    left, sizes, right = left[:, :modes], sizes[:modes], right[:modes]
    noise = 4 * jnp.outer(sizes, sizes) * (left.T @ (function.roots[:, None] ** 2 * left))
    covariance = noise / jnp.add.outer(2 * sizes**2, 2 * sizes**2)

    def bend(direction: AnyArray, weights: AnyArray) -> AnyArray:
        """How the gradient of a weighted sum of answers turns along a direction."""
        return jax.jvp(lambda entries: jax.vjp(function.respond, entries)[1](weights)[0], (entries,), (direction,))[1]

    force = -2 * jnp.sum(jax.vmap(bend)(right, covariance @ (sizes[:, None] * left.T)), axis=0)
    return force - right.T @ (right @ force)
