"""Descriptions of states, tasks and rules as plain JSON, from which a run can be repeated."""

import base64
import dataclasses
import functools
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.scipy.special
import numpy as np
import optax

from overlaps import tasks
from overlaps._support import argument_error
from overlaps.connectivity import State
from overlaps.dynamics import RNN, Transfer
from overlaps.learning._digest import digest
from overlaps.learning._phase import Phase
from overlaps.learning._rules import Factory, GradientDescent, GradientFlow

DESCRIBED = {
    kind.__name__: kind
    for kind in (
        *(RNN, Transfer, GradientFlow, GradientDescent, Phase),
        *(tasks.LinearFilter, tasks.LabelNoise, tasks.Trials, tasks.FreshTrials),
        *(tasks.FlipFlop, tasks.DecisionMaking, tasks.Teacher, tasks.WhiteNoise, tasks.TrialPool),
    )
}
FUNCTIONS = {
    "jax.nn": jax.nn,
    "jax.numpy": jax.numpy,
    "jax.scipy.special": jax.scipy.special,
    "jax.lax": jax.lax,
    "overlaps.tasks": tasks,
}
KEYS = "threefry2x32"  # the kind of random keys that descriptions do not name
SHOWN = 60  # letters of a description in an error
LARGE = 1000  # arrays with more numbers than this are written as compressed bytes


def describable(package: str, *kinds: type) -> None:
    """Let descriptions name these classes, and the functions of the package: for rooms above this one."""
    FUNCTIONS[package] = sys.modules[package]
    DESCRIBED.update({kind.__name__: kind for kind in kinds})


def describe(thing: Any) -> Any:
    """A description of `thing` that can be written as JSON, and from which `restore` makes the thing again.

    - Arrays become nested lists. Large arrays become {"packed": base64 of their compressed bytes, ...}.
    - Objects of this library become {"type": name, and the arguments}.
    - Functions of jax.nn, jax.numpy, jax.scipy.special, jax.lax, overlaps.tasks and optax, functools.partial of them, and
      solvers of diffrax with default arguments are written by name.
    - Random keys become the lists of their numbers. Those of another kind than that of JAX by default, "threefry2x32", become
      {"random_key": kind, "numbers": lists}.
    - Everything else, such as a lambda, becomes {"opaque": text, "digest": text}, which `restore` refuses. The digest tells two
      of them apart.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, np.ndarray | np.generic | jax.Array) and not (isinstance(thing, np.ndarray) and thing.dtype.hasobject):
        return _numbers(thing)
    if isinstance(thing, Mapping):
        return {str(name): describe(value) for name, value in thing.items()}
    if isinstance(thing, tuple | list):
        return [describe(value) for value in thing]
    if isinstance(thing, State) or DESCRIBED.get(type(thing).__name__) is type(thing):
        arguments = {}
        for field in dataclasses.fields(thing):  # pyright: ignore[reportArgumentType]
            value = getattr(thing, field.name)
            if field.metadata.get("undescribed"):
                continue
            if not (field.metadata.get("only_if_set") and (value is None or value is False)):
                arguments[field.metadata.get("argument", field.name)] = describe(value)
        return {"type": type(thing).__name__, **arguments}
    name = getattr(thing, "__name__", type(thing).__name__)
    if isinstance(thing, Factory) and _is_public(optax, thing.function):
        return {"optax": thing.function.__name__, "args": describe(thing.args), "keywords": describe(dict(thing.keywords))}
    if _is_public(optax, thing):
        return {"optax": name, "args": [], "keywords": {}}
    for module, library in FUNCTIONS.items():
        if _is_public(library, thing):
            return {"function": name, "of": module}
    if isinstance(thing, functools.partial) and "of" in (of := describe(thing.func)):
        return {**of, "args": describe(thing.args), "keywords": describe(thing.keywords)}
    if isinstance(thing, diffrax.AbstractSolver) and _is_public(diffrax, type(thing)) and _is_default(thing):
        return {"diffrax": name}
    return {"opaque": _text(thing), "digest": digest(thing)}


def restore(description: Any) -> Any:
    """The object that `describe` described. Raises ValueError if the description holds something that is "opaque"."""
    if isinstance(description, list):
        return [restore(value) for value in description]
    if not isinstance(description, Mapping):
        return description
    if "type" in description:  # checked first, because an argument of a type may have the name of a key that is checked below
        fields = {name: restore(value) for name, value in description.items() if name != "type"}
        if description["type"] in DESCRIBED:
            return DESCRIBED[description["type"]](**fields)
        arrays = {name: np.asarray(value) if isinstance(value, list) else value for name, value in fields.items()}
        return kind_of(description["type"])(**arrays)
    if "opaque" in description:
        raise argument_error(
            "description",
            "hold only what can be written down",
            f"it holds {description['opaque']}",
            "Pass that object again by hand, or use named functions of jax, optax and diffrax.",
        )
    if "optax" in description:
        arguments = restore(description["args"]), restore(description["keywords"])
        keywords = tuple(sorted(arguments[1].items()))
        return Factory(getattr(optax, description["optax"]), tuple(arguments[0]), keywords)
    if "function" in description:
        function = getattr(FUNCTIONS[description["of"]], description["function"])
        if "args" not in description:
            return function
        return functools.partial(function, *restore(description["args"]), **restore(description["keywords"]))
    if "packed" in description:
        return np.frombuffer(_unpacked(description), description["dtype"]).reshape(description["shape"])
    if "random_key" in description:
        numbers = jax.numpy.asarray(restore(description["numbers"]), jax.numpy.uint32)
        return jax.random.wrap_key_data(numbers, impl=description["random_key"])
    if "diffrax" in description:
        return getattr(diffrax, description["diffrax"])()
    return {name: restore(value) for name, value in description.items()}


def kind_of(name: str) -> type[State]:
    """The class of states of this name. Raises ValueError if no imported class has this name."""
    if name not in State.kinds:
        must = f"describe one of {', '.join(sorted(State.kinds))}"
        raise argument_error("dataset", must, f"its state is of the kind {name}", "Import the module that defines it first.")
    return State.kinds[name]


def _text(thing: Any) -> str:
    """The repr without addresses, which say nothing in another process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(thing))


