"""The order, the names and the pairs of the connectivity vectors: D = I + 2R + O of them for I inputs, rank R and O outputs.

Two more vectors may stand between m and u: a bias b, and the initial activity h.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from overlaps._support import argument_error, count, flag, numpy_for

BLOCKS = ("zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz")
"""Names of the ten blocks of the overlap matrix, in the order in which results list them.

The first four names have the readout side (z or v) first and the input side (m or u) second.
"""

MORE_BLOCKS = (*("zb", "vb", "bu", "mb", "bb"), *("zh", "vh", "hu", "mh", "bh", "hh"))
"""Names of the blocks that a bias b and an initial activity h add. Results list them after the others."""


class Pair(NamedTuple):
    """One overlap: its label, the labels of its two vectors, and its row and column in the overlap matrix."""

    label: str
    left: str
    right: str
    row: int
    column: int


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """The numbers of vectors. Iterating gives inputs, rank, outputs, and then bias and initial if one of them is there."""

    inputs: int
    rank: int
    outputs: int
    bias: bool = False
    initial: bool = False

    _fields: ClassVar[tuple[str, ...]] = ("inputs", "rank", "outputs")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.description.values() if not (self.bias or self.initial) else dataclasses.astuple(self))

    @property
    def description(self) -> dict[str, int]:
        """The fields by name. Those of vectors that are absent are left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not False}

    @property
    def external(self) -> int:
        """The number of vectors along which something else than the recurrence drives the neurons: m, b and h."""
        return self.inputs + self.bias + self.initial

    def driven(self, inputs: Any) -> Any:
        """Inputs (..., I), followed by what drives b, which is 1, and h, which is 0."""
        values = [1.0] * self.bias + [0.0] * self.initial
        if not values:
            return inputs
        xp = numpy_for(inputs)
        constants = xp.broadcast_to(xp.asarray(values, inputs.dtype), (*inputs.shape[:-1], len(values)))
        return xp.concatenate([inputs, constants], axis=-1)


@dataclasses.dataclass(frozen=True)
class Layout(_Sizes):
    """The order [m.. b h u.. v.. z..] of the connectivity vectors for I inputs, rank R and O outputs.

    `bias` says whether there is a vector b of biases, and `initial` whether there is a vector h of initial activities. Both act
    on neurons as input vectors do: b has the constant input 1, and the latent of h starts at 1 and has no input (docs/
    activity.md, "Biases and initial activity"). Labels are data. Other modules ask a layout which rows belong to a letter and
    what the label of a pair is.
    """

    @classmethod
    def checked(cls, inputs: int, rank: int, outputs: int, bias: bool = False, initial: bool = False) -> "Layout":
        """A layout with these numbers. Raises ValueError if they are not whole numbers of at least 1."""
        return cls(
            count("inputs", inputs),
            count("rank", rank),
            count("outputs", outputs),
            flag("bias", bias),
            flag("initial", initial),
        )

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Layout":
        """The layout whose `description` this is. It may hold more than that."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: description[name] for name in names if name in description})

    @property
    def counts(self) -> dict[str, int]:
        return {
            "m": self.inputs,
            "b": int(self.bias),
            "h": int(self.initial),
            "u": self.rank,
            "v": self.rank,
            "z": self.outputs,
        }

    @property
    def driving(self) -> int:
        """The number of vectors that drive the neurons, m, b, h and u, and so of the latents. They come first."""
        return self.external + self.rank

    @property
    def size(self) -> int:
        """D, the number of connectivity vectors."""
        return self.driving + self.rank + self.outputs

    @property
    def slices(self) -> dict[str, slice]:
        return _slices(self)

    def split(self, vectors: Any) -> tuple[Any, ...]:
        """The blocks [m b h], u, v, z of an array whose last axis runs over the D vectors."""
        cuts = (0, self.external, self.driving, self.driving + self.rank, self.size)
        return tuple(vectors[..., start:stop] for start, stop in itertools.pairwise(cuts))

    def vectors(self, vectors: Any) -> dict[str, Any]:
        """The vectors in an array whose last axis runs over them, as arguments of a state: m, u, v, z, and b, h0 if present."""
        blocks = {letter: vectors[..., part] for letter, part in self.slices.items()}
        bias, initial = blocks.pop("b"), blocks.pop("h")
        blocks |= {"b": bias[..., 0]} if self.bias else {}
        return blocks | ({"h0": initial[..., 0]} if self.initial else {})

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the D vectors: "m" for a single one, "m1", "m2", ... for several."""
        return _labels(self)

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latents: those of the vectors that drive the neurons, of which the activity is a combination."""
        return self.labels[: self.driving]

    @property
    def readouts(self) -> tuple[str, ...]:
        return self.labels[self.driving + self.rank :]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All D (D + 1) / 2 distinct overlaps, in the order of `BLOCKS` and `MORE_BLOCKS`."""
        return _pairs(self)

    def listed(self, gram: Any) -> Any:
        """The distinct overlaps (..., overlaps) of overlap matrices (..., D, D), in the order of `pairs`."""
        rows, columns = np.array([(pair.row, pair.column) for pair in self.pairs]).T
        return gram[..., rows, columns]

    def matrix(self, sigma: Any) -> Any:
        """The symmetric matrices (..., D, D) that have these distinct overlaps (..., overlaps): the inverse of `listed`."""
        places = np.zeros((self.size, self.size), int)
        for index, pair in enumerate(self.pairs):
            places[pair.row, pair.column] = places[pair.column, pair.row] = index
        return sigma[..., places]

    def block(self, name: str) -> tuple[slice, slice] | None:
        """Rows and columns of a block such as "zu" or "uz"; None if `name` is not two letters of vectors that there are."""
        if len(name) == 2 and set(name) <= self._letters:
            return self.slices[name[0]], self.slices[name[1]]
        return None

    def entry(self, name: str) -> tuple[int, int]:
        """Row and column of a single overlap such as "zu1" or "u1z"; raises KeyError for an unknown name."""
        try:
            return _entries(self)[name]
        except KeyError:
            vectors, blocks = ", ".join(self.labels), (name for name in BLOCKS + MORE_BLOCKS if set(name) <= self._letters)
            raise KeyError(
                f"Argument `name` must be a block ({', '.join(blocks)}) or two vector labels out of {vectors}, "
                f"but {name!r} came."
            ) from None

    @property
    def _letters(self) -> set[str]:
        return {letter for letter, number in self.counts.items() if number}

    def places(self, left: slice | int, right: slice | int) -> set[tuple[int, int]]:
        """The distinct overlaps of a block or an entry, each as a row and a column of the overlap matrix, smaller one first.

        `left` and `right`: rows and columns as `block` or `entry` returns them.
        """
        rows, columns = (np.atleast_1d(np.arange(self.size)[part]) for part in (left, right))
        return {(int(min(row, column)), int(max(row, column))) for row in rows for column in columns}

    def columns(self, names: dict[str, float]) -> list[float]:
        """One value for each vector, from a mapping of letters ("u") or labels ("u1") to values.

        The value of a label counts more than the value of its letter. A vector that is not named gets 1.
        """
        known = self._letters | set(self.labels)
        for name in names:
            if name not in known:
                raise argument_error("rates", f"name letters or labels out of {', '.join(sorted(known))}", f"{name!r} came")
        return [names.get(label, names.get(label[0], 1.0)) for label in self.labels]


