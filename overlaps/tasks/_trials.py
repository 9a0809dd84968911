"""Trial tasks: time courses of the input, with targets for the output and the times at which they count."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import (
    AnyArray,
    argument_error,
    as_float,
    in_float64,
    is_traced,
    number,
    numpy_for,
    random_key,
    real_array,
)
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.tasks._picture import INPUT, TARGET, Curves
from overlaps.tasks._task import Task, evaluate, first_of, place_in, refuse_batch, require_sizes

LossFunction = Callable[[Any, Any, Any], Any]


def squared_error(outputs: AnyArray, targets: AnyArray, mask: AnyArray) -> Float[AnyArray, ""]:
    """sum(mask (y - y*)^2) / sum(mask), over trials, times and outputs. This is the default loss of trial tasks."""
    return jnp.sum(mask * (outputs - targets) ** 2) / jnp.sum(mask)


class Trials(Task):
    """A task with a fixed set of trials: inputs, targets for the output, and a mask that weights each target in the loss.

    - `inputs`: (trials, time, I), for I inputs.
    - `targets`: (trials, time, O), for O outputs. Sample k of the targets is compared with the output after input sample k has
      acted for the time `dt`.
    - `mask`: weights of the targets in the loss, not negative: (time,), (trials, time), or any shape that broadcasts to that of
      the targets. None for ones.
    - `dt`: the time between samples, in units of tau. For an rnn with Euler steps it must be their step. In continuous time
      each input sample is held for `dt`.
    - `loss`: a function of (outputs, targets, mask) that returns a number and is made of jax.numpy; None for `squared_error`.

    A further leading axis of inputs and targets makes a batch of tasks. Raises ValueError for shapes that do not fit, for a
    mask that has negative entries or is zero everywhere in a task, and for a loss that is no finite number.

    >>> import overlaps as ov
    >>> pulse = np.zeros((1, 100, 1)); pulse[:, :10] = 1.0
    >>> task = Trials(pulse, np.ones((1, 100, 1)), mask=np.arange(100) >= 50, dt=0.1)
    >>> net = ov.Overlaps.random(0)
    >>> task.loss(net, ov.RNN("tanh", dt=0.1)).round(2)
    np.float64(1.0)
    """

    inputs: Float[AnyArray, "*batch trials time I"]
    targets: Float[AnyArray, "*batch trials time O"]
    mask: Float[AnyArray, "*batch trials time O"]
    dt: float = eqx.field(static=True)
    loss_function: LossFunction = eqx.field(static=True, metadata={"argument": "loss"})

    def __init__(self, inputs: Any, targets: Any, mask: Any = None, dt: Any = None, loss: LossFunction | None = None):
        self.inputs, self.targets = (as_float(real_array(name, x)) for name, x in (("inputs", inputs), ("targets", targets)))
        if self.inputs.ndim not in (3, 4) or 0 in self.inputs.shape:
            raise argument_error(
                "inputs", "have shape (trials, time, inputs) and not be empty", f"its shape is {self.inputs.shape}"
            )
        if self.targets.shape[:-1] != self.inputs.shape[:-1] or 0 in self.targets.shape:
            expected = f"have shape {self.inputs.shape[:-1]} and then outputs, with the trials and times of `inputs`"
            raise argument_error("targets", expected, f"its shape is {self.targets.shape}")
        self.mask = _mask(mask, self.targets)
        self.dt = number("dt", dt, above=0.0)
        self.loss_function = squared_error if loss is None else loss
        if loss is not None and not is_traced(self.targets, self.mask):
            _check_loss(loss, *(array[(0,) * (array.ndim - 3)] for array in (self.targets, self.mask)))

    @property
    def batch(self) -> tuple[int, ...]:
        return self.inputs.shape[:-3]

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """The times of the targets, (time,), in units of tau. A target applies at the end of its sample."""
        return self.dt * np.arange(1, self.inputs.shape[-2] + 1)

    @in_float64
    def loss(self, state: Any, rnn: Any) -> Float[AnyArray, ""]:
        """The loss of `state` on these trials, with the dynamics of `rnn`: a number, which JAX can differentiate.

        Raises ValueError for a batch, and when the numbers of inputs or outputs, or the step dt, do not match.
        """
        refuse_batch(state, self)
        return evaluate(self.objective(state, rnn), state)

    def objective(self, state: Any, rnn: Any) -> "TrialLoss":
        if not isinstance(rnn, RNN):
            raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
        require_sizes(state, self.inputs.shape[-1], self.targets.shape[-1])
        rnn.step(self.dt)
        rnn.projection(
            first_of(state) if state.batch else state
        )  # raises ValueError if overlaps need a gain (mean slope) of phi that is not known
        return TrialLoss(self.inputs, self.targets, self.mask, rnn, self.dt, self.loss_function)

    def shown(self) -> tuple[str, list[Curves]]:
        one = first_of(self) if self.batch else self
        inputs, targets, mask = (np.asarray(array[0]) for array in (one.inputs, one.targets, one.mask))
        counted = np.where(mask > 0, targets, np.nan)
        title = f"the first of {len(one.inputs)} trials{place_in(self)}"
        return title, [Curves("input", self.times, inputs, INPUT), Curves("target", self.times, counted, TARGET)]

    def __repr__(self) -> str:
        trials, samples, inputs = self.inputs.shape[-3:]
        sizes = f"trials={trials}, samples={samples}, dt={self.dt:g}, inputs={inputs}, outputs={self.targets.shape[-1]}"
        return f"Trials({f'batch={self.batch[0]}, ' if self.batch else ''}{sizes})"


class TrialLoss(eqx.Module):
    """The loss of a state on trials. It simulates the latents, the variables that determine the output."""

    inputs: Float[AnyArray, "*batch trials time I"]
    targets: Float[AnyArray, "*batch trials time O"]
    mask: Float[AnyArray, "*batch trials time O"]
    rnn: RNN
    dt: float = eqx.field(static=True)
    loss: LossFunction = eqx.field(static=True)

    def __call__(self, state: State) -> Float[AnyArray, ""]:
        return self.compare(self.response(state), self.targets)

    def response(self, state: State) -> Float[AnyArray, "trials time O"]:
        """The outputs of the state on the trials."""
        return self.rnn.simulate(state, self.inputs, self.dt)[1]

    def compare(self, response: AnyArray, targets: AnyArray) -> Float[AnyArray, ""]:
        """The loss of outputs for these targets."""
        return self.loss(response, targets, self.mask)


class TrialGenerator(eqx.Module):
    """A random distribution of trials: each key draws one set of trials. Subclasses define `trials`."""

    @abc.abstractmethod
    def trials(self, key: jax.Array) -> Trials:
        """The set of trials that `key` draws. It must be made of jax.numpy."""

    def task(self, key: Any) -> "Trials | FreshTrials":
        """The set of trials that `key` draws, or for None the task that draws new trials at each step of learning."""
        fresh = FreshTrials(self)
        drawn = fresh.sample(0 if key is None else key)  # raises for a mask that is zero everywhere
        return fresh if key is None else drawn


class FreshTrials(Task):
    """A task that draws new trials at each step of gradient descent.

    The trials of a step depend only on the key of `learn` and on the number of the step. The loss that `learn` reports for a
    step is the loss on the trials of this step. `learn` raises ValueError for gradient flow, and if it gets no key.

    - `generator`: the distribution of trials.
    """

    generator: TrialGenerator

    @property
    def batch(self) -> tuple[int, ...]:
        return ()

    @property
    def random(self) -> bool:
        return True

    def loss(self, state: Any, rnn: Any) -> Any:
        """Raises ValueError: there is no loss before trials are drawn. Use `sample` to draw them."""
        raise argument_error("task", "be fixed to have a loss", "it draws new trials", "Use task.sample(key).loss(...).")

    def sample(self, key: Any) -> Trials:
        """The set of trials that `key`, a jax.random key or an integer seed, draws. Raises ValueError for an array of keys."""
        key = random_key("key", key)
        if key.shape:
            raise argument_error("key", "be a single key", f"a batch of {key.shape[0]} came", "Draw trials one by one.")
        return _draw(self.generator, key)

    def shown(self) -> tuple[str, list[Curves]]:
        title, curves = self.sample(0).shown()
        return f"{title} that seed 0 draws", curves

    def objective(self, state: State, rnn: RNN) -> "FreshLoss":
        # Computes nothing, and raises the errors of `objective` now, before the first trials are drawn.
        jax.eval_shape(lambda key: self.generator.trials(key).objective(state, rnn), jax.random.key(0))
        return FreshLoss(self.generator, rnn)


class FreshLoss(eqx.Module):
    """The loss of a state on trials that are drawn from a key."""

    generator: TrialGenerator
    rnn: RNN

    def drawn(self, state: State, key: Any) -> TrialLoss:
        """The loss, as a function of states, on the trials of one key."""
        return self.generator.trials(key).objective(state, self.rnn)

    def __call__(self, state: State, key: Any) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""]]:
        loss = self.drawn(state, key)(state)
        return loss, loss


@in_float64
def _draw(generator: TrialGenerator, key: Any) -> Trials:
    trials = eqx.filter_jit(type(generator).trials)(generator, key)
    _check_mask(trials.mask)  # here, because the compiled function above could not read its values
    return trials


def _mask(mask: Any, targets: Any) -> Any:
    xp = numpy_for(mask, targets)
    mask = xp.ones(targets.shape) if mask is None else as_float(real_array("mask", mask))
    if mask.shape in (targets.shape[:-1], targets.shape[-3:-1], targets.shape[-2:-1]):
        mask = mask[..., None]
    try:
        fits = np.broadcast_shapes(mask.shape, targets.shape) == targets.shape
    except ValueError:
        fits = False
    if not fits:
        raise argument_error("mask", f"broadcast to the shape {targets.shape} of `targets`", f"its shape is {mask.shape}")
    mask = xp.broadcast_to(mask, targets.shape)
    _check_mask(mask)
    return mask


def _check_mask(mask: Any) -> None:
    if not is_traced(mask) and (np.any(mask < 0) or not np.all(np.any(mask > 0, axis=(-3, -2, -1)))):
        came = "it has negative entries" if np.any(mask < 0) else "it is zero everywhere, so that no output counts"
        raise argument_error("mask", "be weights, some of them positive", came, "A weight of 0 leaves a target out.")


@in_float64
def _check_loss(loss: LossFunction, targets: Any, mask: Any) -> None:
    """Raise ValueError unless the user's loss is a finite number with a finite gradient, at outputs close to the targets."""
    must = "be a function of (outputs, targets, mask) that returns a finite number and is made of jax.numpy"
    if not callable(loss):
        raise argument_error("loss", must, f"{loss!r} came")
    try:
        value, slope = jax.value_and_grad(lambda outputs: loss(outputs, targets, mask))(jnp.asarray(targets + 0.1))
    except Exception as error:  # whatever a user's function raises
        raise argument_error("loss", must, f"differentiating it gave {type(error).__name__}: {error}") from error
    if not (np.isfinite(value) and np.all(np.isfinite(slope))):
        raise argument_error(
            "loss", must, f"for outputs close to the targets it returned {value}, or its gradient is not finite"
        )
