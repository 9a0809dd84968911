"""The order, the names and the pairs of the D = I + 2R + O connectivity vectors (I inputs, rank R, O outputs)."""

import functools
from typing import Any, NamedTuple

import numpy as np

from overlaps._support import argument_error, count

BLOCKS = ("zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz")
"""Names of the ten blocks of the overlap matrix, in the order in which results list them.

The first four names have the readout side (z or v) first and the input side (m or u) second.
"""


class Pair(NamedTuple):
    """One overlap: its label, the labels of its two vectors, and its row and column in the overlap matrix."""

    label: str
    left: str
    right: str
    row: int
    column: int


class Layout(NamedTuple):
    """The order [m.. u.. v.. z..] of the connectivity vectors for I inputs, rank R and O outputs.

    Labels are data. Other modules ask a layout which rows belong to a letter and what the label of a pair is.
    """

    inputs: int
    rank: int
    outputs: int

    @classmethod
    def checked(cls, inputs: int, rank: int, outputs: int) -> "Layout":
        """A layout with these numbers. Raises ValueError if they are not whole numbers of at least 1."""
        return cls(count("inputs", inputs), count("rank", rank), count("outputs", outputs))

    @property
    def counts(self) -> dict[str, int]:
        return {"m": self.inputs, "u": self.rank, "v": self.rank, "z": self.outputs}

    @property
    def size(self) -> int:
        """D, the number of connectivity vectors."""
        return self.inputs + 2 * self.rank + self.outputs

    @property
    def slices(self) -> dict[str, slice]:
        return _slices(self)

    def split(self, vectors: Any) -> tuple[Any, ...]:
        """The blocks m, u, v, z of an array whose last axis runs over the D vectors."""
        return tuple(vectors[..., part] for part in self.slices.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the D vectors: "m" for a single one, "m1", "m2", ... for several."""
        return _labels(self)

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent variables: the names of m and u, because the activity is a combination of these vectors."""
        return self.labels[: self.inputs + self.rank]

    @property
    def readouts(self) -> tuple[str, ...]:
        return self.labels[self.inputs + 2 * self.rank :]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All D (D + 1) / 2 distinct overlaps, in the order of `BLOCKS`."""
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
        """Rows and columns of a block such as "zu" or "uz"; None if `name` is not two of the letters m, u, v, z."""
        if len(name) == 2 and set(name) <= set("muvz"):
            return self.slices[name[0]], self.slices[name[1]]
        return None

    def entry(self, name: str) -> tuple[int, int]:
        """Row and column of a single overlap such as "zu1" or "u1z"; raises KeyError for an unknown name."""
        try:
            return _entries(self)[name]
        except KeyError:
            vectors = ", ".join(self.labels)
            raise KeyError(
                f"Argument `name` must be a block ({', '.join(BLOCKS)}) or two vector labels out of {vectors}, "
                f"but {name!r} came."
            ) from None

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
        known = set("muvz") | set(self.labels)
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
    for left, right in BLOCKS:
        for row in range(layout.size)[layout.slices[left]]:
            for column in range(layout.size)[layout.slices[right]]:
                if left != right or row <= column:
                    pairs.append(Pair(labels[row] + labels[column], labels[row], labels[column], row, column))
    return tuple(pairs)


@functools.lru_cache
def _entries(layout: Layout) -> dict[str, tuple[int, int]]:
    labels = layout.labels
    return {labels[i] + labels[j]: (i, j) for i in range(layout.size) for j in range(layout.size)}


class DenseLayout(NamedTuple):
    """The columns of the factor [W, m / sqrt(N), z / sqrt(N)] of a network whose whole W learns.

    `rank` is N, the rank of a general W.
    """

    inputs: int
    rank: int
    outputs: int

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors m and z: "m" for a single one, "m1", "m2", ... for several."""
        return (*numbered("m", self.inputs), *numbered("z", self.outputs))

    @property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent variables: the filtered inputs, and the part of each unit that the recurrence drives."""
        return (*numbered("m", self.inputs), *(f"h{unit + 1}" for unit in range(self.rank)))

    @property
    def readouts(self) -> tuple[str, ...]:
        return numbered("z", self.outputs)

    def split(self, factor: Any) -> tuple[Any, ...]:
        """The columns of an array that belong to W, to m and to z."""
        n, inputs = self.rank, self.inputs
        return factor[..., :n], factor[..., n : n + inputs], factor[..., n + inputs :]

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
