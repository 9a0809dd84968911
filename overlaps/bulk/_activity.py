"""Activity of infinitely many neurons with W = J + u v^T / N: a random matrix J, and vectors that are independent of it.

The activity of a neuron is h(t) = [m b h u] . kappa(t) + xi(t). The bulk J makes xi, a Gaussian process over neurons, whose
covariance follows from the activity itself (docs/bulk_nonlinear.md).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, flag, in_float64, real_array, said, warn
from overlaps.bulk._arguments import checked
from overlaps.bulk._averages import averages
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN

LARGEST_ERROR = 1e-4  # of E[phi phi'], relative to E[phi^2]; a larger one gives a warning
TINY = 1e-50  # E[phi^2] below this one is 0: the quadrature gives 1e-60 for tanh without activity


@in_float64
def activity(net: Any, radius: Any, inputs: Any, rnn: Any, covariance: bool = False) -> xr.Dataset:
    """Activity and output of a network of infinitely many neurons whose W has a random bulk: W = J + u v^T / N.

    The entries of J are independent, with mean 0 and variance g^2 / N. The vectors m, u, v and z (and b and h0) are jointly
    Gaussian over neurons with zero mean and with the overlaps of `net`, and they are independent of J. A network of N neurons
    differs by O(1 / sqrt(N)), for a time that grows as log N where the theory runs along an unstable path. Learning breaks the
    independence, so this is a theory of networks before learning (docs/bulk_nonlinear.md).

    - `net`: a single `Overlaps`.
    - `radius`: g, the radius of the disk that the eigenvalues of J fill. A `RandomBulk` stands for its radius.
    - `inputs`: array-like of shape (time, I) or (trials, time, I), or (time,) for a single input.
    - `rnn`: a model with a step `dt`. The result is exact for these Euler steps.
    - `covariance`: whether to return the covariance of the activity at each pair of times. It takes memory for time^2 numbers
      per trial.

    Returns a Dataset with the dims `trial` (only if `inputs` has trials) and `time`. Values are those after each input sample.
    The variables are:

    - `output(trial, time, readout)` and `latents(trial, time, latent)`.
    - `variance(trial, time)`: the variance of h over neurons. `bulk_variance(trial, time)`: the part that J makes.
    - `covariance(trial, time, other_time)`: of h over neurons, if asked for.

    Its attribute `covariance_error` bounds the error of E[phi(h) phi(h')], relative to the largest E[phi(h)^2]. It comes from
    an expansion that is cut off, for phi other than "linear", "erf" and "relu". A RuntimeWarning says if it exceeds 1e-4, as
    for tanh at variances above 40.

    Raises ValueError for other states, for a model in continuous time, for shapes that do not fit, and for a bulk whose entries
    are correlated.
    """
    g = checked(net, radius, rnn)
    if rnn.dt is None:
        came = "it is in continuous time"
        raise argument_error("rnn", "have a step dt, because the theory steps through time", came, "Use RNN(..., dt=0.1).")
    array, inputs_count = real_array("inputs", inputs).astype(float), net.layout.inputs
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim not in (2, 3) or array.shape[-1] != inputs_count or 0 in array.shape:
        must = f"have shape (time, {inputs_count}) or (trials, time, {inputs_count}), and not be empty"
        raise argument_error("inputs", must, f"its shape is {array.shape}")
    full = flag("covariance", covariance)
    results = _run(rnn, net, jnp.asarray(g), jnp.asarray(array if array.ndim == 3 else array[None]), full)
    results = {name: np.asarray(values) for name, values in results.items()}
    error = max(float(results.pop("error").max()), 0.0)
    if error > LARGEST_ERROR and g > 0:
        warn(f"The averages of phi over pairs of times have errors of up to {error:.1g}, relative to E[phi^2].")
    trials = ("trial",) if array.ndim == 3 else ()
    described = {
        "output": (("time", "readout"), "output"),
        "latents": (("time", "latent"), "latent variable"),
        "variance": (("time",), "variance of the activity over neurons"),
        "bulk_variance": (("time",), "variance that the bulk makes"),
        "covariance": (("time", "other_time"), "covariance of the activity over neurons"),
    }
    times = rnn.dt * np.arange(1, array.shape[-2] + 1)
    coordinates = {
        "time": ("time", times, said("time", "as tau")),
        "readout": list(net.layout.readouts),
        "latent": list(net.layout.latents),
    }
    if full:
        coordinates["other_time"] = ("other_time", times, said("time", "as tau"))
    return xr.Dataset(
        {
            name: ((*trials, *described[name][0]), values if trials else values[0], said(described[name][1]))
            for name, values in results.items()
        },
        coordinates,
        {"radius": g, "covariance_error": error},
    )


@eqx.filter_jit
def _run(
    rnn: RNN, net: Overlaps, g: Float[AnyArray, ""], inputs: Float[AnyArray, "trials time I"], full: bool
) -> dict[str, Any]:
    return jax.vmap(lambda trial: _trial(rnn, net, g, trial, full))(inputs)


def _trial(rnn: RNN, net: Overlaps, g: Any, inputs: Any, full: bool) -> dict[str, Any]:
    """One scan over time. At step t it knows row t of the covariance of xi, and all that came before."""
    layout, gram, gauss = net.layout, jnp.asarray(net.gram), averages(rnn.phi)
    driving, rank, step = layout.driving, layout.rank, rnn.dt / rnn.tau  # pyright: ignore[reportOptionalOperand]
    drive, response = gram[:driving, :driving], gram[driving:, :driving]
    driven = layout.driven(inputs)
    times = np.arange(driven.shape[0] + 1)
    lags = times[:, None] - times[None, :] - 1
    smooth = np.where(lags >= 0, step * (1 - step) ** np.maximum(lags, 0), 0.0)  # from J phi(h) to xi

    def advance(carry: Any, now: Any) -> Any:
        (latents, variances, coefficients, row), (t, sample) = carry, now
        kappa = latents[t]
        between = latents @ (drive @ kappa) + row
        variance = between[t]
        own = gauss.coefficients(variance)
        variances, coefficients = variances.at[t].set(variance), coefficients.at[t].set(own)
        square = gauss.square(variance)
        pairs = gauss.product(between, jnp.broadcast_to(variance, variances.shape), variances, own[None], coefficients)
        bulk = g**2 * jnp.where(times < t, pairs, jnp.where(times == t, square, 0.0))  # E[eta(t) eta(s)], eta = J phi(h)
        crossed = smooth @ bulk  # E[eta(t) xi(s)]
        following = jnp.where(times <= t, (1 - step) * row + step * crossed, 0.0)
        following = following.at[t + 1].set((1 - step) * following[t] + step * crossed[t + 1])
        recurrence = rnn.gain(variance) * (response[:rank] @ kappa)
        latents = latents.at[t + 1].set(kappa + step * (jnp.concatenate([sample, recurrence]) - kappa))
        kept = {"own": following[t + 1], "square": square, "missing": square - jnp.sum(own**2) if own.size else 0.0 * square}
        return (latents, variances, coefficients, following), kept | ({"row": following} if full else {})

    start = jnp.zeros((times.size, driving))
    start = start.at[0, layout.external - 1].set(1.0) if layout.initial else start
    nothing = jnp.zeros(times.size)
    sizes = jax.eval_shape(gauss.coefficients, nothing).shape
    carry = (start, nothing, jnp.zeros(sizes), nothing)
    (latents, *_), kept = jax.lax.scan(advance, carry, (jnp.asarray(times[:-1]), driven))
    latents = latents[1:]
    variance = jnp.sum(latents * (latents @ drive), axis=1) + kept["own"]
    output = rnn.gain(variance)[:, None] * (latents @ response[rank:].T)
    results = {
        "output": output if net.c is None else output + jnp.asarray(net.c)[None],
        "latents": latents,
        "variance": variance,
        "bulk_variance": kept["own"],
        "error": jnp.max(kept["missing"]) / jnp.maximum(jnp.max(kept["square"]), TINY),
    }
    if full:
        lower = latents @ drive @ latents.T + kept["row"][:, 1:]
        results["covariance"] = jnp.tril(lower) + jnp.tril(lower, -1).T
    return results
