"""The named arrays of a network from another program: of a mapping, of a file, or of a PyTorch module."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overlaps._support import argument_error, as_float, real_array

KINDS = "be a mapping of names to arrays, a path to an .npz or .safetensors file, or a PyTorch module"
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
UNPICKLED = (
    "Opening such a file can run any program that is hidden in it. Turn it into an .npz file where PyTorch is installed: "
    'np.savez("net.npz", **{k: v.numpy() for k, v in torch.load("net.pt", weights_only=True).items()})'
)


def arrays_of(d: Any) -> dict[str, np.ndarray]:
    """The arrays of `d` by their names, in float64. Raises ValueError if it has none, or if one is not finite or not real."""
    if isinstance(d, str | os.PathLike):
        d = _read(Path(d))
    elif callable(getattr(d, "state_dict", None)):
        d = d.state_dict()
    if not isinstance(d, Mapping):
        raise argument_error("d", KINDS, f"{type(d).__name__} came")
    if not d:
        raise argument_error("d", "have arrays", "it is empty")
    return {str(name): _array(str(name), value) for name, value in d.items()}


def named(key: str) -> str:
    """How errors name an entry of `d`."""
    return f'd["{key}"]'


def _array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor of PyTorch
        try:
            value = value.detach().cpu().numpy()
        except TypeError as error:
            came, mend = f"NumPy cannot hold it ({error})", "Convert it with .double() first."
            raise argument_error(named(name), "be an array of real numbers", came, mend) from error
    array = as_float(real_array(named(name), value))
    if array.size == 0:
        raise argument_error(named(name), "not be empty", f"its shape is {array.shape}")
    return array


def _read(path: Path) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise argument_error("d", "be a file that holds nothing but arrays, .npz or .safetensors", f"{path} came", UNPICKLED)
    if suffix not in (".npz", ".safetensors"):
        raise argument_error("d", KINDS, f"the path {path} came")
    if not path.is_file():
        raise argument_error("d", "be a file that exists", f"{path} came")
    return _npz(path) if suffix == ".npz" else _safetensors(path)


def _npz(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        mend = "Arrays of Python objects are not opened. Save numbers."
        raise argument_error("d", "be an .npz file of arrays of numbers", f"reading {path} gave: {error}", mend) from error


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError("Files .safetensors need safetensors. Install it with: pip install 'overlaps[interop]'") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise argument_error("d", "be a .safetensors file", f"reading {path} gave: {error}") from error
