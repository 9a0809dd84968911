"""The random bulk J at N -> infinity: operators that put letters in front of words, and take them away (docs/bulk.md)."""

import itertools

import numpy as np
from jaxtyping import Float

from overlaps._support import argument_error

MOST_WORDS = 511  # all words of up to 8 letters


def fock_bulk(order: int, correlation: float = 0.0) -> Float[np.ndarray, "words words"]:
    """J / g on words of up to `order` letters 1 and 2, where g is the radius of J. The first word is the empty one.

    J / g = l_1 + eta l_1* + sqrt(1 - eta^2) l_2*, with the `correlation` eta. Here l_1 puts a 1 in front of a word, l_1* takes
    a 1 away from its front, and l_2* a 2; a word with another letter in front becomes 0. For eta = 1 and -1 there are no words
    with a 2. Raises ValueError if there are more than 511 words.
    """
    letters = "1" if abs(correlation) == 1 else "12"
    count = sum(len(letters) ** length for length in range(order + 1))
    if count > MOST_WORDS:
        most = MOST_WORDS.bit_length() - 1 if len(letters) == 2 else MOST_WORDS - 1
        mend = "Train networks of many neurons instead."
        raise argument_error("order", f"be at most {most}", f"{order} came, which makes {count} words", mend)
    words = [word for length in range(order + 1) for word in itertools.product(letters, repeat=length)]
    place = {word: index for index, word in enumerate(words)}
    J = np.zeros((len(words), len(words)))
    for word in words:
        if len(word) < order:
            J[place["1", *word], place[word]] = 1.0
            J[place[word], place["1", *word]] += correlation
            if len(letters) == 2:
                J[place[word], place["2", *word]] = np.sqrt(1 - correlation**2)
    return J
