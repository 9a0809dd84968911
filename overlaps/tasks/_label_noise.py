"""Noise on the targets: fresh at every step, and a symmetry breaker that leaves the loss as it is."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Float

from overlaps._checks import argument_error, numpy_for, parameter
from overlaps._connectivity import State
from overlaps._rnn import RNN
from overlaps._typing import AnyArray
from overlaps.tasks._filter_losses import SampledLoss
from overlaps.tasks._filters import LinearFilter
from overlaps.tasks._task import Task


class LabelNoise(Task):
    """A task whose targets get independent N(0, std^2) noise at each gradient step, one number per target sample.

    `task`: a filter task of finite horizon, for an rnn with a `dt`; its samples are those of the Euler network. `std` in the
    units of the target. The noise of a step is drawn from the key of `learn` and the number of the step alone, so that
    overlaps and networks that are trained with one key see the same noise. The reported loss is that of the targets without
    noise, and the reported gradient norm that of the gradient with noise. An array of std is a batch of tasks. Raises
    ValueError for a negative std, and `learn` does for a flow, for continuous time, or without a key.
    """

    task: LinearFilter
    std: Float[AnyArray, "*batch"]

    def __init__(self, task: Any, std: Any):
        if not isinstance(task, LinearFilter):
            raise argument_error("task", "be a filter task", f"{type(task).__name__} came")
        std = parameter("std", std, least=0.0)
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
        """The loss of the targets without noise."""
        return self.task.loss(state, rnn)

    def objective(self, state: State, rnn: RNN) -> Callable[..., Any]:
        return NoisyLoss(self.task.sampled_objective(state, rnn), self.std)


class NoisyLoss(eqx.Module):
    """sum_k w_k |f_k - f*_k - std xi_k|^2 for fresh xi, and the same without noise."""

    sampled: SampledLoss
    std: Float[AnyArray, ""]

    def __call__(self, state: State, key: Any) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""]]:
        errors = self.sampled.errors(state)
        noise = self.std * jax.random.normal(key, errors.shape, errors.dtype)
        return self.sampled.total(errors - noise), self.sampled.total(errors)


label_noise = LabelNoise
