"""Consequences of symmetries: the quantities that gradient flow conserves, and the metric that couples overlaps in learning."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, said
from overlaps.connectivity import Layout, State, charge_variables, gram_charges, without_spectrum
from overlaps.dynamics import RNN
from overlaps.learning._datasets import description, grams, layout_of
from overlaps.learning._rules import checked_rates


def conserved(state: State | xr.Dataset, rnn: RNN | None = None, rates: Mapping[str, float] | None = None) -> Any:
    """The charges of a network, or of a run: the quantities that gradient flow conserves (docs/symmetries.md).

    - `state`: a state such as `Overlaps` or `Network`, or a Dataset of `learn`.
    - `rnn`: the `RNN` of a state. More is conserved if its transfer function phi is linear. Not needed for a Dataset.
    - `rates`: the relative learning rates r of vectors, by letter or label, as in {"m": 0.5}; the others are 1. For a Dataset,
      None means the rates of the run.

    Returns, for a state, a dictionary of arrays. G is the matrix of overlaps, and D is the number of vectors.

    - "gauge", for every phi: the (R, R) matrix u_i.u_j / sqrt(r_ui r_uj) - v_i.v_j / sqrt(r_vi r_vj) over N. It belongs to a
      change of gauge, which mixes the latents (the activities along the columns of u). Entries are NaN where r_ui r_vi and
      r_uj r_vj differ.
    - "balance", for linear phi: the number sum m.m / r_m - sum z.z / r_z over N.
    - "spectrum", for linear phi: the D eigenvalues of J M^-1 G in ascending order. J is the diagonal matrix with +1 on m, u and
      -1 on v, z, and M is the diagonal matrix of the rates.
    - "K", for linear phi and a `Network`: the (N, N) matrix (Y M_Y^-1 Y^T - X M_X^-1 X^T) / N, with X = [m u] and Y = [v z].

    A network with a bulk J has the charges "gauge" and "balance" alone (docs/bulk.md). A `DenseNetwork` with linear phi has
    only the (N, N) matrix "K" = (W W^T - W^T W) / r_W + m m^T / (N r_m) - z z^T / (N r_z) (docs/integration.md, "What the flow
    conserves"). A frozen vector (rate 0) takes away the charges in which it takes part: the spectrum and K are absent then, the
    balance is absent if a vector of m or z is frozen, and the gauge entries of a latent whose u or v is frozen are NaN.

    Returns, for a Dataset, the charges "gauge", "balance" and "spectrum" at all times, as a Dataset with the dimensions `time`,
    `mode`, `latent` and `latent_`, and `batch` in front for a batch. They are NaN for networks that diverged.

    Raises ValueError for a Dataset of another kind or of a `DenseNetwork`, for a Dataset whose phases differ in their rates
    unless `rates` are given, for a state without an rnn, and for negative rates.
    """
    if rnn is not None and not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came", "Pass relative rates as rates={...}.")
    rates = checked_rates(rates)
    if isinstance(state, xr.Dataset):
        return _along(state, rates)
    if not isinstance(state, State):
        raise argument_error("state", "be a network, or a Dataset of `learn`", f"{type(state).__name__} came")
    if rnn is None:
        raise argument_error("rnn", "be given with a state", "None came", "What is conserved depends on phi: pass the RNN.")
    return state.charges(np.asarray(_of_vectors(state.layout, rates)), rnn.phi == "linear")


def _along(dataset: xr.Dataset, rates: dict[str, float] | None) -> xr.Dataset:
    if "sigma" not in dataset:
        mend = "Pass final_state(dataset) and initial_state(dataset)."
        came = "the Dataset has none, as that of a network whose whole W learned"
        raise argument_error("state", "be a network, or the Dataset of a network with overlaps", came, mend)
    layout = layout_of(dataset)
    scale = _rates_of(dataset, layout) if rates is None else _of_vectors(layout, rates)
    linear = description(dataset, "rnn")["phi"] == "linear"
    charges = gram_charges(grams(dataset), layout, np.asarray(scale), linear)
    charges = without_spectrum(charges) if description(dataset, "state").get("bulk") else charges
    lead = dataset["loss"].dims
    times = {name: values for name, values in dataset.coords.items() if set(values.dims) <= set(lead)}
    return xr.Dataset(charge_variables(charges, lead), times, {"description": "charges of gradient flow"})


def _rates_of(dataset: xr.Dataset, layout: Layout) -> list[float]:
    """The relative learning rates of a run, one per vector. Raises ValueError if phases have different ones."""
    rule = description(dataset, "rule")
    rules = [phase["rule"] for phase in description(dataset, "task")] if rule is None else [rule]
    first, *others = [_of_vectors(layout, rule["rates"]) for rule in rules]
    if any(other != first for other in others):
        raise argument_error(
            "rates",
            "be given for phases that differ in theirs",
            "None came",
            "Different rates conserve different charges: pass the rates of the phase that you want to see, {} if all are 1.",
        )
    return first


def _of_vectors(layout: Any, rates: Mapping[str, float] | None) -> list[float]:
    """The relative learning rates of the vectors. That of a readout bias, which is no vector, is left out."""
    return layout.columns({name: rate for name, rate in (rates or {}).items() if name != "c"})


def metric(state: State, rnn: RNN, rates: Mapping[str, float] | None = None) -> xr.DataArray:
    """The metric of gradient flow: the matrix Gbar that tells how the gradient on each overlap moves every overlap.

    The overlaps sigma follow d sigma/ds = -Gbar dL/d sigma, with the learning time s and the loss L. Here Gbar = N D M D^T,
    where D = d sigma / d P is the Jacobian of the overlaps in the vectors P, and M is the diagonal matrix of the relative rates
    r. The entry of Gbar between the overlaps a.b and c.d is r_a [a = c] b.d + r_a [a = d] b.c + r_b [b = c] a.d +
    r_b [b = d] a.c, over N, where [a = c] is 1 if a and c are the same vector, else 0 ([GB26], written there for ranks 1 and 2;
    docs/symmetries.md, "The metric").

    - `state`: a state that has overlaps, such as `Overlaps` or `Network`, or a batch.
    - `rnn`: the `RNN`, which determines the visible overlaps (those on which the loss depends).
    - `rates`: the relative learning rates of vectors, by letter or label; the others are 1.

    Returns a DataArray with the dimensions `overlap` (which moves) and `source` (on which the gradient acts), and with the
    coordinates `visible` and `source_visible`. So metric(net, rnn).sel(source="zm") shows which overlaps the gradient on zm
    drives. A batch adds the leading dimension `batch`. Raises ValueError for negative rates, for `Populations` with a nonlinear
    phi, and for a network with a bulk.
    """
    if not isinstance(state, State):
        raise argument_error("state", "be a network, or its overlaps", f"{type(state).__name__} came")
    if state.needs_mean and rnn.phi != "linear":
        came = f"{type(state).__name__} came, whose loss depends on means too"
        raise argument_error("state", "have a loss that is a function of overlaps", came, "Take `state.overlaps()`.")
    if state.has_bulk:
        raise argument_error(
            "state", "have a loss that is a function of overlaps", "it has a bulk, which the loss depends on too"
        )
    layout = state.layout
    gram = np.asarray(state.gram)
    weights = np.diag(_of_vectors(layout, checked_rates(rates)))
    rows, columns = (np.array([getattr(pair, side) for pair in layout.pairs]) for side in ("row", "column"))

    def pairs(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return one[:, None], other[None, :]

    values = sum(
        weights[pairs(one, other)] * gram[..., *pairs(rest, remaining)]
        for one, rest in ((rows, columns), (columns, rows))
        for other, remaining in ((rows, columns), (columns, rows))
    )
    labels, seen = [pair.label for pair in layout.pairs], list(rnn.visible(layout))
    return xr.DataArray(
        values,
        dims=(*("batch",) * (gram.ndim - 2), "overlap", "source"),
        coords={
            "overlap": labels,
            "source": labels,
            "visible": ("overlap", seen),
            "source_visible": ("source", seen),
        },
        name="metric",
        attrs=said("metric of the learning flow"),
    )
