"""Label noise: noise on the targets, drawn anew at each step.

It breaks conservation laws of learning, and leaves the reported loss as it is.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, numpy_for, parameter
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.tasks._filter_losses import SampledLoss
from overlaps.tasks._filters import LinearFilter
from overlaps.tasks._picture import Curves
from overlaps.tasks._task import Task
from overlaps.tasks._trials import FreshLoss, FreshTrials, TrialLoss, Trials


class LabelNoise(Task):
    """A task whose targets get independent N(0, std^2) noise at each step of gradient descent, one number per target sample.

    The noise of a step depends only on the key of `learn` and on the number of the step. So overlaps and networks that are
    trained with the same key see the same noise. The reported loss is the loss without noise. The reported gradient norm is
    the norm of the gradient with noise, which descent follows (docs/optimizers.md, "Label noise").

    - `task`: a set of trials (`Trials` or `FreshTrials`), or a filter task of finite horizon. A filter task needs an rnn with a
      step `dt`. Its samples are those of the Euler network.
    - `std`: the standard deviation, in the units of the target. An array (batch,) makes a batch of tasks.

    Raises ValueError for a negative std and for an array of std with fresh trials. `learn` raises ValueError for gradient
    flow, for a filter task in continuous time, and if it gets no key.
    """

    task: LinearFilter | Trials | FreshTrials
    std: Float[AnyArray, "*batch"]

    def __init__(self, task: Any, std: Any):
        if not isinstance(task, LinearFilter | Trials | FreshTrials):
            raise argument_error("task", "be a filter task or trials", f"{type(task).__name__} came")
        std = parameter("std", std, least=0.0)
        if isinstance(task, FreshTrials) and std.ndim:
            raise argument_error("std", "be one number for fresh trials", f"{std.size} came", "Train them one by one.")
        if task.batch and std.ndim and task.batch != std.shape:
            raise argument_error("std", f"be one number, or {task.batch[0]}, one per task", f"{std.size} came")
        xp = numpy_for(std, task)
        if std.ndim and not task.batch:
            task = jax.tree.map(lambda leaf: xp.broadcast_to(leaf, (*std.shape, *leaf.shape)), task)
        self.task = task
        self.std = xp.broadcast_to(std, task.batch)

    @property
    def loss_units(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.task.loss_units

    @property
    def horizon(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.task.horizon

    @property
    def batch(self) -> tuple[int, ...]:
        return self.task.batch

    @property
    def random(self) -> bool:
        return True

    def loss(self, state: State, rnn: RNN) -> Float[AnyArray, ""]:
        """The loss without noise on the targets.

        Raises ValueError for fresh trials, which are not drawn yet: ask `task.sample(key).loss(state, rnn)` instead.
        """
        return self.task.loss(state, rnn)

    def shown(self) -> tuple[str, list[Curves]]:
        title, curves = self.task.shown()
        std = np.ravel(np.asarray(self.std))[0]
        return f"{title}\nwithout the noise of standard deviation {std:g} on the target", curves

    def objective(self, state: State, rnn: RNN) -> Callable[..., Any]:
        if isinstance(self.task, LinearFilter):
            return NoisyLoss(self.task.sampled_objective(state, rnn), self.std)
        return NoisyLoss(self.task.objective(state, rnn), self.std)


class NoisyLoss(eqx.Module):
    """The loss with noise on the targets, drawn from a key, and the loss without noise."""

    clean: SampledLoss | TrialLoss | FreshLoss
    std: Float[AnyArray, "*batch"]

    def __call__(self, state: State, key: Any) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""]]:
        clean = self.clean
        if isinstance(clean, FreshLoss):
            trials_key, key = jax.random.split(key)
            clean = clean.drawn(state, trials_key)
        response = clean.response(state)
        noise = self.std * jax.random.normal(key, response.shape, response.dtype)
        return clean.compare(response, clean.targets + noise), clean.compare(response, clean.targets)


label_noise = LabelNoise
