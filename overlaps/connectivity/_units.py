"""What all networks of units have: vectors that drive the units and read them, biases, and an activity at the start."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, numpy_for, real_array, said
from overlaps.connectivity._layout import DenseLayout
from overlaps.connectivity._protocols import Variable
from overlaps.connectivity._readout_bias import ONLY_IF_SET, checked_bias, stored_bias
from overlaps.connectivity._state import State


class Units(State):
    """Connectivity of single units, with one row per unit in the vectors m, z, b and h0, and the readout bias c."""

    m: Float[AnyArray, "*batch N I"]
    z: Float[AnyArray, "*batch N O"]
    b: Float[AnyArray, "*batch N"] | None = eqx.field(metadata=ONLY_IF_SET)
    h0: Float[AnyArray, "*batch N"] | None = eqx.field(metadata=ONLY_IF_SET)
    c: Float[AnyArray, "*batch O"] | None = eqx.field(metadata=ONLY_IF_SET)

    def _set(self, m: Any, z: Any, b: Any, h0: Any, c: Any) -> None:
        """Set the fields to checked arrays. m and z are checked before, by `columns`."""
        self.m, self.z = m, z
        self.b, self.h0 = (_per_unit(name, x, m.shape[:-1]) for name, x in (("b", b), ("h0", h0)))
        self.c = checked_bias(c, m.shape[:-2], z.shape[-1])

    @property
    def n(self) -> int:
        """The number of rows, that is of neurons, or of quadrature nodes."""
        return self.m.shape[-2]

    @property
    def readout_bias(self) -> Any:
        return self.c

    @property
    def external(self) -> Float[AnyArray, "*batch N external"]:
        """[m b h0], the vectors along which something else than the recurrence drives the units."""
        constant = [vector[..., None] for vector in (self.b, self.h0) if vector is not None]
        return numpy_for(self).concatenate([self.m, *constant], axis=-1) if constant else self.m

    @property
    def unit_layout(self) -> DenseLayout:
        """The layout of a network in which each unit has a latent of its own, as W is not of low rank."""
        return DenseLayout(self.m.shape[-1], self.n, self.z.shape[-1], self.b is not None, self.h0 is not None)

    @property
    def unit_drivers(self) -> Float[AnyArray, "*batch N driving"]:
        """[m b h0, 1], the weights with which the latents of `unit_layout` drive the units."""
        xp = numpy_for(self)
        return xp.concatenate([self.external, xp.broadcast_to(xp.eye(self.n), (*self.batch, self.n, self.n))], axis=-1)

    def _parts(self, external: Any) -> dict[str, Any]:
        """The columns of `external` as fields."""
        inputs = self.m.shape[-1]
        fields = {"m": external[..., :inputs]} | ({} if self.b is None else {"b": external[..., inputs]})
        return fields | ({} if self.h0 is None else {"h0": external[..., -1]})

    def _stored(self, name: str, vectors: Any) -> dict[str, Variable]:
        meaning = said(f"{name} connectivity vectors")
        return {f"{name}_vectors": (("neuron", "vector"), np.asarray(vectors), meaning)} | stored_bias(name, self.c)


def _per_unit(name: str, value: Any, shape: tuple[int, ...]) -> Any:
    """`value` as one number per neuron, (batch, N), or None. Raises ValueError for another shape."""
    if value is None:
        return None
    array = real_array(name, value)
    if array.shape != shape:
        raise argument_error(name, f"have shape {shape}, one number per neuron", f"its shape is {array.shape}")
    return array


def columns(name: str, value: Any) -> Any:
    """`value` as vectors in columns, (neurons, vectors). A 1-D array becomes a single column."""
    array = real_array(name, value)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim < 2 or 0 in array.shape:
        raise argument_error(name, "be of shape (neurons, vectors) or (neurons,), and not empty", f"its shape is {array.shape}")
    return array
