"""The float64 edge: double precision inside the library, whatever the process-wide JAX flag says."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from overlaps._support._checks import argument_error, is_inside_trace, is_traced

Function = TypeVar("Function", bound=Callable[..., Any])

TRACED_WITHOUT_X64 = (
    "`{name}` was called inside jit, vmap or grad while JAX is in float32, where its answer would be wrong. "
    'Call jax.config.update("jax_enable_x64", True) at the start of the program, or call it outside the transformation.'
)


def require_x64(name: str) -> None:
    """Raise if the surrounding trace would compute in float32."""
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(TRACED_WITHOUT_X64.format(name=name))


def in_float64(function: Function) -> Function:
    """Make a public function compute in float64 on concrete arguments and return NumPy arrays.

    Traced arguments cannot be promoted from within the user's transformation, so the global flag is required there.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if is_traced(args, kwargs):
            require_x64(function.__qualname__)
            return function(*args, **kwargs)
        outside = jax.ensure_compile_time_eval() if is_inside_trace() else contextlib.nullcontext()
        with outside, jax.enable_x64(True):
            return jax.tree.map(_to_numpy, function(*args, **kwargs))

    return wrapped  # pyright: ignore[reportReturnType]


def _to_numpy(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) and not is_traced(leaf) else leaf


def random_key(name: str, key: Any) -> jax.Array:
    """A `jax.random` key, or an array of keys, from keys, the raw numbers of keys (jax.random.PRNGKey) or an integer seed."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32:
        with contextlib.suppress(TypeError, ValueError):  # of a last axis that is no key
            return jax.random.wrap_key_data(jax.numpy.asarray(key))
    raise argument_error(name, "be a jax.random key or an integer seed", f"{key!r} came")
