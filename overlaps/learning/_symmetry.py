"""What gradient flow conserves, and how overlaps couple when they learn: the consequences of symmetry."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, said
from overlaps.connectivity import Layout, State, charge_variables, gram_charges
from overlaps.dynamics import RNN
from overlaps.learning._datasets import description, grams, layout_of
from overlaps.learning._rules import checked_rates


def conserved(state: State | xr.Dataset, rnn: RNN | None = None, rates: Mapping[str, float] | None = None) -> Any:
    """Quantities that gradient flow conserves, for relative `rates` per letter or vector label (docs/symmetries.md).

    For every phi: "gauge", the (R, R) matrix of u_i.u_j / sqrt(r_ui r_uj) - v_i.v_j / sqrt(r_vi r_vj) over N, NaN where r_ui
    r_vi and r_uj r_vj differ. For linear phi besides: "spectrum", the D eigenvalues of J M^-1 G with J = +1 on m, u, -1 on v, z
    and M the rates, in ascending order; "balance", the scalar sum m.m / r_m - sum z.z / r_z over N; for a `Network` also the
    (N, N) matrix "K" = (Y M_Y^-1 Y^T - X M_X^-1 X^T) / N, X = [m u], Y = [v z]. Of a `DenseNetwork` with linear phi the (N, N)
    matrix "K" = (W W^T - W^T W) / r_W + m m^T / (N r_m) - z z^T / (N r_z) alone (docs/integration.md). A frozen vector (rate 0)
    takes away the charges that it takes part in: the spectrum, K and balance are absent, gauge entries are NaN.

    Of a Dataset of `learn` the charges at all times, as a Dataset with dims `time`, `mode`, `latent` and `latent_`, after
    `batch` for a batch, NaN for networks that diverged; `rates` are those of the run unless given. Raises ValueError for a
    Dataset of another kind, one whose phases differ in their rates unless `rates` are given, a state without an rnn, and
    negative rates.
    """
    if rnn is not None and not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came", "Pass relative rates as rates={...}.")
    rates = checked_rates(rates)
    if isinstance(state, xr.Dataset):
        return _along(state, rates)
    if not isinstance(state, State):
        raise argument_error("state", "be a network, or a Dataset of `learn`", f"{type(state).__name__} came")
    if rnn is None:
        raise argument_error("rnn", "be given with a state", "None came", "What is conserved depends on the model.")
    return state.charges(np.asarray(state.layout.columns(rates or {})), rnn.phi == "linear")


def _along(dataset: xr.Dataset, rates: dict[str, float] | None) -> xr.Dataset:
    if "sigma" not in dataset:
        mend = "Pass final_state(dataset) and initial_state(dataset)."
        raise argument_error("state", "be a network, or the Dataset of one with overlaps", "its whole W learned", mend)
    layout = layout_of(dataset)
    scale = _rates_of(dataset, layout) if rates is None else layout.columns(rates)
    linear = description(dataset, "rnn")["phi"] == "linear"
    charges = gram_charges(grams(dataset), layout, np.asarray(scale), linear)
    lead = dataset["loss"].dims
    times = {name: values for name, values in dataset.coords.items() if set(values.dims) <= set(lead)}
    return xr.Dataset(charge_variables(charges, lead), times, {"description": "charges of gradient flow"})


def _rates_of(dataset: xr.Dataset, layout: Layout) -> list[float]:
    """The relative rates of a run, per vector."""
    rule = description(dataset, "rule")
    rules = [phase["rule"] for phase in description(dataset, "task")] if rule is None else [rule]
    first, *others = [layout.columns(rule["rates"] or {}) for rule in rules]
    if any(other != first for other in others):
        raise argument_error(
            "rates",
            "be given for phases that differ in theirs",
            "None came",
            "Different rates conserve different charges: pass those of the phase in question, {} for equal ones.",
        )
    return first


def metric(state: State, rnn: RNN, rates: Mapping[str, float] | None = None) -> xr.DataArray:
    """The matrix Gbar of the flow in overlap coordinates, d sigma/ds = -Gbar dL/d sigma: which overlap moves which.

    Gbar = N D M D^T with D = d sigma / d P and M the relative `rates`; between the overlaps a.b and c.d it is
    r_a [a = c] b.d + r_a [a = d] b.c + r_b [b = c] a.d + r_b [b = d] a.c ([GB26], written there for ranks 1 and 2;
    docs/symmetries.md). A DataArray with dims `overlap` and `source` and the coordinate `visible` for each, so that
    metric(net, rnn).sel(source=...) shows what the gradient of an overlap drives; of a batch, with the leading dim `batch`.
    Raises ValueError for negative rates.
    """
    layout = state.layout
    gram = np.asarray(state.gram)
    weights = np.diag(layout.columns(checked_rates(rates) or {}))
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
