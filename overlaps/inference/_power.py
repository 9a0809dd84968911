"""The power of a test between two hypotheses: as it is predicted, and in simulated experiments."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from overlaps._support import AnyArray
from overlaps.inference._noise import Noise
from overlaps.learning import BARRIERS_STAY, compiled

AT_ONCE = 32  # simulated experiments that are computed side by side


class Ratio(NamedTuple):
    """Moments of the log likelihood ratio log p(y | second) - log p(y | first), added up over what is observed.

    `null_mean` and `null_variance` hold if the first hypothesis is true, `mean` and `variance` if the second one is.
    """

    null_mean: Any
    null_variance: Any
    mean: Any
    variance: Any

    @classmethod
    def of(cls, noise: Noise, first: AnyArray, second: AnyArray) -> "Ratio":
        """For each observed number on its own."""
        return cls(*noise.ratio(first, second, first), *noise.ratio(second, second, first))

    def summed(self, first_axis: int = 0) -> "Ratio":
        """The sum over all axes from `first_axis` on: observed numbers are independent."""
        return Ratio(*(one.sum(axis=tuple(range(first_axis, one.ndim))) for one in self))

    @property
    def information(self) -> AnyArray:
        """The symmetrised Kullback-Leibler divergence. For Gaussian noise this is d'^2."""
        return self.mean - self.null_mean

    @property
    def d_prime(self) -> AnyArray:
        """The distance of the two means in units of the root of the mean variance; 0 for equal hypotheses."""
        spread = (self.null_variance + self.variance) / 2
        equal = spread == 0
        return jnp.where(equal, 0.0, self.information / jnp.sqrt(jnp.where(equal, 1.0, spread)))

    def threshold(self, repetitions: Any, level: float) -> Any:
        """The test decides for the second hypothesis if the summed log likelihood ratio is above this number."""
        return repetitions * self.null_mean + scipy.stats.norm.isf(level) * np.sqrt(repetitions * self.null_variance)

    def power(self, repetitions: Any, level: float) -> Any:
        """The probability that the test finds the second hypothesis if it is true."""
        if not self.variance > 0:
            return np.full(np.shape(repetitions), level)
        above = np.sqrt(repetitions) * self.information - scipy.stats.norm.isf(level) * np.sqrt(self.null_variance)
        return scipy.stats.norm.cdf(above / np.sqrt(self.variance))

    def repetitions(self, power: float, level: float) -> float:
        """The whole number of repetitions from which on the test has this power; infinite for equal hypotheses."""
        root = scipy.stats.norm.isf(level) * np.sqrt(self.null_variance) + scipy.stats.norm.ppf(power) * np.sqrt(self.variance)
        return float(np.ceil(max((max(root, 0.0) / self.information) ** 2, 1.0))) if self.variance > 0 else np.inf


def simulated_scores(noise: Noise, expected: AnyArray, repetitions: AnyArray, draws: int, key: Any) -> np.ndarray:
    """Log likelihoods of all hypotheses in simulated experiments, up to a constant: (repetitions, truth, draw, hypothesis).

    `expected`: (hypothesis, ...). The repetitions of one experiment are drawn pooled, as their mean or sum: it tells as much.
    """
    size = (len(repetitions), len(expected))
    keys = jax.random.split(key, (*size, draws))
    return np.asarray(_compiled()(noise, expected, np.asarray(repetitions, float), keys))


@functools.cache
def _compiled() -> Any:
    return compiled(_scores, BARRIERS_STAY)


def _scores(noise: Noise, expected: AnyArray, repetitions: AnyArray, keys: Any) -> AnyArray:
    expected = jnp.asarray(expected)
    counts, truths, draws = keys.shape

    def score(one: Any) -> AnyArray:
        key, repetition, truth = one
        pooled = noise.repeated(repetition)
        seen = pooled.draw(key, expected[truth])
        return jnp.stack([-jnp.sum(pooled.residuals(each, seen) ** 2) / 2 for each in expected])

    numbers, order = jnp.repeat(repetitions, truths * draws), jnp.tile(jnp.repeat(jnp.arange(truths), draws), counts)
    scores = jax.lax.map(score, (keys.reshape(-1), numbers, order), batch_size=AT_ONCE)
    return scores.reshape(counts, truths, draws, -1)
