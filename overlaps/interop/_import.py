"""From the arrays of a trained network to a state and its RNN."""

from typing import Any

import numpy as np

from overlaps._support import argument_error, choice, in_float64, number
from overlaps.connectivity import DenseNetwork, Network
from overlaps.dynamics import RNN
from overlaps.interop._arrays import arrays_of
from overlaps.interop._conventions import CONVENTIONS, recognised, shaped
from overlaps.interop._module import check_module

ALPHA = 0.2
LEAKS = {
    "activity": "h <- h + alpha (-h + W phi(h) + m x + b)",
    "rates": "r <- (1 - alpha) r + alpha phi(W r + m x + b)",
    "inside": "r <- phi((1 - alpha) r + alpha (W r + m x + b))",
}
BLOCKS = {
    "wi": "m",
    "input2h.weight": "m",
    "weight_ih": "m",
    "wrec": "W",
    "h2h.weight": "W",
    "weight_hh": "W",
    "wo": "z",
    "weight": "z",
    "bias": "c",
}
"""What the names of the conventions stand for."""
BIASES = ("input2h.bias", "h2h.bias", "bias_ih", "bias_hh")
Blocks = dict[str, np.ndarray]


@in_float64
def from_state_dict(
    d: Any,
    convention: str | None = None,
    alpha: float | None = None,
    phi: Any = "tanh",
    tau: float = 1.0,
    leak: str | None = None,
    recurrent_over_n: bool | None = None,
    readout_over_n: bool | None = None,
) -> tuple[Network | DenseNetwork, RNN]:
    """A trained network of another program: its connectivity and its model, with the output of the program's forward pass.

    `d` is a mapping of names to arrays or tensors, a path to an .npz or .safetensors file, or a PyTorch module. Files that are
    pickled (.pt, .pth, .pkl) are refused, because opening them can run any program. All numbers become float64, and float32
    numbers keep their values. The convention says what the names mean:

    - "vectors": m (N, I), u and v (N, R), z (N, O), and perhaps b (N,), h0 (N,), c (O,) and the bulk J as bulk (N, N), as in
      `Network` ([GB26]).
    - "low_rank": wi (I, N), m and n (N, R), wo (N, O), and perhaps the scales si (I,) and so (O,), b (N,) and h0 (N,):
      h <- h + alpha (-h + m n^T r / N + (wi si)^T x), r = phi(h + b), y = (wo so)^T r / N.
    - "full_rank": the same with wrec (N, N) in place of m n^T / N.
    - "torch": weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 of a torch.nn.RNN, and weight and bias of a linear readout.
    - "input2h": input2h.weight, input2h.bias, h2h.weight, h2h.bias, and a linear readout, with the leak on the rates.
    - "weights": W (N, N), m (N, I), z (N, O), and perhaps b, h0 and c. Say `recurrent_over_n` and `readout_over_n`.

    The other arguments:

    - `convention`: one of these names. None: recognised from the keys, which may have prefixes such as "rnn.".
    - `alpha`: dt / tau. None: 0.2, and 1 for "torch", which has no leak.
    - `phi`: the transfer function, as in `RNN`. The files do not hold it. If a module does, it has to be the same.
    - `tau`: the time constant. The result has Euler steps of dt = alpha tau.
    - `leak`: what leaks: "activity" (as in `RNN`), "rates": r <- (1 - alpha) r + alpha phi(W r + m x + b), or "inside":
      r <- phi((1 - alpha) r + alpha (W r + m x + b)). The last one becomes a `DenseNetwork` with dt = tau. "rates" is converted
      for alpha = 1 and for linear phi, and is another model otherwise. None: that of the convention.
    - `recurrent_over_n`, `readout_over_n`: whether the forward pass divides the recurrence and the readout by N. None: as in
      the formulas above. ("torch" and "input2h" do not.)

    Returns (network, rnn). The network is a `Network` for "vectors" and "low_rank", else a `DenseNetwork`. It has a bias b,
    initial activity h0 and a readout bias c where the arrays have one that is not zero everywhere. Raises ValueError for keys
    and shapes that fit no convention, for other models, for numbers that are not finite, and where a leak has no equal here.

    A module is refused too if it has another alpha or phi, noise, a mask, or a function or a part without parameters that can
    act on its output. The library reads its attributes and parts, and not the code of its `forward`: what acts on the output
    there alone is not seen. Equations, derivations, and what is read: docs/interop.md.

    >>> import numpy as np
    >>> wi, m, n, wo = np.ones((1, 4)), np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 1))
    >>> network, rnn = from_state_dict({"wi": wi, "m": m, "n": n, "wo": wo})
    >>> network.layout.rank, rnn.dt
    (2, 0.2)
    """
    arrays = arrays_of(d)
    convention, keys = recognised(arrays, convention)
    alpha, tau = _alpha(alpha, convention), number("tau", tau, above=0.0)
    leaking = choice("leak", CONVENTIONS[convention].leak if leak is None else leak, LEAKS)
    rnn = RNN(phi, tau, tau if leaking == "inside" else alpha * tau)
    check_module(d, alpha, rnn, keys)
    blocks = _translated(convention, shaped(convention, arrays, keys))
    if leaking == "activity" and "wi" in keys and "b" in blocks:  # r = phi(h + b): the activity here is h + b
        blocks["h0"] = blocks.get("h0", 0.0) + blocks["b"]
    blocks = {name: block for name, block in blocks.items() if name not in ("b", "h0", "c") or np.any(block)}
    _divide(blocks, *_over_n(convention, recurrent_over_n, readout_over_n))
    if leaking != "activity":
        _convert_leak(blocks, leaking, alpha, rnn)
    return (Network if "u" in blocks else DenseNetwork)(**blocks), rnn


