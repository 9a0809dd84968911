"""How a state shows itself in a notebook: its overlap matrix as a table, in which visible overlaps stand out."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from overlaps._support import is_traced

# Half-transparent, so that they fit a light and a dark notebook.
VISIBLE = ("visible", "background: rgba(31, 119, 180, 0.3); font-weight: bold")
THROUGH_GAIN = ("visible if the gain of phi depends on its variance", "background: rgba(31, 119, 180, 0.12)")
INVISIBLE = ("invisible", "")
LEGEND = f"""<div style="font-size: small; margin-top: 0.3em"><span style="{VISIBLE[1]}">&nbsp;Bold&nbsp;</span>: visible.
<span style="{THROUGH_GAIN[1]}">&nbsp;Shaded&nbsp;</span>: visible too if the gain of phi depends on the variance of the
activity, as for erf and tanh. The others are invisible.</div>"""


def state_html(state: Any, above: str = "") -> str:
    """The first line of the text of a state, and below it the table of its overlaps; `above` comes between the two.

    Which overlaps are visible follows from the `RNN`. The table marks two kinds. The overlaps of a vector that drives the
    neurons (m, b, h, u) with one that reads them (v, z) are visible for every phi whose gain is not zero. Those between two
    vectors that drive are visible in the Gaussian closure if the gain of phi depends on the variance (docs/activity.md,
    "Gains"). A state of which there is no single overlap matrix to show appears as its text.
    """
    gram = _gram(state)
    if gram is None:
        return f"<pre>{html.escape(repr(state))}</pre>"
    labels, driving = list(state.layout.labels), state.layout.driving
    rows = []
    for row, name in enumerate(labels):
        cells = [name]
        for column in range(len(labels)):
            meaning, style = (INVISIBLE, VISIBLE, THROUGH_GAIN)[(row < driving) + (column < driving)]
            cells.append(f'<td title="{_pair(state, row, column)}: {meaning}" style="{style}">{gram[row, column]:.3f}</td>')
        rows.append(cells)
    title = html.escape(repr(state).splitlines()[0])
    return f"<div><code>{title}</code></div>{above}{table(labels, rows)}{LEGEND}"


def populations_html(state: Any) -> str:
    """As `state_html`, with a table of the weights and means of the populations above that of the overlaps of all neurons."""
    if _gram(state) is None:
        return state_html(state)
    rows = [
        [str(index), *(f"<td>{value:.3f}</td>" for value in (weight, *means))]
        for index, (weight, means) in enumerate(zip(np.asarray(state.weights), np.asarray(state.means), strict=True))
    ]
    names = [f"mean of {label}" for label in state.layout.labels]
    return state_html(state, table(["weight", *names], rows))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with these names above its columns. The first entry of each row is its name, the others are cells in HTML."""
    top = "".join(f"<th>{name}</th>" for name in ("", *head))
    body = "".join(f"<tr><th>{name}</th>{''.join(cells)}</tr>" for name, *cells in rows)
    return f'<div style="overflow-x: auto"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _gram(state: Any) -> np.ndarray | None:
    if is_traced(state) or state.batch:
        return None
    try:
        return np.asarray(state.gram, float)
    except ValueError:  # a state without an overlap matrix
        return None


def _pair(state: Any, row: int, column: int) -> str:
    """The name of an overlap, with its two vectors in the order in which results name it."""
    place = {row, column}
    return next(pair.label for pair in state.layout.pairs if {pair.row, pair.column} == place)
