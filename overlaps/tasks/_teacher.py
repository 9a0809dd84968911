"""The teacher task: the network learns to imitate the output of another network."""

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
    """Draws trials with pulses and noise as inputs, and with the output of another network as targets.

    `teacher` describes the task and makes this object.
    """

    state: State
    rnn: RNN
    number: int = eqx.field(static=True)
    duration: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    length: int = eqx.field(static=True)  # duration of a pulse, in samples
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
    """The task to imitate a teacher: the output of another network, for the same inputs.

    In each trial, each input has one pulse at a random time, of random sign, and Gaussian noise in each sample. The target is
    the output of the teacher at all times.

    - `state`, `rnn`: the teacher, for example an `Overlaps` or a `Network`, with the `RNN` that gives its dynamics.
    - `key`: a jax.random key or an integer seed, which draws a fixed set of trials. For None, `learn` draws a new set at each
      step, from the key of `learn`.
    - `trials`: the number of trials in a set.
    - `duration`: the duration of a trial, in units of tau.
    - `dt`: the time between samples, in units of tau. For a teacher with Euler steps it is their step, which is the default. In
      continuous time it must be given.
    - `pulse`: the height of a pulse.
    - `length`: the duration of a pulse, in units of tau.
    - `noise`: the standard deviation of the input noise in each sample.

    Returns `Trials`, or `FreshTrials` if `key` is None. Raises ValueError for numbers out of range, for durations that are no
    multiples of dt, for a pulse longer than the trial, and for a teacher whose activity grows without bound.
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
            "state", "have activity that stays finite", "the output of this teacher becomes infinite", "Scale u or v down."
        )
    return task
