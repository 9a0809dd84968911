"""The readout bias c, which learns as one more row of the factor F does."""

from typing import Any

import numpy as np

from overlaps._support import AnyArray, argument_error, numpy_for, real_array, said
from overlaps.connectivity._protocols import Variable

ONLY_IF_SET = {"only_if_set": True}
"""The mark of a field that a description leaves out if it is None or False. So descriptions stay as they were before it."""


def checked_bias(c: Any, batch: tuple[int, ...], outputs: int) -> Any:
    """`c` as an array (batch, O), or None. A number stands for a single output. Raises ValueError for another shape."""
    if c is None:
        return None
    array = real_array("c", c)
    array = array[None] if array.ndim == 0 else array
    if array.shape != (*batch, outputs):
        raise argument_error("c", f"have shape {(*batch, outputs)}, one number per output", f"its shape is {array.shape}")
    return array


def with_row(factor: AnyArray, c: Any) -> AnyArray:
    """The factor, and for a readout bias one more row, which holds c in the columns of z and 0 elsewhere."""
    if c is None:
        return factor
    xp = numpy_for(factor, c)
    zeros = xp.zeros((*c.shape[:-1], factor.shape[-1] - c.shape[-1]), c.dtype)
    return xp.concatenate([factor, xp.concatenate([zeros, c], axis=-1)[..., None, :]], axis=-2)


def without_row(factor: AnyArray, c: Any) -> tuple[AnyArray, Any]:
    """The inverse of `with_row`: the factor without the row, and the readout bias. `c` only tells whether there is one."""
    if c is None:
        return factor, None
    return factor[..., :-1, :], factor[..., -1, -c.shape[-1] :]


def with_bias(values: dict[str, Any], c: Any) -> dict[str, Any]:
    """These values by name, with the readout bias among them if there is one."""
    return values if c is None else {**values, "c": c}


def scales_with_row(scales: Any, rows: int, c: Any) -> Any:
    """The scales of the columns of a factor, and with a readout bias those of all its entries: c is not scaled."""
    return scales if c is None else np.concatenate([np.tile(scales, (rows, 1)), np.ones((1, scales.size))])


def stored_bias(name: str, c: Any) -> dict[str, Variable]:
    """The variable of a Dataset that holds the readout bias of the "initial" or "final" state, if it has one."""
    return {} if c is None else {f"{name}_c": (("readout",), np.asarray(c), said(f"{name} readout bias"))}


def tracked_bias(values: dict[str, Any]) -> dict[str, Variable]:
    """The variable of a Dataset that holds the readout bias over time, if a run recorded it."""
    return {"c": (("time", "readout"), values["c"], said("readout bias"))} if "c" in values else {}
