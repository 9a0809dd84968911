"""Which overlaps an experiment on learning reveals: Fisher information, null directions and twins."""

import dataclasses
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, in_float64, said
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.inference._coordinates import families, symmetries, tangent, twins
from overlaps.inference._experiment import Experiment
from overlaps.inference._spectrum import UNEXPLAINED, Spectrum, spectrum
from overlaps.learning import GradientFlow, describe

ROUNDING = 1e-12  # a direction counts as null if the curves move along it by less than this fraction of the largest movement
OF_TOLERANCE = 0.1  # or by less than this times the relative tolerance of the solver of a gradient flow
TWINS = 1e-9  # curves are equal if their distance is at most this fraction of their size, or the tolerance of the solver


def identifiability(
    state: Overlaps,
    protocol: Any,
    rnn: RNN,
    observe: str = "impulse_response",
    noise: Any = 1e-3,
    saves: Any = 41,
    times: Any = None,
    key: Any = None,
) -> xr.Dataset:
    """What the curves of an experiment on learning tell about each overlap, and what they can never tell.

    An overlap is the scalar product of two connectivity vectors, divided by the number of neurons. The curves are what is
    observed while the network learns. Their Fisher information about the overlaps at the start gives the standard errors of
    the best unbiased estimate. A direction of overlap space is *null* if the curves do not change along it. *Twins* are
    networks with other overlaps and the same curves (docs/identifiability.md).

    - `state`: the `Overlaps` at the start, not a batch.
    - `protocol`: a `Phase(name, task, rule)`, or a list of them.
    - `rnn`: an `RNN`.
    - `observe`: "impulse_response" (of a linear network), "output" (on the trials of the tasks) or "loss".
    - `noise`: the standard deviation of independent Gaussian noise on each observed number, or a noise model.
    - `saves`, `times`, `key`: as in `overlaps.trajectory`. Descent with noise from `key` is taken to have known noise.

    Returns a Dataset with the dims `direction`, `overlap`, `symmetry`, `twin`, `vector` and `vector_`. Directions are
    orthonormal in the distinct overlaps. The curves show the first ones best, and the null directions are the last ones.

    - `singular_value(direction)`: the change of the curves, in units of their noise, per unit step along the direction.
    - `component(direction, overlap)`: the components of the directions.
    - `null(direction)`, and `why(direction)`: the known symmetry that makes the direction null, or "unexplained" if none does;
      "" for directions that are not null.
    - `share(direction, symmetry)`: the squared length of the projection on each known family: "rotation of latents" (u and v
      turn together), "J" (gradient flow does not feel it), "scaling of latents" (the function does not change), "rotation of
      channels".
    - `null_directions(explanation)`: how many null directions there are, by explanation.
    - `standard_error(overlap)`: the standard error of each overlap; infinite if a null direction changes the overlap.
    - `free_error(overlap)`: that of the part of the overlap at right angles to all null directions, which is finite.
    - `seen(overlap)`: whether the protocol sees the overlap, so that its standard error is finite. The coordinate `visible`
      says whether the function of the network depends on it now.
    - `twin_gram(twin, vector, vector_)`: overlap matrices with the same curves that no null direction leads to, and
      `twin_difference(twin)`: the distance of their curves, relative to the size of the curves. A combination of twins is a
      twin, too.

    If the overlap matrix is singular, its overlaps can only move such that the rank stays: otherwise one of the two signs of a
    step leaves the positive semi-definite matrices. All directions are then tangent to the matrices of this rank. The attribute
    `rank` is the rank.

    Raises ValueError for anything but a single `Overlaps` without readout bias, for a network that diverges, and for arguments
    that do not fit.
    """
    _require_overlaps(state)
    experiment = Experiment.checked(protocol, rnn, observe, noise, saves, times, key)
    layout, gram = state.layout, np.asarray(state.gram)
    jacobian = _jacobian(experiment, state)
    if not np.all(np.isfinite(jacobian)):
        came = "the network diverges in it"
        raise argument_error("protocol", "be one in which the network learns", came, "Lower the learning rate.")
    rules = [phase.rule for phase in experiment.phases]
    rtol = max([rule.rtol for rule in rules if isinstance(rule, GradientFlow)], default=0.0)
    tolerance = max(ROUNDING, OF_TOLERANCE * rtol)
    basis, seen = tangent(gram, layout), rnn.visible(layout)
    rates = [np.asarray(state.rates(dict(rule.rates or {})), float) for rule in rules]
    known = families(symmetries(gram, layout, seen, rates), basis)
    found = spectrum(jacobian, known, basis, tolerance)
    alike = _alike(experiment, state, max(TWINS, rtol))
    dataset = _dataset(found, alike, state, list(known), seen)
    arguments = {"state": state, "protocol": experiment.phases, "rnn": rnn, "observe": observe, "noise": experiment.noise}
    arguments |= {"saves": saves, "times": times, "key": experiment.key}
    rank = int(np.linalg.matrix_rank(gram, tol=1e-9 * np.linalg.norm(gram, 2), hermitian=True))
    dataset.attrs = {"identifiability": json.dumps(describe(arguments)), "rank": rank, "tolerance": tolerance}
    return dataset


