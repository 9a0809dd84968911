"""Double precision (float64) inside the library, whatever the JAX flag `jax_enable_x64` of the process says."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from overlaps._support._checks import argument_error, is_inside_trace, is_traced

Function = TypeVar("Function", bound=Callable[..., Any])

TRACED_WITHOUT_X64 = (
    "`{name}` was called inside jit, vmap or grad while JAX computes in float32, where its answer would be wrong. "
    'Call jax.config.update("jax_enable_x64", True) at the start of the program, or call `{name}` outside jit, vmap and grad.'
)


def require_x64(name: str) -> None:
    """Raise RuntimeError if JAX computes in float32. `name`: the function that was called, for the message."""
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(TRACED_WITHOUT_X64.format(name=name))


def in_float64(function: Function) -> Function:
    """Make a public function compute in float64 and return NumPy arrays, if the values of its arguments are known.

    Inside a jit, vmap or grad of the user, arguments are traced. The library cannot change their precision there. So the
    function then raises RuntimeError, unless the user has set the flag `jax_enable_x64`.
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
    """`key` as a `jax.random` key or an array of such keys; raises ValueError otherwise.

    `key`: keys of `jax.random`, keys as raw numbers (made by jax.random.PRNGKey), or an integer seed.
    """
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32:
        with contextlib.suppress(TypeError, ValueError):  # the last axis does not have the length of a key
            return jax.random.wrap_key_data(jax.numpy.asarray(key))
    raise argument_error(name, "be a jax.random key or an integer seed", f"{key!r} came")
