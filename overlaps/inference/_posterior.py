"""The whole posterior distribution of overlaps, from learning curves."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, count, number, random_key, said, warn
from overlaps.connectivity import Layout, Overlaps
from overlaps.dynamics import RNN
from overlaps.inference._fit import SLOTS, fit, layout_of
from overlaps.inference._measurements import Model, curves_of, measurements_of, require_one_subject
from overlaps.inference._nearest_twins import nearest_twins
from overlaps.inference._path_noise import with_path_noise
from overlaps.inference._straight import Straight, points_inside, probable, straight
from overlaps.learning import BARRIERS_STAY, compiled, describe

WIDTH = 4.0  # of the first interval of the sampler, in coordinates whose standard deviation is about 1
ELLIPSES = 5  # in each draw
NARROW = 0.01  # ellipses help if the curves leave each direction at least this part of its width in the prior
AGREE, ENOUGH = 1.01, 400  # the largest r_hat and the smallest effective sample size of draws to be trusted


def posterior(
    observations: Any,
    protocol: Any,
    rnn: RNN,
    start: Overlaps | None = None,
    noise: Any = 1e-3,
    rank: int = 1,
    scale: float = 1.0,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 200,
    starts: int = 100,
    key: Any = 0,
    observe: str | None = None,
    task_key: Any = None,
) -> xr.Dataset:
    """Random draws from the posterior distribution of overlaps, given curves that were observed during learning.

    The chains start beside the result of `fit`, or beside a more probable network if the prior finds the fit improbable. The
    slice sampler of blackjax moves them (Neal, Annals of Statistics 31, 705, 2003). It needs no derivatives, and it may meet
    the boundary of the positive semi-definite matrices. Its coordinates follow the bent valleys of overlaps with nearly equal
    curves. Where the noise is large, elliptical slice sampling also moves a factor of G (Murray, Adams and MacKay, AISTATS,
    2010). Discrete twins, as `fit` lists them, may be as probable: `sigma` then holds that twin of each draw whose curves are
    nearest to those at the origin of the coordinates, to first order. Along directions of overlap space that the curves do not
    show, the draws only reflect the prior (docs/fitting.md).

    The draws are tested against other methods for small noise and for noise as large as the curves. In between, valleys may be
    so long and bent that chains do not agree. `r_hat` and a warning tell.

    The prior: the density of G is proportional to exp(-(D + 1) tr G / (2 scale^2)), so that all G of the same trace are equally
    probable. This is the Wishart distribution with D + 1 degrees of freedom and the mean scale^2 times the identity: that of
    F^T F, if the entries of the (D + 1) x D matrix F are independent Gaussian numbers of variance scale^2 / (D + 1).

    - `observations`, `protocol`, `rnn`, `start`, `noise`, `rank`, `starts`, `observe`, `task_key`: as in `fit`, for
      one subject. If label noise is not known, the noise is that of paths of the network that `fit` found.
    - `scale`: the scale of the prior, as in `Overlaps.random`.
    - `chains`, `draws`, `warmup`: the number of chains, of draws of each chain that are kept, and of draws before, which are
      left out. In each draw, every coordinate moves once. `key`: a jax.random key or an integer seed for starts and chains.

    Returns a Dataset with the dims `chain` and `draw`, which ArviZ reads.

    - `sigma(chain, draw, overlap)`: the overlaps. `chi2(chain, draw)`: the squared deviation from the data, in units of noise.
    - `combination(chain, draw, direction)`: the projections on the directions of the fit, from those that the curves show best
      to those that they do not show. `component(direction, overlap)`, `null(direction)`, `why(direction)`: as in `fit`.
    - `r_hat(direction)`: the potential scale reduction of the halves of the chains (Gelman and Rubin, 1992), which is close
      to 1 if the chains agree. `effective_sample_size(direction)`: how many independent draws tell as much.
    - `fitted_sigma(overlap)`: the result of `fit`.

    Gives a RuntimeWarning if `r_hat` is above 1.01 or `effective_sample_size` below 400 for any direction. Raises ImportError
    without blackjax, ValueError for arguments that do not fit, and what `fit` raises.
    """
    try:
        import blackjax.diagnostics
    except ImportError as error:
        raise ImportError("`posterior` needs blackjax: pip install 'overlaps[inference]'.") from error
    chains, draws, warmup = count("chains", chains, least=2), count("draws", draws, least=4), count("warmup", warmup)
    scale, key = number("scale", scale, above=0.0), random_key("key", key)
    measured = measurements_of(observations, protocol, rnn, noise, observe, task_key)
    require_one_subject(observations)
    fitted = fit(observations, protocol, rnn, start, noise, rank, starts, key, observe, task_key)
    description = json.loads(fitted.attrs["fit"])
    layout = layout_of(start, measured[0], rank)
    gram = fitted["gram"].values
    measured = with_path_noise(measured, [Overlaps(gram, *layout)], key)
    slots = min(SLOTS, starts if start is None else start.gram[..., 0, 0].size)  # `fit` has compiled the model for so many
    model, spread = Model(measured, layout, slots), scale / np.sqrt(layout.size + 1)
    coordinates = straight(model, probable(model, gram, spread), scale * spread)
    first, second = jax.random.split(key)
    with jax.enable_x64(True):
        begin = np.asarray(jax.random.normal(first, (chains, len(layout.pairs))))
        begin = points_inside(coordinates, model, begin)
        keys = jax.random.split(second, chains)
        narrowest = np.min(np.linalg.norm(coordinates.directions, axis=0)) / (scale * spread)
        ellipses = np.array(ELLIPSES if narrowest > NARROW else 0)
        sampled = _programs()(keys, begin, coordinates, np.array(spread), ellipses, model.arguments, draws + warmup)
        sigma, chi2 = (np.asarray(value)[:, warmup:] for value in sampled)
        sigma = nearest_twins(sigma, model, np.asarray(coordinates.centre))
        combination = sigma @ fitted["component"].values.T
        halves = combination[:, : draws // 2 * 2].reshape(2 * chains, draws // 2, -1)
        r_hat = np.asarray(blackjax.diagnostics.potential_scale_reduction(halves))
        independent = np.asarray(blackjax.diagnostics.effective_sample_size(combination))
    if not (np.all(r_hat <= AGREE) and np.all(independent >= ENOUGH)):
        warn(
            f"The draws may not represent the posterior: `r_hat` is up to {np.max(r_hat):.3f} (at most {AGREE} is good), and "
            f"the effective sample size is down to {np.min(independent):.0f} (at least {ENOUGH} is good). Take more `draws` "
            "and a longer `warmup`. If `r_hat` stays large, the valley of probable overlaps is too bent: take a protocol that "
            'shows more overlaps, such as one with rates={"m": 0.0} in a second phase.'
        )
    kept = fitted[["component", "singular_value", "null", "why"]]
    dataset = kept.assign(
        sigma=(("chain", "draw", "overlap"), sigma, said("overlap a.b / N")),
        combination=(("chain", "draw", "direction"), combination, said("combination of overlaps along the direction")),
        chi2=(("chain", "draw"), chi2, said("sum of squared deviations in units of the noise")),
        r_hat=("direction", r_hat, said("potential scale reduction of half chains")),
        effective_sample_size=("direction", independent, said("number of independent draws")),
        fitted_sigma=("overlap", fitted["sigma"].values, said("overlap a.b / N of the fit")),
    )
    dataset = dataset.assign_coords(chain=np.arange(chains), draw=np.arange(draws))
    asked = {"scale": scale, "chains": chains, "draws": draws, "warmup": warmup}
    dataset.attrs = {"posterior": json.dumps(description | describe(asked))}
    return dataset


@functools.cache
def _programs() -> Any:
    return compiled(_sample, BARRIERS_STAY)


def log_prior(sigma: Float[AnyArray, " overlaps"], layout: Layout, spread: AnyArray) -> Float[AnyArray, ""]:
    """The logarithm of the density of positive semi-definite matrices, up to a constant."""
    return -jnp.trace(layout.matrix(sigma)) / (2 * spread**2)


def _sample(
    keys: Any, begin: AnyArray, coordinates: Straight, spread: AnyArray, ellipses: AnyArray, arguments: Any, draws: int
) -> tuple[AnyArray, AnyArray]:
    import blackjax
    from blackjax.mcmc.slice import stepping_out

    layout = arguments[2].layout
    size = layout.size

    def log_likelihood(gram: AnyArray) -> AnyArray:
        root = jnp.linalg.cholesky(gram)  # NaN unless positive definite
        density = -jnp.sum(curves_of(root.T.ravel(), jnp.zeros((), int), *arguments)[0] ** 2) / 2
        return jnp.where(jnp.isfinite(density), density, -jnp.inf)

    def log_density(z: AnyArray) -> AnyArray:
        sigma = coordinates.overlaps(z)
        return log_prior(sigma, layout, spread) + log_likelihood(layout.matrix(sigma))

    def gram_of(factor: AnyArray) -> AnyArray:
        factor = factor.reshape(size + 1, size)
        return factor.T @ factor

    along_axes: Any = blackjax.coordinate_slice(log_density, initial_widths=WIDTH, interval=stepping_out)
    along_ellipse: Any = blackjax.elliptical_slice(
        lambda factor: log_likelihood(gram_of(factor)), mean=jnp.zeros(()), cov=jnp.full(size * (size + 1), spread**2)
    )

    def chain(key: Any, point: AnyArray) -> Any:
        def step(state: Any, key: Any) -> Any:
            first, second, third = jax.random.split(key, 3)
            state, _ = along_axes.step(first, state)
            factor = random_factor(second, layout.matrix(coordinates.overlaps(state.position)))
            moved = jax.lax.fori_loop(
                0,
                ellipses,
                lambda number, place: along_ellipse.step(jax.random.fold_in(third, number), place)[0],
                along_ellipse.init(factor.ravel()),
            )
            sigma = layout.listed(gram_of(moved.position))
            density = log_prior(sigma, layout, spread) + moved.logdensity
            return state._replace(position=coordinates.coordinates(sigma), logdensity=density), (sigma, -2 * moved.logdensity)

        return jax.lax.scan(step, along_axes.init(point), jax.random.split(key, draws))[1]

    return jax.vmap(chain)(keys, begin)


def random_factor(key: Any, gram: Float[AnyArray, "D D"]) -> Float[AnyArray, "rows D"]:
    """One of the (D + 1) x D matrices F with F^T F = G, all equally probable."""
    normal = jax.random.normal(key, (len(gram) + 1, len(gram)))
    orthonormal = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(normal.T @ normal), normal.T, lower=True).T
    return orthonormal @ jnp.linalg.cholesky(gram).T
