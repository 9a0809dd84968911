"""Array types for annotations."""

import jax
import numpy as np

AnyArray = np.ndarray | jax.Array
"""An array of NumPy (what users pass and get) or of JAX (inside compiled code)."""
