"""Starting a sweep again: what the store holds has to be the same sweep, or the beginning of one with more points."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.learning import VERSION, difference
from overlaps.sweeps._points import Points
from overlaps.sweeps._runs import built
from overlaps.sweeps._store import DESCRIPTION, Store, to_do

BUILT_AGAIN = 100  # blocks, at most, of which `build` has to make the same point as before
MEND = "Choose another path for another sweep."


def check_settings(store: Store, known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ValueError if the store holds a sweep with other settings, and name the first that differs."""
    for name, here in {**settings, "version": VERSION}.items():
        there = known.get(name)
        if json.loads(json.dumps(here)) != there:
            came = f"{store.path!r} holds one that differs in `{name}`: it is {there} there and {here} here"
            raise argument_error("store", "be a new path, or hold this sweep", came, MEND)


def check_points(store: Store, known: Mapping[str, Any], points: Points) -> bool:
    """Whether there are more points than in the store. Raises ValueError if those in the store are not the first ones."""
    if list(known["dims"]) != list(points.dims):
        came = f"{store.path!r} has the dimensions {', '.join(known['dims'])} and here they are {', '.join(points.dims)}"
        raise argument_error("over", "have the dimensions of the store, in their order", came, MEND)
    before = store.points(known)
    for name, there in before.items():
        here = points.values[name]
        which = f"{store.path!r} holds other points: `{name}`"
        must, mend = "hold the points in the store, and more of them only at the ends of dimensions", MEND
        if there.dtype.kind != here.dtype.kind:
            raise argument_error("over", must, f"{which} has the type {there.dtype} there and {here.dtype} here", mend)
        if len(here) < len(there):
            raise argument_error("over", must, f"{which} has {len(there)} values there and {len(here)} here", mend)
        other = np.flatnonzero(here[: len(there)] != there)
        if other.size:
            first = other[0]
            came = f"{which} is {there[first].item()!r} there and {here[first].item()!r} here at place {first}"
            raise argument_error("over", must, came, mend)
    return tuple(known["sizes"]) != points.sizes


def check_build(store: Store, known: Mapping[str, Any], build: Callable[..., Any], points: Points) -> None:
    """Raise ValueError if `build` makes something else than before at the point of a block that it described.

    The message says what differs.
    """
    texts = store.read(DESCRIPTION, ...)
    places = np.argwhere((texts != "") & ~to_do(store.read("status", ...)))
    for index in np.unique(np.linspace(0, len(places) - 1, min(BUILT_AGAIN, len(places))).astype(int)):
        place = tuple(places[index].tolist())
        point = points.at(place)
        made = built(build, point)
        if isinstance(made, str):
            differs = f"it raises an error now, {made.rstrip('.')}"
        else:
            before, now = json.loads(str(texts[place])), json.loads(made.description())
            name, there, here = difference("", before, now)
            differs = "" if before == now else f"`{name.lstrip('.')}` is {there} there and {here} here"
        if differs:
            came = f"{store.path!r} holds points that it made in another way: at {point}, {differs}"
            raise argument_error("build", "make the networks in the store", came, MEND)
