"""How figures look: one style, and one colour for each overlap in all figures."""

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from overlaps._support import argument_error

# Paul Tol's scheme "muted" (Colour Schemes, SRON/EPS/TN/09-002, 2021), and black. Visible overlaps come first.
FAMILIES = {
    "zm": "#88CCEE",
    "zu": "#AA4499",
    "vm": "#999933",
    "vu": "#CC6677",
    "mu": "#117733",
    "zv": "#882255",
    "mm": "#DDCC77",
    "uu": "#332288",
    "vv": "#44AA99",
    "zz": "#000000",
}
KINDS = {"visible": "#0072B2", "invisible": "#D55E00"}  # where a figure tells these two kinds of overlaps apart
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")  # of the first, second, ... overlap with the same letters
CONSTANT: dict[str, Any] = {  # dashes of the overlaps of a bias b and of an initial activity h
    "b": (0, (6, 1, 1, 1, 1, 1)),
    "h": (0, (3, 1, 1, 1)),
    "bb": "--",
    "bh": ":",
    "hh": "-.",
}
SHADES = (0.0, 0.25, 0.4, 0.5)  # how far the colour of these overlaps goes towards white, or towards black if it is pale
PALE = 0.5  # colours with a larger mean of red, green and blue go towards black
NAME = re.compile(r"([mbhuvz])(\d*) ?([mbhuvz])(\d*)")


def style() -> AbstractContextManager[None]:
    """The style of the library for matplotlib figures, as a context manager.

    Letters have 8 pt without serifs, fonts are embedded in PDF files, and the colour cycle is that of Okabe and Ito, which
    colour-blind readers can tell apart. New figures have the width of a column in print (3.4 inch). Figures with several panels
    that the library makes have the width of a page (7 inch).

    ```python
    with ov.plots.style():
        ov.plots.plot_learning(dataset).figure.savefig("loss.pdf")
    ```

    The style file is `overlaps/plots/overlaps.mplstyle`. Without `style()` the figures use your own settings of matplotlib.
    """
    import matplotlib.style

    return matplotlib.style.context(Path(__file__).with_name("overlaps.mplstyle"))


def overlap_colour(name: str) -> str:
    """The colour of an overlap in all figures, such as "#CC6677" for "vu".

    - `name`: the label of the overlap, such as "zu", "uz", "v1u2" or "z1 u2". The order of the two vectors does not matter.

    The ten families of overlaps (vu, uu, ...) have ten colours that colour-blind readers can tell apart: those of Paul Tol's
    scheme "muted", and black. Overlaps of one family, such as v1u1 and v1u2, have shades of its colour. The constant vectors b
    (bias) and h (initial activity) have the shades of an input vector m. `overlap_style` adds a line style, which tells
    overlaps of one family apart more clearly. Raises ValueError for another name.
    """
    from matplotlib.colors import to_hex, to_rgb

    family, place, constants = _parts(name)
    colour = np.array(to_rgb(FAMILIES[family]))
    end = 0.0 if colour.mean() > PALE else 1.0
    shade = SHADES[(place - bool(constants)) % len(SHADES)]
    red, green, blue = colour + shade * (end - colour)
    return to_hex((red, green, blue)).upper()


def overlap_style(name: str) -> dict[str, Any]:
    """The colour and the line style of an overlap in all figures, as arguments `color` and `linestyle` of matplotlib.

    - `name`: as in `overlap_colour`.

    Lines are solid at rank 1. Of several overlaps of one family, the first is solid, the next ones dashed, dotted and
    dash-dotted. Overlaps of the constant vectors b and h have dashes of their own. Raises ValueError for another name.
    """
    _, place, constants = _parts(name)
    dashes = CONSTANT[constants] if constants else DASHES[place % len(DASHES)]
    return {"color": overlap_colour(name), "linestyle": dashes}


def _parts(name: str) -> tuple[str, int, str]:
    """The family of an overlap, its place among the overlaps of this family, and which of the letters b and h it has."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise argument_error("name", 'be the label of an overlap, such as "vu" or "z1u2"', f"{name!r} came")
    ends = [(found[1], int(found[2] or 1)), (found[3], int(found[4] or 1))]
    constants = "".join(sorted(letter for letter, _ in ends if letter in "bh"))
    letters = ["m" if letter in "bh" else letter for letter, _ in ends]
    if (family := letters[0] + letters[1]) not in FAMILIES:
        family, ends = family[::-1], ends[::-1]
    numbers = sorted(index for _, index in ends) if family[0] == family[1] else [index for _, index in ends]
    row, column = (index - 1 for index in numbers)
    largest = max(row, column)
    # (1, 1) is first, then come (1, 2), (2, 1), (2, 2), then those with a 3: the place does not depend on the rank.
    return family, largest**2 + (largest + column if row == largest else row), constants
