"""Perceptual decisions: report the strength of noisy evidence after it has gone."""

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
    """Trials of one coherence each, all coherences equally often; see `decision_making`."""

    number: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    epochs: tuple[int, ...] = eqx.field(static=True, converter=tuple)  # samples of fixation, stimulus, delay and response
    coherences: Float[AnyArray, " levels"] = eqx.field(converter=as_float)
    strength: float
    noise: float
    target: float

    def trials(self, key: jax.Array) -> Trials:
        level_key, order_key, noise_key = jax.random.split(key, 3)
        # Levels are shuffled before they are repeated or cut off, so that each is as likely as the others, and trials after.
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
    """Perceptual decision-making with a graded target, with the defaults of [GB26].

    The input is strength x coherence during the stimulus, and noise of standard deviation `noise` in each sample throughout;
    the output is to be target x coherence during the response, when alone the mask is 1. Each coherence is as frequent as the
    others, up to one trial. Durations are in the unit of tau. `key`: draws a fixed set of `trials`; None draws a new one at
    each step of `learn`, from its key. Raises ValueError for numbers out of range and durations that are no multiples of dt.
    """
    dt = number("dt", dt, above=0.0)
    durations = {"fixation": fixation, "stimulus": stimulus, "delay": delay, "response": response}
    for name, duration in durations.items():
        number(name, duration, least=0.0)
        if duration == 0 and name in ("stimulus", "response"):
            raise argument_error(name, "be greater than 0", "0 came", "Without it there is nothing to decide.")
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
