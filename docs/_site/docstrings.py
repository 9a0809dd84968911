"""Docstrings of the library are Markdown. Sphinx reads reStructuredText: translate what the library uses of Markdown."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

CODE = re.compile(r"(`[^`]+`)")
EMPHASIS = re.compile(r"(?<![\w*])\*(?=\w)([^*]*\w)\*(?![\w*])")
FLOATS = r"~?(?:jaxtyping\.)?Float\[[~\w.]*"
EITHER = re.compile(rf"{FLOATS}ndarray, ('[^']*')\] \| {FLOATS}Array, \1\]")
PAGE = re.compile(r"docs/(\w+)\.md")


def to_rst(lines: Sequence[str], targets: Mapping[str, str], pages: Sequence[str]) -> list[str]:
    """Lines of reStructuredText for the lines of a docstring in Markdown.

    - `targets`: from names that stand in backticks to the full names of what they are.
    - `pages`: the names of the pages of the site. "docs/theory.md" becomes a link to the page `theory`.
    """
    out: list[str] = []
    text: list[str] = []

    def flush() -> None:
        if text:
            out.extend(_inline("\n".join(text), targets, pages).split("\n"))
            text.clear()

    for kind, block in _blocks(lines):
        if kind == "text":
            text.extend(block)
            continue
        flush()
        if kind == "formula":
            out += ["", ".. code-block:: text", "", *block, ""]
        else:
            out += block
    flush()
    return out


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Single lines of text, whole examples (from >>> to an empty line), and whole formulas (indented after an empty line)."""
    at, in_list = 0, False
    while at < len(lines):
        line, start = lines[at], at
        if line.startswith(">>>"):
            kind = "example"
            while at < len(lines) and lines[at].strip():
                at += 1
        elif line.startswith("    ") and not in_list and (at == 0 or not lines[at - 1].strip()):
            kind = "formula"
            while at < len(lines) and lines[at].startswith("    "):
                at += 1
        else:
            kind = "text"
            in_list = line.startswith("- ") or (in_list and (not line.strip() or line.startswith(" ")))
            at += 1
        yield kind, list(lines[start:at])


def _inline(text: str, targets: Mapping[str, str], pages: Sequence[str]) -> str:
    parts = CODE.split(text)
    return "".join(_code(part[1:-1], targets) if index % 2 else _prose(part, pages) for index, part in enumerate(parts))


def _code(code: str, targets: Mapping[str, str]) -> str:
    code = " ".join(code.split())
    return f":py:obj:`{code} <{targets[code]}>`" if code in targets else f"``{code}``"


def _prose(text: str, pages: Sequence[str]) -> str:
    """Escape what is markup in reStructuredText but not in Markdown, such as the bars of |x| and the star of f*(t)."""
    kept = EMPHASIS.sub("\0\\1\0", text)
    kept = re.sub(r"([\\*|])|(?<=\w)(_)(?!\w)", lambda found: "\\" + found[0], kept).replace("\0", "*")
    return PAGE.sub(lambda found: f":doc:`/{found[1]}`" if found[1] in pages else found[0], kept)


def shorten(app, what, name, obj, options, signature, returned) -> tuple[str | None, str | None]:
    """A handler of the event "autodoc-process-signature": "an array" in place of "an array of NumPy or an array of JAX"."""
    return tuple(text and EITHER.sub(r"Float[Array, \1]", text) for text in (signature, returned))


def translator(targets: Mapping[str, str], pages: Sequence[str]) -> Callable:
    """A handler of the event "autodoc-process-docstring"."""

    def translate(app, what, name, obj, options, lines) -> None:
        own = name.rsplit(".", 1)[0] + "."
        near = {short: full for short, full in targets.items() if full != name}
        near |= {full.removeprefix(own): full for full in targets.values() if full.startswith(own)}
        lines[:] = to_rst(lines, near, pages)

    return translate
