"""The perceptual decision task: the network reports the strength of a noisy input after this input has ended."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, as_float, count, number, real_array
from overlaps.tasks._time import samples_of
from overlaps.tasks._trials import FreshTrials, TrialGenerator, Trials


class DecisionMaking(TrialGenerator):
    """Draws trials of the perceptual decision task: each has one coherence, all coherences equally often.

    `decision_making` describes the task and makes this object.
    """

    number: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    epochs: tuple[int, ...] = eqx.field(static=True, converter=tuple)  # samples of fixation, stimulus, delay and response
    coherences: Float[AnyArray, " levels"] = eqx.field(converter=as_float)
    strength: float
    noise: float
    target: float

    def trials(self, key: jax.Array) -> Trials:
        level_key, order_key, noise_key = jax.random.split(key, 3)
        # The number of trials may be no multiple of the number of levels. The first shuffle makes it random which levels are
        # left out or appear once more, so that all are equally likely. The second shuffle puts the trials in random order.
        levels = jnp.resize(jax.random.permutation(level_key, jnp.asarray(self.coherences)), (self.number,))
        coherence = jax.random.permutation(order_key, levels)[:, None, None]
        epoch = np.repeat(np.arange(4), self.epochs)[None, :, None]
        noise = self.noise * jax.random.normal(noise_key, (self.number, epoch.shape[1], 1))
        response = jnp.broadcast_to(epoch == 3, noise.shape)
        return Trials(
            noise + self.strength * coherence * (epoch == 1), self.target * coherence * response, response * 1.0, self.dt
        )


def decision_making(
    key: Any = None,
    trials: int = 8,
    dt: float = 0.05,
    fixation: float = 1.0,
    stimulus: float = 9.0,
    delay: float = 1.0,
    response: float = 9.0,
    coherences: Sequence[float] = (-16.0, -8.0, -4.0, -2.0, 2.0, 4.0, 8.0, 16.0),
    strength: float = 3.2 / 100,
    noise: float = 0.03,
    target: float = 1 / 16,
) -> Trials | FreshTrials:
    """Perceptual decision-making with a graded target: the network reports the strength of an input that has ended.

    A trial consists of four parts: fixation, stimulus, delay and response. The one input is strength x coherence during the
    stimulus and 0 during the other parts, plus Gaussian noise in each sample of all parts. During the response the one output
    should be target x coherence. The mask, the weight of each sample in the loss, is 1 during the response and 0 before it. In
    a set of trials each coherence is as frequent as the others, up to one trial. The defaults are those of [GB26].

    - `key`: a jax.random key or an integer seed, which draws a fixed set of trials. For None, `learn` draws a new set at each
      step, from the key of `learn`.
    - `trials`: the number of trials in a set.
    - `dt`: the time between samples, in units of tau.
    - `fixation`, `stimulus`, `delay`, `response`: the durations of the parts, in units of tau. `fixation` and `delay` can be 0.
    - `coherences`: (levels,), the signed levels of evidence; each trial has one of them.
    - `strength`: the input per unit of coherence.
    - `noise`: the standard deviation of the input noise in each sample.
    - `target`: the wanted output per unit of coherence.

    Returns `Trials`, or `FreshTrials` if `key` is None. Raises ValueError for numbers out of range and for durations that are
    no multiples of dt.
    """
    dt = number("dt", dt, above=0.0)
    durations = {"fixation": fixation, "stimulus": stimulus, "delay": delay, "response": response}
    for name, duration in durations.items():
        number(name, duration, least=0.0)
        if duration == 0 and name in ("stimulus", "response"):
            raise argument_error(name, "be greater than 0", "0 came", "The task needs a stimulus and a response.")
    epochs = tuple(samples_of(name, duration, dt) if duration else 0 for name, duration in durations.items())
    levels = real_array("coherences", coherences, ndim=1)
    if not levels.size:
        raise argument_error("coherences", "be one or more numbers", "none came")
    generator = DecisionMaking(
        count("trials", trials),
        dt,
        epochs,
        levels,
        number("strength", strength),
        number("noise", noise, least=0.0),
        number("target", target),
    )
    return generator.task(key)
