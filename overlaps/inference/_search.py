"""The search for the parameters of a protocol: what a protocol tells, and climbs to the best one within bounds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from overlaps._support import AnyArray, argument_error
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.inference._experiment import Experiment
from overlaps.inference._hypotheses import pairs_of
from overlaps.inference._noise import Noise
from overlaps.inference._power import Ratio
from overlaps.learning import BARRIERS_STAY, GradientFlow, Phase, compiled

DIVERGED = 1e3  # what a climb, which minimises -log d', sees where a network diverges or the hypotheses are equal


class Told(NamedTuple):
    """What a protocol tells. NaN if a network diverges."""

    value: AnyArray  # log of the smallest d' of a pair
    slope: AnyArray  # its derivatives, (parameter,), in units of the width of the bounds
    d_prime: AnyArray  # (pair,)
    before: AnyArray  # (pair,): d' if all measurements were made before learning
    information: AnyArray  # (pair, point)
    time: AnyArray  # (point,)


class Question(eqx.Module):
    """What is asked about every protocol. `states` are stacked, with the hypotheses as axis 0."""

    states: State
    rnn: RNN
    noise: Noise
    duration: Any
    key: Any
    observe: str = eqx.field(static=True)
    points: int = eqx.field(static=True)
    lags: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def experiment(self, protocol: Any) -> Experiment:
        """The experiment with a protocol: with its total learning time, and its measured points shared among the phases."""
        phases = [protocol] if isinstance(protocol, Phase) else list(protocol)
        if self.duration is not None:
            rules = [phase.rule for phase in phases if isinstance(phase.rule, GradientFlow)]
            if len(rules) < len(phases):
                mend = "The steps of descents are fixed by `build`: leave `duration` out."
                raise argument_error("duration", "be None for descents", f"{float(self.duration):g} came", mend)
            scale = self.duration / sum(rule.duration for rule in rules)
            rules = [dataclasses.replace(rule, duration=scale * rule.duration) for rule in rules]
            phases = [dataclasses.replace(phase, rule=rule) for phase, rule in zip(phases, rules, strict=True)]
        each, rest = divmod(self.points, len(phases))
        if each < 2:
            must = f"be at least 2 for each of the {len(phases)} phases"
            raise argument_error("points", must, f"{self.points} came")
        saves = [each + (index < rest) for index in range(len(phases))]
        return Experiment.checked(phases, self.rnn, self.observe, self.noise, saves, self.lags, self.key)


def tell(build: Callable[[dict[str, Any]], Any], names: tuple[str, ...], ends: Any, place: Any, question: Question) -> Told:
    """What the protocol at a place tells: (parameter,), between 0 and 1 within the bounds `ends`."""
    return jax.tree.map(np.asarray, _compiled()(build, names, ends, place, question))


@functools.cache
def _compiled() -> Any:
    return compiled(_tell, BARRIERS_STAY)


def _tell(build: Any, names: tuple[str, ...], ends: Any, place: Any, question: Question) -> Told:
    lows, highs = jnp.asarray(ends)
    pairs, _ = pairs_of(range(jax.tree.leaves(question.states)[0].shape[0]))

    def one(place: AnyArray) -> Any:
        values = lows + (highs - lows) * place
        experiment = question.experiment(build(dict(zip(names, values, strict=True))))
        courses = jax.vmap(experiment.trajectory)(question.states)
        expected = getattr(courses, question.observe)
        start = jnp.broadcast_to(expected[:, :1], expected.shape)
        ratios = [Ratio.of(question.noise, expected[first], expected[second]) for first, second in pairs]
        still = [Ratio.of(question.noise, start[first], start[second]) for first, second in pairs]
        d_prime, before = (jnp.stack([ratio.summed().d_prime for ratio in each]) for each in (ratios, still))
        information = jnp.stack([ratio.summed(1).information for ratio in ratios])
        value = jnp.log(jnp.min(d_prime))
        return value, (value, d_prime, before, information, courses.time[0])

    slope, (value, *rest) = jax.jacfwd(one, has_aux=True)(jnp.asarray(place))
    return Told(value, slope, *rest)


class Climbs(NamedTuple):
    """A search among the protocols of one choice."""

    random: np.ndarray  # (draw,): the smallest d' of each random protocol
    search: list[list[float]]  # for each climb: the largest value of the smallest d' so far, at each evaluation
    found: np.ndarray  # (climb, parameter): the best place of each climb
    told: list[Told]  # about these places

    @property
    def values(self) -> np.ndarray:
        """The largest log d' of each climb; minus infinity if networks diverge everywhere on its way."""
        return np.array([_finite(told) for told in self.told])


def climb(ask: Callable[[np.ndarray], Told], first: np.ndarray, drawn: np.ndarray, starts: int, steps: int, bar: Any) -> Climbs:
    """Climb from a first place (parameter,) and from the best random ones (draw, parameter), by L-BFGS-B (SciPy)."""

    def at(place: np.ndarray) -> Told:
        bar.update()
        return ask(place)

    values = [_finite(at(place)) for place in drawn]
    places, search, found, best = [first, *drawn[np.argsort(values)[::-1][: starts - 1]]], [], [], []
    for place in places:
        way: list[tuple[np.ndarray, Told]] = []

        def height(place: np.ndarray, way: Any = way) -> tuple[float, np.ndarray]:
            told = ask(place)
            way.append((place.copy(), told))
            known = np.isfinite(told.value) and np.all(np.isfinite(told.slope))
            return (-float(told.value), -np.asarray(told.slope)) if known else (DIVERGED, np.zeros_like(place))

        minimize(height, place, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * len(place), options={"maxiter": steps})
        heights = [_finite(told) for _, told in way]
        top = int(np.argmax(heights))
        search.append(np.exp(np.maximum.accumulate(heights)).tolist())
        found.append(way[top][0])
        best.append(way[top][1])
        bar.update()
    return Climbs(np.exp(values), search, np.stack(found), best)


def _finite(told: Told) -> float:
    """The value; minus infinity if a network diverges."""
    return -np.inf if np.isnan(told.value) else float(told.value)


def order_of(information: np.ndarray) -> np.ndarray:
    """The order in which to take the points (pair, point): each next one makes the smallest sum over pairs as large as it can.

    For a single pair, the first k points are the best k ones. For several pairs each point is the best one to add.
    """
    left, order, total = list(range(information.shape[1])), [], np.zeros(len(information))
    while left:
        sums = total[:, None] + information[:, left]
        best = left[np.lexsort((sums.sum(axis=0), sums.min(axis=0)))[-1]]
        total = total + information[:, best]
        order.append(best)
        left.remove(best)
    return np.asarray(order)
