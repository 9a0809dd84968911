"""Warnings that point to the line of the user's program."""

import os
import sys
import warnings
from pathlib import Path

import equinox
import jaxtyping

BETWEEN = tuple(f"{Path(file).parent}{os.sep}" for file in (Path(__file__).parent, equinox.__file__, jaxtyping.__file__))
"""Folders whose code stands between the user's line and a warning: this library and the packages that wrap its functions."""


def warn(message: str) -> None:
    """Give a RuntimeWarning that points to the line outside of the library that led to it."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith((*BETWEEN, "<@beartype")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RuntimeWarning, stacklevel=level)
