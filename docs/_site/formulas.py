"""Formulas in TeX become MathML, which browsers draw by themselves: the site needs no script and no network for them.

MathML needs a font with the measures of formulas. Not every computer has one, so the site brings a part of STIX Two Math.
"""

import importlib.resources
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from latex2mathml.converter import convert

# `convert` passes on, as letters, what it does not know, and the column marks of tables that it does not know.
NOT_UNDERSTOOD = re.compile(r"\\[A-Za-z]+|<m[io]>&(?:amp;)?</m[io]>")
SPACE = "{http://www.w3.org/1998/Math/MathML}"
SUMS = ("∑",)
"""Operators whose limits stand above and below them in a formula with a line of its own."""
SIGNS, BEFORE_A_SIGN = ("\N{MINUS SIGN}", "+"), tuple("=<>≤≥([,←→")
"""After these operators a minus is a sign, and no difference."""
UPRIGHT, TRANSPOSED = tuple("ΓΔΘΛΞΠΣΦΨΩ"), "\N{DOWN TACK}"
CHARACTERS = [
    *(range(0x20, 0x7F), range(0xA0, 0x100), range(0x391, 0x3F6), range(0x2010, 0x2050), range(0x2100, 0x2140)),
    *(range(0x2190, 0x2300), range(0x239B, 0x23B0), range(0x27E6, 0x27FF), range(0x1D434, 0x1D468)),
    *(range(0x1D49C, 0x1D4CF), range(0x1D538, 0x1D551), range(0x1D6E2, 0x1D71C)),
]
"""The characters of the font that the site brings: letters, Greek, arrows, operators, brackets, and italic, script and
double-struck letters."""


def mathml(tex: str, block: bool) -> str:
    """The formula as an element of HTML. Raises ValueError for a command of TeX that it cannot show.

    >>> mathml("x^2", block=False).count("<msup>")
    1
    """
    written = convert(tex.replace("{aligned}", "{split}"), display="block" if block else "inline")
    wrong = NOT_UNDERSTOOD.search(written)
    if wrong:
        raise ValueError(f"The formula {tex!r} has {wrong[0]!r}, which latex2mathml does not know. Write it otherwise.")
    ET.register_namespace("", SPACE[1:-1])
    root = ET.fromstring(written)
    _set_as_tex_does(root, block)
    return ET.tostring(root, encoding="unicode")


def _set_as_tex_does(root: ET.Element, block: bool) -> None:
    """Spaces and limits as TeX sets them, where MathML by itself does otherwise."""
    for parent in list(root.iter()):
        before = None
        for element in parent:
            text = element.text or ""
            if element.tag == f"{SPACE}mo" and ((text.isalpha() and len(text) > 1) or text == TRANSPOSED):
                element.tag = f"{SPACE}mi"  # the name of a function, such as tr, or the sign of a transposed matrix
            if element.tag == f"{SPACE}mo" and text == "|":
                element.attrib |= {"lspace": "0", "rspace": "0"}
            elif element.tag == f"{SPACE}mo" and text in SIGNS and before is not None and (before.text or "") in BEFORE_A_SIGN:
                element.set("form", "prefix")
            elif element.tag == f"{SPACE}mi" and text in UPRIGHT:
                element.set("mathvariant", "normal")
            elif element.tag == f"{SPACE}mi" and len(text) > 1 and text.isascii() and before is not None:
                element.text = text if before.tag == f"{SPACE}mo" else f"\N{THIN SPACE}{text}"
            before = element
        if block and parent.tag in (f"{SPACE}msub", f"{SPACE}msubsup") and (parent[0].text or "") in SUMS:
            parent.tag = parent.tag.replace("msubsup", "munderover").replace("msub", "munder")


def write_font(folder: Path) -> None:
    """Write into `folder` the characters of STIX Two Math (Open Font License) that formulas need, from the package ziamath."""
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=["ssty"], name_IDs=["*"], notdef_outline=True)
    with importlib.resources.as_file(importlib.resources.files("ziamath") / "fonts/STIXTwoMath-Regular.ttf") as path:
        font = subset.load_font(path, options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=[code for part in CHARACTERS for code in part])
        subsetter.subset(font)
        folder.mkdir(parents=True, exist_ok=True)
        subset.save_font(font, folder / "STIXTwoMath.woff", options)


def setup(app) -> dict[str, bool]:
    """Make MathML the form in which Sphinx writes formulas."""
    from docutils.nodes import SkipNode  # here, so that `mathml` can be tested without Sphinx

    def inline(translator, node) -> None:
        translator.body.append(mathml(node.astext(), block=False))
        raise SkipNode

    def block(translator, node) -> None:
        translator.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>\n')
        raise SkipNode

    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
