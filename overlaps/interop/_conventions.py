"""The conventions in which programs name, turn and scale the arrays of a network, and how a convention is recognised."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from overlaps._support import argument_error, choice
from overlaps.interop._arrays import named


class Convention(NamedTuple):
    """The names of the arrays and the letters of their axes: N neurons, I inputs, R rank, O outputs.

    `recurrent_over_n`, `readout_over_n`: whether the forward pass divides the recurrence and the readout by N. None: the user
    has to say it.
    """

    needed: dict[str, str]
    optional: dict[str, str]
    recurrent_over_n: bool | None = False
    readout_over_n: bool | None = False
    leak: str = "activity"

    @property
    def shapes(self) -> dict[str, str]:
        return {**self.needed, **self.optional}

    @property
    def linear_readout(self) -> bool:
        """Whether the readout is a `torch.nn.Linear` with any name, which is found by its shape."""
        return "weight" in self.needed

    @property
    def core(self) -> set[str]:
        """The names by which the convention is recognised."""
        return set(self.needed) - {"weight"}


VECTORS = {"b": "N", "h0": "N", "c": "O"}
SCALES = {"si": "I", "so": "O", "h0": "N", "b": "N"}
CONVENTIONS = {
    "vectors": Convention({"m": "NI", "u": "NR", "v": "NR", "z": "NO"}, VECTORS | {"bulk": "NN"}, True, True),
    "low_rank": Convention({"wi": "IN", "m": "NR", "n": "NR", "wo": "NO"}, SCALES, True, True),
    "full_rank": Convention({"wi": "IN", "wrec": "NN", "wo": "NO"}, SCALES, False, True),
    "torch": Convention(
        {"weight_ih": "NI", "weight_hh": "NN", "weight": "ON"},
        {"bias_ih": "N", "bias_hh": "N", "bias": "O"},
        leak="rates",
    ),
    "input2h": Convention(
        {"input2h.weight": "NI", "h2h.weight": "NN", "weight": "ON"},
        {"input2h.bias": "N", "h2h.bias": "N", "bias": "O"},
        leak="rates",
    ),
    "weights": Convention({"W": "NN", "m": "NI", "z": "NO"}, VECTORS, None, None),
}

REFUSED = {
    "noise": "Intrinsic noise is no part of a network here. Delete the key to import the network without noise.",
    "sigma": "If it is the size of intrinsic noise, delete the key to import the network without noise.",
    "mask": (
        "If the mask multiplies weights, pass the product in place of the weights. If it says which parameters learn, delete "
        "the key, and freeze parameters by the `rates` of a learning rule."
    ),
}
"""Parts of names that the library refuses, and how to mend it."""


def recognised(arrays: dict[str, np.ndarray], convention: str | None) -> tuple[str, dict[str, str]]:
    """The convention of these arrays, and the key of each of its names.

    Raises ValueError if the arrays fit no convention or several, if some are missing, and if one belongs to no network that
    the library knows.
    """
    _refuse_others(arrays)
    if convention is None:
        fitting = [name for name, one in CONVENTIONS.items() if one.core <= set(_keys(arrays, one))]
        if len(fitting) > 1:
            came = f"the keys {_listed(arrays)} fit several: {', '.join(fitting)}"
            raise argument_error("convention", "be given", came, "Say which one it is, and delete the other keys.")
        convention = fitting[0] if fitting else _nearest(arrays)
    else:
        choice("convention", convention, CONVENTIONS)
    rule = CONVENTIONS[convention]
    keys = _keys(arrays, rule)
    missing = rule.core - set(keys)
    if missing:
        came = f"{_listed(missing)} is missing. The keys that came are {_listed(arrays)}"
        raise argument_error("d", f"have the arrays {_listed(rule.needed)} of the convention {convention!r}", came)
    for name in keys.keys() & {name for name, axes in rule.shapes.items() if axes == "NN"}:
        shape = arrays[keys[name]].shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise argument_error(named(keys[name]), "be a square matrix of shape (neurons, neurons)", f"its shape is {shape}")
    rest = {key: array for key, array in arrays.items() if key not in keys.values()}
    if rule.linear_readout:
        neurons = arrays[keys["weight_hh" if convention == "torch" else "h2h.weight"]].shape[-1]
        keys |= _readout(rest, neurons)
        rest = {key: array for key, array in rest.items() if key not in keys.values()}
    if rest:
        mend = (
            "Pass alpha and tau as arguments, and delete keys that do not act on the output. If a key acts on it, the network "
            "is another model, which is not imported."
        )
        raise argument_error(
            "d", f"have nothing but {_listed(rule.shapes)} in the convention {convention!r}", f"{_listed(rest)} came too", mend
        )
    return convention, keys


def shaped(convention: str, arrays: dict[str, np.ndarray], keys: dict[str, str]) -> dict[str, np.ndarray]:
    """The arrays of the names, with all their axes. Raises ValueError for shapes that do not fit, or are transposed.

    `keys`: the key of each name, from `recognised`. An array with an axis of neurons alone stands for a single vector.
    """
    shapes = CONVENTIONS[convention].shapes
    arrays = {name: arrays[key] for name, key in keys.items()}
    square = [array.shape[-1] for name, array in arrays.items() if shapes[name] == "NN"]
    neurons = square[0] if square else _most_common(arrays[name].shape for name in arrays if "N" in shapes[name])
    sizes, result = {"N": neurons}, {}
    for name, array in arrays.items():
        axes = shapes[name]
        if array.ndim == 1 and len(axes) == 2 and axes != "NN" and array.shape == (neurons,):
            array = array[:, None] if axes[0] == "N" else array[None]
        expected = ", ".join(str(sizes.get(axis, axis)) for axis in axes) + ("," if len(axes) == 1 else "")
        if array.ndim == len(axes):
            for axis, size in zip(axes, array.shape, strict=True):
                sizes.setdefault(axis, size)
        if array.shape != tuple(sizes.get(axis) for axis in axes):
            turned = array.ndim == 2 and neurons in array.shape and array.shape[axes.index("N")] != neurons
            came = f"its shape is {array.shape}{': is it transposed?' if turned else ''}"
            raise argument_error(named(keys[name]), f"have shape ({expected}) for {neurons} neurons", came)
        result[name] = array
    return result


def _most_common(shapes: Iterable[tuple[int, ...]]) -> int:
    """The number of neurons: the size that most arrays have, and the largest one of those."""
    sizes = [size for shape in shapes for size in set(shape)]
    return max(sizes, key=lambda size: (sizes.count(size), size))


def _keys(arrays: dict[str, np.ndarray], rule: Convention) -> dict[str, str]:
    """The key of each name of a convention that is there, with or without a prefix such as "rnn." and a suffix "_l0"."""
    names = rule.shapes.keys() - {"weight", "bias"} if rule.linear_readout else rule.shapes.keys()
    found: dict[str, str] = {}
    for key in arrays:
        name = next((name for name in names if re.fullmatch(rf"(.*\.)?{re.escape(name)}(_l0)?", key)), None)
        if name in found:
            mend = "Pass the arrays of one network alone."
            raise argument_error("d", "be a single network", f"it has {found[name]!r} and {key!r}", mend)
        if name is not None:
            found[name] = key
    return found


def _readout(rest: dict[str, np.ndarray], neurons: int) -> dict[str, str]:
    """The keys of the linear readout: the only matrix (O, N) that is left, with any name, and the bias (O,) of that name."""
    matrices = [key for key, array in rest.items() if array.ndim == 2 and array.shape[1] == neurons]
    if len(matrices) != 1:
        shapes = ", ".join(f"{key!r} {array.shape}" for key, array in list(rest.items())[:8]) or "nothing"
        came = f"besides the recurrence there is {shapes}"
        raise argument_error("d", f"have one linear readout, of shape (outputs, {neurons})", came)
    bias = matrices[0].replace("weight", "bias")
    return {"weight": matrices[0]} | ({"bias": bias} if bias in rest and bias != matrices[0] else {})


def _refuse_others(arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError for what is no part of a network here, and for recurrent layers of another kind."""
    for key, array in arrays.items():
        for word, mend in REFUSED.items():
            if word in key.lower():
                raise argument_error("d", f"have no {word} among its keys", f"{key!r} came", mend)
        if re.search(r"(weight|bias)_(ih|hh|hr)_l([1-9]\d*|\d+_reverse)$", key) or "weight_hr" in key:
            came = f"{key!r} came, of a stack of layers, a bidirectional layer, or one with a projection"
            raise argument_error("d", "be a network of one recurrent layer", came)
        if re.search(r"(weight_hh(_l0)?|h2h\.weight)$", key) and array.ndim == 2:
            ratio = array.shape[0] / array.shape[1]
            kind = {3: "a GRU", 4: "an LSTM"}.get(ratio)
            if kind:
                raise argument_error(
                    "d", "be a network without gates", f"{key!r} has shape {array.shape}, as in {kind}, which has gates"
                )


def _nearest(arrays: dict[str, np.ndarray]) -> str:
    """The convention of which most names are there. Raises ValueError if no name of any convention is there."""
    hits = {name: len(_keys(arrays, rule)) for name, rule in CONVENTIONS.items()}
    nearest = max(hits, key=lambda name: (hits[name], -len(CONVENTIONS[name].core)))
    if not hits[nearest]:
        known = "; ".join(f"{name}: {', '.join(rule.needed)}" for name, rule in CONVENTIONS.items())
        raise argument_error("d", f"have the keys of a convention ({known})", f"its keys are {_listed(arrays)}")
    return nearest


def _listed(names: Any) -> str:
    names = sorted(names)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(repr(name) for name in names[:12]) + more
