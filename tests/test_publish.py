"""What a release says about itself: versions, citation, and the paper. `.ci/release` builds the release and uses it."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAPER = (ROOT / "paper" / "paper.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version_everywhere():
    version = PROJECT["version"]
    assert json.loads((ROOT / ".zenodo.json").read_text())["version"] == version
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == version
    assert re.search(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version


def test_the_date_of_the_citation_is_that_of_the_changelog():
    released = re.search(r"^## \[\d.*?\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert re.search(r"^date-released: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == released


def test_the_paper_cites_what_it_lists():
    cited = set(re.findall(r"@([A-Za-z]+\d{4})", PAPER))
    listed = re.findall(r"^@\w+\{(\w+),$", (ROOT / "paper" / "paper.bib").read_text(), re.MULTILINE)
    assert sorted(cited) == sorted(listed)


def test_the_paper_has_the_form_that_the_journal_asks_for():
    _, head, body = PAPER.split("---\n", 2)
    for field in ("title", "tags", "authors", "affiliations", "date", "bibliography"):
        assert re.search(rf"^{field}:", head, re.MULTILINE), field
    titles = re.findall(r"^# (.+)$", body, re.MULTILINE)
    # The journal also asks for a disclosure of the use of AI, which its authors add when they submit (CONTRIBUTING.md).
    sections = ["Summary", "Statement of need", "State of the field", "Software design", "Research impact statement"]
    assert titles == [*sections, "References"]
    assert 750 <= len(body.split()) <= 1750
    (figure,) = re.findall(r"!\[.*?\]\((.+?)\)", body, re.DOTALL)
    assert (ROOT / "paper" / figure).resolve().is_file()
