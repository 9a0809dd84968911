"""The design of experiments: the protocol that tells hypotheses about a network apart best."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, number, random_key, real_array, said
from overlaps.dynamics import RNN
from overlaps.inference._experiment import Experiment, phase_of_rows
from overlaps.inference._hypotheses import named, pairs_of, states_of
from overlaps.inference._noise import noise_of
from overlaps.inference._search import Climbs, Question, Told, climb, order_of, tell
from overlaps.learning import Phase, describe, lags_of, restore


def design(
    hypotheses: Any,
    build: Any,
    start: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
    rnn: RNN,
    observe: str = "impulse_response",
    noise: Any = 1e-3,
    duration: float | None = None,
    points: int = 40,
    starts: int = 8,
    steps: int = 60,
    draws: int = 200,
    times: Any = None,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Search for the protocol that tells hypotheses about a network apart best, under a budget.

    What is maximised is d' of one repetition (see `discriminate`), for more than two hypotheses the smallest d' of a pair. The
    budget is the same for all protocols: the number of measured points, the total learning time of flows, and the steps of
    descents. First the search draws random protocols. From `start` and from the best of them it climbs, by the
    quasi-Newton method L-BFGS-B with derivatives of the learning curves. What is discrete (the order of tasks, their number,
    what is frozen) is searched by enumeration: it climbs for each function in `build`.

    - `hypotheses`: as in `discriminate`. All networks are of one kind and size.
    - `build`: a function from a dictionary of numbers to a protocol, which is a `Phase(name, task, rule)` or a list of them. It
      is traced: the numbers may be arrays of tasks (rate, amplitude), learning rates, and durations of flows. For discrete
      choices: a mapping from names to such functions, which all take the same numbers.
    - `start`, `bounds`: mappings from the names of these numbers to a first value, and to a pair (lowest, highest).
    - `rnn`, `observe`, `noise`, `times`: as in `observations`.
    - `duration`: the total learning time, for protocols of flows: the durations that `build` gives are scaled to this sum.
      None: they stay as they are.
    - `points`: the number of measured points, evenly spaced in each phase and shared by the phases.
    - `starts`, `steps`: how many climbs, and the largest number of their steps.
    - `draws`: how many random protocols for each choice, which are uniform within the bounds.
    - `key`: a jax.random key or an integer seed. `progress`: whether to show a bar.

    Returns a Dataset of the best protocol and of the search. `best_protocol(dataset)` is the protocol itself.

    - `best(parameter)`, and the attributes `choice` and `protocol` (a description).
    - `d_prime(pair)`, `d_prime_without_learning(pair)`, and `information(pair, point)` with the coordinate `time`: as in
      `discriminate`, but for the sum over what is observed at a point.
    - `order(count)`: when to measure, the points from the most telling on. For two hypotheses the first k are the best k
      points; for more hypotheses each one is the best to add. `chosen_d_prime(count)` is d' (the smallest of a pair; for counts
      of errors the root of the symmetrised divergence) of the first k points, and `even_d_prime(count)` that of k evenly spaced
      ones.
    - `search(choice, start, evaluation)`: the smallest d' of a pair, the best so far on the way of each climb.
      `found(choice, start, parameter)`: the best place of each climb, and `found_d_prime(choice, start)` its d'.
    - `random_d_prime(choice, draw)`: the smallest d' of the random protocols. `gain`: the d' of the best protocol over the
      largest of these.

    Protocols in which a network diverges count as d' = 0. Other numbers need no compilation, if `build` is the same function.
    Raises ValueError for arguments that do not fit.
    """
    builds = {"": build} if callable(build) else named("build", build, 1, "functions from numbers to a protocol")
    names, ends, first = _box(start, bounds)
    starts, steps = count("starts", starts), count("steps", steps)
    draws = count("draws", draws, least=max(starts - 1, 1))
    total = None if duration is None else np.asarray(number("duration", duration, above=0.0))
    with jax.enable_x64(True):
        before, during, random = jax.random.split(random_key("key", key), 3)
        states = states_of(hypotheses, rnn, before)
        if len({(jax.tree.structure(one), *map(np.shape, jax.tree.leaves(one))) for one in states.values()}) > 1:
            raise argument_error("hypotheses", "be networks of one kind and size", f"{list(states.values())} came")
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states.values())
        question = Question(stacked, rnn, noise_of(noise), total, during, observe, count("points", points))
        begun = [question.experiment(one({name: float(start[name]) for name in names})) for one in builds.values()]
        lags = lags_of(times, begun[0].phases[0].task, rnn)
        question = dataclasses.replace(question, lags=lags)
        runs: dict[str, Climbs] = {}
        with tqdm(total=len(builds) * (draws + starts), disable=not progress, leave=False) as bar:
            for index, (name, one) in enumerate(builds.items()):
                drawn = np.asarray(jax.random.uniform(jax.random.fold_in(random, index), (draws, len(names))))
                ask = functools.partial(tell, one, names, ends, question=question)
                runs[name] = climb(ask, first, drawn, starts, steps, bar)
        choice = max(runs, key=lambda name: runs[name].values.max())
        run, top = runs[choice], int(np.argmax(runs[choice].values))
        if not np.isfinite(run.values[top]):
            came = "in all of them a network diverges, or the hypotheses are equal"
            raise argument_error("build", "make protocols that tell the hypotheses apart", came)
        best = ends[0] + (ends[1] - ends[0]) * run.found[top]
        experiment = question.experiment(builds[choice](dict(zip(names, best.tolist(), strict=True))))
    dataset = _labelled(runs, run.told[top], experiment, list(states), names, ends, best)
    arguments = {"hypotheses": list(dict(hypotheses).items()), "build": list(builds.items()), "start": start, "bounds": bounds}
    arguments |= {"rnn": rnn, "observe": observe, "noise": noise, "duration": duration, "points": points, "starts": starts}
    arguments |= {"steps": steps, "draws": draws, "times": times, "key": key}
    dataset.attrs = {"design": json.dumps(describe(arguments)), "choice": choice}
    dataset.attrs["protocol"] = json.dumps(describe(experiment.phases))
    return dataset


