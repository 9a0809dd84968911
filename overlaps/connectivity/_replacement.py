"""New values for some overlaps of an overlap matrix."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from overlaps._support import argument_error, is_traced, real_array
from overlaps.connectivity._gram import MEND, smallest_eigenvalue
from overlaps.connectivity._layout import Layout


def replaced(gram: Any, layout: Layout, overlaps: Mapping[str, Any]) -> Any:
    """The overlap matrix with these values in blocks or entries, by name. Errors are those of `Overlaps.replace`."""
    traced = is_traced(gram, overlaps)
    gram = jnp.asarray(gram) if traced else np.array(gram)
    setters: dict[tuple[int, int], str] = {}
    for name, value in overlaps.items():
        left, right = layout.block(name) or layout.entry(name)
        for place in layout.places(left, right):
            if setters.setdefault(place, name) != name:
                came = f"`{setters[place]}` sets the same overlap"
                raise argument_error(name, "set overlaps that no other name sets", came, "Leave one of the two out.")
        shape = np.broadcast_to(0.0, gram.shape[-2:])[left, right].shape
        value = real_array(name, value)
        if value.size == 1 and np.prod(shape) == 1:
            value = value.reshape(shape)
        if value.shape != shape:
            raise argument_error(name, f"have shape {shape}", f"its shape is {value.shape}")
        if name[0] == name[-1] and shape and not traced and not np.array_equal(value, value.T):
            raise argument_error(name, "be symmetric", "it is not")
        if traced:
            gram = gram.at[..., left, right].set(value).at[..., right, left].set(value.T)
        else:
            gram[..., left, right], gram[..., right, left] = value, value.T
    smallest = 0.0 if traced else smallest_eigenvalue(gram)
    if smallest < 0:
        raise argument_error(
            ", ".join(overlaps),
            "leave the overlap matrix positive semi-definite",
            f"its smallest eigenvalue would be {smallest:.3g}",
            MEND,
        )
    return gram
