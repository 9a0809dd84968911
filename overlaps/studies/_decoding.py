"""Decode from noisy measurements of its overlaps which task a network learned first."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, number, random_key, said

RESAMPLES, COVERAGE = 2000, 0.95  # of the intervals over starts


def decode_history(
    dataset: xr.Dataset,
    noise: Sequence[float] = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0),
    draws: int = 10,
    folds: int = 5,
    key: Any = 0,
    progress: bool = False,
) -> xr.Dataset:
    """Measure how well the overlaps of a network tell which task it learned first, A or B.

    The decoder is a logistic regression, tested by cross-validation. It standardises each overlap with the mean and the
    standard deviation over the networks that it is fitted to. Its penalty is the default of scikit-learn, which has to be
    installed: pip install 'overlaps[studies]'. An overlap is the scalar product of two connectivity vectors, divided by the
    number N of neurons. Visible overlaps are those on which the function of the network depends. All other overlaps are
    invisible. Results: docs/training_history.md, "Decoding history".

    - `dataset`: the result of `train_twins`, or a Dataset with the same `sigma(twin, history, stage, overlap)` and
      `visible(overlap)`. Twins are two networks from one start, of which one learned A first and the other learned B first.
    - `noise`: standard deviations of the measurement noise. This noise is Gaussian, and independent for every overlap of every
      network.
    - `draws`: how often each noise level is measured.
    - `folds`: number of parts in the cross-validation. Both twins of a start are always in the same fold.
    - `key`: a jax.random key or an integer seed, for noise, folds and intervals.
    - `progress`: whether to show a bar.

    Returns a Dataset. If one twin of a start diverged, the start is left out.

    - `accuracy(noise, stage, features)`: the fraction of networks that are decoded correctly, each by a decoder that is fitted
      to the other folds. The decoder reads the features "visible", "invisible", "all", or one overlap alone. Chance is 0.5.
    - `advantage(noise, stage)`: the accuracy from the invisible overlaps minus the accuracy from the visible overlaps.
    - `accuracy_lower`, `accuracy_upper`, `advantage_lower`, `advantage_upper`: bounds of 95 % intervals, which are percentiles
      over 2,000 resamplings of the starts. Each start is resampled with both twins, all draws, and the decoders as they were
      fitted.
    - `separation(stage, overlap)`: d' of A against B without noise, |difference of means| / root of the mean variance.
    - `difference_mean(stage, overlap)` and `difference_std(stage, overlap)`: mean and standard deviation of the difference of
      twins, A minus B, without noise.

    The intervals cover the choice of the starts that are decoded, and the noise of their measurement. They do not cover the
    choice of the starts to fit to, of the trials, or of the learning rule. An interval of width 0 at accuracy 1 means that no
    network was decoded wrongly. Even then, up to a fraction 3 / starts of all networks may be decoded wrongly (95 %
    confidence).

    Raises ValueError for values out of range and for fewer starts than folds, and ImportError without scikit-learn.
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
    variables |= _with_interval(
        "advantage", gain, ("noise", "stage"), generator, "accuracy from invisible minus visible overlaps"
    )
    variables |= _signals(sigma)
    coordinates = {
        "noise": ("noise", levels, said("standard deviation of the measurement of an overlap")),
        "stage": dataset["stage"],
        "features": ("features", order, said("overlaps that the decoder reads")),
        "overlap": dataset["overlap"],
        "visible": ("overlap", visible, said("loss-visible")),
    }
    settings = {"noise": levels, "draws": draws, "folds": folds, "starts": twins, "left_out": int(np.sum(~used))}
    settings["key"] = np.asarray(jax.random.key_data(key)).tolist()
    twins_of = {name: value for name, value in dataset.attrs.items() if name != "version"}
    return xr.Dataset(variables, coordinates, twins_of | {"decode_history": json.dumps(settings)})


def _decoded(values: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """For each network (twin, history): whether a decoder that is fitted to the twins of other folds decodes it correctly."""
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
    """The mean of `values` over starts (the first axis), and percentiles of this mean when the starts are resampled."""
    starts = len(values)
    weights = generator.multinomial(starts, np.full(starts, 1 / starts), RESAMPLES) / starts
    tails = np.quantile(np.tensordot(weights, values, 1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    variables = {name: (dims, values.mean(axis=0), said(meaning))}
    for bound, tail in zip(("lower", "upper"), tails, strict=True):
        variables[f"{name}_{bound}"] = (dims, tail, said(f"{meaning}, {bound} end of the 95 % interval over starts"))
    return variables


def _signals(sigma: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """The differences between histories without measurement noise, from the overlaps (stage, twin, history, overlap)."""
    means, variances = sigma.mean(axis=1), sigma.var(axis=1, ddof=1)
    difference = sigma[:, :, 0] - sigma[:, :, 1]
    distance, spread = np.abs(means[:, 0] - means[:, 1]), np.sqrt(variances.mean(axis=1))
    separation = np.divide(distance, spread, out=np.zeros_like(distance), where=spread > 0)
    dims = ("stage", "overlap")
    return {
        "separation": (dims, separation, said("d' between the histories")),
        "difference_mean": (dims, difference.mean(axis=1), said("mean difference of twins")),
        "difference_std": (dims, difference.std(axis=1, ddof=1), said("standard deviation of the difference of twins")),
    }
