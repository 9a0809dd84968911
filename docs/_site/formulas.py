"""Formulas in TeX become MathML, which browsers draw by themselves: the site needs no script and no network for them."""

import re

from latex2mathml.converter import convert

# `convert` passes on, as letters, what it does not know, and the column marks of tables that it does not know.
NOT_UNDERSTOOD = re.compile(r"\\[A-Za-z]+|<m[io]>&(?:amp;)?</m[io]>")


def mathml(tex: str, block: bool) -> str:
    """The formula as an element of HTML. Raises ValueError for a command of TeX that it cannot show.

    >>> mathml("x^2", block=False).count("<msup>")
    1
    """
    written = convert(tex.replace("{aligned}", "{split}"), display="block" if block else "inline")
    wrong = NOT_UNDERSTOOD.search(written)
    if wrong:
        raise ValueError(f"The formula {tex!r} has {wrong[0]!r}, which latex2mathml does not know. Write it otherwise.")
    return written


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
