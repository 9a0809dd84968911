"""Links in the pages lead to files of the repository. In the site they lead to pages of the site."""

import re
from pathlib import Path

EXAMPLE = re.compile(r"(?<!\[)`examples/(\w+)\.py`")
PICTURE = re.compile(r"!\[[^\]]*\]\(images/([^)\s]+)\)")

# What a page of docs/ links to outside of docs/, and the page of the site in its place.
ELSEWHERE = {
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../examples": "gallery/index.rst",
    "../examples/": "gallery/index.rst",
}


def in_site(target: str) -> str:
    """The target of a link within the site, for its target in the repository.

    >>> in_site("../examples/memory.py"), in_site("theory.md"), in_site("explore/index.html")
    ('gallery/memory.rst', 'theory.md', 'site:explore/index.html')
    """
    if target in ELSEWHERE:
        return ELSEWHERE[target]
    example = re.fullmatch(r"\.\./examples/(\w+)\.py", target)
    if example:
        return f"gallery/{example[1]}.rst"
    return f"site:{target}" if target.startswith("explore/") else target


def rewrite(app, name: str, source: list[str]) -> None:
    """A handler of the event "source-read"."""
    if Path(app.env.doc2path(name)).suffix != ".md":
        return
    source[0] = PICTURE.sub(r"[\g<0>](site:_images/\1)", source[0])  # a click shows the picture in full size
    source[0] = EXAMPLE.sub(lambda found: f"[{found[0]}](gallery/{found[1]}.rst)", source[0])
    source[0] = re.sub(r"\]\(([^)\s]+)\)", lambda found: f"]({in_site(found[1])})", source[0])
