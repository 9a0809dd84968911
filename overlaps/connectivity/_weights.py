"""The weights of populations: their shares of all neurons."""

from typing import Any

import numpy as np

from overlaps._support import argument_error, as_float, is_traced, real_array


def checked_weights(weights: Any) -> Any:
    """`weights` as an array (batch, P), or (P,). Raises ValueError unless they are positive with the sum 1.

    The values of a traced array are not checked.
    """
    weights = as_float(real_array("weights", weights))
    if weights.ndim not in (1, 2) or 0 in weights.shape:
        raise argument_error("weights", "have shape (populations,) and not be empty", f"its shape is {weights.shape}")
    if is_traced(weights):
        return weights
    if np.any(weights <= 0):
        empty = sorted({int(place[-1]) for place in np.argwhere(weights <= 0)})
        mend = "Leave populations without neurons out."
        raise argument_error("weights", "be positive", f"those of the populations {empty} are not", mend)
    if not np.allclose(weights.sum(-1), 1, atol=1e-6):
        raise argument_error("weights", "have the sum 1", f"their sum is {np.max(weights.sum(-1)):.6g}")
    return weights
