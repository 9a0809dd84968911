"""Digests of things that have no public name, such as a lambda: they tell whether two of them do the same.

A digest is made of the code of a function and of all that the code refers to. docs/long_runs.md says what it cannot see.
"""

import contextlib
import dis
import functools
import hashlib
import itertools
import marshal
import threading
import types
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps.learning._modules import contents, imported_names, is_installed, is_of_library, source_of

PLAIN = {type(None), bool, int, float, complex, str, bytes, type(...)}
NESTED = {list, tuple, dict}
LEVELS, LARGEST = 4, 10**8  # of nested things whose plain values get one digest together; the number of their items and letters
HIDDEN = (
    *(weakref.ref, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet),
    *(threading.local, threading.Thread),
)
JITTED = type(jax.jit(lambda: None))
TOO_DEEP = "nested too deeply"


def digest(thing: Any) -> str:
    """A text that is the same, also in another process, for things with the same code and the same contents.

    It is `TOO_DEEP` for things inside of things inside of ... that Python cannot follow.
    """
    try:
        return _Walk()(thing).hex()
    except RecursionError:
        return TOO_DEEP


class _Walk:
    """Digests of things, each made of the digests of its parts. A thing that is met again is not walked through again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}  # with the things, so that no other one gets their place in memory
        self._open: list[int] = []

    def __call__(self, thing: Any) -> bytes:
        if type(thing) is bytes or _is_plain(thing):
            found = hashlib.sha256(f"plain {type(thing).__name__}:".encode())
            found.update(thing if type(thing) is bytes else marshal.dumps(thing, 2))  # later formats depend on what is shared
            return found.digest()
        if id(thing) in self._known:
            return self._known[id(thing)][1]
        if id(thing) in self._open:
            return self(("itself", len(self._open) - self._open.index(id(thing))))
        self._open.append(id(thing))
        tag, *parts = self._parts(thing)
        found = hashlib.sha256(tag.encode() + b":" + b"".join([self(part) for part in parts])).digest()
        self._open.pop()
        self._known[id(thing)] = thing, found
        return found

    def _parts(self, thing: Any) -> tuple[Any, ...]:
        """The kind of a thing, and of what it consists."""
        if isinstance(thing, jax.Array) and thing.is_deleted():
            return "deleted array", str(thing.dtype), thing.shape
        if isinstance(thing, jax.Array) and jax.numpy.issubdtype(thing.dtype, jax.dtypes.prng_key):
            return "key", str(jax.random.key_impl(thing)), np.asarray(jax.random.key_data(thing))
        if type(thing) is np.ndarray or isinstance(thing, np.generic | jax.Array):
            array = np.asarray(thing)
            content = array.tolist() if array.dtype.hasobject else array.tobytes()
            weak = getattr(thing, "weak_type", False)
            return "array", isinstance(thing, jax.Array), weak, str(array.dtype), array.shape, content
        if type(thing) in (tuple, list):
            return type(thing).__name__, *thing
        if type(thing) in (dict, types.MappingProxyType):
            return "dict", *(part for pair in thing.items() for part in pair)
        if type(thing) in (set, frozenset):
            return "set", *sorted(self(one) for one in thing)
        if isinstance(thing, types.CodeType):
            return "code", *_code(thing)
        if isinstance(thing, types.FunctionType):
            return "function", *_function(thing)
        if isinstance(thing, types.MethodType):
            return "method", thing.__func__, thing.__self__
        if isinstance(thing, types.ModuleType):
            return "module", thing.__name__, "" if is_installed(thing.__name__) else source_of(thing)
        if isinstance(thing, type):
            return "class", *(part for base in thing.__mro__ for part in _class(base))
        if isinstance(thing, property):
            return "property", thing.fget, thing.fset, thing.fdel
        if isinstance(thing, staticmethod | classmethod):
            return type(thing).__name__, thing.__func__
        if isinstance(thing, xr.DataArray | xr.Dataset | xr.Variable):
            return "xarray", thing.to_dict(data="array")
        if isinstance(thing, HIDDEN) or type(thing).__module__ == "tempfile":  # each process has other names of such files
            return "hidden", type(thing)
        return "object", type(thing), *_state(thing)


def _is_plain(thing: Any) -> bool:
    """Whether a thing is a plain value, or consists of lists, tuples and dicts of plain values, down to some levels.

    Things that are held at many places count at each of them, so that equal things have equal answers.
    """
    level, size = [thing], 0
    for _ in range(LEVELS):
        kinds = set(map(type, level))
        if not kinds <= PLAIN | NESTED:
            return False
        if not kinds & NESTED:
            return True
        size += sum(len(one) for one in level if type(one) in (*NESTED, str, bytes))
        if size > LARGEST:
            return False
        below = [one for one in level if type(one) in NESTED]
        pairs = [one.values() for one in below if type(one) is dict]
        level = list(itertools.chain.from_iterable([*below, *pairs]))
    return False


def _code(code: types.CodeType) -> Iterator[Any]:
    """What code does, without its name and its place."""
    yield from (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_consts)
    yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_exceptiontable)


def _function(function: types.FunctionType) -> Iterator[Any]:
    """The code of a function and what belongs to it; for a function of the user, also what it refers to in modules."""
    yield from (function.__code__, function.__defaults__, function.__kwdefaults__)
    of_library = is_of_library(function.__code__.co_filename)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # of an empty one
            value = cell.cell_contents
            # Schedules of optax turn numbers that they hold into floats when they are first called.
            yield float(value) if of_library and type(value) is int and abs(value) < 2**53 else value
    if not of_library:
        yield vars(function)
        yield _referred(function.__code__, function.__globals__)


def _referred(code: types.CodeType, names: dict[str, Any]) -> dict[str, Any]:
    """What code, and the functions that it defines, refer to in their module `names`, in other own modules, and by import."""
    found: dict[str, Any] = {}
    for chain in _chains(code):
        if chain[0] in names:
            place, value = chain[0], names[chain[0]]
            for name in chain[1:]:
                if not isinstance(value, types.ModuleType) or is_installed(value.__name__) or name not in contents(value):
                    break
                place, value = f"{place}.{name}", contents(value)[name]
            found[place] = value
    for name in imported_names(code, names):
        found[f"import {name}"] = source_of(name)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _referred(constant, names)
    return dict(sorted(found.items()))


def _chains(code: types.CodeType) -> list[list[str]]:
    """The names that code reads from its module, each with the attributes that it reads of it at once: a.b.c is [a, b, c]."""
    chains: list[list[str]] = []
    follows = False
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            chains.append([step.argval])
            follows = True
        elif follows and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chains[-1].append(step.argval)
        elif step.opname not in ("EXTENDED_ARG", "CACHE"):
            follows = False
    return chains


def _class(base: type) -> Iterator[Any]:
    """A class of a library by name; one of the user by its methods and values."""
    if is_installed(base.__module__):
        yield base.__module__
        yield base.__qualname__
        return
    yield base.__qualname__
    for name, value in sorted(vars(base).items()):
        special = name.startswith("__") and name.endswith("__")  # only methods count, not what Python notes there
        if not special or isinstance(value, types.FunctionType | property | staticmethod | classmethod):
            yield name
            yield value


def _state(thing: Any) -> Iterator[Any]:
    """What an object holds, as far as it shows it."""
    made: Any = ""
    with contextlib.suppress(Exception), warnings.catch_warnings():  # whatever an object says that cannot be taken apart
        warnings.simplefilter("ignore")
        made = thing.__reduce_ex__(4)
    if not isinstance(made, str):
        function, arguments, state, items, pairs, *rest = (*made, None, None, None)[:6]
        if type(thing) is JITTED and isinstance(state, dict):
            state = [state.get(name) for name in ("fun", "static_argnums", "static_argnames")]  # the rest are caches and places
        yield from (function, arguments, _without_caches(type(thing), state), rest)
        yield from ([*(items or ())], [*(pairs or ())])
        return
    yield made or str(getattr(thing, "__name__", ""))
    yield _without_caches(type(thing), getattr(thing, "__dict__", None))


def _without_caches(kind: type, state: Any) -> Any:
    """The attributes of an object without those that are computed when they are first asked for."""
    if type(state) is not dict:
        return state
    cached = {name for base in kind.__mro__ for name, one in vars(base).items() if isinstance(one, functools.cached_property)}
    return {name: value for name, value in state.items() if name not in cached} or None
