"""Mixtures of Gaussian populations that describe the neurons of a network, and how well they predict its output."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, count, said
from overlaps.connectivity._network import Network
from overlaps.connectivity._protocols import Simulator

STARTS, ITERATIONS = 4, 1000  # of the expectation-maximisation algorithm
DEPENDENT = 1e-10  # an eigenvalue of the correlations of the vectors below this belongs to dependent vectors

Parts = tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P D"], Float[np.ndarray, "P D D"]]
"""Weights, means and covariances."""


class PopulationFits(NamedTuple):
    """Mixtures with several numbers of populations, and a comparison of them.

    - `fits`: the `Populations` by their number.
    - `report`: a Dataset over `count`, with `bic` (the Bayesian information criterion), `output_error` (of the closure) and
      `resampling_error(draw)` (of the network with redrawn neurons). Errors are relative to the size of the output.
    """

    fits: dict[int, Any]
    report: xr.Dataset


def labelled(network: Any, labels: np.ndarray) -> Parts:
    """The shares, means and covariances of the neurons with each label. Raises ValueError for too few neurons of one label."""
    vectors = _vectors(network)
    if labels.shape != (len(vectors),):
        raise argument_error("labels", f"have shape ({len(vectors)},), one label per neuron", f"its shape is {labels.shape}")
    names, members = np.unique(labels, return_inverse=True)
    sizes = np.bincount(members)
    if np.any(sizes <= vectors.shape[1]):
        few = ", ".join(f"{names[index].item()!r} has {sizes[index]}" for index in np.flatnonzero(sizes <= vectors.shape[1]))
        must = f"give each population more than {vectors.shape[1]} neurons, the number of vectors"
        mend = "Its covariance would be singular. Join populations, or use a MeanField of the neurons."
        raise argument_error("labels", must, f"population {few}", mend)
    return moments(vectors, np.eye(len(names))[members])


def fitted(network: Any, number: Any, key: Any) -> tuple[Parts, float]:
    """A mixture with this number of populations for the neurons of a network, and its Bayesian information criterion."""
    vectors, number = _vectors(network), count("count", number)
    n, size = vectors.shape
    if number * (size + 1) > n:
        most = n // (size + 1)
        raise argument_error("count", f"be at most {most} for {n} neurons and {size} vectors", f"{number} came")
    scales = np.sqrt(np.mean(vectors**2, axis=0))
    names = network.layout.labels
    if np.any(scales == 0):
        zero = ", ".join(names[index] for index in np.flatnonzero(scales == 0))
        raise argument_error("network", "have vectors that are not 0", f"{zero} is 0 in all neurons")
    rows = vectors / scales
    if np.linalg.eigvalsh(np.cov(rows.T))[0] < DEPENDENT:
        came = "some combination of them is the same in all neurons, so that every covariance is singular"
        mend = "Leave dependent vectors out, for example by `interop.low_rank` with a lower rank."
        raise argument_error("network", "have linearly independent vectors", came, mend)
    mixture = _mixtures().GaussianMixture(
        number, n_init=STARTS, max_iter=ITERATIONS, random_state=int(jax.random.bits(key)) % 2**31
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _not_converged())  # a mixture that is still improving describes the neurons too
        mixture.fit(rows)
    shares = mixture.predict_proba(rows)
    sizes = shares.sum(axis=0)
    if np.any(sizes < size + 1):
        came = f"after the fit the populations have {np.sort(sizes).round(1).tolist()} neurons"
        raise argument_error("count", f"leave more than {size} neurons to each population", came, "Ask for fewer populations.")
    return moments(vectors, shares), float(mixture.bic(rows))


def moments(vectors: Float[np.ndarray, "N D"], shares: Float[np.ndarray, "N P"]) -> Parts:
    """Weights, means and covariances of populations to which neurons belong with these probabilities.

    Averages of the first and second moments over populations are exactly those over the neurons.
    """
    weights = shares.mean(axis=0)
    inside = shares / (len(vectors) * weights)
    means = inside.T @ vectors
    deviations = vectors[:, None] - means[None]
    return weights, means, np.einsum("np,npi,npj->pij", inside, deviations, deviations, optimize=True)


def compared(
    network: Any,
    counts: list[int],
    key: Any,
    make: Callable[[Parts], Any],
    rnn: Simulator | None,
    inputs: Any,
    draws: Any,
) -> PopulationFits:
    """Mixtures with several numbers of populations, and their errors of the output."""
    if rnn is None or inputs is None:
        raise argument_error("rnn", "be given, and `inputs` too, to compare numbers of populations", "None came")
    draws = count("draws", draws)
    fits, criteria = {}, []
    for number in counts:
        parts, criterion = fitted(network, number, jax.random.fold_in(key, number))
        fits[number] = make(parts)
        criteria.append(criterion)
    output = rnn.output(network, inputs)

    def error(state: Any) -> float:
        return float(np.sqrt(((rnn.output(state, inputs) - output) ** 2).mean() / (output**2).mean()))

    generator = np.random.default_rng(int(jax.random.bits(jax.random.fold_in(key, 0))))
    redrawn = [error(_redrawn(network, generator)) for _ in range(draws)]
    report = xr.Dataset(
        {
            "bic": ("count", criteria, said("Bayesian information criterion")),
            "output_error": ("count", [error(fits[number]) for number in counts], said("relative error of the output")),
            "resampling_error": ("draw", redrawn, said("relative error of the output with redrawn neurons")),
        },
        {"count": ("count", counts, said("populations"))},
    )
    return PopulationFits(fits, report)


def _redrawn(network: Any, generator: np.random.Generator) -> Network:
    rows = network.vectors[generator.integers(network.n, size=network.n)]
    return Network(**network.layout.vectors(rows), c=network.c)


def _vectors(network: Any) -> Float[np.ndarray, "N D"]:
    if not isinstance(network, Network) or network.batch:
        came = f"a batch of {network.batch[0]} came" if isinstance(network, Network) else f"{type(network).__name__} came"
        mend = "For a DenseNetwork, take `interop.low_rank(network)` first."
        raise argument_error("network", "be a single Network", came, mend)
    return np.asarray(network.vectors, float)


def _mixtures() -> Any:
    try:
        import sklearn.mixture
    except ImportError:
        raise ImportError("Fitting populations needs scikit-learn. Install the extra: pip install overlaps[studies]") from None
    return sklearn.mixture


def _not_converged() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning
