"""Descriptions of states, tasks and rules as plain JSON, from which a run can be repeated."""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import types
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
LARGE = 1000  # arrays with more numbers than this are written as compressed bytes


def describe(thing: Any) -> Any:
    """A description of `thing` that can be written as JSON, and from which `restore` makes the thing again.

    - Arrays become nested lists. Large arrays become {"packed": base64 of their compressed bytes, ...}.
    - Objects of this library become {"type": name, and the arguments}.
    - Functions of jax.nn, jax.numpy, jax.scipy.special, jax.lax, overlaps.tasks and optax, functools.partial of them, and
      solvers of diffrax with default arguments are written by name.
    - Everything else, such as a lambda, becomes {"opaque": text}, which `restore` refuses.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, np.ndarray | np.generic | jax.Array):
        return _numbers(thing)
    if isinstance(thing, Mapping):
        return {str(name): describe(value) for name, value in thing.items()}
    if isinstance(thing, tuple | list):
        return [describe(value) for value in thing]
    if isinstance(thing, State) or type(thing).__name__ in DESCRIBED:
        fields = dataclasses.fields(thing)
        arguments = {field.metadata.get("argument", field.name): describe(getattr(thing, field.name)) for field in fields}
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
    return {"opaque": _text(thing), "digest": hashlib.sha256(repr(_contents(thing)).encode()).hexdigest()}


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
        data = zlib.decompress(base64.b64decode(description["packed"]))
        return np.frombuffer(data, description["dtype"]).reshape(description["shape"])
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


def _contents(thing: Any, home: str = "", seen: tuple[int, ...] = ()) -> Any:
    """What makes a thing that has no name what it is: code, constants, and what they refer to in their module `home`."""
    if id(thing) in seen:
        return "itself"

    def within(part: Any) -> Any:
        return _contents(part, home, (*seen, id(thing)))

    if isinstance(thing, np.ndarray | np.generic | jax.Array):
        return json.dumps(_numbers(thing))
    if isinstance(thing, Mapping):
        return [(str(name), within(value)) for name, value in thing.items()]
    if isinstance(thing, tuple | list):
        return [within(value) for value in thing]
    if isinstance(thing, set | frozenset):
        return sorted(str(within(value)) for value in thing)
    if isinstance(thing, types.CodeType):
        return thing.co_code, thing.co_names, within(thing.co_consts)
    if isinstance(thing, types.ModuleType | type):
        return thing.__name__
    if isinstance(thing, functools.partial):
        return within([thing.func, thing.args, thing.keywords])
    if isinstance(thing, types.MethodType):
        return within([thing.__func__, thing.__self__])
    if hasattr(thing, "__wrapped__"):  # of jit and the like
        return type(thing).__qualname__, within(thing.__wrapped__)
    if isinstance(thing, types.FunctionType):
        home = home or thing.__module__
        if thing.__module__ != home:
            return thing.__module__, thing.__qualname__
        cells = []
        for cell in thing.__closure__ or ():
            with contextlib.suppress(ValueError):  # of an empty one
                cells.append(cell.cell_contents)
        used = {name: thing.__globals__[name] for name in _names(thing.__code__) if name in thing.__globals__}
        return within([thing.__code__, cells, thing.__defaults__, thing.__kwdefaults__, used])
    if hasattr(thing, "__dict__"):
        return type(thing).__qualname__, within(vars(thing))
    return _text(thing)


def _names(code: types.CodeType) -> list[str]:
    """The names of a module that code may refer to, also in functions that it defines."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return sorted({*code.co_names, *(name for one in inner for name in _names(one))})


def _numbers(array: Any) -> Any:
    if jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    array = np.asarray(array)
    if array.size <= LARGE:
        return array.tolist()
    packed = base64.b64encode(zlib.compress(array.tobytes())).decode()
    return {"packed": packed, "dtype": array.dtype.str, "shape": list(array.shape)}


def _is_public(library: Any, thing: Any) -> bool:
    return getattr(library, getattr(thing, "__name__", ""), None) is thing


def _is_default(solver: diffrax.AbstractSolver) -> bool:
    try:
        return bool(eqx.tree_equal(solver, type(solver)()))
    except TypeError:
        return False


def difference(place: str, there: Any, here: Any) -> tuple[str, Any, Any]:
    """The first place, in nested descriptions, where two differ, and what stands there."""
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = [(f"{place}.{name}", there.get(name), here.get(name)) for name in {**here, **there}]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{place}[{index}]", *pair) for index, pair in enumerate(zip(there, here, strict=True))]
    else:
        return place, _shortened(there), _shortened(here)
    return next((difference(*pair) for pair in pairs if pair[1] != pair[2]), (place, there, here))


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
