"""What the site is made of, without building it: `make docs` does that, and checks the result."""

import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import overlaps as ov
from overlaps.connectivity import Layout, State

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))

from _site import check, docstrings, gallery, links  # noqa: E402

MODULES = [one for name, one in inspect.getmembers(ov, inspect.ismodule) if name[0] != "_" and name not in ov._ROOMS]


def referenced():
    """The full names in the pages of the reference."""
    for page in (DOCS / "reference").glob("*.md"):
        for block in re.findall(r"```\{eval-rst\}\n(.*?)```", page.read_text(), re.DOTALL):
            module = re.search(r"currentmodule:: (\S+)", block)[1]
            yield from (f"{module}.{name}" for name in re.findall(r"^   (\w+)$", block, re.MULTILINE))


def test_every_public_name_has_a_page():
    listed = list(referenced())
    assert len(listed) == len(set(listed))
    have_page = {id(pkgutil.resolve_name(name)) for name in listed}
    for module in [ov, *MODULES]:
        for name in dir(module):
            if not name.startswith("_") and not inspect.ismodule(getattr(module, name)) and name not in ov._ROOMS:
                assert id(getattr(module, name)) in have_page, f"add {module.__name__}.{name} to a page in docs/reference"
    assert {id(State), id(Layout)} <= have_page


def test_every_page_is_in_one_toctree():
    entries = []
    for page in ("index.md", "reference/index.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
            for line in block.split("\n"):
                name = re.sub(r".*<(.*)>", r"\1", line.strip())
                if name and not name.startswith(":"):
                    entries.append((Path(page).parent / name).as_posix())
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in [*DOCS.glob("*.md"), *DOCS.glob("reference/*.md")]]
    assert sorted(entries) == sorted({*pages, "gallery/index"} - {"index"})


MARKDOWN = """The loss |f - f*|^2 of `learn`, with *emphasis* (docs/theory.md, docs/unknown.md):

    L = |f - f*|^2
    M = a_b

- `rule`: a rule_ of
  two lines
- `x`: y

>>> learn(2 * 3)
6
"""
RST = r"""The loss \|f - f\*\|^2 of :py:obj:`learn <overlaps.learn>`, with *emphasis* (:doc:`/theory`, docs/unknown.md):


.. code-block:: text

    L = |f - f*|^2
    M = a_b


- ``rule``: a rule\_ of
  two lines
- ``x``: y

>>> learn(2 * 3)
6
"""


def test_docstrings_in_markdown_become_restructuredtext():
    assert "\n".join(docstrings.to_rst(MARKDOWN.split("\n"), {"learn": "overlaps.learn"}, ["theory"])) == RST


def test_signatures_name_an_array_once():
    signature = "(x: ~jaxtyping.Float[ndarray, 'a b'] | ~jaxtyping.Float[jaxlib._jax.Array, 'a b'], y: int)"
    assert docstrings.shorten(None, "", "", None, None, signature, None) == ("(x: Float[Array, 'a b'], y: int)", None)


@pytest.mark.parametrize(
    ("target", "page"),
    [
        ("theory.md#gains", "theory.md#gains"),
        ("https://example.org/", "https://example.org/"),
        ("../README.md", "index.md"),
        ("../examples/memory.py", "gallery/memory.rst"),
        ("explore/index.html", "site:explore/index.html"),
    ],
)
def test_links_lead_to_pages_of_the_site(target, page):
    assert links.in_site(target) == page


def test_examples_become_pages(tmp_path):
    pattern = gallery.prepare(DOCS.parent / "examples", tmp_path / "pages", DOCS / "images", run_all=False)
    everything = gallery.prepare(DOCS.parent / "examples", tmp_path / "all", DOCS / "images", run_all=True)
    names = {path.stem for path in (DOCS.parent / "examples").glob("*.py")}
    assert {*gallery.QUICK, *gallery.NEVER, *gallery.PICTURES, *gallery.TITLES} <= names
    for name in names:
        page = (tmp_path / "pages" / f"{name}.py").read_text()
        compile(page, name, "exec")
        title, underline = page.removeprefix('"""').split("\n")[:2]
        assert underline == "=" * len(title)
        assert (re.search(pattern, f"/{name}.py") is not None) == (name in gallery.QUICK)
        assert (re.search(everything, f"/{name}.py") is not None) == (name not in gallery.NEVER)
        pictures = re.findall(r"image:: /(\S+)", page)
        assert all((DOCS / picture).exists() for picture in pictures)
        assert (gallery.SAVED in page) == bool(pictures)


GOOD = '<a href="other.html#there">x</a><a href="https://example.org">y</a><script src="a.js"></script>'


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (GOOD, None),
        ('<a href="none.html">', "index.html: none.html leads nowhere"),
        ('<a href="other.html#nowhere">', "index.html: other.html#nowhere leads nowhere"),
        ('<img src="none.png">', "index.html: none.png leads nowhere"),
        ('<script src="https://example.org/a.js"></script>', "index.html loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "index.html loads //example.org/a.css"),
        ('<p style="background: url(http://example.org/a.png)">', "index.html loads http://example.org/a.png"),
    ],
)
def test_the_check_of_the_site_finds_what_is_wrong(tmp_path, page, problem):
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "other.html").write_text('<h1 id="there">Other</h1>')
    (tmp_path / "a.js").write_text("let x = 1")
    (tmp_path / "searchindex.js").write_text('Search.setIndex({"terms": {"invis": 1}})')
    assert check.problems(tmp_path, "invis") == ([problem] if problem else [])


def test_the_check_of_the_site_reads_styles_scripts_and_the_search(tmp_path):
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "a.css").write_text("@import 'https://example.org/a.css'; p { background: url(b.png) }")
    (tmp_path / "a.js").write_text("fetch('https://example.org/data.json')")
    (tmp_path / "searchindex.js").write_text('Search.setIndex({"terms": {"other": 1}})')
    assert check.problems(tmp_path, "invis") == [
        "a.css loads https://example.org/a.css",
        "a.js loads something from another host",
        "the search does not find 'invis'",
    ]