def best_protocol(dataset: xr.Dataset) -> list[Phase]:
    """The protocol that `design` found, a list of phases.

    `dataset`: a result of `design`. Raises ValueError for another Dataset, and for a protocol that cannot be written down, such
    as one with a lambda.
    """
    if "design" not in dataset.attrs:
        raise argument_error("dataset", "be a result of `design`", f"its attributes are {sorted(dataset.attrs)}")
    return restore(json.loads(dataset.attrs["protocol"]))


def _box(start: Any, bounds: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The names of the parameters, their bounds (2, parameter), and the first place between 0 and 1."""
    names = tuple(named("bounds", bounds, 1, "pairs (lowest, highest)"))
    ends = real_array("bounds", [bounds[name] for name in names], ndim=2)
    if ends.shape[1] != 2 or np.any(ends[:, 0] >= ends[:, 1]):
        raise argument_error("bounds", "hold pairs (lowest, highest)", f"{dict(bounds)} came")
    if set(named("start", start, 1, "numbers")) != set(names):
        raise argument_error("start", f"have the names {', '.join(names)} of `bounds`", f"{list(start)} came")
    values = np.array([number(f"start[{name!r}]", start[name]) for name in names])
    place = (values - ends[:, 0]) / (ends[:, 1] - ends[:, 0])
    if np.any((place < 0) | (place > 1)):
        raise argument_error("start", "lie within `bounds`", f"{dict(start)} came")
    return names, ends.T, place


def _labelled(
    runs: dict[str, Climbs], told: Told, experiment: Experiment, hypotheses: list[str], names: Any, ends: Any, best: Any
) -> xr.Dataset:
    order, size = order_of(np.asarray(told.information)), told.information.shape[1]
    even = [np.unique(np.round(np.linspace(0, size - 1, number)).astype(int)) for number in range(1, size + 1)]
    chosen, evenly = (
        [np.sqrt(told.information[:, points].sum(axis=1).min()) for points in subsets]
        for subsets in ([order[:number] for number in range(1, size + 1)], even)
    )
    random = np.stack([run.random for run in runs.values()])
    found = np.stack([ends[0] + (ends[1] - ends[0]) * run.found for run in runs.values()])
    longest = max(len(way) for run in runs.values() for way in run.search)
    search = [[np.pad(way, (0, longest - len(way)), mode="edge") for way in run.search] for run in runs.values()]
    record = np.exp([run.values for run in runs.values()])
    gain = told.d_prime.min() / np.max(random)
    phases = [experiment.phases[index].name for index in phase_of_rows(np.asarray(told.time), experiment.durations)]
    return xr.Dataset(
        {
            "best": ("parameter", best, said("parameters of the best protocol")),
            "d_prime": ("pair", told.d_prime, said("d' of one repetition")),
            "d_prime_without_learning": ("pair", told.before, said("d' if all measurements were made before learning")),
            "information": (("pair", "point"), told.information, said("contribution to the symmetrised divergence", "nat")),
            "order": ("count", order, said("points from the most telling on")),
            "chosen_d_prime": ("count", chosen, said("smallest d' of a pair, from the most telling points")),
            "even_d_prime": ("count", evenly, said("smallest d' of a pair, from evenly spaced points")),
            "search": (("choice", "start", "evaluation"), search, said("smallest d' of a pair, the best so far")),
            "found": (("choice", "start", "parameter"), found, said("best parameters of each climb")),
            "found_d_prime": (
                ("choice", "start"),
                record,
                said("smallest d' of a pair, for the best parameters of each climb"),
            ),
            "random_d_prime": (("choice", "draw"), random, said("smallest d' of a pair, for random protocols")),
            "gain": ((), gain, said("d' of the best protocol over that of the best random one")),
        },
        {
            "parameter": ("parameter", list(names), said("parameter of the protocol")),
            "pair": ("pair", pairs_of(hypotheses)[1], said("null hypothesis / alternative")),
            "time": ("point", told.time, said("learning time, learning rate x step")),
            "phase": ("point", phases, said("phase of the protocol")),
            "count": ("count", np.arange(1, size + 1), said("measured points")),
            "choice": ("choice", list(runs), said("function that builds the protocol")),
        },
    )
