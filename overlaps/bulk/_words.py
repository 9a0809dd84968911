"""The overlap matrix of words: products of matrices J and J^T, applied to the connectivity vectors."""

import itertools
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, count, in_float64, said
from overlaps.connectivity import BulkOverlaps, Network

MOST_WORDS = 2000


@in_float64
def words(state: Any, letters: int = 1) -> xr.DataArray:
    """The overlaps of the words of a network with a bulk J, and which of them a linear network makes visible.

    A word is a product of matrices J and J^T, its letters, applied to one of the vectors m, u, v, z. The overlap of two words
    is their scalar product, divided by N. For a linear network with a bulk, the overlaps of words take the place of the overlap
    matrix: they describe output and learning (docs/bulk.md).

    - `state`: a single `Network` with a bulk, or a single `BulkOverlaps`.
    - `letters`: the largest number of letters of a word; for a `BulkOverlaps` at most its `order`. There are
      D (2^(letters + 1) - 1) words, for D vectors.

    Returns a DataArray with the dims `word` and `other_word`. Their labels are such as "m", "Jm" and "JTm", where T stands for
    J^T, so that "JTm" is J J^T m. The coordinate `visible` (word, other_word) tells whether the output of a linear network
    depends on the overlap: on y . J^a x, for y in z and v, x in m and u and any a, and on nothing else. (For a
    symmetric or antisymmetric J these are the same numbers with J^T in place of J, up to a sign.)

    Of a `Network` all values are exact. Of a `BulkOverlaps` they are exact before learning. Learning puts words into the
    vectors themselves, so that products of J with them leave the space of the words. Then values have an error of order
    g^(2 order + 2), with the exception of the visible ones at N -> infinity and correlation 0, which stay exact.

    Raises ValueError for other states, for more letters than the order of a `BulkOverlaps`, and for more than 2,000 words.

    >>> import overlaps as ov
    >>> table = words(ov.Overlaps.random(0).with_bulk(0.5, order=2))
    >>> table.sizes["word"], table.word[table.visible.sel(other_word="Jm")].values.tolist()
    (12, ['v', 'z', 'Tv', 'Tz'])
    """
    if not isinstance(state, Network) or not state.has_bulk or state.batch:
        mend = "Make one by net.sample(n, key, bulk=g) or net.with_bulk(g)."
        raise argument_error("state", "be a single network with a bulk", f"{state!r} came", mend)
    letters = count("letters", letters, least=0)
    if isinstance(state, BulkOverlaps) and letters > state.order:
        came = f"{letters} came"
        raise argument_error(
            "letters", f"be at most {state.order}, the order of the state", came, "Make one of a larger order."
        )
    products = ["".join(word) for length in range(letters + 1) for word in itertools.product("JT", repeat=length)]
    layout, J = state.layout, np.asarray(state.dense_bulk, float)
    if len(products) * layout.size > MOST_WORDS:
        came = f"{letters} came, which makes {len(products) * layout.size}"
        raise argument_error("letters", f"make {MOST_WORDS} words or fewer", came)
    blocks = {"": np.asarray(state.vectors, float)}
    for product in products[1:]:
        blocks[product] = (J if product[0] == "J" else J.T) @ blocks[product[1:]]
    vectors = np.concatenate([blocks[product] for product in products], axis=1)
    drives = np.arange(layout.size) < layout.driving
    # x . w^T w' y is y . J^a x if w consists of J^T alone and w' of J alone. A symmetric J is its own transpose.
    alike = np.array_equal(J, J.T) or np.array_equal(J, -J.T)
    reading = np.concatenate([~drives & (alike or set(product) <= {"T"}) for product in products])
    driving = np.concatenate([drives & (alike or set(product) <= {"J"}) for product in products])
    labels = [product + label for product in products for label in layout.labels]
    visible = np.logical_or(np.outer(reading, driving), np.outer(driving, reading))
    return xr.DataArray(
        vectors.T @ vectors / state.n,
        {"word": labels, "other_word": labels, "visible": (("word", "other_word"), visible, said("loss-visible"))},
        ("word", "other_word"),
        "word_overlaps",
        said("overlap a.b / N of words"),
    )
