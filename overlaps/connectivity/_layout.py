"""How the D = I + 2R + O connectivity vectors are ordered, named and paired."""

import functools
from typing import Any, NamedTuple

import numpy as np

from overlaps._support import argument_error, count

BLOCKS = ("zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz")
"""Names of the ten blocks of the overlap matrix, readout side first, in the order in which results list them."""


class Pair(NamedTuple):
    """One overlap: its label, its two vectors, and their places in the overlap matrix."""

    label: str
    left: str
    right: str
    row: int
    column: int


class Layout(NamedTuple):
    """The order [m.. u.. v.. z..] of the connectivity vectors for I inputs, rank R and O outputs.

    Labels are data here: every other module asks this one which rows belong to a letter and what a pair is called.
    """

    inputs: int
    rank: int
    outputs: int

    @classmethod
    def checked(cls, inputs: int, rank: int, outputs: int) -> "Layout":
        """A layout of whole numbers that are at least 1; raises ValueError otherwise."""
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
        """Names of the latent variables, those of the vectors m and u along which activity is."""
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
        """The symmetric matrices (..., D, D) of distinct overlaps (..., overlaps), the inverse of `listed`."""
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

    def columns(self, names: dict[str, float]) -> list[float]:
        """Per-vector values from a mapping of letters or labels to values; 1 where nothing is said, labels win."""
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
    """The names of a letter's vectors: "m" for a single one, "m1", "m2", ... for several."""
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
