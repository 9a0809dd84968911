"""From a network to the arrays of another program."""

from typing import Any

import numpy as np

from overlaps._support import argument_error, choice
from overlaps.connectivity import DenseNetwork, Network
from overlaps.dynamics import require_single
from overlaps.interop._conventions import CONVENTIONS

LINEAR = {
    "torch": ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight", "bias"),
    "input2h": ("input2h.weight", "h2h.weight", "input2h.bias", "h2h.bias", "fc.weight", "fc.bias"),
}


def to_state_dict(network: Any, convention: str = "vectors") -> dict[str, np.ndarray]:
    """The arrays of a network under the names and with the shapes and scales of a convention, as NumPy arrays.

    - `network`: a single `Network`, or a `DenseNetwork`, for the conventions without u and v. Of a `Network` with a bulk J,
      "vectors" has J as bulk, and the conventions with a whole W have W = J + u v^T / N.
    - `convention`: "vectors", "low_rank", "full_rank", "torch", "input2h" or "weights", as in `from_state_dict`.

    The forward passes are those of docs/interop.md. That of "full_rank" divides the readout by N and not the recurrence, as
    that of "weights" does. Scales si and so are 1. The arrays do not hold alpha and phi. Those of "torch" and "input2h" are
    for alpha = 1 (dt = tau), and bias_hh is zero. `from_state_dict` of the result is the network again, as a `DenseNetwork`
    if the convention has a whole W.

    Raises ValueError for states without neurons, for batches, and for what a convention has no name for: u and v of a
    `DenseNetwork`, a bulk ("low_rank"), a readout bias c ("low_rank", "full_rank"), initial activity h0 ("torch", "input2h").
    """
    require_network(network)
    choice("convention", convention, CONVENTIONS)
    names = ("m", "u", "v", "W", "z", "b", "h0", "c")
    held = {name: np.asarray(block) for name in names if (block := getattr(network, name, None)) is not None}
    if network.has_bulk:
        held["bulk"] = np.asarray(network.dense_bulk)
    if convention in ("vectors", "low_rank"):
        if not isinstance(network, Network):
            mend = "Choose 'weights' or 'full_rank', or take the low-rank part by `low_rank`."
            raise argument_error("network", f"be a Network in the convention {convention!r}", "a DenseNetwork came", mend)
        del held["W"]
        if network.has_bulk and convention == "low_rank":
            mend = "Choose 'vectors', which has it, or 'full_rank', which has the whole W."
            raise argument_error("network", "have no bulk in the convention 'low_rank'", "it has one", mend)
    elif isinstance(network, Network):
        held = {name: array for name, array in held.items() if name not in ("u", "v", "bulk")}
    if convention in ("low_rank", "full_rank"):
        held = _turned(held, convention)
    elif convention in LINEAR:
        held = _linear(held, convention, network.n)
    return {name: np.array(array, order="C") for name, array in held.items()}  # none shares its memory with the network


def require_network(network: Any) -> None:
    """Raise ValueError unless `network` is a single Network or DenseNetwork of known numbers."""
    if not isinstance(network, Network | DenseNetwork):
        mend = "Draw a network with neurons by the method sample(n, key) of an Overlaps."
        raise argument_error("network", "be a Network or a DenseNetwork", f"{type(network).__name__} came", mend)
    require_single(network)


def _turned(held: dict[str, np.ndarray], convention: str) -> dict[str, np.ndarray]:
    """Inputs in rows, readouts in columns, and a bias inside of phi, from where the initial activity counts: h0 - b."""
    _require_none(held, "c", convention)
    result = {"wi": held["m"].T, "si": np.ones(held["m"].shape[1])}
    result |= {"wrec": held["W"]} if convention == "full_rank" else {"m": held["u"], "n": held["v"]}
    result |= {"wo": held["z"], "so": np.ones(held["z"].shape[1])}
    zero = np.zeros(len(held["m"]))
    result["h0"] = held.get("h0", zero) - held.get("b", zero)
    return result | ({"b": held["b"]} if "b" in held else {})


def _linear(held: dict[str, np.ndarray], convention: str, n: int) -> dict[str, np.ndarray]:
    _require_none(held, "h0", convention)
    zero = np.zeros(n)
    values = (held["m"], held["W"], held.get("b", zero), zero, held["z"].T / n, held.get("c", np.zeros(held["z"].shape[1])))
    return dict(zip(LINEAR[convention], values, strict=True))


def _require_none(held: dict[str, np.ndarray], name: str, convention: str) -> None:
    if np.any(held.get(name, 0.0)):
        known = {"c": "a readout bias c", "h0": "initial activity h0"}[name]
        mend = "Choose the convention 'vectors' or 'weights', which have all."
        raise argument_error("network", f"have no {known} in the convention {convention!r}", "it has one", mend)
