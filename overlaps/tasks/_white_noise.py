"""Filter tasks as trials: the input is white noise, and the target is the filtered noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, as_float, choice, count, number
from overlaps.tasks._filters import LinearFilter, expm
from overlaps.tasks._time import samples_of
from overlaps.tasks._trials import FreshTrials, TrialGenerator, Trials


def summed_error(outputs: AnyArray, targets: AnyArray, mask: AnyArray) -> Float[AnyArray, ""]:
    """The squared error, summed over outputs and averaged over trials and over the times where the mask is 1."""
    return jnp.sum(mask * (outputs - targets) ** 2) / jnp.sum(mask[:, :, 0])


class WhiteNoise(TrialGenerator):
    """Draws trials with white noise as input, and the response of a linear filter to it as target.

    `white_noise` describes the task and makes this object.
    """

    propagator: Float[AnyArray, "n n"] = eqx.field(converter=as_float)  # exp(A dt)
    B: Float[AnyArray, "n I"] = eqx.field(converter=as_float)
    C: Float[AnyArray, "O n"] = eqx.field(converter=as_float)
    number: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    when: str = eqx.field(static=True)

    def trials(self, key: jax.Array) -> Trials:
        inputs = jax.random.normal(key, (self.number, self.samples, self.B.shape[1])) / np.sqrt(self.dt)

        def advance(x: Float[AnyArray, "trials n"], sample: Float[AnyArray, "trials I"]) -> tuple[AnyArray, AnyArray]:
            x = x @ self.propagator.T + self.dt * sample @ self.B.T
            return x, x @ self.C.T

        start = jnp.zeros((self.number, self.B.shape[0]))
        targets = jnp.moveaxis(jax.lax.scan(advance, start, jnp.moveaxis(inputs, 1, 0))[1], 1, 0)
        mask = np.ones(self.samples) if self.when == "always" else np.arange(self.samples) == self.samples - 1
        return Trials(inputs, targets, mask, self.dt, summed_error)


def white_noise(
    task: LinearFilter, key: Any = None, trials: int = 100, dt: float = 0.05, when: str = "last"
) -> Trials | FreshTrials:
    """A filter task as trials: the input is white noise of unit intensity, and the target is the filtered noise.

    Filter tasks themselves train linear networks only. These trials train networks with any transfer function phi. White noise
    of unit intensity has independent Gaussian samples of variance 1 / dt. The loss is the squared error summed over outputs.

    - `task`: a filter task, such as `exponential_filter()`. Its horizon is the duration of a trial.
    - `key`: a jax.random key or an integer seed, which draws a fixed set of trials. For None, `learn` draws a new set at each
      step, from the key of `learn`.
    - `trials`: the number of trials in a set.
    - `dt`: the time between samples, in units of tau.
    - `when`: which samples count. "last": the last sample of each trial alone. For a linear network with Euler steps of dt the
      expected loss is then the closed form `task.loss`. "always": the average over all samples, which is smaller.

    Returns `Trials`, or `FreshTrials` if `key` is None. Raises ValueError for a task of infinite horizon, for a batch of tasks,
    and for a horizon that is no multiple of dt.
    """
    if not isinstance(task, LinearFilter):
        raise argument_error("task", "be a filter task", f"{type(task).__name__} came")
    if task.horizon is None:
        raise argument_error("task", "have a finite horizon to be sampled", "its horizon is infinite")
    if task.batch:
        raise argument_error("task", "be a single task", f"a batch of {task.batch[0]} came", "Sample them one by one.")
    dt = number("dt", dt, above=0.0)
    samples = samples_of("horizon", task.horizon, dt)
    choice("when", when, ("last", "always"))
    return WhiteNoise(expm(task.A * dt), task.B, task.C, count("trials", trials), samples, dt, when).task(key)
