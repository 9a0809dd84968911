"""The whole posterior distribution of overlaps, from learning curves."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, count, number, random_key, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.inference._fit import fit, layout_of
from overlaps.inference._measurements import Model, curves_of, measurements_of, require_one_subject
from overlaps.inference._path_noise import with_path_noise
from overlaps.learning import BARRIERS_STAY, compiled, describe

DOUBLINGS = 8  # of a trajectory of the sampler, at most
SMALL = 0.1  # the least diagonal entry of the factor at which chains start, in units of its prior


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
    warmup: int = 500,
    starts: int = 100,
    key: Any = 0,
    observe: str | None = None,
    task_key: Any = None,
) -> xr.Dataset:
    """Random draws from the posterior distribution of overlaps, given curves that were observed during learning.

    The chains start beside the result of `fit`, and the No-U-Turn sampler of blackjax moves them. Each chain stays near this
    result, as far as the curves tell it from its discrete twins: `fit` lists the twins, which are as probable. Along directions
    of overlap space that the curves do not show, the draws only reflect the prior (docs/fitting.md).

    The prior: the entries of a D x D factor F are independent Gaussian numbers with mean 0 and variance scale^2 / D. So
    G = F^T F has a Wishart distribution with D degrees of freedom and the mean scale^2 times the identity.

    - `observations`, `protocol`, `rnn`, `start`, `noise`, `rank`, `starts`, `observe`, `task_key`: as in `fit`, for
      one subject. If label noise is not known, the noise is that of paths of the network that `fit` found.
    - `scale`: the scale of the prior, as in `Overlaps.random`.
    - `chains`, `draws`, `warmup`: the number of chains, of draws of each chain that are kept, and of draws before, during which
      the sampler adapts. `key`: a jax.random key or an integer seed for starts and chains.

    Returns a Dataset with the dims `chain` and `draw`, which ArviZ reads.

    - `sigma(chain, draw, overlap)`: the overlaps. `chi2(chain, draw)`: the squared deviation from the data, in units of noise.
    - `combination(chain, draw, direction)`: the projections on the directions of the fit, from those that the curves show best
      to those that they do not show. `component(direction, overlap)`, `null(direction)`, `why(direction)`: as in `fit`.
    - `r_hat(direction)`: the potential scale reduction of the halves of the chains (Gelman and Rubin, 1992), which is close
      to 1 if the chains agree. `effective_sample_size(direction)`: how many independent draws tell as much.
    - `divergences(chain)`: the number of draws at which the sampler lost its way.
    - `fitted_sigma(overlap)`: the result of `fit`.

    Raises ImportError without blackjax, ValueError for arguments that do not fit, and what `fit` raises.
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
    model = Model(with_path_noise(measured, [Overlaps(gram, *layout)], key), layout, 1)
    spread = scale / np.sqrt(layout.size)
    root = np.linalg.cholesky(gram + (SMALL * spread) ** 2 * np.eye(layout.size)).T
    centre = np.where(np.eye(layout.size, dtype=bool), np.log(np.maximum(root, SMALL * spread)), root)[
        np.triu_indices(layout.size)
    ]
    with jax.enable_x64(True):
        outcome = _programs()(
            jax.random.split(key, chains), centre, np.array(spread), model.arguments, layout.size, draws, warmup
        )
        coordinates, chi2, divergent = (np.asarray(value) for value in outcome)
        factors = np.asarray(jax.vmap(jax.vmap(lambda one: triangular(one, layout.size)))(coordinates))
        sigma = layout.listed(factors.swapaxes(-1, -2) @ factors)
        component = fitted["component"].values
        combination = sigma @ component.T
        halves = combination[:, : draws // 2 * 2].reshape(2 * chains, draws // 2, -1)
        r_hat = np.asarray(blackjax.diagnostics.potential_scale_reduction(halves))
        independent = np.asarray(blackjax.diagnostics.effective_sample_size(combination))
    kept = fitted[["component", "singular_value", "null", "why"]]
    dataset = kept.assign(
        sigma=(("chain", "draw", "overlap"), sigma, said("overlap a.b / N")),
        combination=(("chain", "draw", "direction"), combination, said("combination of overlaps along the direction")),
        chi2=(("chain", "draw"), chi2, said("sum of squared deviations in units of the noise")),
        r_hat=("direction", r_hat, said("potential scale reduction of half chains")),
        effective_sample_size=("direction", independent, said("number of independent draws")),
        divergences=("chain", divergent.sum(axis=1), said("number of divergent draws")),
        fitted_sigma=("overlap", fitted["sigma"].values, said("overlap a.b / N of the fit")),
    )
    dataset = dataset.assign_coords(chain=np.arange(chains), draw=np.arange(draws))
    asked = {"scale": scale, "chains": chains, "draws": draws, "warmup": warmup}
    dataset.attrs = {"posterior": json.dumps(description | describe(asked))}
    return dataset


@functools.cache
def _programs() -> Any:
    return compiled(_sample, BARRIERS_STAY)


def triangular(coordinates: Float[AnyArray, " coordinates"], size: int) -> Float[AnyArray, "D D"]:
    """The upper triangular factor with these entries, of which those on the diagonal are logarithms."""
    upper = jnp.zeros((size, size)).at[np.triu_indices(size)].set(coordinates)
    return jnp.where(np.eye(size, dtype=bool), jnp.exp(upper), upper)


def log_prior(coordinates: Float[AnyArray, " coordinates"], size: int, spread: AnyArray) -> Float[AnyArray, ""]:
    """The logarithm of the prior density of the coordinates, up to a constant (decomposition of Bartlett).

    The entries of the triangular factor above the diagonal are Gaussian. The square of the i-th one on the diagonal, divided by
    spread^2, has a chi-squared distribution with D - i + 1 degrees of freedom.
    """
    factor = triangular(coordinates, size)
    return jnp.arange(size, 0, -1) @ jnp.log(jnp.diagonal(factor)) - jnp.sum(factor**2) / (2 * spread**2)


def _sample(keys: Any, centre: AnyArray, spread: AnyArray, arguments: Any, size: int, draws: int, warmup: int) -> Any:
    import blackjax

    def residuals(coordinates: AnyArray) -> AnyArray:
        found = curves_of(triangular(coordinates, size).ravel(), jnp.zeros((), int), *arguments)[0]
        return jnp.where(jnp.all(jnp.isfinite(found)), found, jnp.inf)

    @jax.custom_vjp
    def half_chi2(coordinates: AnyArray) -> AnyArray:
        return jnp.sum(residuals(coordinates) ** 2) / 2

    def forward(coordinates: AnyArray) -> tuple[AnyArray, AnyArray]:
        # Forward mode: it needs no memory of the steps, and there are few coordinates.
        jacobian, found = jax.jacfwd(lambda one: (residuals(one),) * 2, has_aux=True)(coordinates)
        return jnp.sum(found**2) / 2, jnp.where(jnp.isfinite(jnp.sum(found**2)), found @ jacobian, 0.0)

    half_chi2.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    jacobian = jax.jacfwd(residuals)(centre)
    factor = triangular(centre, size)
    diagonal = np.eye(size, dtype=bool)[np.triu_indices(size)]
    curvature = jnp.where(diagonal, 2 * factor[np.triu_indices(size)] ** 2, 1.0) / spread**2
    # In these coordinates the posterior is close to a standard normal distribution.
    white = jnp.linalg.inv(jnp.linalg.cholesky(jacobian.T @ jacobian + jnp.diag(curvature))).T

    def log_density(whitened: AnyArray) -> AnyArray:
        coordinates = centre + white @ whitened
        return log_prior(coordinates, size, spread) - half_chi2(coordinates)

    def chain(key: Any) -> Any:
        first, second, third = jax.random.split(key, 3)
        begin = jax.random.normal(first, centre.shape) / 2
        adaptation: Any = blackjax.window_adaptation(
            blackjax.nuts,
            log_density,
            adaptation_info_fn=lambda *_: (None, None, None),  # pyright: ignore[reportArgumentType]
            max_num_doublings=DOUBLINGS,
        )
        (state, settings), _ = adaptation.run(second, begin, warmup)
        kernel: Any = blackjax.nuts(log_density, **settings)

        def step(state: Any, key: Any) -> Any:
            state, info = kernel.step(key, state)
            coordinates = centre + white @ state.position
            chi2 = 2 * (log_prior(coordinates, size, spread) - state.logdensity)
            return state, (coordinates, chi2, info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(third, draws))[1]

    return jax.vmap(chain)(keys)
