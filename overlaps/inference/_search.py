"""The search for the parameters of a protocol: what protocols tell, computed side by side, and steps uphill within bounds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from overlaps._support import AnyArray, argument_error
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.inference._experiment import Experiment
from overlaps.inference._hypotheses import pairs_of
from overlaps.inference._noise import Noise
from overlaps.inference._power import Ratio
from overlaps.learning import BARRIERS_STAY, GradientFlow, Phase, compiled

LEARNING_RATE = 0.1  # of the search, as a part of the width of the bounds; it falls to 0 along half a period of a cosine


class Told(NamedTuple):
    """What protocols tell, for each protocol (axis 0). NaN if a network diverges."""

    value: AnyArray  # log of the smallest d' of a pair
    slope: AnyArray  # its derivatives, (protocol, parameter), in units of the width of the bounds
    d_prime: AnyArray  # (protocol, pair)
    before: AnyArray  # (protocol, pair): d' if all measurements were made before learning
    information: AnyArray  # (protocol, pair, point)
    time: AnyArray  # (protocol, point)


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


def tell(build: Callable[[dict[str, Any]], Any], names: tuple[str, ...], ends: Any, places: Any, question: Question) -> Told:
    """What the protocols at these places tell: (protocol, parameter), between 0 and 1 within the bounds `ends`."""
    return jax.tree.map(np.asarray, _compiled()(build, names, ends, places, question))


@functools.cache
def _compiled() -> Any:
    return compiled(_tell, BARRIERS_STAY)


def _tell(build: Any, names: tuple[str, ...], ends: Any, places: Any, question: Question) -> Told:
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

    def with_slope(place: AnyArray) -> Told:
        slope, (value, *rest) = jax.jacfwd(one, has_aux=True)(place)
        return Told(value, slope, *rest)

    return jax.vmap(with_slope)(jnp.asarray(places))


class Climbs(NamedTuple):
    """A search: of random protocols, and of climbs from several places side by side."""

    random: np.ndarray  # (draw,): the smallest d' of each random protocol
    search: np.ndarray  # (climb, step): the smallest d' on the way
    found: np.ndarray  # (climb, parameter): the best place of each climb
    told: Told  # about these places

    @property
    def best(self) -> int:
        """The best climb."""
        return int(np.argmax(finite(self.told.value)))


def climb(ask: Callable[[np.ndarray], Told], first: np.ndarray, drawn: np.ndarray, starts: int, steps: int) -> Climbs:
    """Climb from a first place (parameter,) and from the best random ones, by Adam, whose steps are cut at the bounds.

    `ask` tells about as many places as there are `starts`. `drawn`: random places, (draw, parameter).
    """
    filled = np.concatenate([drawn, drawn[np.zeros(-len(drawn) % starts, int)]])
    values = np.concatenate([ask(places).value for places in filled.reshape(-1, starts, drawn.shape[1])])[: len(drawn)]
    best = np.argsort(-finite(values), kind="stable")[: starts - 1]
    places = np.concatenate([first[None], drawn[best]])
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))
    memory, found, record, way = optimizer.init(jnp.asarray(places)), places, np.full(starts, -np.inf), []
    for step in range(steps + 1):
        told = ask(places)
        better = finite(told.value) > record
        found, record = np.where(better[:, None], places, found), np.where(better, told.value, record)
        way.append(np.exp(told.value))
        if step < steps:
            update, memory = optimizer.update(jnp.asarray(np.where(np.isfinite(told.slope), -told.slope, 0.0)), memory)
            places = np.clip(places + np.asarray(update), 0.0, 1.0)
    return Climbs(np.exp(values), np.stack(way, axis=1), found, ask(found))


def finite(values: AnyArray) -> np.ndarray:
    """The values, with those of protocols in which a network diverges below all others."""
    return np.where(np.isnan(values), -np.inf, values)


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
