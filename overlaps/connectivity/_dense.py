"""Networks whose whole recurrent matrix W learns, and small networks that stand for them."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import (
    AnyArray,
    argument_error,
    count,
    in_float64,
    is_traced,
    number,
    numpy_for,
    random_key,
    real_array,
    said,
)
from overlaps.connectivity._layout import DenseLayout
from overlaps.connectivity._projection import Projection, Transfer, through_units
from overlaps.connectivity._protocols import Model, Results, Variable
from overlaps.connectivity._readout_bias import scales_with_row, tracked_bias, with_bias, with_row, without_row
from overlaps.connectivity._spectrum import by_modulus, spectra, spectral_variables
from overlaps.connectivity._subspace import checked_basis, grown, same_space, stored_basis, subspace
from overlaps.connectivity._units import Units, columns


class DenseNetwork(Units):
    """A network of N neurons whose whole matrix W learns ([BCPZ25]).

        tau dh/dt = -h + W phi(h) + m x + b,     h(0) = h0,     y = z^T phi(h) / N + c

    - `W`: recurrent weights, (N, N). The entries of a random W are of order 1 / sqrt(N).
    - `m`: input vectors, (N, I), with entries of order 1.
    - `z`: readout vectors, (N, O), with entries of order 1.
    - `b`, `h0`, `c`: biases, initial activity and readout biases, as in `Network`; None for none.

    A 1-D array stands for a single vector. A batch has one more axis, in front. `learn` moves W at the learning rate, and m and
    z at N times the learning rate, so that all of them matter for large N. The `rates` of a learning rule name "W", "m" and
    "z". Rules that commute with rotations of neuron space act on the matrix [W, m / sqrt(N), z / sqrt(N)]. Other rules (Adam)
    act on W, m and z themselves (docs/integration.md, "Scales and rates"). Raises ValueError when the shapes do not fit.
    """

    simulated: ClassVar[bool] = True
    takes_neuron_rules: ClassVar[bool] = True
    matrix_learns: ClassVar[bool] = True
    needs_gain: ClassVar[bool] = False

    W: Float[AnyArray, "*batch N N"]

    def __init__(self, W: Any, m: Any, z: Any, b: Any = None, h0: Any = None, c: Any = None):
        self.W = real_array("W", W)
        if self.W.ndim < 2 or self.W.shape[-1] != self.W.shape[-2] or 0 in self.W.shape:
            raise argument_error("W", "be a square matrix", f"its shape is {self.W.shape}")
        m, z = columns("m", m), columns("z", z)
        for name, block in (("m", m), ("z", z)):
            if block.shape[:-1] != self.W.shape[:-1]:
                must = f"have {self.W.shape[-1]} rows, one per neuron, as `W` has"
                raise argument_error(name, must, f"its shape is {block.shape}")
        self._set(m, z, b, h0, c)

    @classmethod
    @in_float64
    def random(
        cls,
        key: Any,
        n: int = 200,
        sigma: float = 0.0,
        inputs: int = 1,
        outputs: int = 1,
        scale: float = 1.0,
        silent: bool = False,
    ) -> "DenseNetwork":
        """A network with independent Gaussian entries: W of variance sigma^2 / n, m of variance 1, z of variance scale^2.

        - `key`: a jax.random key or an integer seed.
        - `n`, `inputs`, `outputs`: the numbers of neurons, of input vectors and of readout vectors.
        - `sigma`: the eigenvalues of W fill the disk of this radius.
        - `scale`: learning is rich at scale 1 (W changes at order one), and lazy at large scales (W hardly changes).
        - `silent`: True makes the initial output exactly 0. The network then consists of two copies of a network of n / 2
          units, with readouts of opposite signs.

        See docs/integration.md. Raises ValueError for values out of range, and for an odd n of a silent network.
        """
        n, inputs, outputs = count("n", n), count("inputs", inputs), count("outputs", outputs)
        sigma, scale = number("sigma", sigma, least=0.0), number("scale", scale, above=0.0)
        if silent and n % 2:
            raise argument_error("n", "be even for a silent network, which is two copies of one", f"{n} came")
        half = n // 2 if silent else n
        weights, vectors = jax.random.split(random_key("key", key))
        W = sigma / np.sqrt(half) * jax.random.normal(weights, (half, half))
        m, z = np.split(np.asarray(jax.random.normal(vectors, (half, inputs + outputs))), [inputs], axis=1)
        if silent:
            W, m, z = np.kron(np.eye(2), W), np.concatenate([m, m]), np.concatenate([z, -z])
        return cls(np.asarray(W), m, scale * z)

    @property
    def batch(self) -> tuple[int, ...]:
        return self.W.shape[:-2]

    @property
    def layout(self) -> DenseLayout:
        return self.unit_layout

    @property
    def drivers(self) -> Float[AnyArray, "*batch N driving"]:
        """[m b h0, 1], because a general W has one latent variable for each unit."""
        return self.unit_drivers

    @property
    def readers(self) -> Float[AnyArray, "*batch N read"]:
        """[W^T, z / N], with which recurrence and output read phi(h)."""
        xp = numpy_for(self)
        return xp.concatenate([xp.swapaxes(self.W, -1, -2), self.z / self.n], axis=-1)

    @property
    def scales(self) -> Any:
        """Numbers that turn the columns of the factor into those of W, of the vectors and of the readout bias."""
        return scales_with_row(self._column_scales, self.n, self.c)

    @property
    def _column_scales(self) -> Float[np.ndarray, "1 columns"]:
        return np.repeat(np.asarray([[1.0, np.sqrt(self.n)]], self.W.dtype), [self.n, len(self.layout.vectors)], axis=1)

    @property
    def factor(self) -> Float[AnyArray, "*batch rows columns"]:
        """[W, m / sqrt(N), z / sqrt(N)]: plain gradient descent on this matrix has the same learning rate for all columns.

        Columns b / sqrt(N) and h0 / sqrt(N) may stand between m and z. A readout bias is one more row.
        """
        columns = numpy_for(self).concatenate([self.W, self.external, self.z], axis=-1)
        return with_row(columns / self._column_scales[(None,) * len(self.batch)], self.c)

    def with_factor(self, factor: Float[AnyArray, "*batch rows columns"]) -> "DenseNetwork":
        rows, c = without_row(factor, self.c)
        W, external, z = self.layout.split(rows * self._column_scales[(None,) * (factor.ndim - 2)])
        fields = with_bias({"W": W, **self._parts(external), "z": z}, c)
        return eqx.tree_at(lambda net: [getattr(net, name) for name in fields], self, list(fields.values()))

    @property
    def sizes(self) -> dict[str, int]:
        return {"n": self.n} | {name: size for name, size in self.layout.description.items() if name != "rank"}

    def latent_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        return self.linear_system()

    @property
    def gram(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Raises ValueError, because the learning of a whole W has no description by an overlap matrix."""
        mend = "Ask for `eigenvalues()` or `reduced()`, or make a low-rank Network or Overlaps."
        raise argument_error("state", "have an overlap matrix", "a DenseNetwork came, whose whole W learns", mend)

    def eigenvalues(self) -> np.ndarray:
        """The N eigenvalues of W, from the largest modulus to the smallest.

        The growth rates of dh/dt = (W - 1) h are these eigenvalues, minus 1.
        """
        return by_modulus(np.linalg.eigvals(np.asarray(self.W, float)))

    def charges(self, rates: Float[np.ndarray, " columns"], linear: bool) -> dict[str, np.ndarray]:
        if not linear or np.any(rates <= 0):
            return {}
        W, m, z = (np.asarray(block) for block in (self.W, self.external, self.z))
        W_T, m_T, z_T = (np.swapaxes(block, -1, -2) for block in (W, m, z))
        weights, inputs, outputs = self.layout.split(rates)
        vectors = (m / inputs) @ m_T - (z / outputs) @ z_T
        return {"K": (W @ W_T - W_T @ W) / weights[0] + vectors / self.n}

    def projection(self, transfer: Transfer) -> Projection:
        return through_units(self.drivers, self.readers, transfer)

    def linear_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        return self.W, self.m, numpy_for(self).swapaxes(self.z, -1, -2) / self.n

    def fed_back(self, recurrent: Float[AnyArray, "N I"], activity: Any) -> Float[AnyArray, "N I"]:
        """The input that the recurrence gives to each unit: what the recurrence reads through `readers`, unchanged."""
        del activity
        return recurrent

    def recurrent_norm(self) -> Any:
        """The spectral norm of the recurrent weights."""
        return np.linalg.norm(np.asarray(self.W), 2, axis=(-2, -1))

    def pieces(self, saves: int) -> int:
        return min(super().pieces(saves), saves - 1)  # the end of a piece needs eigenvalues, as a saved point does

    def recorded(self, factor: Float[AnyArray, "N columns"]) -> dict[str, AnyArray]:
        factor, c = without_row(factor, self.c)
        return with_bias({"factor": factor}, c)

    def condensed(self, values: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
        """The spectra of W instead of the factors, which are too large to be kept."""
        rest = dict(values)
        return rest | spectra(rest.pop("factor"), kept, np.asarray(self.W), self.layout.external)

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        variables = spectral_variables(values) | tracked_bias(values)
        return variables, {"vector": (("vector",), list(self.layout.vectors), said("connectivity vector"))}

    def stored(self, name: str) -> dict[str, Variable]:
        weights = {f"{name}_W": (("neuron", "source"), np.asarray(self.W), said(f"{name} recurrent weights"))}
        return weights | self._stored(name, np.concatenate([self.external, self.z], axis=-1))

    @classmethod
    def read(cls, name: str, results: Results) -> "DenseNetwork":
        vectors, sizes = results.variable(f"{name}_vectors"), results.description
        m, b, h0, z = np.split(vectors, np.cumsum([sizes["inputs"], sizes.get("bias", 0), sizes.get("initial", 0)]), axis=-1)
        b, h0 = (vector[..., 0] if vector.shape[-1] else None for vector in (b, h0))
        return cls(results.variable(f"{name}_W"), m, z, b, h0, results.variable(f"{name}_c"))

    def reduced(self) -> "ReducedNetwork":
        """The smallest network that learns exactly as this one, if phi is linear.

        Consider the smallest space that contains m and z, and that W and W^T map into itself. For any loss of the output,
        learning changes W only within this space. The rest of W stays as it is, or decays on its own (docs/integration.md, "The
        invariant subspace"). The small network has one unit for each dimension of this space. If W is c times the identity
        plus a matrix of rank r, there are at most I + O + 2 r units. Raises ValueError for a batch, and if the space is that of
        all neurons, as it is for random W. Then use `krylov`.
        """
        return self._within(self._words(None))

    def krylov(self, order: int) -> "ReducedNetwork":
        """A small network that approximates this one, if phi is linear.

        It is the projection of this network on all products of up to `order` factors W, W^T, applied to m and z. It has at most
        (I + O) (2^(order + 1) - 1) units. Order 0 keeps only the part of W that maps the span of m and z into itself. For
        small random W, with eigenvalues in a disk of radius sigma, the error is of order sigma^(2 order + 2), at every n.
        Raises ValueError for a negative order, and for a batch.
        """
        return self._within(self._words(count("order", order, least=0)))

    def lifted(self, reduced: "ReducedNetwork") -> "DenseNetwork":
        """The large network for which a trained small one stands: W + Q (w - Q^T W Q) Q^T, sqrt(N) Q m', sqrt(N) Q z'.

        Here W is that of this network, Q is the basis of the small network, and [w, m', z'] its factor. `reduced`: what
        learning has made of `reduced()` or `krylov(order)` of this network. The result does not contain the effect of weight
        decay on W outside of the subspace, where W decays on its own. Raises ValueError for a small network that was not made
        from this network.
        """
        basis: Any = getattr(reduced, "basis", None)
        shape = np.shape(basis)
        if shape[:-1] != (self.n,):
            came = f"it is the reduction of {shape[0]} neurons" if len(shape) == 2 else f"{reduced!r} came"
            raise argument_error("reduced", f"be a reduction of this network of {self.n} neurons", came)
        if not same_space(grown(self._words, basis.shape[1]), basis):
            raise argument_error("reduced", "be a reduction of this network", "its basis is not made of W, m and z of this one")
        moved = reduced.W - basis.T @ self.W @ basis
        scale = float(np.sqrt(self.n / reduced.n))
        fields = reduced._parts(scale * basis @ reduced.external)
        return DenseNetwork(self.W + basis @ moved @ basis.T, **fields, z=scale * basis @ reduced.z, c=reduced.c)

    def _words(self, order: int | None) -> Float[np.ndarray, "N k"]:
        """An orthonormal basis of the products of up to `order` factors W, W^T with m and z; of any length for None."""
        if is_traced(self) or self.batch:
            raise argument_error("state", "be a single network of known numbers", f"{self!r} came")
        return subspace(np.asarray(self.W, float), np.concatenate([self.external, self.z], axis=1).astype(float), order)

    def _within(self, basis: Float[np.ndarray, "N k"]) -> "ReducedNetwork":
        basis = basis.astype(self.W.dtype)
        scale = float(np.sqrt(basis.shape[1] / self.n))
        fields = self._parts(scale * basis.T @ self.external)
        return ReducedNetwork(basis.T @ self.W @ basis, **fields, z=scale * basis.T @ self.z, basis=basis, c=self.c)


class ReducedNetwork(DenseNetwork):
    """A small network of k units that stands for a large one. `learn` trains it like any other network.

    The network of `DenseNetwork.reduced` is exact, and that of `DenseNetwork.krylov` approximate. Weights, learning rates, loss
    and eigenvalues are those of the large network, without the eigenvalues of the part of W that does not learn. The library
    refuses rules for single neurons (Adam) and nonlinear phi, because the small network would not be exact for them.

    - `W`, `m`, `z`, `b`, `h0`, `c`: as in `DenseNetwork`, for k units.
    - `basis`: (N, k), with orthonormal columns: the directions in the space of N neurons for which the units stand. None if the
      small network stands for no single network, as in `integration.infinite_network`.
    """

    takes_neuron_rules: ClassVar[bool] = False

    basis: Float[AnyArray, "*batch N k"] | None

    def __init__(self, W: Any, m: Any, z: Any, basis: Any = None, b: Any = None, h0: Any = None, c: Any = None):
        super().__init__(W, m, z, b, h0, c)
        self.basis = checked_basis(basis, self.W.shape[:-1])

    def check_transfer(self, phi: Any) -> None:
        if phi != "linear":
            reason = "a ReducedNetwork came. Its units are sums of neurons, and phi of a sum is not the sum of phi"
            raise argument_error("state", f"be a whole network for phi {phi!r}", reason, "Train the DenseNetwork itself.")

    def stored(self, name: str) -> dict[str, Variable]:
        return super().stored(name) | stored_basis(name, self.basis)

    @classmethod
    def read(cls, name: str, results: Results) -> "ReducedNetwork":
        network, basis = DenseNetwork.read(name, results), results.variable("basis")
        if basis is not None:
            basis = np.broadcast_to(basis, (*network.batch, *basis.shape[-2:]))
        return cls(network.W, network.m, network.z, basis, network.b, network.h0, network.c)
