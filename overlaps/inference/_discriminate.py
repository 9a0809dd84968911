"""Which history has a network? What an experiment can tell about it, and how many repetitions that takes."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, number, random_key, real_array, said
from overlaps.dynamics import RNN
from overlaps.inference._experiment import DIMENSIONS, Experiment
from overlaps.inference._hypotheses import named, pairs_of, states_of
from overlaps.inference._noise import Gaussian, Noise
from overlaps.inference._power import Ratio, simulated_scores
from overlaps.learning import describe, lags_of

REPETITIONS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def discriminate(
    hypotheses: Any,
    protocols: Any,
    rnn: RNN,
    observe: str = "impulse_response",
    noise: Any = 1e-3,
    power: float = 0.8,
    level: float = 0.05,
    repetitions: Any = REPETITIONS,
    draws: int = 1000,
    saves: Any = 41,
    times: Any = None,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """How well experiments tell hypotheses about a network apart: d', the number of repetitions, and the power.

    A hypothesis is a network, or a history that leads to one: A then C, or B then C. An experiment is a protocol of learning,
    during which something is observed with noise. Its repetitions (animals, sessions, trials) are independent. The best test of
    a pair of hypotheses is that of the log likelihood ratio (Neyman and Pearson). It is one-sided: the first of the pair is the
    null hypothesis. The ratio is a sum of many independent terms. It is taken as normal, which is exact for Gaussian noise.
    Then d' is the distance of its two means (one under each hypothesis), in units of its standard deviation, for one
    repetition. n repetitions have sqrt(n) d'. For Gaussian noise d'^2 = sum (difference / standard deviation)^2, and the
    Kullback-Leibler divergence is d'^2 / 2 (docs/experiment_design.md).

    - `hypotheses`: a mapping from two or more names to a state (a single network of any kind), or to a pair (state, protocol):
      a network, and the protocol that leads to the start of the experiment.
    - `protocols`: a mapping from names to a protocol, a `Phase(name, task, rule)` or a list of them.
    - `rnn`, `observe`, `noise`, `saves`, `times`: as in `observations`. Lags are those of the first protocol.
    - `power`, `level`: the wanted power, and the probability of deciding against the null hypothesis if it is true.
    - `repetitions`: the numbers of repetitions at which power is computed.
    - `draws`: the number of simulated experiments for each of these numbers.
    - `key`: a jax.random key or an integer seed, for the simulation, and for tasks that draw samples. In the experiment all
      hypotheses see the same samples of a task.
    - `progress`: whether to show a bar.

    Returns a Dataset. A pair "A / B" has the null hypothesis A. Saved points are counted by `point`, with the coordinates
    `time` and `phase`. Protocols with fewer points end with NaN.

    - `d_prime(protocol, pair)`. `d_prime_without_learning(protocol, pair)`: d' if all measurements were made before learning,
      which is what function alone tells.
    - `divergence(protocol, hypothesis, alternative)`: the expected log likelihood ratio of a hypothesis that is true against an
      alternative, which is the Kullback-Leibler divergence.
    - `needed(protocol, pair)`: the repetitions for the wanted power, infinite for equal hypotheses.
    - `predicted_power(protocol, pair, repetition)`; `simulated_power` and `simulated_level`, the parts of the simulated
      experiments in which the test decides for the second hypothesis, if the second or the first one is true.
    - `power_error(protocol, pair, repetition)`: the standard error of `simulated_power` if the prediction is right.
    - `accuracy(protocol, repetition)`: how often the most likely of all hypotheses is the true one, simulated, for hypotheses
      that are equally frequent.
    - `information(protocol, pair, point, ...)`: what each observed number adds to the symmetrised Kullback-Leibler divergence,
      the sum of both directions; for Gaussian noise, to d'^2. `accumulated(protocol, pair, point)`: its sum over all numbers up
      to a point.
    - `mean(protocol, hypothesis, point, ...)` and `deviation`: mean and standard deviation of each observed number.

    `rerun` repeats it, if its arguments can be written down. Variability between animals beyond the noise is not included: a
    hypothesis is one network. Raises ValueError for arguments that do not fit, and for networks that diverge.
    """
    power, level, draws = _probability("power", power), _probability("level", level), count("draws", draws)
    repetitions = real_array("repetitions", repetitions, ndim=1)
    if not repetitions.size or np.any(repetitions < 1) or np.any(np.diff(repetitions) <= 0):
        raise argument_error("repetitions", "be increasing numbers of at least 1", f"{repetitions.tolist()} came")
    if isinstance(saves, list) and all(isinstance(one, float) for one in saves):
        saves = np.asarray(saves)  # learning times, and not a number of points for each phase
    with jax.enable_x64(True):
        before, during, simulation = jax.random.split(random_key("key", key), 3)
        states = states_of(hypotheses, rnn, before)
        experiments = {
            name: Experiment.checked(protocol, rnn, observe, noise, saves, times, during)
            for name, protocol in named("protocols", protocols, 1, "a Phase, or a list of phases").items()
        }
        lags = lags_of(times, next(iter(experiments.values())).phases[0].task, rnn)
        parts, shape = [], None
        for index, (name, experiment) in enumerate(tqdm(experiments.items(), disable=not progress, leave=False)):
            part, expected = _compared(name, dataclasses.replace(experiment, times=lags), states)
            shape = shape or expected.shape[2:]
            if shape != expected.shape[2:]:
                came = f"the shapes at each point are {shape} and {expected.shape[2:]}"
                raise argument_error("protocols", "all be observed by equally many numbers at each point", came)
            pooled = jax.random.fold_in(simulation, index)
            scores = simulated_scores(experiment.noise, expected, repetitions, draws, pooled)
            parts.append(part.assign(_tested(experiment.noise, expected, repetitions, scores, power, level)))
    names = xr.IndexVariable("protocol", list(experiments), said("protocol of the experiment"))
    options: Any = {"data_vars": "all", "join": "outer", "fill_value": {"phase": ""}, "combine_attrs": "override"}
    dataset = xr.concat(parts, names, **options).set_coords(["time", "phase"])
    dataset = dataset.assign_coords(repetition=("repetition", repetitions, said("independent repetitions of the experiment")))
    given = {"hypotheses": list(dict(hypotheses).items()), "protocols": list(dict(protocols).items()), "rnn": rnn}
    given |= {"observe": observe, "noise": noise.std if isinstance(noise, Gaussian) else noise, "power": power}
    given |= {"level": level, "repetitions": repetitions, "draws": draws, "saves": saves, "times": times, "key": key}
    dataset.attrs = {"discriminate": json.dumps(describe(given)), "power": power, "level": level, "draws": draws}
    return dataset


def _probability(name: str, value: Any) -> float:
    value = number(name, value, above=0.0)
    if value >= 1:
        raise argument_error(name, "be a probability below 1", f"{value:g} came")
    return value


def _from_the_start(experiment: Experiment) -> tuple[Experiment, int]:
    """The experiment with a point before learning, and how many points (0 or 1) had to be added for it."""
    saves = experiment.saves if isinstance(experiment.saves, list) else [experiment.saves] * len(experiment.phases)
    if np.ndim(saves[0]) == 0 or not np.size(saves[0]) or saves[0][0] == 0:
        return experiment, 0
    return dataclasses.replace(experiment, saves=[np.append(0.0, saves[0]), *saves[1:]]), 1


def _compared(name: str, experiment: Experiment, states: dict[str, Any]) -> tuple[xr.Dataset, np.ndarray]:
    """What the observed numbers of an experiment tell about each pair, and what is expected under each hypothesis."""
    experiment, added = _from_the_start(experiment)
    courses = [experiment.trajectory(state) for state in states.values()]
    whole = np.stack([getattr(course, experiment.observe) for course in courses])
    for hypothesis, one in zip(states, whole, strict=True):
        if not np.all(np.isfinite(one)):
            came = f"{hypothesis!r} diverges in {name!r}"
            raise argument_error("protocols", "train networks that do not diverge", came, "Lower the learning rate.")
    expected = whole[:, added:]
    start = np.broadcast_to(whole[:, :1], expected.shape)
    labelled = experiment.labelled(courses[0], whole[0]).isel(time=slice(added, None))
    pairs, labels = pairs_of(list(states))
    noise = experiment.noise
    ratios = [Ratio.of(noise, expected[first], expected[second]) for first, second in pairs]
    divergence = np.zeros((len(states), len(states)))
    for (first, second), ratio in zip(pairs, ratios, strict=True):
        divergence[second, first], divergence[first, second] = ratio.summed().mean, -ratio.summed().null_mean
    d_prime = [float(ratio.summed().d_prime) for ratio in ratios]
    before = [float(Ratio.of(noise, start[first], start[second]).summed().d_prime) for first, second in pairs]
    information = np.stack([ratio.information for ratio in ratios])
    accumulated = np.cumsum(information.reshape(*information.shape[:2], -1).sum(-1), axis=1)
    mean, deviation = (np.stack([each(one) for one in expected]) for each in (noise.mean, noise.deviation))
    dims = ("point", *DIMENSIONS[experiment.observe][1:])
    units = labelled.attrs["units"] if isinstance(noise, Gaussian) else "1"
    variables = {
        "time": ("point", labelled["time"].values, labelled["time"].attrs),
        "phase": ("point", labelled["phase"].values, labelled["phase"].attrs),
        "d_prime": ("pair", d_prime, said("d' of one repetition")),
        "d_prime_without_learning": ("pair", before, said("d' if all measurements were made before learning")),
        "divergence": (("hypothesis", "alternative"), divergence, said("expected log likelihood ratio", "nat")),
        "information": (("pair", *dims), information, said("contribution to the symmetrised divergence", "nat")),
        "accumulated": (("pair", "point"), accumulated, said("symmetrised divergence up to a point", "nat")),
        "mean": (("hypothesis", *dims), mean, said("mean of the observation", units)),
        "deviation": (("hypothesis", *dims), deviation, said("standard deviation of the observation", units)),
    }
    coordinates = {each: labelled[each].variable for each in dims if each in labelled.coords}
    coordinates |= {
        "pair": ("pair", labels, said("null hypothesis / alternative")),
        "hypothesis": ("hypothesis", list(states), said("hypothesis that is true")),
        "alternative": ("alternative", list(states), said("hypothesis that is compared with the true one")),
        "point": ("point", np.arange(len(labelled["time"])), said("saved point")),
    }
    return xr.Dataset(variables, coordinates), expected


def _tested(
    noise: Noise, expected: np.ndarray, repetitions: np.ndarray, scores: np.ndarray, power: float, level: float
) -> dict[str, Any]:
    """The power of the test of each pair, predicted and simulated, and how often the most likely hypothesis is the true one."""
    pairs, _ = pairs_of(range(len(expected)))
    needed, predicted, simulated = [], [], []
    for first, second in pairs:
        ratio = Ratio(*(float(one) for one in Ratio.of(noise, expected[first], expected[second]).summed()))
        needed.append(ratio.repetitions(power, level))
        predicted.append(ratio.power(repetitions, level))
        excess = scores[..., second] - scores[..., first] - ratio.threshold(repetitions, level)[:, None, None]
        # Equal hypotheses have a ratio of exactly 0. Then the test decides by chance, so that it has its level.
        decided = np.where(excess == 0, level, excess > 0).mean(axis=-1)
        simulated.append(decided[:, [second, first]])
    simulated, predicted = np.stack(simulated), np.stack(predicted)
    right = (np.argmax(scores, axis=-1) == np.arange(len(expected))[:, None]).mean(axis=(1, 2))
    dims = ("pair", "repetition")
    return {
        "needed": ("pair", needed, said(f"repetitions for a power of {power:g}")),
        "predicted_power": (dims, predicted, said("power, predicted")),
        "power_error": (
            dims,
            np.sqrt(predicted * (1 - predicted) / scores.shape[2]),
            said("standard error of a simulated power"),
        ),
        "simulated_power": (dims, simulated[..., 0], said("power, simulated")),
        "simulated_level": (dims, simulated[..., 1], said("level, simulated")),
        "accuracy": (
            "repetition",
            right,
            said("part of simulated experiments in which the most likely hypothesis is the true one"),
        ),
    }
