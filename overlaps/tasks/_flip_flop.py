"""The flip-flop task: the network remembers the sign of the last input pulse."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from overlaps._support import argument_error, count, number
from overlaps.tasks._time import samples_of
from overlaps.tasks._trials import FreshTrials, TrialGenerator, Trials


class FlipFlop(TrialGenerator):
    """Draws trials of the flip-flop task: pulses of random sign and spacing on each of `bits` channels.

    `flip_flop` describes the task and makes this object.
    """

    number: int = eqx.field(static=True)
    bits: int = eqx.field(static=True)
    duration: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    first: float = eqx.field(static=True)
    pulse: float = eqx.field(static=True)
    delay: float = eqx.field(static=True)
    shortest: float = eqx.field(static=True)
    longest: float = eqx.field(static=True)
    input: float
    target: float

    def trials(self, key: jax.Array) -> Trials:
        times = self.dt * np.arange(samples_of("duration", self.duration, self.dt))
        pulses = 1 + int((self.duration - self.first) / self.shortest)
        shape = (self.number, self.bits, pulses)
        sign_key, interval_key = jax.random.split(key)
        signs = jax.random.rademacher(sign_key, shape, float)
        intervals = jax.random.uniform(interval_key, shape, minval=self.shortest, maxval=self.longest)
        onsets = self.first + jnp.cumsum(intervals, axis=2) - intervals[:, :, :1]
        # A pulse starts with the first sample at or after its onset. The small shift keeps rounding errors from delaying it.
        since = times[None, :, None, None] - onsets[:, None] + 1e-6 * self.dt
        last = jnp.sum(since >= 0, axis=3) - 1
        sign = jnp.where(last >= 0, jnp.take_along_axis(signs[:, None], jnp.maximum(last, 0)[..., None], axis=3)[..., 0], 0.0)
        since = jnp.where(last >= 0, jnp.take_along_axis(since, jnp.maximum(last, 0)[..., None], axis=3)[..., 0], jnp.inf)
        held = (since >= self.pulse + self.delay) & (last >= 0)
        return Trials(self.input * sign * (since < self.pulse), self.target * sign, held.astype(float), self.dt)


def flip_flop(
    key: Any = None,
    trials: int = 10,
    duration: float = 20.0,
    dt: float = 0.05,
    bits: int = 1,
    first: float = 0.5,
    pulse: float = 0.5,
    delay: float = 2.0,
    interval: Sequence[float] = (4.0, 10.0),
    input: float = 1.0,
    target: float = 0.5,
) -> Trials | FreshTrials:
    """The flip-flop task: the output holds the sign of the last input pulse.

    There are `bits` channels, each with one input and one output. Pulses of random sign arrive at each input. From the time
    `delay` after the end of a pulse until the start of the next pulse, the output of this channel should be `target` times
    the sign of the pulse. The mask, the weight of each sample in the loss, is 1 then and 0 at all other times. The defaults are
    those of [GB26].

    - `key`: a jax.random key or an integer seed, which draws a fixed set of trials. For None, `learn` draws a new set at each
      step, from the key of `learn`.
    - `trials`: the number of trials in a set.
    - `duration`: the duration of a trial, in units of tau.
    - `dt`: the time between samples, in units of tau.
    - `bits`: the number of channels.
    - `first`: the start of the first pulse, in units of tau.
    - `pulse`: the duration of a pulse, in units of tau.
    - `delay`: the time from the end of a pulse until the output has to hold its sign, in units of tau.
    - `interval`: the shortest and the longest time from the start of a pulse to the start of the next one, in units of tau.
      Intervals are drawn uniformly between the two.
    - `input`: the height of a pulse.
    - `target`: the absolute value of the wanted output.

    Returns `Trials`, or `FreshTrials` if `key` is None. Raises ValueError for numbers out of range, for a duration that is no
    multiple of dt, for a pulse shorter than dt, and for trials or intervals that are too short to contain the wanted output.
    """
    dt, pulse = number("dt", dt, above=0.0), number("pulse", pulse, above=0.0)
    first, delay = number("first", first, least=0.0), number("delay", delay, least=0.0)
    duration = number("duration", duration, above=0.0)
    samples_of("duration", duration, dt)
    if pulse < dt * (1 - 1e-9):
        raise argument_error("pulse", f"last at least one sample of dt = {dt:g}", f"{pulse:g} came")
    if duration < first + pulse + delay + dt:
        answered = f"first + pulse + delay + dt = {first + pulse + delay + dt:g}"
        must = f"be at least {answered}, so that a pulse is answered before the trial ends"
        raise argument_error("duration", must, f"{duration:g} came")
    if np.shape(interval) != (2,):
        raise argument_error("interval", "be two numbers, the shortest and the longest", f"{interval!r} came")
    shortest = number("interval[0]", interval[0], least=pulse + dt)
    longest = number("interval[1]", interval[1], least=shortest)
    if longest < (pulse + delay + dt) * (1 - 1e-9):
        answered = f"pulse + delay + dt = {pulse + delay + dt:g}"
        raise argument_error(
            "interval[1]", f"be at least {answered}, so that a pulse is answered before the next one", f"{longest:g} came"
        )
    generator = FlipFlop(
        count("trials", trials),
        count("bits", bits),
        duration,
        dt,
        first,
        pulse,
        delay,
        shortest,
        longest,
        number("input", input),
        number("target", target),
    )
    return generator.task(key)
