"""Filter tasks: the impulse response of the network is to become that of a given linear system."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps._checks import argument_error, is_traced, number, numpy_for, parameter, real_array
from overlaps._connectivity import Network, State
from overlaps._gramians import finite_integral, finite_sum, infinite_integral, infinite_sum
from overlaps._precision import in_float64
from overlaps._rnn import RNN
from overlaps._simulation import euler_response, exact_response, quadrature
from overlaps._typing import AnyArray

DEFAULT_RATE = 4.0  # per tau: the fastest rate that is assumed where values cannot be read


class LinearFilter(eqx.Module):
    """Filter the input with the impulse response f*(t) = C exp(A t) B.

    The loss is the squared distance int_0^horizon |f(t) - f*(t)|^2 dt of the impulse responses, which for white-noise input
    of unit intensity is E |y - y*|^2 at the end of the horizon (docs/theory.md, "The loss in closed form"). With an Euler
    network it is the sum over k < horizon / dt of |f_k - f*(k dt)|^2 dt.

    A: (n, n), B: (n, I), C: (O, n), array-like, in units of 1 / tau and 1 respectively; `horizon` in the unit of tau,
    None for infinite. Raises ValueError for shapes that do not fit, a non-positive horizon, or an unstable A with an
    infinite horizon.
    """

    A: Float[AnyArray, "n n"]
    B: Float[AnyArray, "n I"]
    C: Float[AnyArray, "O n"]
    horizon: float | None = eqx.field(static=True)

    loss_units: ClassVar[str] = "1 / tau"

    def __init__(self, A: Any, B: Any, C: Any, horizon: float | None = 20.0):
        self.A = real_array("A", A, ndim=2)
        self.B = real_array("B", B, ndim=2)
        self.C = real_array("C", C, ndim=2)
        n = self.A.shape[0]
        for name, shape, expected in (
            ("A", self.A.shape, (n, n)),
            ("B", self.B.shape, (n, self.B.shape[1])),
            ("C", self.C.shape, (self.C.shape[0], n)),
        ):
            if shape != expected or 0 in shape:
                raise argument_error(name, f"have shape {expected}, since `A` has {n} rows", f"its shape is {shape}")
        self.horizon = None if horizon is None else number("horizon", horizon, above=0.0)
        if self.horizon is None and not is_traced(self.A) and np.max(np.linalg.eigvals(self.A).real) >= 0:
            raise argument_error(
                "horizon",
                "be finite for a target that does not decay",
                "None came",
                "Its loss is infinite: pass a number, or a target of positive decay rate.",
            )

    @property
    def inputs(self) -> int:
        return self.B.shape[1]

    @property
    def outputs(self) -> int:
        return self.C.shape[0]

    @in_float64
    def impulse_response(self, times: Any) -> Float[AnyArray, "samples O I"]:
        """f*(t) at `times` of shape (samples,), in the unit of tau."""
        times = real_array("times", times, ndim=1)
        return self.C @ _expm(self.A * times[:, None, None]) @ self.B

    @in_float64
    def loss(self, state: State, rnn: RNN) -> Float[AnyArray, ""]:
        """The loss of `state` under this task; differentiable, and the same for overlaps and their network.

        Raises ValueError when inputs or outputs do not match, when the horizon is no multiple of dt, and when the horizon
        is infinite but the network unstable.
        """
        return _evaluate(self.objective(state, rnn), state)

    def objective(self, state: State, rnn: RNN) -> Callable[[State], Float[AnyArray, ""]]:
        """The loss as a function of states shaped like `state`, everything else prepared; raises as `loss` does."""
        self._check(state, rnn)
        if not isinstance(state, Network) or self.horizon is None:
            if rnn.dt is None:
                return GramianLoss(self, rnn, None, None)
            samples = None if self.horizon is None else _samples(self.horizon, rnn.dt)
            return GramianLoss(self, rnn, _expm(self.A * rnn.dt), samples)
        if rnn.dt is None:
            steps = self._panels(state, rnn, self.horizon)
            times, weights = quadrature(steps, self.horizon)
        else:
            steps = _samples(self.horizon, rnn.dt)
            times, weights = np.arange(steps) * rnn.dt, np.full(steps, rnn.dt)
        return SimulatedLoss(self.impulse_response(times), weights, rnn, steps, self.horizon)

    def _check(self, state: State, rnn: RNN) -> None:
        inputs, _, outputs = state.layout
        for name, has, needs in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if has != needs:
                raise argument_error("state", f"have {needs} {name}, as the task has", f"it has {has}")
        if self.horizon is None and not is_traced(state):
            with jax.enable_x64(True):
                A = np.asarray(rnn.system(state.overlaps()).A)
            poles = np.linalg.eigvals(A)
            stable = np.all(poles.real < 0) if rnn.dt is None else np.all(np.abs(1 + rnn.dt * poles) < 1)
            if not stable:
                raise argument_error(
                    "state",
                    "be a stable network for a task of infinite horizon",
                    f"its poles {np.array2string(poles, precision=3)} make activity grow",
                    "The loss is infinite there: scale u or v down, or give the task a finite horizon.",
                )

    def _panels(self, state: Network, rnn: RNN, horizon: float) -> int:
        """Panels on which the power series of network and target converge, rounded up to a power of two."""
        rate = DEFAULT_RATE / rnn.tau
        if not is_traced(self, state):
            net = state.overlaps()
            weights = math.sqrt(np.linalg.norm(net["uu"], 2) * np.linalg.norm(net["vv"], 2))
            rate = max((1 + 2 * weights) / rnn.tau, float(np.linalg.norm(self.A, 2)))
        return 2 ** max(0, math.ceil(math.log2(horizon * rate)))

    def __repr__(self) -> str:
        inputs, outputs = self.inputs, self.outputs
        horizon = "infinite" if self.horizon is None else f"{self.horizon:g}"
        poles = "traced" if is_traced(self.A) else np.array2string(np.linalg.eigvals(self.A), precision=4)
        return f"LinearFilter(inputs={inputs}, outputs={outputs}, poles={poles}, horizon={horizon})"


class GramianLoss(eqx.Module):
    """|f - f*|^2 as C X C^T with X the Gramian of network and target side by side: no time stepping."""

    task: LinearFilter
    rnn: RNN
    propagator: Float[AnyArray, "n n"] | None  # exp(A* dt), for Euler
    samples: int | None = eqx.field(static=True)

    def __call__(self, state: State) -> Float[AnyArray, ""]:
        system, task, dt = self.rnn.system(state), self.task, self.rnn.dt
        source = jnp.concatenate([system.B, task.B])
        source = source @ source.T
        readout = jnp.concatenate([system.C, -task.C], axis=1)
        if dt is None:
            joint = jax.scipy.linalg.block_diag(system.A, task.A)
            if task.horizon is None:
                gramian = infinite_integral(joint, source)
            else:
                gramian = finite_integral(joint, source, task.horizon, self.rnn.tau)
        else:
            joint = jax.scipy.linalg.block_diag(jnp.eye(system.A.shape[0]) + dt * system.A, self.propagator)
            samples = self.samples
            gramian = dt * (infinite_sum(joint, source) if samples is None else finite_sum(joint, source, samples))
        return jnp.sum(readout @ gramian * readout)


class SimulatedLoss(eqx.Module):
    """|f - f*|^2 from the simulated impulse response of all N units."""

    target: Float[AnyArray, "samples O I"]
    weights: Float[AnyArray, " samples"]
    rnn: RNN
    steps: int = eqx.field(static=True)  # Euler steps, or panels in continuous time
    horizon: float = eqx.field(static=True)

    def __call__(self, state: Any) -> Float[AnyArray, ""]:
        if self.rnn.dt is None:
            response = exact_response(state, self.rnn, self.steps, self.horizon)
        else:
            response = euler_response(state, self.rnn, self.rnn.dt, self.steps)
        return jnp.einsum("k,koi->", self.weights, (response - self.target) ** 2)


def exponential_filter(rate: Any = 0.2, amplitude: Any = 1.0, horizon: float | None = 20.0) -> LinearFilter:
    """The leaky integrator f*(t) = amplitude exp(-rate t), the filter task of [GB26].

    `rate` in units of 1 / tau, 0 for the perfect integrator, which needs a finite horizon; `horizon` in units of tau, None for
    infinite. At rank 1 and tau = 1 the solutions are zm = amplitude, zu vm = amplitude (1 - rate), vu = 1 - rate. Raises
    ValueError for a negative rate or a non-positive horizon.
    """
    rate, amplitude = parameter("rate", rate, least=0.0), parameter("amplitude", amplitude)
    return LinearFilter(-_stack([[rate]]), [[1.0]], _stack([[amplitude]]), horizon)


def damped_oscillation(
    rate: Any = 0.3, frequency: Any = 2.0, amplitude: Any = 1.0, horizon: float | None = 20.0
) -> LinearFilter:
    """The damped oscillation f*(t) = amplitude exp(-rate t) cos(frequency t), learned from rank 2 on.

    `rate` and the angular `frequency` in units of 1 / tau; `horizon` in units of tau, None for infinite. Raises ValueError
    for a negative rate, a non-positive frequency or a non-positive horizon.
    """
    rate, frequency = parameter("rate", rate, least=0.0), parameter("frequency", frequency, above=0.0)
    amplitude = parameter("amplitude", amplitude)
    return LinearFilter(_stack([[-rate, -frequency], [frequency, -rate]]), [[1.0], [0.0]], _stack([[amplitude, 0.0]]), horizon)


linear_filter = LinearFilter


@eqx.filter_jit
def _evaluate(objective: Callable[[State], Float[AnyArray, ""]], state: State) -> Float[AnyArray, ""]:
    return objective(state)


def _stack(rows: list[list[Any]]) -> Any:
    return numpy_for(rows).array(rows)


def _expm(A: Any) -> Any:
    return jax.scipy.linalg.expm(A) if is_traced(A) else scipy.linalg.expm(A)


def _samples(horizon: float, dt: float) -> int:
    """Number of Euler samples in the horizon; raises ValueError unless it is whole."""
    samples = round(horizon / dt)
    if samples < 1 or abs(horizon / dt - samples) > 1e-9 * samples:
        raise argument_error("horizon", f"be a whole multiple of dt = {dt:g}", f"{horizon:g} came")
    return samples
