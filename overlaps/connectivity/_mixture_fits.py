"""Mixtures of Gaussian populations that describe the neurons of a network, and how well they predict its output."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, count, said
from overlaps.connectivity._bulk import require_no_bulk
from overlaps.connectivity._network import Network
from overlaps.connectivity._protocols import Simulator

STARTS, ITERATIONS = 4, 1000  # of the expectation-maximisation algorithm
GAIN = 1e-3  # it ends when the mean log likelihood of a neuron grows by less than this
RIDGE = 1e-6  # it adds this to the variances of standardised vectors
DEPENDENT = 1e-10  # a direction in which standardised neurons have a smaller variance than this is left out of the fit

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


def fitted(network: Any, number: Any, key: Any, rnn: Simulator | None = None) -> tuple[Parts, float]:
    """A mixture with this number of populations for the neurons of a network, and its Bayesian information criterion.

    `rnn`: if it is given and its phi is odd, the neurons are folded: each is itself or its mirror image, whichever fits better.
    """
    vectors, number = _vectors(network), count("count", number)
    n, size = vectors.shape
    if number * (size + 1) > n:
        most = n // (size + 1)
        raise argument_error("count", f"be at most {most} for {n} neurons and {size} vectors", f"{number} came")
    folded = rnn is not None and _is_odd(_checked(rnn))
    scales = np.sqrt(np.mean(vectors**2, axis=0))
    rows = _independent(vectors / np.where(scales > 0, scales, 1.0), centred=not folded)
    random = np.random.default_rng(int(jax.random.bits(key)))
    if folded:
        found = [_folded(rows, number, random) for _ in range(STARTS)]
        shares, likelihood = max(found, key=lambda fit: (np.all(fit[0].sum(axis=0) >= size + 1), fit[1]))
        vectors = np.concatenate([vectors, -vectors])
    else:
        shares, likelihood = _plain(rows, number, random)
    sizes = shares.sum(axis=0)
    if np.any(sizes < size + 1):
        came = f"after the fit the populations have {np.sort(sizes).round(1).tolist()} neurons"
        raise argument_error("count", f"leave more than {size} neurons to each population", came, "Ask for fewer populations.")
    size = rows.shape[1]
    free = number * (1 + size + size * (size + 1) // 2) - 1
    return moments(vectors, shares * len(vectors) / n), float(free * np.log(n) - 2 * n * likelihood)


def _independent(rows: Float[np.ndarray, "N D"], centred: bool) -> Float[np.ndarray, "N d"]:
    """The rows in an orthonormal basis of the directions in which neurons differ: vectors may be linearly dependent.

    An imported network with a bias, for example, has its bias as its initial activity too.
    """
    spread = rows - rows.mean(axis=0) if centred else rows
    values, directions = np.linalg.eigh(spread.T @ spread / len(rows))
    if values[-1] < DEPENDENT:
        raise argument_error("network", "have neurons that differ", "all neurons are alike")
    return rows @ directions[:, values > DEPENDENT]


def _checked(rnn: Any) -> Simulator:
    if not isinstance(rnn, Simulator):
        raise argument_error("rnn", "be the RNN of the network", f"{rnn!r} came")
    return rnn


def _is_odd(rnn: Simulator) -> bool:
    activity = np.linspace(0.0, 10.0, 101)
    rates = rnn.rate(activity)
    return bool(np.allclose(rnn.rate(-activity), -rates, rtol=0.0, atol=1e-12 * np.abs(rates).max()))


def _plain(rows: Float[np.ndarray, "N D"], number: int, random: np.random.Generator) -> tuple[np.ndarray, float]:
    """The probabilities (N, P) that neurons belong to populations, and the mean log likelihood of a neuron."""
    mixture = _sklearn().mixture.GaussianMixture(
        number, n_init=STARTS, max_iter=ITERATIONS, tol=GAIN, reg_covar=RIDGE, random_state=_seed(random)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _not_converged())  # a mixture that is still improving describes the neurons too
        mixture.fit(rows)
    return mixture.predict_proba(rows), float(mixture.score(rows))


def _folded(rows: Float[np.ndarray, "N D"], number: int, random: np.random.Generator) -> tuple[np.ndarray, float]:
    """The probabilities (2 N, P) that neurons, and then their mirror images, belong to populations, and as in `_plain`.

    The density of the neurons is sum_p (w_p / 2) (N(theta; a_p, C_p) + N(-theta; a_p, C_p)). A start takes of each neuron the
    image on one side of a random plane, and splits these by k-means.
    """
    images = np.concatenate([rows, -rows])
    there = images @ random.standard_normal(rows.shape[1]) > 0
    clusters = _sklearn().cluster.KMeans(number, n_init=1, random_state=_seed(random)).fit(images[there])
    shares = np.eye(number)[clusters.predict(images)] * there[:, None]
    likelihood = -np.inf
    for _ in range(ITERATIONS):
        before = likelihood
        weights, means, covariances = moments(images, 2 * shares)
        roots = np.linalg.cholesky(covariances + RIDGE * np.eye(rows.shape[1]))
        scores = np.linalg.solve(roots, (images[None] - means[:, None]).swapaxes(1, 2))
        volumes = np.log(2 * np.pi) * rows.shape[1] / 2 + np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        densities = (np.log(weights / 2) - volumes - np.sum(scores**2, axis=1).T / 2).reshape(2, -1, number)
        of_neurons = scipy.special.logsumexp(densities, axis=(0, 2), keepdims=True)
        shares, likelihood = np.exp(densities - of_neurons).reshape(-1, number), float(of_neurons.mean())
        if likelihood - before < GAIN or np.any(shares.sum(axis=0) < 1):  # a population that dies out has no moments
            break
    return shares, likelihood


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
    counts: Any,
    key: Any,
    make: Callable[[Parts], Any],
    rnn: Simulator | None,
    inputs: Any,
    draws: Any,
) -> PopulationFits:
    """Mixtures with several numbers of populations, and their errors of the output."""
    counts = [count("count", number) for number in counts]
    if not counts or len(set(counts)) < len(counts):
        raise argument_error("count", "hold different numbers of populations", f"{counts} came")
    if rnn is None or inputs is None:
        raise argument_error("rnn", "be given, and `inputs` too, to compare numbers of populations", "None came")
    draws, output = count("draws", draws), _checked(rnn).output(network, inputs)
    if not np.any(output):
        raise argument_error("inputs", "move the output of the network", "it is 0 at all times", "Errors are relative to it.")
    fits, criteria = {}, []
    for number in counts:
        parts, criterion = fitted(network, number, jax.random.fold_in(key, number), rnn)
        fits[number] = make(parts)
        criteria.append(criterion)

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
    require_no_bulk(network, "to be described by populations", "Describe its vectors alone: leave `bulk` out.", "network")
    return np.asarray(network.vectors, float)


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


def _sklearn() -> Any:
    try:
        import sklearn.cluster
        import sklearn.mixture
    except ImportError:
        raise ImportError("Fitting populations needs scikit-learn. Install the extra: pip install overlaps[studies]") from None
    return sklearn


def _not_converged() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning
