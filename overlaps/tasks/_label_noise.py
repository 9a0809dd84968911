"""Noise on the targets: fresh at every step, and a symmetry breaker that leaves the loss as it is."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, numpy_for, parameter
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.tasks._filter_losses import SampledLoss
from overlaps.tasks._filters import LinearFilter
from overlaps.tasks._task import Task
from overlaps.tasks._trials import FreshLoss, FreshTrials, TrialLoss, Trials


class LabelNoise(Task):
    """A task whose targets get independent N(0, std^2) noise at each gradient step, one number per target sample.

    `task`: a task of trials, fixed or fresh, or a filter task of finite horizon for an rnn with a `dt`, whose samples are those
    of the Euler network. `std` in the units of the target; an array of std is a batch of tasks. The noise of a step is drawn
    from the key of `learn` and the number of the step alone, so that overlaps and networks that are trained with one key see
    the same noise. The reported loss is that of the targets without noise, and the reported gradient norm that of the gradient
    with noise. Raises ValueError for a negative std, an array of std for fresh trials, and `learn` does for a flow, for a
    filter task in continuous time, or without a key.
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
            raise argument_error("std", f"be one number, or {task.batch[0]}, as there are tasks", f"{std.size} came")
        xp = numpy_for(std, task)
        if std.ndim and not task.batch:
            task = jax.tree.map(lambda leaf: xp.broadcast_to(leaf, (*std.shape, *leaf.shape)), task)
        self.task = task
        self.std = xp.broadcast_to(std, task.batch)

    @property
    def loss_units(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.task.loss_units

    @property
    def batch(self) -> tuple[int, ...]:
        return self.task.batch

    @property
    def random(self) -> bool:
        return True

    def loss(self, state: State, rnn: RNN) -> Float[AnyArray, ""]:
        """The loss of the targets without noise; raises ValueError for fresh trials, of which `task.sample(key)` has one."""
        return self.task.loss(state, rnn)

    def objective(self, state: State, rnn: RNN) -> Callable[..., Any]:
        if isinstance(self.task, LinearFilter):
            return NoisyLoss(self.task.sampled_objective(state, rnn), self.std)
        return NoisyLoss(self.task.objective(state, rnn), self.std)


class NoisyLoss(eqx.Module):
    """The loss of targets with fresh noise of a standard deviation, and the same without noise."""

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