def _numbers(array: Any) -> Any:
    if jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
        kind, numbers = str(jax.random.key_impl(array)), _numbers(jax.random.key_data(array))
        return numbers if kind == KEYS else {"random_key": kind, "numbers": numbers}
    array = np.asarray(array)
    if array.size <= LARGE and array.dtype.kind not in "cmMS":  # JSON has no complex numbers, dates and bytes
        return array.tolist()
    packed = base64.b64encode(zlib.compress(array.tobytes())).decode()
    return {"packed": packed, "dtype": array.dtype.str, "shape": list(array.shape)}


def _unpacked(description: Mapping[str, Any]) -> bytes:
    return zlib.decompress(base64.b64decode(description["packed"]))


def _is_public(library: Any, thing: Any) -> bool:
    return getattr(library, getattr(thing, "__name__", ""), None) is thing


def _is_default(solver: diffrax.AbstractSolver) -> bool:
    try:
        return bool(eqx.tree_equal(solver, type(solver)()))
    except TypeError:
        return False


def comparable(description: Any) -> Any:
    """A description in which things that do the same are equal: with checksums of arrays, and None for default rules."""
    if isinstance(description, list):
        return [comparable(value) for value in description]
    if not isinstance(description, Mapping):
        return description
    if "packed" in description:
        checksum = hashlib.sha256(_unpacked(description)).hexdigest()[:16]
        return {"array of": description["dtype"], "shape": description["shape"], "checksum": checksum}
    same = {name: comparable(value) for name, value in description.items()}
    if description.get("type") in ("GradientDescent", "GradientFlow"):
        same["rates"] = same.get("rates") or None
        if same.get("solver") == {"diffrax": "Tsit5"}:
            same["solver"] = None
    return same


def equal(there: Any, here: Any) -> bool:
    """Whether two descriptions are equal. A NaN equals a NaN, and neither the order of names nor texts beside digests count."""
    return _compared(there) == _compared(here)


def _compared(description: Any) -> str:
    if isinstance(description, Mapping):
        counts = sorted(name for name in description if name != "opaque" or "digest" not in description)
        return f"{{{', '.join(f'{name!r}: {_compared(description[name])}' for name in counts)}}}"
    if isinstance(description, list):
        return f"[{', '.join(_compared(value) for value in description)}]"
    return json.dumps(description)


def difference(place: str, there: Any, here: Any) -> tuple[str, Any, Any]:
    """The first place, in nested descriptions, where two differ, and what stands there, as short texts."""
    if isinstance(there, dict) and isinstance(here, dict):
        if "opaque" in there and "opaque" in here:
            named, other = _shortened(there["opaque"], here["opaque"])
            if there["opaque"] == here["opaque"]:
                other = "one with other code, or with other values that its code refers to,"
            return f"{place}.digest", named, other
        pairs = [(f"{place}.{name}", there.get(name), here.get(name)) for name in {**here, **there}]
    elif isinstance(there, list) and isinstance(here, list):
        if len(there) != len(here):
            return place, f"a list of {len(there)}", f"a list of {len(here)}"
        pairs = [(f"{place}[{index}]", *pair) for index, pair in enumerate(zip(there, here, strict=True))]
    else:
        return place, *_shortened(there, here)
    return next((difference(*pair) for pair in pairs if not equal(*pair[1:])), (place, *_shortened(there, here)))


def _shortened(there: Any, here: Any) -> tuple[str, str]:
    """Two values as texts. Of long texts that begin alike, only what follows is shown."""
    texts = [value if value is None else json.dumps(value) for value in (there, here)]
    texts = [str(text) for text in texts]
    alike = next((place for place, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), 0)
    start = alike - 20 if max(len(text) for text in texts) > SHOWN < alike + 20 else 0
    return _cut(texts[0], start), _cut(texts[1], start)


def _cut(text: str, start: int = 0) -> str:
    shown = text[start : start + SHOWN - 3]
    return f"{'...' if start else ''}{shown}{'...' if len(text) > start + SHOWN - 3 else ''}"
