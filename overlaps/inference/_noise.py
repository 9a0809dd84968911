"""The noise of observations: Gaussian noise, and counts of errors."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, real_array
from overlaps.inference._correlated import Correlated, Whitening
from overlaps.learning import describable

CERTAIN = 1e-9  # probabilities are kept at least so far from 0 and 1


class Gaussian(eqx.Module):
    """Independent Gaussian noise on each observed number.

    - `std`: its standard deviation, in the units of what is observed; a number, or an array that broadcasts to the
      observations.

    Raises ValueError unless all of them are above 0.
    """

    std: Float[AnyArray, "*observed"]

    def __init__(self, std: Any):
        self.std = _positive("noise", std)

    def mean(self, expected: AnyArray) -> AnyArray:
        """The mean of what is observed."""
        return expected

    def weights(self, expected: AnyArray) -> AnyArray:
        """The root of the Fisher information that each observed number gives about its expectation."""
        return jnp.broadcast_to(1 / jnp.asarray(self.std), expected.shape)

    def residuals(self, expected: AnyArray, observed: AnyArray) -> AnyArray:
        """Standardised deviations. Half the sum of their squares is minus the log likelihood, up to a constant.

        A gap in what was observed, which is NaN, has no deviation.
        """
        gap = jnp.isnan(observed)
        return jnp.where(gap, 0.0, (jnp.where(gap, 0.0, observed) - expected) / self.std)

    def draw(self, key: Any, expected: AnyArray) -> AnyArray:
        """A random observation."""
        return expected + self.std * jax.random.normal(key, expected.shape)

    def deviation(self, expected: AnyArray) -> AnyArray:
        """The standard deviation of each observed number around its mean."""
        return jnp.broadcast_to(jnp.asarray(self.std), expected.shape)

    def repeated(self, repetitions: Any) -> "Gaussian":
        """The noise of the mean of some independent repetitions, which tells as much as all of them."""
        return Gaussian(jnp.asarray(self.std) / jnp.sqrt(repetitions))

    def ratio(self, truth: AnyArray, one: AnyArray, other: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Mean and variance of log p(y | one) - log p(y | other) for each observed number y, if `truth` is expected."""
        variance = ((one - other) / self.std) ** 2
        return ((truth - other) ** 2 - (truth - one) ** 2) / (2 * self.std**2), variance


def error_probability(loss: Any) -> Any:
    """The probability of an error, Phi(-1 / sqrt(loss)): that a decision with the targets +-1 has the wrong sign.

    Phi is the distribution function of the normal distribution. The output is taken to be Gaussian around its target, with the
    loss as mean squared error. `loss`: an array. Returns an array of the same shape.
    """
    return jax.scipy.stats.norm.cdf(-jax.lax.rsqrt(jnp.maximum(loss, 1e-12)))


class Counts(eqx.Module):
    """Counts of errors: at each point, the number of errors in some trials. It has a binomial distribution.

    - `trials`: the number of trials at each point, or an array that broadcasts to what is observed.
    - `link`: the function, made of jax.numpy, from what is observed to the probability of an error. By default it is
      `error_probability`, for an observed loss.

    Raises ValueError unless all numbers of trials are above 0 and `link` is a function.
    """

    trials: Float[AnyArray, "*observed"]
    link: Callable[[Any], Any] = eqx.field(static=True)

    def __init__(self, trials: Any, link: Callable[[Any], Any] = error_probability):
        if not callable(link):
            raise argument_error("link", "be a function from what is observed to a probability", f"{link!r} came")
        self.trials, self.link = _positive("trials", trials), link

    def mean(self, expected: AnyArray) -> AnyArray:
        """The mean of what is observed."""
        return self.trials * self._probability(expected)

    def _probability(self, expected: AnyArray) -> AnyArray:
        return jnp.clip(self.link(expected), CERTAIN, 1 - CERTAIN)

    def weights(self, expected: AnyArray) -> AnyArray:
        """The root of the Fisher information that each observed number gives about its expectation."""
        probability, slope = jax.jvp(self._probability, (expected,), (jnp.ones_like(expected),))
        return jnp.abs(slope) * jnp.sqrt(self.trials / (probability * (1 - probability)))

    def residuals(self, expected: AnyArray, observed: AnyArray) -> AnyArray:
        """Deviance residuals. Half the sum of their squares is minus the log likelihood, up to a constant.

        A gap in what was observed, which is NaN, has no deviation.
        """
        gap = jnp.isnan(observed)
        share = jnp.where(gap, 0.5, observed / self.trials)
        probability = jnp.where(gap, 0.5, self._probability(expected))
        terms = _surprise(share, probability) + _surprise(1 - share, 1 - probability)
        # Near the observed share the root of the deviance has no derivative in this form, and its linear part takes over.
        linear = (share - probability) / jnp.sqrt(probability * (1 - probability))
        near = jnp.abs(share - probability) < 1e-6
        root = jnp.sign(share - probability) * jnp.sqrt(2 * jnp.where(near, 1.0, jnp.maximum(terms, 0.0)))
        return jnp.sqrt(self.trials) * jnp.where(near, linear, root)

    def draw(self, key: Any, expected: AnyArray) -> AnyArray:
        """A random observation."""
        trials = jnp.broadcast_to(jnp.asarray(self.trials), expected.shape)
        return jax.random.binomial(key, trials, self._probability(expected))

    def deviation(self, expected: AnyArray) -> AnyArray:
        """The standard deviation of each observed number around its mean."""
        probability = self._probability(expected)
        return jnp.sqrt(self.trials * probability * (1 - probability))

    def repeated(self, repetitions: Any) -> "Counts":
        """The noise of the sum of some independent repetitions, which tells as much as all of them."""
        return Counts(self.trials * repetitions, self.link)

    def ratio(self, truth: AnyArray, one: AnyArray, other: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Mean and variance of log p(y | one) - log p(y | other) for each observed number y, if `truth` is expected."""
        true, first, second = (self._probability(expected) for expected in (truth, one, other))
        error, correct = jnp.log(first / second), jnp.log((1 - first) / (1 - second))
        mean = self.trials * (true * error + (1 - true) * correct)
        return mean, self.trials * true * (1 - true) * (error - correct) ** 2


def _surprise(share: AnyArray, probability: AnyArray) -> AnyArray:
    """Share log(share / probability), with a derivative also where the share is 0."""
    return share * jnp.log(jnp.where(share > 0, share, probability) / probability)


Noise = Gaussian | Counts
describable("overlaps.inference", Gaussian, Counts, Correlated)


def noise_of(noise: Any) -> Noise:
    """The noise model for an argument `noise`: a standard deviation, or a model.

    Raises ValueError for correlated noise.
    """
    if isinstance(noise, Correlated):
        raise argument_error("noise", "be independent from number to number here", "a Correlated came", "`fit` takes it.")
    return noise if isinstance(noise, Gaussian | Counts) else Gaussian(noise)


def require_fitting(noise: Noise | Whitening, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the numbers of the noise broadcast to observations of this shape."""
    given = np.shape(noise.trials if isinstance(noise, Counts) else noise.std)
    try:
        fits = np.broadcast_shapes(given, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise argument_error("noise", f"broadcast to what is observed, with the shape {shape}", f"its shape is {given}")


def _positive(name: str, value: Any) -> Any:
    array = real_array(name, value)
    if not is_traced(array) and not np.all(array > 0):
        raise argument_error(name, "be above 0", f"{np.min(array):g} came")
    return array
