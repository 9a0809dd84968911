"""Hypotheses: the networks, or the histories that lead to them, that an experiment has to tell apart."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from overlaps._support import argument_error
from overlaps.connectivity import State
from overlaps.dynamics import RNN
from overlaps.learning import Phase, trajectory


def named(name: str, value: Any, least: int, kind: str) -> dict[str, Any]:
    """An argument that is a mapping from names to things, or a list of such pairs, as a dictionary."""
    must = f"be a mapping from at least {least} names to {kind}"
    try:
        result = dict(value)
    except (TypeError, ValueError):
        raise argument_error(name, must, f"{value!r} came") from None
    if len(result) < least or not all(isinstance(one, str) and one for one in result):
        raise argument_error(name, must, f"the names {list(result)} came")
    return result


def states_of(hypotheses: Any, rnn: RNN, key: Any) -> dict[str, State]:
    """The network of each hypothesis at the beginning of an experiment. A history is run to its end.

    Raises ValueError for anything but two or more single networks, or pairs of a network and a protocol.
    """
    result = {}
    given = named("hypotheses", hypotheses, 2, "states, or pairs (state, protocol)")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    for index, (name, one) in enumerate(given.items()):
        pair = isinstance(one, Sequence) and len(one) == 2
        state, history = one if pair else (one, None)  # pyright: ignore[reportGeneralTypeIssues]
        if not isinstance(state, State) or state.batch:
            came = f"{name!r} is a batch" if isinstance(state, State) else f"{name!r} is {state!r}"
            raise argument_error("hypotheses", "hold single networks, or pairs of a network and a protocol", came)
        if history is not None:
            phases = [history] if isinstance(history, Phase) else list(history)
            state = trajectory(state, phases, rnn, saves=2, key=jax.random.fold_in(key, index)).final
            if not np.all(np.isfinite(state.factor)):
                mend = "Lower the learning rate of its protocol."
                raise argument_error("hypotheses", "have histories that do not diverge", f"that of {name!r} does", mend)
        result[name] = state
    return result


def pairs_of(names: Sequence[Any]) -> tuple[list[tuple[int, int]], list[str]]:
    """All pairs of hypotheses, as numbers and as labels."""
    pairs = list(itertools.combinations(range(len(names)), 2))
    return pairs, [f"{names[one]} / {names[other]}" for one, other in pairs]
