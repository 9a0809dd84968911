"""Digests of things that have no public name, such as a lambda: they tell whether two of them do the same.

A digest is made of the code of a function and of all that the code refers to. docs/long_runs.md says what it cannot see.
"""

import contextlib
import dis
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
import threading
import types
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
HIDDEN = (weakref.ref, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, threading.local)
JITTED = type(jax.jit(lambda: None))
LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1]))
SITE = {"site-packages", "dist-packages"}  # the names of folders of installed libraries
TOO_DEEP = "nested too deeply"


def digest(thing: Any) -> str:
    """A text that is the same, also in another process, for things with the same code and the same contents.

    It is `TOO_DEEP` for things inside of things inside of ... that Python cannot follow.
    """
    try:
        return _Walk()(thing).hex()
    except RecursionError:
        return TOO_DEEP


def is_installed(module: str) -> bool:
    """Whether a module belongs to Python or to an installed library. If not, it is the user's own."""
    top = module.partition(".")[0]
    files = (getattr(sys.modules.get(name), "__file__", None) for name in (module, top))
    return top in sys.stdlib_module_names or any(_is_of_library(file) for file in files if file)


class _Walk:
    """Digests of things, each made of the digests of its parts. A thing that is met again is not walked through again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}  # with the things, so that no other one gets their place in memory
        self._open: list[int] = []

    def __call__(self, thing: Any) -> bytes:
        if type(thing) in PLAIN:
            content = thing if isinstance(thing, bytes) else repr(thing).encode(errors="surrogatepass")
            return hashlib.sha256(type(thing).__name__.encode() + b":" + content).digest()
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
            return "module", thing.__name__, b"" if is_installed(thing.__name__) else _source(getattr(thing, "__file__", None))
        if isinstance(thing, type):
            return "class", *(part for base in thing.__mro__ for part in _class(base))
        if isinstance(thing, property):
            return "property", thing.fget, thing.fset, thing.fdel
        if isinstance(thing, staticmethod | classmethod):
            return type(thing).__name__, thing.__func__
        if isinstance(thing, xr.DataArray | xr.Dataset | xr.Variable):
            return "xarray", thing.to_dict(data="array")
        if isinstance(thing, HIDDEN):
            return "hidden", type(thing)
        return "object", type(thing), *_state(thing)


def _code(code: types.CodeType) -> Iterator[Any]:
    """What code does, without its name and its place."""
    yield from (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_consts)
    yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_exceptiontable)


def _function(function: types.FunctionType) -> Iterator[Any]:
    """The code of a function and what belongs to it; for a function of the user, also what it refers to in modules."""
    yield from (function.__code__, function.__defaults__, function.__kwdefaults__)
    of_library = _is_of_library(function.__code__.co_filename)
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
                if not isinstance(value, types.ModuleType) or is_installed(value.__name__) or not hasattr(value, name):
                    break
                place, value = f"{place}.{name}", getattr(value, name)
            found[place] = value
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            found[f"import {step.argval}"] = _imported(step.argval)
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


def _imported(name: str) -> bytes:
    """The source of an own module that a function imports."""
    with contextlib.suppress(Exception):  # of a module that cannot be found, as when the function is called
        top = importlib.util.find_spec(name.partition(".")[0])
        if top is not None and not _is_of_library(top.origin or "") and top.name not in sys.stdlib_module_names:
            return _source(getattr(importlib.util.find_spec(name), "origin", None))
    return b""


def _source(file: str | None) -> bytes:
    with contextlib.suppress(OSError, TypeError):  # a module without a file
        return Path(file).read_bytes()  # pyright: ignore[reportArgumentType]
    return b""


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


def _is_of_library(file: str) -> bool:
    return file.startswith(("<frozen", *(path + os.sep for path in LIBRARIES))) or not SITE.isdisjoint(Path(file).parts)
