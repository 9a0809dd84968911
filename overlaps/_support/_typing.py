"""Array types for annotations."""

import jax
import numpy as np

AnyArray = np.ndarray | jax.Array
"""NumPy at the edges, JAX inside of compiled code."""