def _alpha(alpha: float | None, convention: str) -> float:
    if convention == "torch":
        if alpha is not None and alpha != 1:
            raise argument_error("alpha", "be 1 for torch.nn.RNN, which has no leak", f"{alpha!r} came", "Leave it out.")
        return 1.0
    alpha = ALPHA if alpha is None else number("alpha", alpha, above=0.0)
    if alpha > 1:
        raise argument_error("alpha", "be dt / tau, at most 1", f"{alpha:g} came", "Euler steps overshoot there.")
    return alpha


def _translated(convention: str, arrays: Blocks) -> Blocks:
    """The blocks m, u and v or W, z, b, h0, c and bulk, from the names of a convention."""
    names = BLOCKS | ({"m": "u", "n": "v"} if convention == "low_rank" else {})
    blocks = {names.get(name, name): array for name, array in arrays.items() if name not in BIASES}
    if "wi" in arrays:
        blocks["m"] = (blocks["m"] * blocks.pop("si", np.ones(1))[:, None]).T
        blocks["z"] = blocks["z"] * blocks.pop("so", np.ones(1))
    if CONVENTIONS[convention].linear_readout:
        blocks["z"] = blocks["z"].T
        biases = [arrays[name] for name in BIASES if name in arrays]
        blocks |= {"b": np.sum(biases, axis=0)} if biases else {}
    return blocks


def _over_n(convention: str, *over_n: bool | None) -> list[bool]:
    """Whether the recurrence and the readout are divided by N: what the user says, else what the convention says."""
    rule, result = CONVENTIONS[convention], []
    names = ("recurrent_over_n", "readout_over_n")
    for name, said, known in zip(names, over_n, (rule.recurrent_over_n, rule.readout_over_n), strict=True):
        value = known if said is None else said
        if not isinstance(value, bool | np.bool_):
            mend = "True: the forward pass divides by N. False: it does not."
            raise argument_error(name, f"be True or False for the convention {convention!r}", f"{said!r} came", mend)
        result.append(bool(value))
    return result


def _divide(blocks: Blocks, recurrent: bool, readout: bool) -> None:
    """Bring u v^T / N or W, and z, to the scales of `Network` and `DenseNetwork`, whose readout is divided by N."""
    n = blocks["z"].shape[0]
    if "W" in blocks:
        blocks["W"] = blocks["W"] / n if recurrent else blocks["W"]
    elif not recurrent:
        blocks["v"] = n * blocks["v"]
    if not readout:
        blocks["z"] = n * blocks["z"]


def _convert_leak(blocks: Blocks, leak: str, alpha: float, rnn: RNN) -> None:
    """Turn a network of rates r into one of activities, whose rates phi(h) are r. Raises ValueError where there is none."""
    linear = rnn.phi == "linear"
    if leak == "rates" and alpha < 1 and not linear:
        raise argument_error(
            "leak",
            "be 'activity' or 'inside' for alpha below 1 and a nonlinear phi",
            f"the leak is on the rates, with alpha = {alpha:g}",
            "That is another model: its output is a low-pass filtered readout of a network with another input "
            '(docs/interop.md, "Leak on the rates"). Say what leaks in your code: '
            + "; ".join(f"{name!r}: {formula}" for name, formula in LEAKS.items()),
        )
    if not linear and "h0" in blocks:
        mend = "Start from rates of zero, or pass the activity before the first step by leak='activity'."
        raise argument_error("d", "have no initial rates h0 where rates leak and phi is nonlinear", "it has some", mend)
    if np.any(np.asarray(rnn.rate(0.0))):
        came = f"phi(0) is {float(rnn.rate(0.0)):.3g}"
        raise argument_error("phi", "be 0 at 0, because the rates start at 0", came, "Use a phi such as tanh or relu.")
    if leak == "inside":
        low_rank = {} if "W" in blocks else {name: blocks.pop(name, None) for name in ("u", "v", "bulk")}
        W = Network(blocks["m"], z=blocks["z"], **low_rank).W if low_rank else blocks["W"]
        blocks["W"] = (1 - alpha) * np.eye(len(W)) + alpha * W
        blocks |= {name: alpha * blocks[name] for name in ("m", "b") if name in blocks}
