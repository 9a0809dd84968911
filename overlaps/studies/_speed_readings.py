"""What the speeds at which a network begins to learn several tasks say about its invisible overlaps."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, number, real_array, said, warn

UNREADABLE = 1e-9  # a singular value below this fraction of the largest one counts as 0
ALONE = 1e-6  # an overlap is readable alone if no more than this part of it lies in combinations that are not readable


def invisible_from_speeds(assay: xr.Dataset, speeds: Any, noise: Any = None) -> xr.Dataset:
    """Estimate the invisible overlaps of a network from the measured speeds at which it begins to learn probes.

    The estimate is that of weighted least squares. It uses the visible overlaps and the weights of `assay`, and not its
    invisible overlaps. So the network of the assay may be any network with the same visible overlaps as the measured one.

    For neurons with nonlinear phi the weights are those of the Gaussian closure. It does not give the speed of strongly driven
    neurons. Then the estimates are biased by much more than their errors, and `chi_square` need not show it. An assay of a
    `Network` or `MeanField` shows it, because there `speed` is not `predicted_speed`; an assay of `Overlaps` does not.

    - `assay`: a result of `perturbation_assay` for one state, such as assay.sel(state="A").
    - `speeds`: the measured speeds, (probe,), positive.
    - `noise`: their standard deviations as fractions of the speeds; a number, or one for each probe. None: those of `assay`.

    Returns a Dataset with dims `combination` and `overlap`:

    - `direction(combination, overlap)`, `value(combination)`, `error(combination)`: the combinations that the speeds tell, with
      their estimates and standard errors. There are only readable ones.
    - `sigma(overlap)`, `overlap_error(overlap)`: the estimate of each invisible overlap that the speeds tell alone; NaN and
      infinity for the others. For visible overlaps, the given value, and NaN.
    - `chi_square`: the sum of the squared deviations of the speeds from the fit, by their noise, and `degrees`: the number of
      probes minus that of combinations. If the theory holds, `chi_square` has a chi-square distribution with so many degrees
      of freedom. A much larger value refutes the theory.

    Warns if `speed` and `predicted_speed` of the assay differ by more than the noise. Raises ValueError for another Dataset,
    for several states, and for speeds that are not positive or not one for each probe.
    """
    must = "be a result of studies.perturbation_assay for one state"
    if not isinstance(assay, xr.Dataset) or "perturbation_assay" not in assay.attrs:
        raise argument_error("assay", must, f"{type(assay).__name__} of another kind came")
    if assay["speed"].dims != ("probe",):
        came = f"its speeds have the dims {assay['speed'].dims}"
        raise argument_error("assay", must, came, "Select one: assay.sel(state=...).")
    probes = assay.sizes["probe"]
    measured = real_array("speeds", speeds)
    if measured.shape != (probes,) or not np.all(measured > 0):
        raise argument_error("speeds", f"be {probes} positive numbers, one for each probe", f"{speeds!r} came")
    fraction = assay["noise"].values if noise is None else noise_fraction(noise, probes)
    deviation = measured * fraction
    excess = np.abs(assay["speed"].values / assay["predicted_speed"].values - 1)
    if np.any(excess > fraction):
        warn(
            f"The weights miss the speed of the network in `assay` by up to {excess.max():.2g} of it, more than the noise: the "
            "Gaussian closure does not describe it, and the estimates are biased. Take smaller inputs."
        )
    visible, weight, sigma = (assay[name].values for name in ("visible", "weight", "sigma"))
    reading = _read(weight[:, ~visible], deviation)
    known = int(reading.readable.sum())
    rest = (measured - weight[:, visible] @ sigma[visible]) / deviation
    value = reading.response[:, :known].T @ rest / reading.singular_value[:known]
    direction = np.zeros((known, len(visible)))
    direction[:, ~visible] = reading.direction[:known]
    error = np.full(len(visible), np.nan)
    error[~visible] = reading.overlap_error
    estimate = np.where(visible, sigma, np.where(np.isfinite(error), value @ direction, np.nan))
    misfit = rest - reading.response[:, :known] @ (reading.singular_value[:known] * value)
    return xr.Dataset(
        {
            "direction": (("combination", "overlap"), direction, said("combination of invisible overlaps")),
            "value": ("combination", value, said("estimate of the combination")),
            "error": ("combination", reading.error[:known], said("standard error of the combination")),
            "sigma": ("overlap", estimate, said("estimate of the overlap")),
            "overlap_error": ("overlap", error, said("standard error of the overlap")),
            "chi_square": ((), misfit @ misfit, said("squared deviations of the speeds, by their variances")),
            "degrees": ((), probes - known, said("degrees of freedom")),
        },
        {name: assay[name] for name in ("overlap", "visible")},
    )


def noise_fraction(noise: Any, probes: int) -> Float[np.ndarray, " probe"]:
    """The noise of each probe, from one number or one for each."""
    if np.ndim(noise) == 0:
        return np.full(probes, number("noise", noise, above=0.0))
    array = real_array("noise", noise)
    if array.shape != (probes,) or not np.all(array > 0):
        raise argument_error("noise", f"be a positive number, or {probes} of them, one for each probe", f"{noise!r} came")
    return array


class _Reading(NamedTuple):
    """What the speeds tell about the invisible overlaps, from the singular value decomposition of the weights by the noise."""

    response: Float[np.ndarray, "probe combination"]
    singular_value: Float[np.ndarray, " combination"]
    direction: Float[np.ndarray, "combination invisible"]
    readable: np.ndarray
    error: Float[np.ndarray, " combination"]
    overlap_error: Float[np.ndarray, " invisible"]


def _read(weight: Float[np.ndarray, "probe invisible"], deviation: Float[np.ndarray, " probe"]) -> _Reading:
    response, sizes, direction = np.linalg.svd(weight / deviation[:, None], full_matrices=True)
    sizes = np.concatenate([sizes, np.zeros(len(direction) - len(sizes))])
    signs = np.sign(np.take_along_axis(direction, np.abs(direction).argmax(1)[:, None], 1))
    direction, response = direction * signs, response[:, : len(direction)] * signs[: len(response), 0]
    readable = sizes > UNREADABLE * sizes[0]
    sizes = np.where(readable, sizes, 0.0)
    error = np.divide(1.0, sizes, out=np.full(len(sizes), np.inf), where=readable)
    lost = np.sqrt(np.sum(direction[~readable] ** 2, axis=0))
    overlap_error = np.where(lost < ALONE, np.linalg.norm(direction[readable] * error[readable, None], axis=0), np.inf)
    return _Reading(response, sizes, direction, readable, error, overlap_error)


def readings(weight: np.ndarray, deviation: np.ndarray, sigma: np.ndarray, visible: np.ndarray) -> dict[str, Any]:
    """What the speeds tell about the invisible overlaps of each state."""
    readings = [_read(one[:, ~visible], std) for one, std in zip(weight, deviation, strict=True)]
    direction = np.zeros((len(sigma), int(np.sum(~visible)), len(visible)))
    direction[..., ~visible] = [reading.direction for reading in readings]
    overlap_error = np.full(sigma.shape, np.nan)
    overlap_error[:, ~visible] = [reading.overlap_error for reading in readings]
    sizes, error, readable = (
        np.stack([getattr(reading, name) for reading in readings]) for name in ("singular_value", "error", "readable")
    )
    dims = ("state", "combination")
    return {
        "direction": ((*dims, "overlap"), direction, said("combination of invisible overlaps")),
        "value": (dims, np.einsum("sco,so->sc", direction, sigma), said("value of the combination")),
        "singular_value": (dims, sizes, said("change of the speeds along the combination, by their noise")),
        "error": (dims, error, said("standard error of the combination from the speeds")),
        "readable": (dims, readable, said("told by the speeds")),
        "overlap_error": (("state", "overlap"), overlap_error, said("standard error of the overlap from the speeds")),
    }