def _require_overlaps(state: Any) -> None:
    must = "be a single Overlaps, without readout bias"
    if not isinstance(state, Overlaps):
        mend = "Take `state.overlaps()`, if the network learns as its overlaps do."
        raise argument_error("state", must, f"{type(state).__name__} came", mend)
    if state.gram.ndim > 2 or state.c is not None:
        raise argument_error("state", must, f"a batch of {len(state.gram)} came" if state.gram.ndim > 2 else "it has one, c")


@dataclasses.dataclass(frozen=True)
class _Settings:
    """An experiment whose tasks, noise and key are given later. Two are equal if the rest of their descriptions is equal."""

    experiment: Experiment = dataclasses.field(compare=False)
    description: str

    @classmethod
    def of(cls, experiment: Experiment) -> "_Settings":
        phases = [(phase.name, phase.rule) for phase in experiment.phases]
        rest = [*phases, experiment.rnn, experiment.observe, experiment.saves, experiment.times]
        return cls(experiment, json.dumps(describe(rest)))

    def experiment_with(self, tasks: list[Any], noise: Any, key: Any) -> Experiment:
        phases = [dataclasses.replace(one, task=task) for one, task in zip(self.experiment.phases, tasks, strict=True)]
        return dataclasses.replace(self.experiment, phases=phases, noise=noise, key=key)


@in_float64
def _jacobian(experiment: Experiment, state: Overlaps) -> Float[np.ndarray, "numbers overlaps"]:
    """The derivatives of what is observed, in units of its noise, with respect to the overlaps."""
    tasks = [phase.task for phase in experiment.phases]
    return np.asarray(_compiled_jacobian(state, tasks, experiment.noise, experiment.key, _Settings.of(experiment)))


@eqx.filter_jit
def _compiled_jacobian(state: Overlaps, tasks: list[Any], noise: Any, key: Any, settings: _Settings) -> AnyArray:
    experiment, layout = settings.experiment_with(tasks, noise, key), state.layout

    def curves(overlaps: AnyArray) -> AnyArray:
        return experiment.whitened(eqx.tree_at(lambda one: one.gram, state, layout.matrix(overlaps)))

    return jax.jacfwd(curves)(layout.listed(jnp.asarray(state.gram)))


@in_float64
def _alike(experiment: Experiment, state: Overlaps, tolerance: float) -> dict[str, tuple[np.ndarray, float]]:
    """The twins of a network in an experiment, and the distance of their curves, relative to the size of the curves."""
    layout = state.layout
    curves = np.asarray(experiment.expected(state))
    found = {}
    for name, gram in twins(np.asarray(state.gram), layout).items():
        others = np.asarray(experiment.expected(Overlaps(gram, *layout)))
        difference = float(np.linalg.norm(others - curves) / np.linalg.norm(curves))
        if difference <= tolerance:
            found[name] = (gram, difference)
    return found


def _dataset(
    found: Spectrum, alike: dict[str, tuple[np.ndarray, float]], state: Overlaps, names: list[str], visible: tuple[bool, ...]
) -> xr.Dataset:
    layout, size = state.layout, state.layout.size
    explanations = [*names, UNEXPLAINED]
    counts = [found.why.count(name) for name in explanations]
    grams = np.array([gram for gram, _ in alike.values()]).reshape(-1, size, size)
    per_noise = "noise / overlap"
    return xr.Dataset(
        {
            "singular_value": ("direction", found.sizes, said("change of the curves per step along the direction", per_noise)),
            "component": (("direction", "overlap"), found.directions, said("component of the direction")),
            "null": ("direction", found.null, said("whether the curves do not change along the direction")),
            "why": ("direction", np.array(found.why), said("symmetry that makes the direction null")),
            "share": (
                ("direction", "symmetry"),
                found.share,
                said("part of the direction within a family of known directions"),
            ),
            "null_directions": ("explanation", counts, said("number of null directions")),
            "standard_error": ("overlap", found.errors, said("standard error of the overlap")),
            "free_error": ("overlap", found.free_errors, said("standard error of the part without null directions")),
            "seen": ("overlap", np.isfinite(found.errors), said("whether the protocol sees the overlap")),
            "twin_gram": (("twin", "vector", "vector_"), grams, said("overlap matrix of the twin, a.b / N")),
            "twin_difference": (
                "twin",
                [far for _, far in alike.values()],
                said("relative distance of the curves of the twin"),
            ),
        },
        {
            "overlap": ("overlap", [pair.label for pair in layout.pairs], said("overlap")),
            "left": ("overlap", [pair.left for pair in layout.pairs], said("first vector")),
            "right": ("overlap", [pair.right for pair in layout.pairs], said("second vector")),
            "visible": ("overlap", list(visible), said("loss-visible")),
            "value": ("overlap", layout.listed(np.asarray(state.gram)), said("overlap a.b / N")),
            "symmetry": ("symmetry", names, said("family of known directions")),
            "explanation": ("explanation", explanations, said("why a direction is null")),
            "twin": ("twin", np.array(list(alike), dtype=str), said("name of the twin")),
            "vector": ("vector", list(layout.labels), said("connectivity vector")),
            "vector_": ("vector_", list(layout.labels), said("connectivity vector")),
        },
    )
