"""Flows of a few numbers that the learning of the whole matrix W follows exactly, from special starts.

Each system has a loss of a few coordinates y. They move by dy/ds = -mobility dL/dy, where each coordinate has a mobility of its
own (docs/integration.md, "One outlier" and "A conjugate pair"). A stiff solver integrates from 0 to the last time, so that slow
integrators can be learned. Below rates of about 1e-3 rounding limits its precision.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Complex, Float

from overlaps._support import AnyArray, argument_error, in_float64, number, said
from overlaps.integration._targets import energy, learning_times, pole, relative_rates

RTOL, ATOL = 1e-9, 1e-11
NOISE = 1e-16  # NOISE / rate^2 is the rounding error of small decay rates in stiff steps; the tolerance must not be below it
MOST_STEPS = 100_000

Coordinates = Float[AnyArray, " coordinates"]
Parameters = dict[str, Any]  # of the target and the start, as numbers


class System(NamedTuple):
    """A loss, the mobilities, and the outlier of W, each as a function of the coordinates (and of the parameters)."""

    coordinates: tuple[str, ...]
    loss: Callable[[Coordinates, Parameters], Any]
    mobility: Callable[[Coordinates, Parameters], Any]
    eigenvalue: Callable[[Coordinates], Any]


def outlier_flow(
    rate: float,
    times: Any,
    rates: Mapping[str, float] | None = None,
    eigenvalue: float = 0.0,
    amplitude: float = 1.0,
    imbalance: float = 0.0,
) -> xr.Dataset:
    """Learning of the leaky integrator exp(-rate t) by one outlier of W, from parallel vectors m and z.

    At the start, W is 0 outside of the direction of m and z. The response is f = g exp(-c t) with c = 1 - eigenvalue and
    g = m.z / N. At any N, for an infinite horizon, it obeys exactly

        L = g^2 / 2c - 2 g / (c + rate) + 1 / (2 rate),
        dc/ds = -r_W dL/dc,     dg/ds = -sqrt((r_m r_z Q)^2 + 4 r_m r_z g^2) dL/dg.

    - `rate`: decay rate of the target, per tau.
    - `times`: learning times, increasing from 0 or later.
    - `rates`: the rates r_W, r_m and r_z of "W", "m" and "z", relative to the learning rate. 0 freezes. Either both of m and z
      learn, or none.
    - `eigenvalue`, `amplitude`: the eigenvalue and g at the start.
    - `imbalance`: Q = m.m / (N r_m) - z.z / (N r_z), which is conserved. If it is not 0, both m and z have to learn.

    Returns a Dataset with `loss`, `outlier_real`, `outlier_imag` and `amplitude` along `time`. At rates below 1e-3 the drop of
    the loss, a window of 44 rate^3 in time, is not resolved (see `outlier_time`). Raises ValueError for numbers out of range,
    and RuntimeError if the solver fails. Derivation: docs/integration.md, "One outlier".
    """
    start = [1 - _stable(number("eigenvalue", eigenvalue)), number("amplitude", amplitude)]
    parameters = _parameters(rate, 0.0, _both_or_none(rates)) | {"imbalance": number("imbalance", imbalance)}
    return _solve(OUTLIER, start, times, parameters | {"amplitude": start[1]})


def pair_flow(
    rate: float,
    frequency: float,
    times: Any,
    rates: Mapping[str, float] | None = None,
    eigenvalue: complex = 0.0,
    amplitude: complex = 1.0,
    imbalance: float = 0.0,
) -> xr.Dataset:
    """Learning of a damped rotation, exp(-rate t) times the rotation by frequency t, with two inputs and two outputs.

    All quantities are complex numbers: f = g exp(-c t) with c = 1 - eigenvalue learns exp(-mu t), mu = rate + i frequency. This
    is exact if W = 0, m is two orthogonal vectors of equal length, and z is a rotation of them times a number. Arguments and
    errors are as in `outlier_flow`, with a complex eigenvalue and amplitude.

    Returns a Dataset with `loss`, `outlier_real`, `outlier_imag`, `amplitude_real` and `amplitude_imag` along `time`. The
    outlier is the upper eigenvalue of the pair, 1 - c or its conjugate. Derivation: docs/integration.md, "A conjugate pair".
    """
    start = [*_parts("eigenvalue", eigenvalue), *_parts("amplitude", amplitude)]
    _stable(start[0])
    parameters = _parameters(rate, frequency, _both_or_none(rates)) | {"imbalance": number("imbalance", imbalance)}
    return _solve(PAIR, start, times, parameters)


def orthogonal_flow(
    rate: float, times: Any, rates: Mapping[str, float] | None = None, size: float = 1.0, frequency: float = 0.0
) -> xr.Dataset:
    """Learning from W = 0 and orthogonal m and z of one length. Independent Gaussian vectors are like this for large N.

    In the plane of m and z, W is [[d, q], [p, d]] with the eigenvalues d +- sqrt(p q), and m = (a, b), z = (b, a): m and z
    change places if time is reversed. With frozen vectors f(0) = m.z / N stays 0, and the eigenvalue d - sqrt(p q) goes to
    minus infinity.

    - `rate`, `frequency`: of the target exp(-rate t) cos(frequency t), per tau.
    - `times`: learning times. `rates`: as in `outlier_flow`; those of m and z have to be equal.
    - `size`: |m| / sqrt(N) = |z| / sqrt(N) at the start.

    Returns a Dataset along `time` with `loss`, `outlier_real`, `outlier_imag`, and the coordinates `diagonal` d, `forward` p,
    `backward` q, `own` a and `other` b. Raises as `outlier_flow`.
    """
    start = [0.0, 0.0, 0.0, number("size", size, above=0.0), 0.0]
    return _solve(ORTHOGONAL, start, times, _parameters(rate, frequency, _equal_rates(rates)))


def plateau_flow(
    rate: float, frequency: float, times: Any, seed: float = 1e-3, rates: Mapping[str, float] | None = None
) -> xr.Dataset:
    """Learning of exp(-rate t) cos(frequency t) with one input and one output, from m = z and a small rotation.

    W is [[d1, -w], [w, d2]] in the plane of m and a vector orthogonal to it, with w = `seed` at the start. While w is small,
    the network is a leaky integrator at the best real pole, and the loss has a plateau. The network leaves the plateau at the
    rate `escape_rate` (docs/integration.md, "A conjugate pair"). Arguments are as in `orthogonal_flow`.

    Returns a Dataset along `time` with `loss`, `outlier_real`, `outlier_imag`, and the coordinates `first` d1, `second` d2,
    `rotation` w, `own` a and `other` b of m = (a, b) and z = (a, -b). Raises as `outlier_flow`.
    """
    start = [0.0, 0.0, number("seed", seed), 1.0, 0.0]
    return _solve(PLATEAU, start, times, _parameters(rate, frequency, _equal_rates(rates)))


def _stable(eigenvalue: float) -> float:
    if not eigenvalue < 1:
        raise argument_error("eigenvalue", "have a real part below 1, where the network is stable", f"{eigenvalue:g} came")
    return eigenvalue


def _parts(name: str, value: Any) -> tuple[float, float]:
    if isinstance(value, str) or not isinstance(value, complex | float | int | np.number):
        raise argument_error(name, "be a complex number", f"{value!r} came")
    return number(name, np.real(value)), number(name, np.imag(value))


def _parameters(rate: float, frequency: float, rates: dict[str, float]) -> Parameters:
    mu = pole(rate, frequency)
    return {"rate": mu.real, "frequency": mu.imag, "rates": rates}


def _both_or_none(rates: Mapping[str, float] | None) -> dict[str, float]:
    rates = relative_rates(rates)
    if (rates["m"] == 0) != (rates["z"] == 0):
        raise argument_error("rates", "freeze both of m and z, or none, for this system", f"{rates} came")
    return rates


def _equal_rates(rates: Mapping[str, float] | None) -> dict[str, float]:
    rates = relative_rates(rates)
    if rates["m"] != rates["z"]:
        raise argument_error("rates", "be equal for m and z in this system", f"{rates} came")
    return rates


@in_float64
def _solve(system: System, start: list[float], times: Any, parameters: Parameters) -> xr.Dataset:
    times = learning_times(times)
    parameters = jax.tree.map(np.asarray, parameters)  # plain numbers would become part of the compiled program
    solved = _trajectory(system, np.asarray(start, float), times, parameters)
    rows, losses, eigenvalues, failed = jax.tree.map(np.asarray, solved)
    if failed:
        reached = int(np.sum(np.all(np.isfinite(rows), axis=1)))
        before = times[reached - 1] if reached else 0.0
        raise RuntimeError(
            f"The flow could not be solved between learning times {before:g} and {times[reached]:g}: it is too stiff there "
            "(very small rates do this), or an eigenvalue goes to minus infinity. Choose earlier times."
        )
    losses = np.maximum(losses, 0.0)  # rounding can make the loss of a solution negative
    variables = {name: ("time", rows[:, index], said(name)) for index, name in enumerate(system.coordinates)}
    return xr.Dataset(
        {
            "loss": ("time", losses, said("loss", "1 / time")),
            "outlier_real": ("time", eigenvalues.real, said("real part of the outlier of W")),
            "outlier_imag": ("time", eigenvalues.imag, said("imaginary part of the outlier of W")),
            **{name: variable for name, variable in variables.items() if not name.startswith("eigenvalue")},
        },
        {"time": ("time", times, said("learning time, learning rate x step"))},
    )


@eqx.filter_jit
def _trajectory(
    system: System, start: Coordinates, times: Float[AnyArray, " time"], parameters: Parameters
) -> tuple[Float[AnyArray, "time coordinates"], Float[AnyArray, " time"], Complex[AnyArray, " time"], AnyArray]:
    def field(_: Any, now: Coordinates, parameters: Parameters) -> Coordinates:
        return -system.mobility(now, parameters) * jax.grad(system.loss)(now, parameters)

    end = times[-1]
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Kvaerno5(),
        t0=0.0,
        t1=jnp.where(end > 0, end, 1.0),
        dt0=None,
        y0=start,
        args=parameters,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=jnp.maximum(ATOL, NOISE / parameters["rate"] ** 2)),
        max_steps=MOST_STEPS,
        throw=False,
    )
    rows: Any = solution.ys
    losses = jax.vmap(system.loss, (0, None))(rows, parameters)
    return rows, losses, jax.vmap(system.eigenvalue)(rows) + 0j, solution.result != diffrax.RESULTS.successful


def rational_loss(trace: Any, determinant: Any, start: Any, slope: Any, mu: Any) -> Any:
    """The loss of f with Laplace transform (start s + slope) / (s^2 - trace s + determinant), for f* = Re exp(-mu t)."""
    damping = -trace
    cross = (start * mu + slope) / (mu**2 + damping * mu + determinant)
    own = (start**2 * determinant + slope**2) / (2 * determinant * damping)
    return own - 2 * cross.real + energy(mu)


def _pole(parameters: Parameters) -> Any:
    return parameters["rate"] + 1j * parameters["frequency"]


def _amplitude_mobility(size: Any, parameters: Parameters) -> Any:
    """Mobility of g = m.z / N. It depends on the lengths of m and z, which follow from g and the imbalance."""
    product = parameters["rates"]["m"] * parameters["rates"]["z"]
    square = (product * parameters["imbalance"]) ** 2 + 4 * product * size
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _outlier_loss(now: Coordinates, parameters: Parameters) -> Any:
    c, g, rate = now[0], now[1], parameters["rate"]
    return g**2 / (2 * c) - 2 * g / (c + rate) + 1 / (2 * rate)


def _outlier_mobility(now: Coordinates, parameters: Parameters) -> Any:
    # Vectors m and z of one length stop where both vanish, at amplitude 0. Errors of the solver must not carry them beyond.
    crossed = (parameters["imbalance"] == 0) & (now[1] * parameters["amplitude"] <= 0)
    amplitude = jnp.where(crossed, 0.0, _amplitude_mobility(now[1] ** 2, parameters))
    return jnp.stack([parameters["rates"]["W"], amplitude])


def _pair_loss(now: Coordinates, parameters: Parameters) -> Any:
    c, g, mu = 1 - now[0] - 1j * now[1], now[2] + 1j * now[3], _pole(parameters)
    size = now[2] ** 2 + now[3] ** 2
    return 2 * (size / (2 * c.real) - 2 * (g / (c + jnp.conj(mu))).real + 1 / (2 * mu.real))


def _pair_mobility(now: Coordinates, parameters: Parameters) -> Any:
    amplitude = _amplitude_mobility(now[2] ** 2 + now[3] ** 2, parameters)
    return jnp.stack([parameters["rates"]["W"], parameters["rates"]["W"], amplitude, amplitude]) / 2


def _orthogonal_loss(now: Coordinates, parameters: Parameters) -> Any:
    diagonal, forward, backward, a, b = now
    start, leak = 2 * a * b, 1 - diagonal
    slope = start * leak + forward * a**2 + backward * b**2
    return rational_loss(-2 * leak, leak**2 - forward * backward, start, slope, _pole(parameters))


def _orthogonal_mobility(_: Coordinates, parameters: Parameters) -> Any:
    weights, vectors = parameters["rates"]["W"], parameters["rates"]["m"]
    return jnp.stack([weights / 2, weights, weights, vectors / 2, vectors / 2])


def _plateau_loss(now: Coordinates, parameters: Parameters) -> Any:
    first, second, rotation, a, b = now
    leak, other = 1 - first, 1 - second
    start = a**2 - b**2
    # The numerator is start s + slope, slope = z^T (J - trace J) m with J = W - 1.
    slope = a**2 * other - b**2 * leak - 2 * a * b * rotation
    return rational_loss(-(leak + other), leak * other + rotation**2, start, slope, _pole(parameters))


def _plateau_mobility(_: Coordinates, parameters: Parameters) -> Any:
    weights, vectors = parameters["rates"]["W"], parameters["rates"]["m"]
    return jnp.stack([weights, weights, weights / 2, vectors / 2, vectors / 2])


def _plateau_eigenvalue(now: Coordinates) -> Any:
    return (now[0] + now[1]) / 2 + jnp.sqrt((now[0] - now[1]) ** 2 / 4 - now[2] ** 2 + 0j)


# The coordinate is 1 - eigenvalue, because this number keeps its digits if rates are small.
OUTLIER = System(("decay", "amplitude"), _outlier_loss, _outlier_mobility, lambda now: 1 - now[0])
PAIR = System(
    ("eigenvalue_real", "eigenvalue_imag", "amplitude_real", "amplitude_imag"),
    _pair_loss,
    _pair_mobility,
    lambda now: now[0] + 1j * jnp.abs(now[1]),
)
ORTHOGONAL = System(
    ("diagonal", "forward", "backward", "own", "other"),
    _orthogonal_loss,
    _orthogonal_mobility,
    lambda now: now[0] + jnp.sqrt(now[1] * now[2] + 0j),
)
PLATEAU = System(("first", "second", "rotation", "own", "other"), _plateau_loss, _plateau_mobility, _plateau_eigenvalue)
