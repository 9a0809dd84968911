"""The rank of a network, from points of its learning curves that the fit has not seen."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error, count, number, random_key, said
from overlaps.connectivity import square_root
from overlaps.dynamics import RNN
from overlaps.inference._fit import SLOTS, fit, layout_of
from overlaps.inference._measurements import Model, measurements_of, require_one_subject
from overlaps.inference._path_noise import random_paths
from overlaps.learning import describe


def choose_rank(
    observations: Any,
    protocol: Any,
    rnn: RNN,
    ranks: Sequence[int] = (1, 2),
    share: float = 0.2,
    noise: Any = 1e-3,
    starts: int = 100,
    key: Any = 0,
    observe: str | None = None,
    task_key: Any = None,
) -> xr.Dataset:
    """Compare ranks by how well their fits predict points of the curves that the fits have not seen.

    - `observations`, `protocol`, `rnn`, `noise`, `starts`, `observe`, `task_key`: as in `fit`, for one subject.
    - `ranks`: the ranks to compare. `share`: the share of the observed numbers that the fits do not see, drawn at random.
    - `key`: a jax.random key or an integer seed, for the draw and for the starts.

    Returns a Dataset with the dim `rank`.

    - `log_likelihood(rank)`: that of the points that the fit has not seen, up to a constant that all ranks share.
    - `difference(rank)`: by how much it is below the highest one, and `difference_error(rank)`, the standard error of this
      number, from the scatter over points.
    - `chi2(rank)` and `p_value(rank)`: those of the fit, on the points that it saw.
    - `chosen`: the smallest rank whose difference is at most one standard error.

    Raises ValueError for arguments that do not fit, for correlated noise, for label noise whose samples are not known (the
    hidden numbers would then depend on those that the fit sees), and what `fit` raises.
    """
    key, share = random_key("key", key), number("share", share, above=0.0)
    if share >= 1:
        raise argument_error("share", "be below 1", f"{share:g} came")
    ranks = sorted({count("ranks", rank) for rank in ranks})
    require_one_subject(observations)
    listed = list(observations) if isinstance(observations, Sequence) else [observations]
    measured = measurements_of(observations, protocol, rnn, noise, observe, task_key)
    if any(random_paths(one) or one.correlated is not None for one in measured):
        must, came = "be independent from number to number", "correlated noise, or label noise without `task_key`, came"
        raise argument_error("noise", must, came, "Compare the p-values of `fit` with both ranks.")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    kept = [one.where(rng.random(one.shape) >= share) for one in listed]
    unseen = [
        part.isnull().transpose(*one.data.dims[1:]).values & one.data[0].notnull().values
        for part, one in zip(kept, measured, strict=True)
    ]
    hidden = np.concatenate([one.ravel() for one in unseen])
    losses, fits = [], []
    for rank in ranks:
        arguments = (kept if isinstance(observations, Sequence) else kept[0], protocol, rnn, None, noise, rank, starts, key)
        found = fit(*arguments, observe, task_key)
        model = Model(measured, layout_of(None, measured[0], rank), min(SLOTS, starts))  # `fit` has compiled it for so many
        deviations = model.residuals(square_root(found["gram"].values).reshape(1, -1), 0)[0]
        losses.append(deviations[hidden] ** 2 / 2)
        fits.append(found)
    points = np.array(losses)
    best = int(np.argmin(points.sum(axis=1)))
    apart = points - points[best]
    difference, error = apart.sum(axis=1), apart.std(axis=1) * np.sqrt(points.shape[1])
    dataset = xr.Dataset(
        {
            "log_likelihood": ("rank", -points.sum(axis=1), said("log likelihood of points that the fit has not seen")),
            "difference": ("rank", difference, said("log likelihood below the highest one")),
            "difference_error": ("rank", error, said("standard error of the difference")),
            "chi2": ("rank", [one["chi2"].item() for one in fits], said("sum of squared deviations in units of the noise")),
            "p_value": ("rank", [one["p_value"].item() for one in fits], said("probability of a larger chi2")),
            "chosen": ((), ranks[int(np.argmax(difference <= error))], said("rank")),
        },
        {"rank": ("rank", ranks, said("rank"))},
    )
    dataset.attrs = {"choose_rank": json.dumps(json.loads(fits[0].attrs["fit"]) | describe({"ranks": ranks, "share": share}))}
    return dataset
