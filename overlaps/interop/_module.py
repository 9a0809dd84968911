"""What a PyTorch module says of itself beside its arrays, and whether the imported network agrees with it."""

import importlib
import re
import reprlib
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.dynamics import RNN

SAME = 1e-6  # numbers that differ by less are the same, perhaps in float32
ACTIVITIES = np.array([-30.0, -2.5, -1.0, -0.3, 0.0, 0.4, 1.1, 3.0, 8.0, 30.0])  # where functions are compared
TRANSFER = r"(^|_)phi|non_?lin|activation|transfer|(^|_)act(_|$)"
OUTPUT = r"(^|_)(out|output|readout|final|last)(_|$)"
KNOWN = ("linear", "erf", "tanh", "relu", "softplus")
RECURRENT = ("W", "wrec", "weight_hh", "h2h.weight", "u", "n")
UNSAID = "Pass module.state_dict() if it does not act on the output, or if you want the output before it acts."
REFUSED = {
    "noise": "Set it to 0, or pass module.state_dict(), to import the network without noise.",
    "sigma": "If it is the size of intrinsic noise, set it to 0, or pass module.state_dict(), to import the network without.",
    "mask": (
        "If the mask multiplies weights, pass a mapping of the arrays, with the product in place of the weights. "
        "If it does not act on the output, pass module.state_dict()."
    ),
}
"""Parts of names of attributes that change the output unless they are off, and how to mend it."""


def check_module(d: Any, alpha: float, rnn: RNN, keys: dict[str, str]) -> None:
    """Raise ValueError if `d` is a PyTorch module whose output is not that of the imported network, as far as it says so.

    It says so by its attributes: another alpha or transfer function, noise, a mask, or a function that acts on the output; and
    by parts without parameters. `keys`: the key of each name of the convention.
    """
    if not callable(getattr(d, "named_modules", None)):
        return
    recurrent = next(name for name in RECURRENT if name in keys)
    home = re.sub(rf"\.?{re.escape(recurrent)}(_l0)?$", "", keys[recurrent])  # the path of the part with the recurrence
    for path, part in d.named_modules(remove_duplicate=False):
        if not (list(part.children()) or part.state_dict()):
            if not _is_inert(part):
                _check_function(path, part, rnn, home, "wi" in keys)
            continue
        for name, value in (vars(part) | dict(part.named_buffers(recurse=False))).items():
            where = f"{path}.{name}".lstrip(".")
            word = next((word for word in REFUSED if word in name.lower()), None)
            if name == "alpha" and isinstance(value, int | float) and abs(value - alpha) > SAME:
                raise argument_error("alpha", f"be {value:g}, as in the module", f"{alpha:g} came")
            if word and not _is_off(value, word):
                raise argument_error("d", f"have no {word} among its attributes", _came(where, value), REFUSED[word])
            if not word and (re.search(TRANSFER, name) or (re.search(OUTPUT, name) and callable(value))):
                _check_function(where, value, rnn, home, "wi" in keys)


def _check_function(where: str, value: Any, rnn: RNN, home: str, published: bool) -> None:
    """Raise ValueError for a function of the recurrence that is not phi, and for one that acts on the output.

    `published`: the forward pass is the published one of wi and wo, which reads the output from `output_non_linearity`(h).
    """
    if not (callable(value) or isinstance(value, str)):
        return
    path, _, name = where.rpartition(".")
    values, part = _values(value), callable(getattr(value, "parameters", None))
    if path == home and re.search(TRANSFER, name) and not re.search(OUTPUT, name):
        _check_phi(where, value, values, rnn)
    elif published and path == home and name == "output_non_linearity":
        if not _same(values, np.asarray(rnn.rate(ACTIVITIES))):
            raise argument_error("d", "read its output from phi(h)", _came(where, value), UNSAID)
    elif part or not _same(values, ACTIVITIES):
        mend = f"Call module.eval() to leave dropout out. {UNSAID}" if _is_dropout(value) else UNSAID
        raise argument_error("d", "have nothing that acts on the output of its readout", _came(where, value), mend)


def _check_phi(where: str, value: Any, values: Any, rnn: RNN) -> None:
    """Raise ValueError unless phi has these values. A name that the library does not know may stand for the user's function."""
    if _same(values, np.asarray(rnn.rate(ACTIVITIES))) or (values is None and isinstance(value, str) and callable(rnn.phi)):
        return
    known = next((name for name in KNOWN if _same(values, np.asarray(RNN(name).rate(ACTIVITIES)))), None)
    if known or isinstance(value, str):
        raise argument_error("phi", f"be {known or value!r}, as in the module", f"{rnn.phi!r} came")
    mend = "Pass the same function, made of jax.numpy, or module.state_dict() if it is no transfer function."
    raise argument_error("phi", f"be the function `{where}` of the module", f"{rnn.phi!r} came", mend)


def _values(function: Any) -> np.ndarray | None:
    """What a function of PyTorch, or of this name, makes of the activities; None if it cannot be told."""
    if isinstance(function, str):
        name = {"": "linear", "none": "linear", "identity": "linear"}.get(function.lower(), function.lower())
        return np.asarray(RNN(name).rate(ACTIVITIES)) if name in KNOWN else None
    try:
        torch: Any = importlib.import_module("torch")
        return np.asarray(torch.as_tensor(function(torch.tensor(ACTIVITIES))).detach())
    except Exception:  # whatever a function raises that is none of single activities
        return None


def _same(values: Any, expected: np.ndarray) -> bool:
    return values is not None and values.shape == expected.shape and bool(np.all(np.abs(values - expected) < SAME))


def _is_off(value: Any, word: str) -> bool:
    """Whether an attribute for noise or a mask leaves the output as it is: no noise, or a mask of ones."""
    if value is None or isinstance(value, str):
        return value in (None, "", "none")
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        return bool(np.all(array == 1) if word == "mask" and array.ndim else not np.any(array))
    except (TypeError, ValueError):
        return False


def _is_inert(part: Any) -> bool:
    """Whether a part without parameters does not act on the output: the identity, a loss, a container, an idle dropout."""
    kind = type(part)
    if _is_dropout(part):
        return not (part.p and part.training)
    return kind.__name__ == "Identity" or kind.__module__ in ("torch.nn.modules.loss", "torch.nn.modules.container")


def _is_dropout(part: Any) -> bool:
    return type(part).__module__ == "torch.nn.modules.dropout"


def _came(where: str, value: Any) -> str:
    """How errors show an attribute or a part."""
    if callable(getattr(value, "parameters", None)):
        return f"its part `{where}` is {type(value).__name__}"
    return f"`{where}` is {getattr(value, '__name__', None) or reprlib.repr(value)}"
