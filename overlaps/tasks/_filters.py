"""Filter tasks: the network learns to have the impulse response of a given linear system."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps._support import (
    AnyArray,
    argument_error,
    as_float,
    in_float64,
    is_traced,
    number,
    numpy_for,
    parameter,
    real_array,
)
from overlaps.connectivity import State, require_no_constants
from overlaps.dynamics import LARGEST_PANEL_NORM, LARGEST_TAYLOR_NORM, RNN, quadrature
from overlaps.tasks._filter_losses import GramianLoss, SampledLoss
from overlaps.tasks._picture import TARGET, Curves
from overlaps.tasks._task import Task, evaluate, first_of, place_in, refuse_batch, require_sizes
from overlaps.tasks._time import samples_of

# Rates, per tau, that are resolved even where JAX traces the values, so that the true rates cannot be read. Faster rates give
# a loss of NaN there.
DEFAULT_RATE, SPARE_RATE = 4.0, 256.0
# The largest numbers of pieces of a horizon. Simulated networks step through them one by one, Gramians double a piece.
MOST_PANELS, MOST_PIECES = 2.0**16, 2.0**60
MOST_SHOWN = 6  # poles in an error


class LinearFilter(Task):
    """The task to filter the input with the impulse response f*(t) = C exp(A t) B. The network must be linear.

    The loss is the squared distance int_0^horizon |f(t) - f*(t)|^2 dt, where f is the impulse response of the network. For
    white-noise input of unit intensity this is the expected squared error E |y - y*|^2 of the output at the end of the horizon
    (docs/theory.md, "The loss in closed form"). For an rnn with Euler steps dt the loss is the sum over k < horizon / dt of
    |f_k - f*(k dt)|^2 dt.

    - `A`, `B`, `C`: array-like of shapes (n, n), (n, I) and (O, n), for I inputs and O outputs. A is per unit of time, and the
      unit of time is that of tau. A leading axis makes a batch of tasks.
    - `horizon`: the duration over which impulse responses are compared, in the same unit of time; None for infinite.

    Raises ValueError for shapes that do not fit, for a horizon that is not positive, and for an infinite horizon if f* does not
    decay.
    """

    A: Float[AnyArray, "*batch n n"]
    B: Float[AnyArray, "*batch n I"]
    C: Float[AnyArray, "*batch O n"]
    horizon: float | None = eqx.field(static=True)

    loss_units: ClassVar[str] = "1 / time"

    def __init__(self, A: Any, B: Any, C: Any, horizon: float | None = 20.0):
        arrays = [as_float(real_array(name, value)) for name, value in (("A", A), ("B", B), ("C", C))]
        batch = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
        rows = arrays[0].shape[-1] if arrays[0].ndim else 0
        for name, array, fits in zip(
            "ABC",
            arrays,
            (arrays[0].shape[-2:] == (rows, rows), arrays[1].shape[-2:-1] == (rows,), arrays[2].shape[-1:] == (rows,)),
            strict=True,
        ):
            if not fits or array.ndim not in (2, 3) or 0 in array.shape:
                expected = {"A": "(n, n)", "B": "(n, inputs)", "C": "(outputs, n)"}[name]
                must = f"have shape {expected} with n = {rows}, after a batch axis if there is a batch"
                raise argument_error(name, must, f"its shape is {array.shape}")
        xp = numpy_for(arrays)
        self.A, self.B, self.C = (xp.broadcast_to(array, (*batch, *array.shape[-2:])) for array in arrays)
        duration = None if horizon is None else number("horizon", horizon, above=0.0)
        self.horizon = duration  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.horizon is None and not is_traced(self.A) and np.max(np.linalg.eigvals(self.A).real) >= 0:
            raise argument_error(
                "horizon",
                "be finite for a target that does not decay",
                "None came",
                "Its loss is infinite: pass a number, or a target of positive decay rate.",
            )

    @property
    def inputs(self) -> int:
        return self.B.shape[-1]

    @property
    def outputs(self) -> int:
        return self.C.shape[-2]

    @property
    def batch(self) -> tuple[int, ...]:
        return self.A.shape[:-2]

    @in_float64
    def impulse_response(self, times: Any) -> Float[AnyArray, "*batch samples O I"]:
        """The wanted impulse response f*(t) at `times`, of shape (samples, O, I); `times`: (samples,), in the unit of tau."""
        A, B, C = (array[..., None, :, :] for array in (self.A, self.B, self.C))
        return C @ expm(A * real_array("times", times, ndim=1)[:, None, None]) @ B

    @in_float64
    def loss(self, state: State, rnn: RNN) -> Float[AnyArray, ""]:
        """The loss of `state` with the dynamics of `rnn`: a number, which JAX can differentiate.

        A network and its overlaps have the same loss. Raises ValueError for a nonlinear rnn, for a batch, when the numbers of
        inputs or outputs do not match, when the horizon is no multiple of dt, and when the horizon is infinite but the network
        is unstable.
        """
        refuse_batch(state, self)
        return evaluate(self.objective(state, rnn), state)

    def objective(self, state: State, rnn: RNN) -> Callable[[State], Float[AnyArray, ""]]:
        self._check(state, rnn)
        doublings = self._doublings(state, rnn)
        if state.simulated and self.horizon is not None:
            return self._sampled(rnn, self.horizon, doublings)
        if rnn.dt is None:
            steps = None if self.horizon is None else doublings
            return GramianLoss(self.A, self.B, self.C, None, rnn, self.horizon or np.inf, steps)
        steps = None if self.horizon is None else samples_of("horizon", self.horizon, rnn.dt)
        return GramianLoss(self.A, self.B, self.C, expm(self.A * rnn.dt), rnn, self.horizon or np.inf, steps)

    def admits(self, state: State, rnn: RNN) -> np.ndarray:
        if self.horizon is None:
            return self._stable(state, rnn)
        if rnn.dt is not None:
            return super().admits(state, rnn)
        return self.horizon * self._rates(state, rnn)[0] <= _most_pieces(state)

    def sampled_objective(self, state: State, rnn: RNN) -> SampledLoss:
        """The same loss as a sum over Euler samples, so that noise can be added to each sample.

        Raises ValueError as `loss` does, and for continuous time or an infinite horizon.
        """
        self._check(state, rnn)
        if rnn.dt is None or self.horizon is None:
            raise argument_error(
                "task",
                "have samples to carry noise",
                "its horizon is infinite" if self.horizon is None else "time is continuous",
                "Give the task a finite horizon and the rnn a `dt`.",
            )
        return self._sampled(rnn, self.horizon)

    def _sampled(self, rnn: RNN, horizon: float, doublings: int = 0) -> SampledLoss:
        if rnn.dt is None:
            steps = 2**doublings  # panels
            times, weights = quadrature(steps, horizon)
        else:
            steps = samples_of("horizon", horizon, rnn.dt)
            times, weights = np.arange(steps) * rnn.dt, np.full(steps, rnn.dt)
        target = self.impulse_response(times)
        if rnn.dt is None and is_traced(self.A):
            resolved = jnp.linalg.norm(self.A, 1) * horizon <= LARGEST_PANEL_NORM * steps
            target = jnp.where(resolved, target, jnp.nan)
        return SampledLoss(target, np.broadcast_to(weights, (*self.batch, len(weights))), rnn, steps, horizon)

    def _check(self, state: State, rnn: RNN) -> None:
        rnn.require_linear()
        require_sizes(state, self.inputs, self.outputs)
        require_no_constants(state)
        if self.horizon is not None or is_traced(state):
            return
        unstable = np.flatnonzero(~self._stable(state, rnn))
        if unstable.size:
            poles = _poles(state, rnn)[unstable[0]] if state.batch else _poles(state, rnn)
            poles = np.array2string(poles[np.argsort(-poles.real)][:MOST_SHOWN], precision=3)
            found = f"networks {unstable.tolist()} of the batch are unstable, the first" if state.batch else "it is unstable,"
            slower = "take a bulk of smaller radius, scale u or v down" if state.has_bulk else "scale u or v down"
            raise argument_error(
                "state",
                "be a stable network for a task of infinite horizon",
                f"{found} with the poles {poles}",
                f"Activity does not decay there and the loss is infinite: {slower}, or give the task a finite horizon.",
            )

    def _stable(self, state: State, rnn: RNN) -> Any:
        """Whether the loss over an infinite horizon is finite, for each network of a batch."""
        poles = _poles(state, rnn)
        return np.all(poles.real < 0 if rnn.dt is None else np.abs(1 + rnn.dt * poles) < 1, axis=-1)

    def _doublings(self, state: State, rnn: RNN) -> int:
        """How often to halve a finite horizon in continuous time, so that its pieces are short enough for a whole batch."""
        if self.horizon is None or rnn.dt is not None:
            return 0
        networks, target = self._rates(state, rnn)
        network, most = float(np.max(networks)), _most_pieces(state)
        pieces = self.horizon * max(network, target)
        if not pieces <= most:
            fast, name = ("scale u and v down", "state") if network > target else ("slow its fastest pole down", "task")
            raise argument_error(
                name,
                f"be slow enough for {most:g} pieces of the horizon to resolve it",
                f"its fastest rates need {pieces:.3g} pieces",
                f"It is too fast to be resolved: {fast}, shorten the horizon, or give the rnn a `dt`.",
            )
        return max(0, math.ceil(math.log2(pieces)))

    def _rates(self, state: State, rnn: RNN) -> tuple[Any, float]:
        """How many pieces per unit of time power series need to converge, for each network of a batch, and for the target.

        Simulated networks use the power series of the response. All other states use that of a Gramian, the integral that
        gives the loss. Pieces of a Gramian are cheap, so they are short enough for rates far above those that occur.
        """
        if state.simulated:
            measured = 0.0 if is_traced(state) else (1 + 2 * state.recurrent_norm()) / rnn.tau  # pyright: ignore
            return np.maximum(measured, DEFAULT_RATE / rnn.tau), self._rate()
        measured = 0.0 if is_traced(state) else 4 * np.linalg.norm(rnn.system(state).A, 1, axis=(-2, -1))
        network = np.maximum(measured, SPARE_RATE / rnn.tau)
        return network / LARGEST_TAYLOR_NORM, 2 * self._rate() / LARGEST_TAYLOR_NORM

    def _rate(self) -> float:
        """The fastest rate of the target, 0 if it is traced."""
        return 0.0 if is_traced(self.A) else float(np.linalg.norm(self.A, 1, axis=(-2, -1)).max())

    def shown(self) -> tuple[str, list[Curves]]:
        one = first_of(self) if self.batch else self
        slowest = -np.max(np.linalg.eigvals(np.asarray(one.A)).real)
        times = np.linspace(0.0, self.horizon or 5 / slowest, 1001)
        responses = np.asarray(one.impulse_response(times)).reshape(len(times), -1)
        return f"wanted impulse response{place_in(self)}", [Curves("target", times, responses, TARGET)]

    def __repr__(self) -> str:
        inputs, outputs = self.inputs, self.outputs
        horizon = "infinite" if self.horizon is None else f"{self.horizon:g}"
        poles = "traced" if is_traced(self.A) else np.array2string(np.real_if_close(np.linalg.eigvals(self.A)), precision=4)
        return f"LinearFilter(inputs={inputs}, outputs={outputs}, poles={poles}, horizon={horizon})"


def exponential_filter(rate: Any = 0.2, amplitude: Any = 1.0, horizon: float | None = 20.0) -> LinearFilter:
    """The filter task of [GB26]: the network learns the impulse response f*(t) = amplitude exp(-rate t), a leaky integrator.

    - `rate`: the decay rate, per unit of time, where the unit is that of tau. 0 is the perfect integrator, which needs a finite
      horizon.
    - `amplitude`: the impulse response at time 0.
    - `horizon`: the duration over which impulse responses are compared, in the same unit of time; None for infinite.

    An array of rates or amplitudes, (batch,), makes a batch of tasks. The network must be linear and have one input and one
    output. At rank 1, tau = 1 and in continuous time, the solutions (networks of zero loss) are zm = amplitude,
    zu vm = amplitude (1 - rate), vu = 1 - rate. Here zm is the overlap z.m / N, and so on (docs/theory.md, "The solutions of
    the exponential filter").

    Returns a `LinearFilter`. Raises ValueError for a negative rate, for a horizon that is not positive, and for rate 0 with an
    infinite horizon.
    """
    rate, amplitude = parameter("rate", rate, least=0.0), parameter("amplitude", amplitude)
    return LinearFilter(-_stack([[rate]]), [[1.0]], _stack([[amplitude]]), horizon)


def damped_oscillation(
    rate: Any = 0.3, frequency: Any = 2.0, amplitude: Any = 1.0, horizon: float | None = 20.0
) -> LinearFilter:
    """A filter task: the network learns the damped oscillation f*(t) = amplitude exp(-rate t) cos(frequency t).

    Networks can learn it from rank 2 on.

    - `rate`, `frequency`: the decay rate and the angular frequency, per unit of time, where the unit is that of tau.
    - `amplitude`: the impulse response at time 0.
    - `horizon`: the duration over which impulse responses are compared, in the same unit of time; None for infinite.

    An array of rates, frequencies or amplitudes, (batch,), makes a batch of tasks. The network must be linear, with one input
    and one output.

    Returns a `LinearFilter`. Raises ValueError for a negative rate, for a frequency or a horizon that is not positive, and for
    rate 0 with an infinite horizon.
    """
    rate, frequency = parameter("rate", rate, least=0.0), parameter("frequency", frequency, above=0.0)
    amplitude = parameter("amplitude", amplitude)
    return LinearFilter(
        _stack([[-rate, -frequency], [frequency, -rate]]), [[1.0], [0.0]], _stack([[amplitude, 0.0 * amplitude]]), horizon
    )


linear_filter = LinearFilter


def _most_pieces(state: State) -> float:
    return MOST_PANELS if state.simulated else MOST_PIECES


def _poles(state: State, rnn: RNN) -> Any:
    """The poles of the impulse response that depend on the recurrence: (lambda - 1) / tau for the eigenvalues lambda of W."""
    return (state.modes() - 1) / rnn.tau


def _stack(rows: list[list[Any]]) -> Any:
    """A matrix from its entries, or a batch of matrices where entries are arrays."""
    xp = numpy_for(rows)
    entries = xp.broadcast_arrays(*(entry for row in rows for entry in row))
    return xp.stack(entries, axis=-1).reshape(*entries[0].shape, len(rows), len(rows[0]))


def expm(A: Any) -> Any:
    return jax.scipy.linalg.expm(A) if is_traced(A) else scipy.linalg.expm(A)
