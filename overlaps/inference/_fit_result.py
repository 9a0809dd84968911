"""The fit of one subject: the best of its starts, what the curves of this network show, and how well it describes the data."""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Bool, Float

from overlaps.connectivity import Layout, Overlaps
from overlaps.inference._bends import bends
from overlaps.inference._coordinates import DEPENDENT, families, symmetries, twins
from overlaps.inference._levenberg_marquardt import Minima
from overlaps.inference._measurements import Measurement, Model
from overlaps.inference._spectrum import Spectrum, spectrum, tolerance_of

ARRIVED = 1.0  # starts whose chi2 is above the lowest one by less than this have arrived: the data do not tell them apart
UNLIKELY = 1e-3  # p-values beyond this say that the model, or the noise, is wrong


class Result:
    """The fit of one subject: `minima` of all starts, the best of them, and what its curves show."""

    minima: Minima
    gram: Float[np.ndarray, "D D"]
    chi2: float
    shown: Spectrum
    covariance: Float[np.ndarray, "overlaps overlaps"]
    tolerance: float
    twins: dict[str, tuple[np.ndarray, float]]
    curves: list[np.ndarray]
    observed: int
    layout: Layout

    def __init__(self, model: Model, measured: list[Measurement], owner: int, minima: Minima):
        if not np.any(np.isfinite(minima.chi2)):
            raise RuntimeError("All starts diverge in this protocol. Lower its learning rate, or pass other starts.")
        self.minima = minima
        best = int(np.argmin(minima.chi2))
        size, layout = model.layout.size, model.layout
        factor = minima.parameters[best].reshape(size, size)
        self.layout = layout
        self.gram, self.chi2 = factor.T @ factor, float(minima.chi2[best])
        alike = twins(self.gram, layout)
        roots = np.array([factor, *(np.asarray(Overlaps(gram, *layout).factor) for gram in alike.values())])
        residuals, curves = model.curves(roots.reshape(len(roots), -1), owner)
        self.curves = [curve[0] for curve in curves]
        self.twins = dict(zip(alike, zip(alike.values(), np.sum(residuals[1:] ** 2, axis=1), strict=True), strict=True))
        jacobian = model.jacobians(factor.reshape(1, -1), owner)[1][0]
        self.observed = sum(int(np.sum(~np.isnan(one.data.values[owner]))) for one in measured)
        self.tolerance = tolerance_of(_rules(measured))
        jacobian = of_overlaps(jacobian, factor, layout)
        self.shown = _shown(jacobian, self.gram, layout, measured)
        bent = bends(lambda factors: model.residuals(factors, owner), layout, factor, jacobian, self.shown, self.felt)
        self.covariance = self.shown.covariance + bent.T @ bent

    @property
    def state(self) -> Overlaps:
        """The network that was found."""
        return Overlaps(self.gram, *self.layout)

    @property
    def felt(self) -> Bool[np.ndarray, " directions"]:
        """Which directions change the curves at all, although perhaps less than the data can show."""
        return self.shown.sizes > self.tolerance * self.shown.sizes[0]

    @property
    def free_errors(self) -> Float[np.ndarray, " overlaps"]:
        """The standard error of that part of each overlap that is at right angles to all null directions."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def errors(self) -> Float[np.ndarray, " overlaps"]:
        """The standard error of each overlap: infinite if a direction that the curves never show changes it.

        The network can be anywhere along a direction of larger size that the curves do not show, within a distance of tr G.
        """
        shown = self.shown
        unknown = shown.directions[shown.null & self.felt] * np.trace(self.gram)
        hidden = np.linalg.norm(shown.directions[~self.felt], axis=0) > DEPENDENT
        return np.where(hidden, np.inf, np.hypot(self.free_errors, np.linalg.norm(unknown, axis=0)))


def of_overlaps(jacobian: np.ndarray, factor: np.ndarray, layout: Layout) -> Float[np.ndarray, "numbers overlaps"]:
    """The derivative with respect to the overlaps, from that with respect to the entries of the factor."""
    size = layout.size
    moves = np.einsum("ai,bk->abik", np.eye(size), np.eye(size)).reshape(size * size, size, size)
    changes = layout.listed(moves.swapaxes(-1, -2) @ factor + factor.T @ moves)
    return jacobian @ np.linalg.pinv(changes.T)


def _rules(measured: list[Measurement]) -> list[Any]:
    return [phase.rule for one in measured for phase in one.experiment.phases]


def _shown(jacobian: np.ndarray, gram: np.ndarray, layout: Layout, measured: list[Measurement]) -> Spectrum:
    """Which directions of overlap space the curves show, with a standard error below the sum of the squared norms, tr G."""
    template = Overlaps(gram, *layout)
    rates = [np.asarray(template.rates(dict(rule.rates or {})), float) for rule in _rules(measured)]
    basis, seen = np.eye(len(layout.pairs)), measured[0].experiment.rnn.visible(layout)
    known = families(symmetries(gram, layout, seen, rates), basis)
    unknown = 1 / (np.trace(gram) * np.linalg.norm(jacobian, 2))  # the standard error is as large as the overlaps themselves
    return spectrum(jacobian, known, basis, max(tolerance_of(_rules(measured)), unknown))


def goodness(chi2: float, freedom: int) -> tuple[float, str]:
    """The probability of a larger chi2 if the model holds, and what this says."""
    p = float(scipy.stats.chi2.sf(chi2, freedom))
    ratio = f"chi2 is {chi2:.4g} for {freedom} degrees of freedom"
    if p < UNLIKELY:
        return p, f"The model does not describe the data, or the noise is larger than `noise`: {ratio}."
    if p > 1 - UNLIKELY:
        return p, f"The data are closer to the model than their noise allows, so `noise` is too large: {ratio}."
    return p, "The model describes the data."
