"""Which overlaps remember what a network learned before: decoding its history from noisy measurements."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, number, random_key, said

RESAMPLES, COVERAGE = 2000, 0.95


def decode_history(
    dataset: xr.Dataset,
    noise: Sequence[float] = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0),
    draws: int = 10,
    folds: int = 5,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """How well the first task of a network, A or B, is told from its overlaps: logistic regression, cross-validated.

    `dataset`: of `train_twins`, or with the same `sigma(twin, history, stage, overlap)` and `visible(overlap)`. `noise`:
    standard deviations of independent Gaussian noise on every overlap of every network, as a measurement may have; each level
    is measured `draws` times. `folds`: both twins of a start are always in one fold. Features are standardised by the networks
    that the decoder is fitted to; its penalty is the default of scikit-learn. `key`: a jax.random key or an integer seed, for
    noise, folds and intervals. Needs scikit-learn: pip install 'overlaps[studies]'.

    Returns a Dataset with `accuracy(noise, stage, features)`, the fraction of networks decoded rightly out of fold, for the
    features "visible", "invisible", "all", and every overlap alone; chance is 0.5. `advantage(noise, stage)` is the accuracy
    from the invisible overlaps less that from the visible ones. `_lower` and `_upper` bound 95 % intervals of both: percentiles
    over 2,000 resamplings of the starts, each with both twins, all draws and the decoders as fitted. They cover the choice of
    starts that are decoded, and the noise of their measurement; not the choice of starts to fit to, of trials, or of the rule.
    An interval of no width at 1 says that no network was mistaken, which leaves up to 3 / starts of them open (95 %).

    What there is to decode, without noise: `separation(stage, overlap)`, the d' of A against B, |difference of means| over the
    root of the mean variance; and of the difference of twins, A less B, `difference_mean` and `difference_std(stage, overlap)`.
    Starts of which a twin diverged are left out. Raises ValueError for values out of range and fewer starts than folds,
    ImportError without scikit-learn.
    """
    if not isinstance(dataset, xr.Dataset) or not {"sigma", "visible"} <= set(dataset.variables):
        raise argument_error("dataset", "be a result of studies.train_twins", "it has no `sigma` or no `visible`")
    levels = [number("noise", level, least=0.0) for level in np.atleast_1d(np.asarray(noise))]
    draws, folds = count("draws", draws), count("folds", folds, least=2)
    sigma = dataset["sigma"].transpose("stage", "twin", "history", "overlap").values
    used = np.isfinite(sigma).all(axis=(0, 2, 3))
    sigma = sigma[:, used]
    stages, twins, histories, overlaps = sigma.shape
    if histories != 2:
        raise argument_error("dataset", "have two histories", f"it has {histories}")
    if twins < folds:
        raise argument_error("dataset", f"have at least {folds} starts, one per fold", f"it has {twins}", "Lower `folds`.")
    visible = dataset["visible"].values.astype(bool)
    features = {"visible": visible, "invisible": ~visible, "all": np.full(overlaps, True)}
    features |= dict(zip(dataset["overlap"].values.tolist(), np.eye(overlaps, dtype=bool), strict=True))
    key = random_key("key", key)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    right = np.zeros((twins, len(levels), stages, len(features)))
    with tqdm(total=draws * right[0].size, disable=not progress, leave=False, desc="decoding") as bar:
        for _ in range(draws):
            unit, split = generator.standard_normal(sigma.shape), int(generator.integers(2**31))
            for cell in np.ndindex(right.shape[1:]):
                level, stage, chosen = cell
                measured = sigma[stage] + levels[level] * unit[stage]
                values = measured[..., list(features.values())[chosen]]
                right[(slice(None), *cell)] += _decoded(values, folds, split).mean(axis=1) / draws
                bar.update()
    variables = _with_interval("accuracy", right, ("noise", "stage", "features"), generator, "accuracy")
    order = list(features)
    gain = right[..., order.index("invisible")] - right[..., order.index("visible")]
    variables |= _with_interval("advantage", gain, ("noise", "stage"), generator, "accuracy of invisible less visible overlaps")
    variables |= _signals(sigma)
    coordinates = {
        "noise": ("noise", levels, said("standard deviation of the measurement of an overlap")),
        "stage": dataset["stage"],
        "features": ("features", order, said("overlaps that are decoded from")),
        "overlap": dataset["overlap"],
        "visible": ("overlap", visible, said("loss-visible")),
    }
    settings = {"noise": levels, "draws": draws, "folds": folds, "starts": twins, "left_out": int(np.sum(~used))}
    settings["key"] = np.asarray(jax.random.key_data(key)).tolist()
    twins_of = {name: value for name, value in dataset.attrs.items() if name != "version"}
    return xr.Dataset(variables, coordinates, twins_of | {"decode_history": json.dumps(settings)})


def _decoded(values: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Whether the history of each network (twin, history) is decoded rightly by fits to the twins of other folds."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError("Decoding needs scikit-learn. Install it with: pip install 'overlaps[studies]'") from error
    twins, histories, _ = values.shape
    twin, history = np.divmod(np.arange(twins * histories), histories)
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    decoder = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    predicted = cross_val_predict(decoder, values.reshape(len(twin), -1), history, groups=twin, cv=splitter)
    return (predicted == history).reshape(twins, histories)


def _with_interval(
    name: str, values: np.ndarray, dims: tuple[str, ...], generator: np.random.Generator, meaning: str
) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """The mean of values over the first axis, and the percentiles of the mean when starts are resampled."""
    starts = len(values)
    weights = generator.multinomial(starts, np.full(starts, 1 / starts), RESAMPLES) / starts
    tails = np.quantile(np.tensordot(weights, values, 1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    variables = {name: (dims, values.mean(axis=0), said(meaning))}
    for bound, tail in zip(("lower", "upper"), tails, strict=True):
        variables[f"{name}_{bound}"] = (dims, tail, said(f"{meaning}, {bound} end of the 95 % interval over starts"))
    return variables


def _signals(sigma: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """What tells histories apart without noise, of overlaps (stage, twin, history, overlap)."""
    means, variances = sigma.mean(axis=1), sigma.var(axis=1, ddof=1)
    difference = sigma[:, :, 0] - sigma[:, :, 1]
    distance, spread = np.abs(means[:, 0] - means[:, 1]), np.sqrt(variances.mean(axis=1))
    separation = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    dims = ("stage", "overlap")
    return {
        "separation": (dims, separation, said("d' of the histories")),
        "difference_mean": (dims, difference.mean(axis=1), said("mean difference of twins")),
        "difference_std": (dims, difference.std(axis=1, ddof=1), said("standard deviation of the difference of twins")),
    }
