"""What an experiment would see."""

from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error, random_key, said
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.inference._experiment import Experiment
from overlaps.inference._noise import Counts


def observations(
    state: State,
    protocol: Any,
    rnn: RNN,
    observe: str = "impulse_response",
    noise: Any = 1e-3,
    noise_key: Any = None,
    saves: Any = 41,
    times: Any = None,
    key: Any = None,
) -> xr.DataArray:
    """What an experiment with this network would see: a simulated measurement while the network learns.

    - `state`: a single network of any kind, at the start.
    - `protocol`: a `Phase(name, task, rule)`, or a list of them.
    - `rnn`: an `RNN`.
    - `observe`: what is seen: "impulse_response" (of a linear network), "output" (on the trials of the tasks) or "loss".
    - `noise`: the standard deviation of independent Gaussian noise on each observed number, or a noise model: `Gaussian(std)`
      or `Counts(trials, link)`.
    - `noise_key`: a jax.random key or an integer seed for this noise; None: what is expected, without noise.
    - `saves`, `times`, `key`: as in `overlaps.trajectory`.

    Returns a DataArray with the dimension `time` (learning time) and those of what is observed, as in `learn`. It has the form
    that `fit` takes. Raises ValueError for a network that diverges, and for arguments that do not fit.

    >>> import overlaps as ov
    >>> phase = ov.Phase("A", ov.tasks.exponential_filter(rate=0.2), ov.GradientDescent(steps=40))
    >>> data = ov.inference.observations(ov.Overlaps.random(0), phase, ov.RNN(dt=0.05), saves=5, noise_key=1)
    >>> data.dims, data.shape
    (('time', 'lag', 'readout', 'input'), (5, 20, 1, 1))
    """
    experiment = Experiment.checked(protocol, rnn, observe, noise, saves, times, key)
    course = experiment.trajectory(state)
    expected, noise = getattr(course, observe), experiment.noise
    if not np.all(np.isfinite(expected)):
        came = "the network diverges in it"
        raise argument_error("protocol", "be one in which the network learns", came, "Lower the learning rate.")
    with jax.enable_x64(True):
        seen = noise.mean(expected) if noise_key is None else noise.draw(random_key("noise_key", noise_key), expected)
    data = experiment.labelled(course, seen)
    return data.assign_attrs(said("number of errors")) if isinstance(noise, Counts) else data
