"""What gradient flow conserves, and how overlaps couple when they learn: the consequences of symmetry."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, said
from overlaps.connectivity import DenseNetwork, Layout, Network, State, square_root
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
    layout = state.layout
    scale = np.asarray(layout.columns(rates or {}))
    linear = rnn.phi == "linear"
    if isinstance(state, DenseNetwork):
        return {"K": _dense_charge(state, scale)} if linear and np.all(scale > 0) else {}
    charges = _charges(np.asarray(state.overlaps().gram), layout, scale, linear)
    if linear and isinstance(state, Network) and np.all(scale > 0):
        signed = np.asarray(state.vectors) * np.where(_signs(layout) > 0, -1.0, 1.0) / scale
        charges["K"] = signed @ np.swapaxes(np.asarray(state.vectors), -1, -2) / state.n
    return charges


def _dense_charge(network: DenseNetwork, rates: np.ndarray) -> np.ndarray:
    W, m, z = (np.asarray(block) for block in (network.W, network.m, network.z))
    W_T, m_T, z_T = (np.swapaxes(block, -1, -2) for block in (W, m, z))
    weights, inputs, outputs = network.layout.split(rates)
    vectors = (m / inputs) @ m_T - (z / outputs) @ z_T
    return (W @ W_T - W_T @ W) / weights[0] + vectors / network.n


def _along(dataset: xr.Dataset, rates: dict[str, float] | None) -> xr.Dataset:
    if "sigma" not in dataset:
        mend = "Pass final_state(dataset) and initial_state(dataset)."
        raise argument_error("state", "be a network, or the Dataset of one with overlaps", "its whole W learned", mend)
    layout = layout_of(dataset)
    scale = _rates_of(dataset, layout) if rates is None else layout.columns(rates)
    linear = description(dataset, "rnn")["phi"] == "linear"
    charges = _charges(grams(dataset), layout, np.asarray(scale), linear)
    lead = dataset["loss"].dims
    dims = {"spectrum": ("mode",), "balance": (), "gauge": ("latent", "latent_")}
    names = {
        "spectrum": "eigenvalues of J M^-1 G",
        "balance": "m.m / r_m - z.z / r_z over N",
        "gauge": "u^T u / r_u - v^T v / r_v over N",
    }
    variables = {name: ((*lead, *dims[name]), values, said(names[name])) for name, values in charges.items()}
    times = {name: values for name, values in dataset.coords.items() if set(values.dims) <= set(lead)}
    return xr.Dataset(variables, times, {"description": "charges of gradient flow"})


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


def _charges(gram: np.ndarray, layout: Layout, rates: np.ndarray, linear: bool) -> dict[str, np.ndarray]:
    """The charges of overlap matrices (..., D, D); for nonlinear phi those of the gauge alone."""
    m, u, v, z = (np.arange(layout.size)[part] for part in layout.slices.values())
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = gram / np.sqrt(np.outer(rates, rates))
    gauge = weighted[..., u[:, None], u] - weighted[..., v[:, None], v]
    products = rates[u] * rates[v]
    gauge = np.where(np.isclose(products[:, None], products, rtol=1e-12, atol=0.0) & (products > 0), gauge, np.nan)
    charges = {"gauge": gauge}
    if not linear:
        return charges
    if np.all(rates[[*m, *z]] > 0):
        diagonal = np.diagonal(weighted, axis1=-2, axis2=-1)
        charges["balance"] = diagonal[..., m].sum(-1) - diagonal[..., z].sum(-1)
    if np.all(rates > 0):
        # J M^-1 G has the eigenvalues of F' J F'^T, which is symmetric, for a factor F' of the weighted matrix.
        known = np.all(np.isfinite(weighted), axis=(-2, -1))
        factor = square_root(np.where(known[..., None, None], weighted, 0.0))
        spectrum = np.linalg.eigvalsh((factor * _signs(layout)) @ factor)
        charges["spectrum"] = np.where(known[..., None], spectrum, np.nan)
    return charges


def _signs(layout: Layout) -> np.ndarray:
    """+1 on m and u, -1 on v and z."""
    return np.repeat([1.0, -1.0], [layout.inputs + layout.rank, layout.rank + layout.outputs])


def metric(state: State, rnn: RNN, rates: Mapping[str, float] | None = None) -> xr.DataArray:
    """The matrix Gbar of the flow in overlap coordinates, d sigma/ds = -Gbar dL/d sigma: which overlap moves which.

    Gbar = N D M D^T with D = d sigma / d P and M the relative `rates`; between the overlaps a.b and c.d it is
    r_a [a = c] b.d + r_a [a = d] b.c + r_b [b = c] a.d + r_b [b = d] a.c ([GB26], written there for ranks 1 and 2;
    docs/symmetries.md). A DataArray with dims `overlap` and `source` and the coordinate `visible` for each, so that
    metric(net, rnn).sel(source=...) shows what the gradient of an overlap drives; of a batch, with the leading dim `batch`.
    Raises ValueError for negative rates.
    """
    layout = state.layout
    gram = np.asarray(state.overlaps().gram)
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
