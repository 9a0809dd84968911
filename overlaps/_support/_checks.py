"""Checks of arguments: the one form of error message, and the conditions that many functions check."""

import math
from collections.abc import Collection
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support._typing import AnyArray


def argument_error(name: str, must: str, came: str, mend: str = "") -> ValueError:
    """A ValueError in the one form that all argument errors of the library have. The caller raises it."""
    stop = "" if came.endswith("?") else "."
    return ValueError(f"Argument `{name}` must {must}, but {came}{stop} {mend}".rstrip())


def is_traced(*trees: Any) -> bool:
    """Whether any array in the trees is traced: it stands for values inside a jit, vmap or grad, and they cannot be read."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def is_inside_trace() -> bool:
    """Whether a surrounding jit records all operations, even those on arrays whose values are known."""
    return is_traced(jnp.zeros(()))


def numpy_for(*trees: Any) -> Any:
    """The array module to compute with: jax.numpy if any array is traced (see `is_traced`), else NumPy.

    NumPy computes in float64 whatever the JAX flag says, and it compiles nothing.
    """
    return jnp if is_traced(trees) else np


def number(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> float:
    """`value` as a finite float that is greater than `above`, or at least `least`; raises ValueError otherwise."""
    if above is not None:
        requirement = f"be a number greater than {above:g}"
    elif least is not None:
        requirement = f"be a number of at least {least:g}"
    else:
        requirement = "be a finite number"
    if isinstance(value, bool | str) or np.ndim(value) > 0:
        raise argument_error(name, requirement, f"{value!r} came")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise argument_error(name, requirement, f"{value!r} came") from None
    too_small = (above is not None and result <= above) or (least is not None and result < least)
    if not math.isfinite(result) or too_small:
        raise argument_error(name, requirement, f"{result!r} came")
    return result


def parameter(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> Float[AnyArray, "*batch"]:
    """A parameter that is one number, or an array with one number for each network of a batch.

    Traced values pass as they are. Other values are checked as in `number` and become float64.
    """
    if is_traced(value):
        return value
    if np.ndim(value) == 0:
        return np.asarray(number(name, value, above=above, least=least))
    return np.asarray([number(name, one, above=above, least=least) for one in real_array(name, value, ndim=1)])


def count(name: str, value: Any, *, least: int = 1) -> int:
    """`value` as an int of at least `least`; raises ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise argument_error(name, f"be a whole number of at least {least}", f"{value!r} came")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """`value` as True or False; raises ValueError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise argument_error(name, "be True or False", f"{value!r} came")
    return bool(value)


def choice(name: str, value: Any, known: Collection[str]) -> Any:
    """`value`, if it is one of the names in `known`; raises ValueError otherwise."""
    if value not in known:
        listed = ", ".join(repr(each) for each in known)
        raise argument_error(name, f"be one of {listed}", f"{value!r} came")
    return value


def real_array(name: str, value: Any, *, ndim: int | None = None) -> Any:
    """`value` as an array of finite real numbers; raises ValueError otherwise.

    Integers and lists become float64. The values of traced arrays are not checked.
    """
    if is_traced(value):
        array = value
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise argument_error(name, "be a rectangular array", "rows of different lengths came") from None
        if not np.issubdtype(array.dtype, np.floating):
            if array.dtype.kind not in "iub":
                raise argument_error(name, "be a real array", f"an array of type {array.dtype} came")
            array = array.astype(float)
        bad = int(np.sum(~np.isfinite(array)))
        if bad:
            raise argument_error(name, "be finite", f"{bad} of its {array.size} entries are NaN or infinite")
    if ndim is not None and array.ndim != ndim:
        raise argument_error(name, f"have {ndim} dimensions", f"its shape is {array.shape}")
    return array


def as_float(array: Any) -> Any:
    """The array as a float64 NumPy array; a traced array stays as it is."""
    return array if is_traced(array) else np.asarray(array, float)
