"""A teacher: imitate the output of another network."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from overlaps._support import argument_error, count, number
from overlaps.connectivity import State
from overlaps.dynamics import RNN, require_single
from overlaps.tasks._time import samples_of
from overlaps.tasks._trials import FreshTrials, TrialGenerator, Trials


class Teacher(TrialGenerator):
    """Pulses and noise as inputs, the output of another network as targets; see `teacher`."""

    state: State
    rnn: RNN
    number: int = eqx.field(static=True)
    duration: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    length: int = eqx.field(static=True)  # of a pulse, in samples
    pulse: float
    noise: float

    def trials(self, key: jax.Array) -> Trials:
        samples = samples_of("duration", self.duration, self.dt)
        shape = (self.number, 1, self.state.layout.inputs)
        sign_key, onset_key, noise_key = jax.random.split(key, 3)
        onset = jax.random.randint(onset_key, shape, 0, samples - self.length + 1)
        since = np.arange(samples)[None, :, None] - onset
        pulses = self.pulse * jax.random.rademacher(sign_key, shape, float) * ((since >= 0) & (since < self.length))
        inputs = pulses + self.noise * jax.random.normal(noise_key, pulses.shape)
        return Trials(inputs, self.rnn.simulate(self.state, inputs, self.dt)[1], None, self.dt)


def teacher(
    state: Any,
    rnn: Any,
    key: Any = None,
    trials: int = 10,
    duration: float = 20.0,
    dt: Any = None,
    pulse: float = 1.0,
    length: float = 0.5,
    noise: float = 0.1,
) -> Trials | FreshTrials:
    """Imitate a target system: another `Overlaps` or `Network`, under its own `rnn`.

    Each input channel of a trial has one pulse of height +-`pulse` and duration `length`, at a random time, and noise of
    standard deviation `noise` in each sample; the target is the output of the teacher at all times. `dt`: the time between
    samples, that of the rnn unless time is continuous. Times are in the unit of tau. `key`: draws a fixed set of `trials`; None
    draws a new one at each step of `learn`, from its key. Raises ValueError for numbers out of range, durations that are no
    multiples of dt, a pulse longer than the trial, and a teacher whose activity grows without bound.
    """
    require_single(state)
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    dt = rnn.step(dt)
    duration, length = number("duration", duration, above=0.0), number("length", length, above=0.0)
    samples, pulse_samples = samples_of("duration", duration, dt), samples_of("length", length, dt)
    if pulse_samples > samples:
        raise argument_error("length", f"be at most the duration {duration:g} of a trial", f"{length:g} came")
    generator = Teacher(
        state,
        rnn,
        count("trials", trials),
        duration,
        dt,
        pulse_samples,
        number("pulse", pulse),
        number("noise", noise, least=0.0),
    )
    task = generator.task(key)
    drawn = task if isinstance(task, Trials) else task.sample(0)
    if not np.all(np.isfinite(drawn.targets)):
        raise argument_error(
            "state", "have activity that stays finite", "its output grows beyond all numbers", "Scale u or v down."
        )
    return task
