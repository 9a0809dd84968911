"""What the site makes of pages: notebooks, formulas, and the animation."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import numpy as np
import pytest

import overlaps as ov

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))

from _site import animation, formulas, notebooks  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_notebooks_hold_the_code_and_the_text_of_their_pages(name, tmp_path):
    page = (DOCS / f"{name}.md").read_text()
    nbformat.write(notebooks.notebook(DOCS / f"{name}.md", DOCS.parent / "README.md"), tmp_path / "page.ipynb")
    written = nbformat.read(tmp_path / "page.ipynb", as_version=4)
    nbformat.validate(written)
    first, *cells = written.cells
    assert first.cell_type == "markdown"
    assert "\npip install -e .\n" in first.source
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert code == [
        block.rstrip("\n") for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ]  # test_documents runs them

    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"```python\n.*?```", "", page, flags=re.DOTALL)
    assert words(text) == words(re.sub(r"\]\([^)\s]+\)", "]", prose))
    assert not re.search(r"\]\((?!attachment:|https?:)", text)
    for cell in cells:
        for picture in re.findall(r"\(attachment:([^)]+)\)", cell.source):
            assert list(cell.attachments[picture].values())


def words(text):
    """The words of a text without the targets of links and the marks around them."""
    return re.sub(r"\(attachment:[^)]+\)|[\[\]!]", "", text).split()


def test_a_new_page_to_start_with_becomes_a_notebook():
    listed = re.search(r":caption: Start here\n\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)[1]
    assert [re.sub(r".*<(.*)>", r"\1", line) for line in listed.split("\n") if line] == list(notebooks.PAGES)


def formulas_of(page):
    """The formulas of a page: whether each stands in a line of its own, and its TeX."""
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL))
    return [(True, tex) for tex in blocks] + [(False, tex) for tex in inline]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_all_formulas_become_mathml(page):
    assert page.read_text().count("$") % 2 == 0
    for block, tex in formulas_of(page.read_text()):
        root = ET.fromstring(formulas.mathml(tex, block))
        assert root.tag.endswith("math")
        assert root.get("display") == ("block" if block else "inline")


def test_formulas_keep_their_rows_and_refuse_what_they_do_not_know():
    root = ET.fromstring(formulas.mathml(r"\begin{aligned} a &= \tfrac12 b \\ c &= d^\top \end{aligned}", block=True))
    space = "{http://www.w3.org/1998/Math/MathML}"
    assert [len(row.findall(f"{space}mtd")) for row in root.iter(f"{space}mtr")] == [2, 2]
    signs = [
        mo.get("form")
        for mo in ET.fromstring(formulas.mathml("a = -b - c (-d)", block=False)).iter(f"{space}mo")
        if mo.text == "\N{MINUS SIGN}"
    ]
    assert signs == ["prefix", None, "prefix"]
    assert len(list(ET.fromstring(formulas.mathml(r"\sum_p w_p", block=True)).iter(f"{space}munder"))) == 1
    assert len(list(ET.fromstring(formulas.mathml(r"\sum_p w_p", block=False)).iter(f"{space}munder"))) == 0
    with pytest.raises(ValueError, match=r"'\\\\unknown'"):
        formulas.mathml(r"\unknown x", block=False)


@pytest.mark.slow
def test_the_animation_shows_what_the_library_computes():
    file = DOCS / "images/invisible_moves.svg"
    assert file.stat().st_size < 400_000
    made, kept = ET.fromstring(animation.picture()), ET.parse(file).getroot()
    for new, old in zip(made.iter(), kept.iter(), strict=True):
        assert (new.tag, new.text) == (old.tag, old.text)
        assert new.attrib.keys() == old.attrib.keys()
        for key in new.attrib:
            shown, saved = (re.sub(r"-?\d+\.\d", "", one.get(key)) for one in (new, old))
            assert shown == saved
            numbers = [np.array(re.findall(r"-?\d+\.\d", one.get(key)), float) for one in (new, old)]
            np.testing.assert_allclose(*numbers, atol=0.11)  # rounded to tenths of a pixel


def test_visible_stays_and_invisible_moves():
    nets = animation.networks()
    rnn = ov.RNN(dt=0.1)
    assert all(np.ptp(values) == 0 for values in nets.visible(rnn).values())
    assert {label for label, values in nets.invisible(rnn).items() if np.ptp(values)} == {"uu", "mu", "zv"}
    assert set(nets.visible(rnn)) == set(animation.MEANING["visible"])
    root = ET.parse(DOCS / "images/invisible_moves.svg").getroot()
    moving = [path for group in root.iter(f"{SVG}g") if group.get("class") == "moving" for path in group]
    colours = {path.get("stroke") for path in moving}
    assert colours == {animation.INVISIBLE}  # nothing visible moves
    assert len(moving) == 5  # three overlaps, the learned output and the loss
    for path in moving:
        values = path.find(f"{SVG}animate").get("values").split(";")
        assert values[0] == values[-1] == path.get("d")
        assert len(set(values)) > 12
