"""A table of learning rules: which of them keep the history of a network, why, and how fast the others lose it or write it."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import scipy
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, random_key, said
from overlaps.studies._memory import CONTROL, exponential_rate
from overlaps.studies._memory_rules import MEAN_FIELD, POINTS, RULES, SYSTEMS, WHY, Law

PHI = "; phi breaks the symmetry of mixing neurons (charges balance and spectrum)"
TIME = "1 / learning time"
TEXTS = ("kept", "broken", "parameter", "measured")
VARIABLES = {
    "kept": ("whether history is kept", "1"),
    "broken": ("symmetries that are broken", "1"),
    "written": ("distance to the control in invisible overlaps, after A, B, A", "1"),
    "function_distance": ("root mean square difference between the outputs of network and control, after A, B, A", "1"),
    "decay_rate": ("rate at which the invisible distance decays in the last A", TIME),
    "decay_rate_error": ("standard error of the rate at which the invisible distance decays", TIME),
    "charge_start": ("uu - vv at the start", "1"),
    "charge_learned": ("uu - vv after one phase of A", "1"),
    "charge_end": ("uu - vv after three phases of A", "1"),
    "forgetting_rate": ("rate at which uu - vv decays in the third phase of A", TIME),
    "parameter": ("parameter of the rule", "1"),
    "measured": ("what is measured against the parameter", "1"),
    "values": ("parameter of the rule", "1"),
    "results": ("what is measured against the parameter", "1"),
    "exponent": ("exponent of what is measured in the parameter", "1"),
    "exponent_error": ("standard error of the exponent", "1"),
    "expected": ("expected exponent", "1"),
}


def memory_table(
    rules: Sequence[str] | None = None, systems: Sequence[str] | None = None, key: Any = 0, progress: bool = False
) -> xr.Dataset:
    """Whether learning rules keep the history of a network: `memory` and a scaling law for each rule and each system.

    For each cell, `memory` trains a network on A, then B, then A again, and a control on A three times. The *gauge charge*
    uu - vv is a quantity that gradient flow conserves. Its change says whether the network still knows its start. Takes a few
    minutes. Results and laws: docs/training_history.md, "A, B, and A again" and "The laws".

    - `rules`: some of "gradient flow", "small steps", "large steps" (beyond the edge of stability, where descent is unstable),
      "label noise (rate)", "label noise (std)", "weight decay", "momentum" and "Adam". None: all.
    - `systems`: some of "linear", "erf" and "erf mean field". None: all. "erf mean field" is run for gradient flow alone.
    - `key`: a jax.random key or an integer seed, for noise and neurons.
    - `progress`: whether to show a bar.

    Linear networks learn exponential filters of the rates 0.2 and 0.4. Erf networks learn to imitate erf teachers of vu = 0.8
    and 0.4. All start from the same overlaps. Adam trains networks of 100 neurons. The other rules train overlaps, for erf in
    the Gaussian closure (which assumes jointly Gaussian vectors).

    Returns a Dataset with dims `rule`, `system` and `point`. Cells that are not run are NaN, or "" for texts. Rates are per
    learning time. Learning time is learning rate x step, and for momentum learning rate x step / (1 - momentum). From the
    protocols:

    - `written`: the distance between network and control at the end, over the invisible overlaps.
    - `function_distance`: the root mean square difference of their outputs at the end.
    - `decay_rate` and `decay_rate_error`: the rate at which `written` decays, and its standard error.
    - `charge_start`, `charge_learned`, `charge_end`: uu - vv of the control at the start, after one phase and after three
      phases.
    - `forgetting_rate`: the rate at which uu - vv of the control decays in the last phase, when nothing is left to learn.
    - `kept`: a text that sums up these numbers. `broken`: a text that names the symmetries of gradient flow that are broken.

    From the law:

    - `parameter` and `measured`: texts that name the parameter of the rule and the measured quantity.
    - `values` and `results` (rule, system, point): the values of the parameter, and the measured quantity at each of them.
    - `exponent`, `exponent_error`, `expected`: the exponent with which the quantity grows with the parameter, its standard
      error (of scipy.stats.linregress on logarithms), and the expected exponent.

    Raises ValueError for unknown names.
    """
    rules, systems = _chosen("rules", rules, RULES), _chosen("systems", systems, SYSTEMS)
    key = random_key("key", key)
    made = {name: SYSTEMS[name]() for name in systems}
    cells = [(rule, name) for rule in rules for name in systems if name != MEAN_FIELD or rule == "gradient flow"]
    table = {}
    for rule, name in tqdm(cells, disable=not progress, leave=False):
        protocols, clock, law = RULES[rule](made[name], key)
        table[rule, name] = (
            _protocol_numbers(protocols, clock) | _law_numbers(law) | {"broken": WHY[rule] + (PHI if name != "linear" else "")}
        )
    shape = (len(rules), len(systems))
    variables: dict[str, Any] = {}
    for label, (meaning, units) in VARIABLES.items():
        text = label in TEXTS
        values = np.full((*shape, POINTS) if label in ("values", "results") else shape, "" if text else np.nan, object)
        for (rule, name), numbers in table.items():
            values[rules.index(rule), systems.index(name)] = numbers[label]
        dims = ("rule", "system", "point")[: values.ndim]
        variables[label] = (dims, values.astype(str if text else float), said(meaning, units))
    coordinates = {"rule": ("rule", rules, said("learning rule")), "system": ("system", systems, said("network and tasks"))}
    attributes = {"rules": rules, "systems": systems, "key": jax.random.key_data(key).tolist()}
    return xr.Dataset(variables, coordinates, {"memory_table": json.dumps(attributes)})


def _chosen(argument: str, names: Sequence[str] | None, known: Any) -> list[str]:
    names = list(known) if names is None else [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in known:
            raise argument_error(argument, f"be out of {', '.join(known)}", f"{name!r} came")
    return names


def _protocol_numbers(dataset: xr.Dataset, clock: float) -> dict[str, Any]:
    """The numbers and the text that the protocols give.

    `clock` is the learning time that passes in one unit of learning rate x step.
    """
    control = dataset["gauge"].sel(protocol=CONTROL).values[:, 0, 0]
    phases = dataset["phase"].values
    third, times = phases == "A again", dataset["time"].values * clock
    start, learned, end = control[0], control[phases == "A"][-1], control[-1]
    numbers = {
        "written": dataset["invisible_distance"].values[-1],
        "function_distance": dataset["function_distance"].values[0],
        "decay_rate": dataset["decay_rate"].item() / clock,
        "decay_rate_error": dataset["decay_rate_error"].item() / clock,
        "charge_start": start,
        "charge_learned": learned,
        "charge_end": end,
        "forgetting_rate": exponential_rate(times[third], control[third])[0],
    }
    lost = abs(end - start) / abs(start)
    structure = "kept" if lost < 1e-6 else "lost" if lost > 0.9 else f"{lost:.1g} lost"
    fades = numbers["decay_rate"] * (times[third][-1] - times[third][0]) > 0.1
    if numbers["written"] < 10 * numbers["function_distance"]:
        trace = "too small to tell from unfinished learning"
    else:
        trace = f"{numbers['written']:.0e} written" + (", fading" if fades else "")
    return numbers | {"kept": f"start: {structure}; B: {trace}"}


def _law_numbers(law: Law) -> dict[str, Any]:
    results = np.asarray(law.results, float)
    values = np.broadcast_to(np.reshape(law.values, (-1, *[1] * (results.ndim - 1))), results.shape)
    fit: Any = scipy.stats.linregress(np.log(values.ravel()), np.log(np.abs(results.ravel())))
    return {
        "parameter": law.parameter,
        "measured": law.measured,
        "values": law.values,
        "results": results.reshape(POINTS, -1).mean(1),
        "exponent": fit.slope,
        "exponent_error": fit.stderr,
        "expected": law.expected,
    }
