"""What each row of the memory table runs: networks and tasks, learning rules, and the law by which each rule changes a charge.

A charge is a quantity that gradient flow conserves, such as uu - vv (docs/symmetries.md, "Charges from symmetries").
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from overlaps._support import in_float64
from overlaps.connectivity import Overlaps, State
from overlaps.dynamics import RNN
from overlaps.learning import GradientDescent, GradientFlow, final_state, learn
from overlaps.studies._memory import exponential_rate, memory
from overlaps.tasks import exponential_filter, label_noise, teacher

POINTS = 4  # values of the parameter in each scan
REPEATS = 8  # draws of the noise per value
EDGE_STEPS = 20000  # enough for oscillations at the edge of stability to die out
NEURONS = 100  # in the networks that Adam trains


class System(NamedTuple):
    """Two tasks, an initial state, and the step sizes and durations of its training."""

    start: State
    rnn: RNN
    first: Any
    second: Any
    learning_rate: float  # far below the edge of stability, where descent becomes unstable
    duration: float  # learning time of a phase, enough for the slowest direction to converge
    early: float  # learning time in which much of A is learned
    edge: tuple[float, float]  # range of learning rates beyond the edge of stability at which training still converges
    decay: float  # weight decay, slow compared with learning


class Law(NamedTuple):
    """A scaling law: how a measured quantity grows with the parameter of a rule."""

    parameter: str
    measured: str
    expected: float  # the expected exponent, NaN if there is none
    values: Any  # (points,)
    results: Any  # (points,), or (points, repeats) under noise


def _start() -> Overlaps:
    return Overlaps.random(0).replace(uu=2.0, mu=0.8)


def _linear() -> System:
    first, second = exponential_filter(0.2), exponential_filter(0.4)
    return System(_start(), RNN(dt=0.1), first, second, 1e-3, 20.0, 1.0, (0.011, 0.014), 0.01)


def _erf(amplitude: float = 1.0) -> System:
    """Erf networks that learn to imitate teachers, which are other erf networks.

    The students can have the same function as these teachers. Filters would instead drive erf networks to smaller and smaller
    activity, where erf is linear.
    """
    rnn = RNN("erf", dt=0.5)
    teachers = [Overlaps(3 * np.eye(4)).replace(zm=1.0, zu=1.0, vm=1.0, vu=vu, mm=1.0, uu=1.0, mu=0.3) for vu in (0.8, 0.4)]
    inputs = {"duration": 6.0, "pulse": 3.0 * amplitude, "length": 2.0, "noise": 3.0 * amplitude}
    first, second = (teacher(one, rnn, 0, trials=8, **inputs) for one in teachers)
    return System(_start(), rnn, first, second, 0.1, 3000.0, 5.0, (1.72, 1.785), 1e-4)


def _mean_field() -> System:
    return _erf()._replace(start=_start().mean_field(256), duration=800.0)


MEAN_FIELD = "erf mean field"
SYSTEMS: dict[str, Callable[[], System]] = {"linear": _linear, "erf": _erf, MEAN_FIELD: _mean_field}


# Each of these functions runs one rule. It returns the protocols at one value of the parameter of the rule, the learning time
# per unit of learning rate x step, and the scaling law.


def _flow(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    protocols = _protocols(system, GradientFlow(system.duration, rtol=1e-8, atol=1e-10))
    if system.rnn.phi == "linear":
        values = 1e-4 * 10.0 ** -np.arange(POINTS)
        rules = [GradientFlow(system.early, rtol=value, atol=value / 100) for value in values]
        ends = [learn(system.start, system.first, system.rnn, rule, saves=2) for rule in rules]
        results = [_gauge(end)[-1] - _gauge(end)[0] for end in ends]
        return protocols, 1.0, Law("tolerance of the solver", "change of uu - vv", np.nan, values, np.array(results))
    values, results = _doubled(1.5e-3), []
    for value in values:
        # The loss is quadratic in the amplitude, so the time to learn goes as 1 / amplitude^2.
        rule = GradientFlow(0.1 / value**2, rtol=1e-10, atol=1e-12)
        sigma = learn(system.start, _erf(value).first, system.rnn, rule, saves=2)["sigma"]
        balance = sigma.sel(overlap="mm") - sigma.sel(overlap="zz")
        results.append(float(balance[-1] - balance[0]))
    return protocols, 1.0, Law("amplitude of inputs", "change of mm - zz", 2.0, values, np.array(results))


def _descent(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    rates = _doubled(system.learning_rate / 32)
    law = Law("learning rate", "change of uu - vv", 1.0, rates, _changes(system, rates))
    return _protocols(system, _steps(system, 2 * system.learning_rate)), 1.0, law


def _large(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    law = _edge(system)
    return _protocols(system, GradientDescent(law.values[1], EDGE_STEPS)), 1.0, law


def _edge(system: System) -> Law:
    """Steps above 2 / sharpness go on until the sharpness has fallen to 2 / learning rate."""
    rates = np.linspace(*system.edge, POINTS)
    trained = learn(system.start, system.first, system.rnn, GradientDescent(rates, EDGE_STEPS), saves=2)
    sharpness = _sharpness(final_state(trained).overlaps(), system)
    return Law("learning rate", "sharpness at the end", -1.0, rates, sharpness)


def _noise(system: System, key: Any, scan_std: bool) -> tuple[xr.Dataset, float, Law]:
    trained = final_state(learn(system.start, system.first, system.rnn, _steps(system, system.learning_rate), saves=2))
    small = system.learning_rate / 80
    values = _doubled(0.05 if scan_std else small)
    repeated = np.repeat(values, REPEATS)
    task = label_noise(system.first, repeated if scan_std else 0.3)
    rates = np.full(repeated.shape, small) if scan_std else repeated
    keys = jax.random.split(jax.random.fold_in(key, scan_std), len(repeated))
    dataset = learn(trained, task, system.rnn, GradientDescent(rates, 2000), saves=2, key=keys)
    charges = _gauge(dataset)
    results = ((charges[:, 1] - charges[:, 0]) / (2000 * rates)).reshape(POINTS, REPEATS)
    parameter = "standard deviation of the noise" if scan_std else "learning rate"
    law = Law(parameter, "drift of uu - vv at a solution", 2.0 if scan_std else 1.0, values, results)
    std = 1.0 if scan_std else 0.5
    return _protocols(system, _steps(system, 2 * system.learning_rate), std, key), 1.0, law


def _decayed(learning_rate: Any, decay: float) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(learning_rate))


def _decay(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    values, results = _doubled(system.decay), []
    steps = round(system.duration / system.learning_rate)
    rules = [GradientDescent(system.learning_rate, steps, functools.partial(_decayed, decay=value)) for value in values]
    for rule in rules:
        dataset = learn(system.start, system.first, system.rnn, rule, saves=11)
        results.append(exponential_rate(dataset["time"].values[5:], _gauge(dataset)[5:])[0])
    law = Law("weight decay", "rate at which uu - vv decays", 1.0, values, np.array(results))
    return _protocols(system, rules[0]), 1.0, law


def _inert(learning_rate: Any, effective: float) -> optax.GradientTransformation:
    """Descent with momentum 1 - learning_rate / effective.

    Then learning_rate / (1 - momentum) is `effective` for all momenta, so their learning times can be compared.
    """
    return optax.sgd(learning_rate, momentum=1 - learning_rate / effective)


def _momentum(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    effective = system.learning_rate / 4
    beta = np.array([0.0, 0.5, 0.75, 0.875])
    rule = GradientDescent(
        effective * (1 - beta), round(system.early / effective), functools.partial(_inert, effective=effective)
    )
    charges = _gauge(learn(system.start, system.first, system.rnn, rule, saves=2))
    values = effective * (1 + beta) / (1 - beta)
    law = Law(
        "learning rate (1 + momentum) / (1 - momentum)^2", "change of uu - vv", 1.0, values, charges[:, 1] - charges[:, 0]
    )
    optimizer = functools.partial(optax.sgd, momentum=0.9)
    steps = round(system.duration / system.learning_rate)
    return _protocols(system, GradientDescent(0.1 * system.learning_rate, steps, optimizer)), 10.0, law


def _adam(system: System, key: Any) -> tuple[xr.Dataset, float, Law]:
    networks = system._replace(start=system.start.overlaps().sample(NEURONS, jax.random.fold_in(key, 2)), early=0.5)
    rates = _doubled(2.5e-4)
    law = Law("learning rate", "change of uu - vv", 0.0, rates, _changes(networks, rates, optax.adam))
    return _protocols(networks, GradientDescent(2e-3, 5000, optax.adam)), 1.0, law


RULES: dict[str, Callable[[System, Any], tuple[xr.Dataset, float, Law]]] = {
    "gradient flow": _flow,
    "small steps": _descent,
    "large steps": _large,
    "label noise (rate)": functools.partial(_noise, scan_std=False),
    "label noise (std)": functools.partial(_noise, scan_std=True),
    "weight decay": _decay,
    "momentum": _momentum,
    "Adam": _adam,
}

WHY = {
    "gradient flow": "none",
    "small steps": "all, at second order of each step",
    "large steps": "all, as long as the sharpness is above 2 / learning rate",
    "label noise (rate)": "all, at second order of each step, at solutions too",
    "label noise (std)": "all, at second order of each step, at solutions too",
    "weight decay": "all: the penalty is not invariant",
    "momentum": "all: each step contains past gradients",
    "Adam": "all, at first order: it looks at single neurons",
}


def _protocols(system: System, rule: Any, std: float = 0.0, key: Any = None) -> xr.Dataset:
    tasks = [label_noise(task, std) if std else task for task in (system.first, system.second)]
    return memory(system.start, tasks, system.rnn, rule, saves=41, key=key)


def _steps(system: System, learning_rate: float) -> GradientDescent:
    """Plain gradient descent that lasts for the duration of a phase."""
    return GradientDescent(learning_rate, round(system.duration / learning_rate))


def _doubled(least: float) -> np.ndarray:
    return least * 2.0 ** np.arange(POINTS)


def _gauge(dataset: xr.Dataset) -> np.ndarray:
    """The charge uu - vv over time."""
    return (dataset["sigma"].sel(overlap="uu") - dataset["sigma"].sel(overlap="vv")).values


def _changes(system: System, rates: np.ndarray, optimizer: Any = None) -> np.ndarray:
    """The change of uu - vv in the same learning time at each learning rate. A doubled rate takes half the steps."""
    steps = round(system.early / rates[0])
    rule = GradientDescent(rates, steps, optimizer)
    charges = _gauge(learn(system.start, system.first, system.rnn, rule, saves=2**POINTS + 1))
    ends = 2 ** (POINTS - np.arange(POINTS))
    return charges[np.arange(POINTS), ends] - charges[:, 0]


@in_float64
def _sharpness(states: Overlaps, system: System) -> np.ndarray:
    """The largest eigenvalue of the Hessian of the loss of A in the factor.

    Gradient descent with a learning rate above 2 / sharpness is unstable.
    """
    objective = system.first.objective(system.start, system.rnn)

    def loss(factor: Any) -> Any:
        return objective(system.start.with_factor(factor))

    hessians = jax.jit(jax.vmap(jax.hessian(loss)))(jnp.asarray(states.factor))
    size = states.layout.size**2
    return np.linalg.eigvalsh(np.asarray(hessians).reshape(-1, size, size))[:, -1]
