"""How noise in activity or in weights changes the output of a linear network: covariances by theory, and simulations.

A perturbation changes the activity by dh. The output depends on dh only through p = [v z]^T dh / N. These R + O numbers obey a
closed equation: they decay, and they are fed back by vu and zu (docs/invisible_overlaps.md, "Learning as a perturbation"). From
this equation follow the covariances: exactly for noise in activity, and to first order for noise in weights.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, in_float64
from overlaps.connectivity import Network, Overlaps, square_root
from overlaps.dynamics import RNN
from overlaps.studies._answers import impulses

NUMBERS_AT_ONCE = 2**20  # largest number of random weights in networks that are simulated side by side

Covariance = Float[np.ndarray, "samples pairs samples pairs"]  # a pair is one output and one input
Moment = Float[np.ndarray, " samples"]


def activity_noise_covariance(net: Overlaps, rnn: RNN, samples: int) -> Covariance:
    """N times the covariance of the change of the response, if every neuron has white noise of unit intensity as an input.

    The noise xi acts on p as [v z]^T xi / N. This has the covariance C / N with C = [v z]^T [v z] / N. So the change of the
    response depends on vu, zu and C alone. Responses to impulses at different inputs have independent noise.
    """
    kicks = _answers_to_kicks(net, rnn, samples) * np.sqrt(rnn.step(None)) / rnn.tau
    noisy = np.einsum("kjor,rs->kojs", kicks, square_root(_readers(net))).reshape(samples * net.outputs, -1)
    covariance = (noisy @ noisy.T).reshape(samples, net.outputs, samples, net.outputs)
    return np.einsum("kolp,ij->koilpj", covariance, np.eye(net.inputs)).reshape(_shape(net, samples))


def weight_noise_covariance(net: Overlaps, rnn: RNN, samples: int) -> Covariance:
    """N times the covariance of the change of the response, for W + Xi / sqrt(N) with independent N(0, 1) entries of Xi.

    The result is of first order in Xi. To this order Xi acts on p as E [k_m; k], with the filtered inputs k_m, the latents k
    and E = [v z]^T Xi [m u] / N^(3/2). The entries of E have the covariance C x A / N (a Kronecker product), with C = [v z]^T
    [v z] / N and A = [m u]^T [m u] / N. So the change of the response depends on all overlaps.
    """
    dt, split = rnn.step(None), net.layout.driving
    latents = rnn.latents(net, impulses(net.inputs, samples, dt)).values
    slopes = np.einsum("kjor,ijq->koirq", _answers_to_kicks(net, rnn, samples) * dt / rnn.tau, latents, optimize=True)
    roots = square_root(_readers(net)), square_root(net.gram[:split, :split])
    noisy = np.einsum("koirq,rs,qp->koisp", slopes, *roots, optimize=True).reshape(samples * net.outputs * net.inputs, -1)
    return (noisy @ noisy.T).reshape(_shape(net, samples))


def running_moments(covariance: Covariance) -> tuple[Moment, Moment]:
    """Mean and variance of the mean square of Gaussian deviations of mean 0, over the samples up to each sample.

    For the first k samples they are tr S / k and 2 tr S^2 / k^2, where S is the covariance of these samples.
    """
    counts = np.arange(1, len(covariance) + 1)
    powers = np.einsum("koko->k", covariance)
    squares = np.einsum("kolp,kolp->kl", covariance, covariance)
    return np.cumsum(powers) / counts, 2 * np.diagonal(squares.cumsum(0).cumsum(1)) / counts**2


@in_float64
def activity_noise_answers(
    network: Network, rnn: RNN, samples: int, std: float, keys: Any
) -> Float[AnyArray, "draws samples O I"]:
    """For each key, the response of N neurons with noise in activity minus the response without noise.

    The noise is that of `activity_noise_covariance`, times `std`.
    """
    return _answers(network, rnn, samples, std * np.sqrt(rnn.step(None)) / rnn.tau, keys, in_weights=False)


@in_float64
def weight_noise_answers(
    network: Network, rnn: RNN, samples: int, std: float, keys: Any
) -> Float[AnyArray, "draws samples O I"]:
    """For each key, the response of N neurons with noise in weights minus the response without noise.

    The noise is that of `weight_noise_covariance`, times `std`.
    """
    return _answers(network, rnn, samples, std / np.sqrt(network.n), keys, in_weights=True)


@eqx.filter_jit
def _answers(
    network: Network, rnn: RNN, samples: int, scale: Any, keys: Any, *, in_weights: bool
) -> Float[AnyArray, "draws samples O I"]:
    dt, rank, times = rnn.step(None), network.layout.rank, jnp.arange(samples)
    readers, start = network.readers.T, network.m / rnn.tau

    def advance(h: Float[AnyArray, "N I"], pull: AnyArray | float = 0.0) -> Float[AnyArray, "N I"]:
        return h + dt / rnn.tau * (network.fed_back(readers[:rank] @ h, h) + pull - h)

    unperturbed = jax.lax.scan(lambda h, _: (advance(h), h), start, times)[1]

    def answer(key: Any) -> Float[AnyArray, "samples O I"]:
        weights = scale * jax.random.normal(key, (network.n, network.n)) if in_weights else None

        def perturbed(h: Float[AnyArray, "N I"], now: tuple[Any, Any]) -> tuple[Float[AnyArray, "N I"], Float[AnyArray, "O I"]]:
            index, without = now
            change = readers[rank:] @ (h - without)
            if weights is not None:
                return advance(h, weights @ h), change
            return advance(h) + scale * jax.random.normal(jax.random.fold_in(key, index), h.shape), change

        return jax.lax.scan(perturbed, start, (times, unperturbed))[1]

    return jax.lax.map(answer, keys, batch_size=max(1, min(len(keys), NUMBERS_AT_ONCE // network.n**2)))


def _answers_to_kicks(net: Overlaps, rnn: RNN, samples: int) -> Float[np.ndarray, "samples samples O read"]:
    """The output at sample k after a unit kick to each entry of p in the step after sample j; zero for j >= k."""
    read = net.rank + net.outputs
    feedback = np.zeros((read, read))
    feedback[:, : net.rank] = np.concatenate([net["vu"], net["zu"]])
    advance = np.eye(read) + rnn.step(None) / rnn.tau * (feedback - np.eye(read))
    kernel = [np.eye(read)[net.rank :]]
    for _ in range(samples - 2):
        kernel.append(kernel[-1] @ advance)
    kernel.append(np.zeros_like(kernel[0]))  # a kick does not change the output before it comes
    lag = np.subtract.outer(np.arange(samples), np.arange(samples)) - 1
    return np.stack(kernel)[np.maximum(lag, -1)]


def _readers(net: Overlaps) -> Any:
    split = net.layout.driving
    return net.gram[split:, split:]


def _shape(net: Overlaps, samples: int) -> tuple[int, int, int, int]:
    pairs = net.outputs * net.inputs
    return samples, pairs, samples, pairs
