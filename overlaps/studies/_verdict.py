"""What `validate` found, in words."""

import numpy as np
import xarray as xr

ROUNDING = 1e-10  # networks agree with the theory to rounding if no deviation exceeds this
RESOLVED = 3.0  # a bias counts as resolved if it is at least this many times the error of the mean field
FAR = 30  # a crossover beyond this many times the largest size is an extrapolation


def verdict(dataset: xr.Dataset) -> str:
    """Two sentences on the networks of `validate` at the end of training, and a third one if networks diverged."""
    sentences = [_approach(dataset), _bias(dataset)]
    lost = int(np.isnan(dataset["loss"].isel(time=-1)).sum())
    if lost:
        sentences.append(f"{lost} of {dataset['loss'].isel(time=-1).size} networks diverged and are left out.")
    return " ".join(sentences)


def _approach(dataset: xr.Dataset) -> str:
    end = dataset.isel(time=-1).sel(reference="mean_field")
    worst = float(dataset["deviation"].max())
    if worst < ROUNDING:
        return f"Networks of every size agree with the theory to rounding, {worst:.0e} in the overlaps."
    slope, low, high = (float(end[name]) for name in ("exponent", "exponent_low", "exponent_high"))
    if not np.isfinite(slope):
        return "Too few networks reached the end of training to see how the deviation depends on the size."
    interval = f"N^{slope:.2f} (95 % interval {low:.2f} to {high:.2f})"
    if not high < 0:
        return (
            f"The data do not resolve that networks approach the infinite limit (the fit is {interval}): "
            "use more seeds or a wider range of sizes."
        )
    largest = int(dataset["size"][-1])
    deviation = float(np.exp(np.log(end["deviation"].sel(size=largest)).mean()))
    return (
        f"Networks approach the infinite limit as {interval}, "
        f"and the overlaps of networks of {largest:,} neurons are off by {deviation:.2g}."
    )


def _bias(dataset: xr.Dataset) -> str:
    end = dataset.isel(time=-1)
    bias, error = float(end["bias"]), float(end["mean_field_change"])
    if bias < ROUNDING:
        return "The overlap theory has no bias here: it agrees with the infinite limit to rounding."
    if bias < RESOLVED * error:
        return (
            f"No bias of the Gaussian closure is resolved: it is below {RESOLVED * error:.1g}, "
            "the accuracy to which the infinite limit is known."
        )
    crossover = float(end["crossover"])
    if not np.isfinite(crossover):
        where = "which no size reduces."
    elif crossover > FAR * float(dataset["size"][-1]):
        where = "which no size reduces, but up to sizes far beyond those tried the finite-size error is larger."
    else:
        where = f"which no size reduces: beyond about {float(f'{crossover:.1e}'):,.0f} neurons it is the larger error."
    return f"The Gaussian closure is off by {bias:.2g} +- {error:.1g}, {where}"