@functools.lru_cache
def _slices(layout: Layout) -> dict[str, slice]:
    result, start = {}, 0
    for letter, number in layout.counts.items():
        result[letter] = slice(start, start + number)
        start += number
    return result


@functools.lru_cache
def _labels(layout: Layout) -> tuple[str, ...]:
    return tuple(name for letter, number in layout.counts.items() for name in numbered(letter, number))


def numbered(letter: str, number: int) -> tuple[str, ...]:
    """The names of the vectors with this letter: "m" for a single one, "m1", "m2", ... for several."""
    return (letter,) if number == 1 else tuple(f"{letter}{index + 1}" for index in range(number))


@functools.lru_cache
def _pairs(layout: Layout) -> tuple[Pair, ...]:
    labels = layout.labels
    pairs = []
    for left, right in BLOCKS + MORE_BLOCKS:
        for row in range(layout.size)[layout.slices[left]]:
            for column in range(layout.size)[layout.slices[right]]:
                if left != right or row <= column:
                    pairs.append(Pair(labels[row] + labels[column], labels[row], labels[column], row, column))
    return tuple(pairs)


@functools.lru_cache
def _entries(layout: Layout) -> dict[str, tuple[int, int]]:
    labels = layout.labels
    return {labels[i] + labels[j]: (i, j) for i in range(layout.size) for j in range(layout.size)}


@dataclasses.dataclass(frozen=True)
class DenseLayout(_Sizes):
    """The columns of the factor [W, m / sqrt(N), z / sqrt(N)] of a network whose whole W learns.

    `rank` is N, the rank of a general W. Columns b and h, as in `Layout`, may stand between m and z.
    """

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors m, b, h and z: "m" for a single one, "m1", "m2", ... for several."""
        return (*self._external, *numbered("z", self.outputs))

    @property
    def _external(self) -> tuple[str, ...]:
        return (*numbered("m", self.inputs), *("b",) * self.bias, *("h",) * self.initial)

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent variables: the filtered inputs, and the part of each unit that the recurrence drives."""
        return (*self._external, *(f"h{unit + 1}" for unit in range(self.rank)))

    @property
    def readouts(self) -> tuple[str, ...]:
        return numbered("z", self.outputs)

    def split(self, factor: Any) -> tuple[Any, ...]:
        """The columns of an array that belong to W, to [m b h] and to z."""
        n, external = self.rank, self.external
        return factor[..., :n], factor[..., n : n + external], factor[..., n + external :]

    def columns(self, names: dict[str, float]) -> list[float]:
        """One value for each column of the factor, from a mapping of "W", letters ("m") or labels ("m1") to values.

        A column that is not named gets 1.
        """
        known = {"W", "m", "z", *self.vectors}
        for name in names:
            if name not in known:
                raise argument_error("rates", f"name out of {', '.join(sorted(known))}", f"{name!r} came")
        vectors = [names.get(label, names.get(label[0], 1.0)) for label in self.vectors]
        return [names.get("W", 1.0)] * self.rank + vectors
