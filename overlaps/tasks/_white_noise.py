"""Filter tasks as sampled pairs of white noise and its filtered version."""

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
    """The squared error summed over outputs, and averaged over trials and the times where the mask is 1."""
    return jnp.sum(mask * (outputs - targets) ** 2) / jnp.sum(mask[:, :, 0])


class WhiteNoise(TrialGenerator):
    """White noise and what a linear filter makes of it; see `white_noise`."""

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
    """A filter task as trials: white noise of unit intensity (variance 1 / dt), and its filtered version as the target.

    This is what any phi can be trained on. The loss is summed over outputs. With `when="last"` it counts the last sample alone,
    and for a linear network with Euler steps of dt its expectation is the closed form `task.loss`; when="always" averages over
    all samples, which is smaller. `key`: draws a fixed set of `trials`; None draws a new one at each step of `learn`, from its
    key. Raises ValueError for a task of infinite horizon, a batch of tasks, and a horizon that is no multiple of dt.
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
