"""The random bulk J of W = J + u v^T / N: a matrix that does not learn (docs/bulk.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
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
    parameter,
    random_key,
    real_array,
    said,
)
from overlaps.connectivity._draws import concrete, normal
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._projection import Latents, Projection, Transfer
from overlaps.connectivity._protocols import Results, Variable

POWERS = (1, 2, 3, 4)
"""The powers a of the overlaps y . J^a x / N that a run records."""

STREAM = 4  # of random numbers, so that the same seed for a network and its bulk does not make them dependent
RECIPE = "threefry2x32"  # the kind of random keys of which a recipe is kept
SAME = 1e-10  # relative differences below this one are rounding


@dataclass(frozen=True)
class RandomBulk:
    """A recipe of the random bulk J of W = J + u v^T / N. It is taken wherever a `bulk` is asked for.

    The entries of J are Gaussian, with zero mean and the variance radius^2 / N. For large N the eigenvalues of J fill the disk
    of this radius, or, if J is partially symmetric, an ellipse with the half axes radius (1 + correlation) along the real axis
    and radius (1 - correlation) along the imaginary axis (Sommers, Crisanti, Sompolinsky and Stein, Phys. Rev. Lett. 60, 1895,
    1988).

    - `radius`: g, at least 0. An array (batch,) makes one J for each network of a batch.
    - `key`: a jax.random key or an integer seed. An array of keys (batch,) draws an independent J for each network.
    - `correlation`: that of J_ij with J_ji, from -1 (antisymmetric) to 1 (symmetric). 0: all entries are independent.

    A network that is made with a recipe is saved with the recipe in place of J, as long as the recipe draws its J. Raises
    ValueError for values out of range.
    """

    radius: Any
    key: Any
    correlation: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", parameter("radius", self.radius, least=0.0))
        object.__setattr__(self, "key", random_key("key", self.key))
        object.__setattr__(self, "correlation", checked_correlation(self.correlation))
        if self.radius.shape and self.key.shape not in ((), self.radius.shape):
            raise argument_error("key", f"be one key, or {self.radius.size}, one per radius", f"{self.key.size} came")

    @in_float64
    def draw(self, n: int) -> Float[AnyArray, "*batch n n"]:
        """The matrix J for `n` neurons, (n, n), or one for each network of a batch. The same recipe draws the same J."""
        n = count("n", n)

        def one(key: Any) -> Any:
            return normal(key, n, n, STREAM)

        entries = concrete(jax.vmap(one)(self.key) if self.key.shape else one(self.key))
        even, odd = np.sqrt((1 + self.correlation) / 2), np.sqrt((1 - self.correlation) / 2)
        mixed = (even + odd) * entries + (even - odd) * numpy_for(entries).swapaxes(entries, -1, -2)
        return self.radius[..., None, None] / np.sqrt(2 * n) * mixed

    @property
    def numbers(self) -> Float[np.ndarray, "*batch 4"] | None:
        """Radius, correlation and the two numbers of the key; None for keys that two numbers do not describe."""
        if is_traced(self.radius, self.key) or str(jax.random.key_impl(self.key)) != RECIPE:
            return None
        data = np.asarray(jax.random.key_data(self.key), float)
        batch = np.broadcast_shapes(self.radius.shape, data.shape[:-1])
        first = np.broadcast_to(np.stack([self.radius, np.full_like(self.radius, self.correlation)], axis=-1), (*batch, 2))
        return np.concatenate([first, np.broadcast_to(data, (*batch, 2))], axis=-1)

    @classmethod
    def of(cls, numbers: Float[np.ndarray, "*batch 4"]) -> "RandomBulk":
        """The recipe with these numbers."""
        key = jax.random.wrap_key_data(jnp.asarray(numbers[..., 2:], jnp.uint32), impl=RECIPE)
        return cls(numbers[..., 0], key, float(np.ravel(numbers[..., 1])[0]))


def checked_correlation(value: Any) -> float:
    """The correlation of J_ij and J_ji as a number from -1 to 1. Raises ValueError for others."""
    correlation = number("correlation", value)
    if abs(correlation) > 1:
        raise argument_error("correlation", "be a number from -1 to 1", f"{correlation!r} came")
    return correlation


def recipe_of(bulk: Any, key: Any) -> Any:
    """A number g as the recipe of a J of this radius, with this key. Everything else stays as it is."""
    is_radius = bulk is not None and not isinstance(bulk, RandomBulk) and np.ndim(bulk) < 2
    return RandomBulk(bulk, key) if is_radius else bulk


def checked_bulk(bulk: Any, shape: tuple[int, ...], recipe: Any = None) -> tuple[Any, Any]:
    """J for networks of the shape (batch, N), and the numbers of its recipe. Each of them is None if there is none.

    `bulk`: an array (N, N), or one for each network, or a `RandomBulk`. `recipe`: the numbers of the recipe that drew an array,
    if they are known. Raises ValueError for another shape.
    """
    if bulk is None:
        return None, None
    recipe = bulk.numbers if isinstance(bulk, RandomBulk) else recipe
    matrix = bulk.draw(shape[-1]) if isinstance(bulk, RandomBulk) else real_array("bulk", bulk)
    full = (*shape, shape[-1])
    if matrix.shape not in (full, full[-2:]):
        must = f"be a RandomBulk or have shape {full[-2:]}, a row and a column per neuron"
        mend = "A radius needs a key: RandomBulk(radius, key)." if matrix.ndim == 0 else ""
        raise argument_error("bulk", must, f"its shape is {matrix.shape}", mend)
    xp = numpy_for(matrix)
    recipe = None if recipe is None else numpy_for(recipe).broadcast_to(recipe, (*shape[:-1], 4))
    return xp.broadcast_to(matrix, full), recipe


def require_no_bulk(state: Any, what: str, mend: str = "", name: str = "state") -> None:
    """Raise ValueError for a network with a bulk. `what`: for what it would have to have none."""
    if state.has_bulk:
        raise argument_error(name, f"have no bulk {what}", "it has one", mend)


def through_bulk(network: Any, transfer: Transfer) -> Projection:
    """The map from kappa = [k_m, xi] to W phi(h) and the output, where h = m k_m + xi and W = J + u v^T / N.

    Here k_m are the filtered inputs, and xi is what the recurrence makes of each unit.
    """
    external = network.external.shape[-1]

    def project(latents: Latents) -> Float[AnyArray, "points read"]:
        rates = transfer.function(latents[:, :external] @ network.external.T + latents[:, external:])
        recurrent = network.times_bulk(rates.T).T + (rates @ network.v) @ network.u.T / network.n
        return jnp.concatenate([recurrent, rates @ network.z / network.n], axis=1)

    return project


def word_labels(layout: Layout) -> list[str]:
    """The labels of the overlaps y . J^a x, of which y reads (z, v) and x drives (m, u): "zm", "zu", "vm", "vu" at rank 1."""
    labels, driving = layout.labels, layout.driving
    readers = [*labels[driving + layout.rank :], *labels[driving : driving + layout.rank]]
    return [reader + driver for reader in readers for driver in labels[:driving]]


def word_overlaps(times_bulk: Callable, factor: Float[AnyArray, "N D"], layout: Layout) -> AnyArray:
    """The overlaps y . J^a x / N (powers, words), for a in `POWERS`, in the order of `word_labels`.

    `times_bulk`: the product of J with vectors.
    """
    driving = layout.driving
    readers = jnp.concatenate([factor[:, driving + layout.rank :], factor[:, driving : driving + layout.rank]], axis=1)

    def multiplied(drivers: Any, _: Any) -> tuple[Any, Any]:
        drivers = times_bulk(drivers)
        return drivers, (readers.T @ drivers).reshape(-1)

    return jax.lax.scan(multiplied, factor[:, :driving], None, length=len(POWERS))[1]


def bulk_variables(values: dict[str, np.ndarray], layout: Layout) -> tuple[dict[str, Variable], dict[str, Variable]]:
    """The variable of a Dataset that holds the recorded `word_overlaps`, and its coordinates, if a run recorded them."""
    if "sigma_bulk" not in values:
        return {}, {}
    meaning = said("overlap a . J^power b / N through the bulk J")
    return {"sigma_bulk": (("time", "power", "word"), values["sigma_bulk"], meaning)}, {
        "power": (("power",), list(POWERS), said("power of the bulk J")),
        "word": (("word",), word_labels(layout), said("overlap through the bulk")),
    }


def stored_bulk(name: str, bulk: Any, recipe: Any) -> dict[str, Variable]:
    """The variable of a Dataset from which `read_bulk` builds the bulk again: its recipe if there is one, else J itself."""
    if bulk is None or name != "initial":  # J does not change
        return {}
    bulk = np.asarray(bulk)
    if recipe is not None and _draws(np.asarray(recipe), bulk):
        meaning = said("radius and correlation of the bulk J, the two numbers of its random key, and the last entry of row 0")
        return {"bulk_recipe": (("recipe",), np.concatenate([recipe, bulk[..., 0, -1:]], axis=-1), meaning)}
    return {"bulk": (("neuron", "source"), bulk, said("bulk J, the recurrent weights that do not learn"))}


def read_bulk(results: Results) -> Any:
    """The bulk that `stored_bulk` wrote into a Dataset, or None for a network without one."""
    recipe, bulk = results.variable("bulk_recipe"), results.variable("bulk")
    if recipe is None and bulk is None and "bulk" in results.description:
        raise argument_error("dataset", "have the variable `bulk` or `bulk_recipe`", "it was dropped")
    return bulk if recipe is None else RandomBulk.of(recipe[..., :4])


def require_stored(bulk: Any, results: Results) -> None:
    """Raise ValueError if J is not the one of the Dataset, because other random numbers follow from its key than before."""
    recipe = results.variable("bulk_recipe")
    if recipe is not None and np.any(np.abs(bulk[..., 0, -1] - recipe[..., 4]) > SAME * recipe[..., 0]):
        came = "the random key of its bulk gives other random numbers"
        mend = "Read it with the version of JAX, and the value of jax_threefry_partitionable, with which it was made."
        raise argument_error("dataset", "be read as it was written", came, mend)


def _draws(numbers: Float[np.ndarray, "*batch 4"], bulk: Float[np.ndarray, "*batch N N"]) -> bool:
    """Whether a recipe draws this J. It may not, if JAX functions have changed a network leaf by leaf."""
    try:
        with np.errstate(invalid="ignore"):
            drawn = RandomBulk.of(numbers).draw(bulk.shape[-1])
    except ValueError:
        return False
    return np.allclose(bulk, drawn, rtol=0, atol=SAME * np.max(np.abs(drawn))) if bulk.dtype == drawn.dtype else False
