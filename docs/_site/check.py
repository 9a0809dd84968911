"""Check the built site: its links lead somewhere, it asks no other host for anything, and its search finds words."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, as against a link that somebody clicks.
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src", "link": "href"}
NOT_LOADED = {"next", "prev", "index", "search", "canonical", "author", "help"}
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
IN_SCRIPT = re.compile(r"(?:fetch|import|importScripts|new Worker|new WebSocket)\(\s*['\"`](https?:|//|wss?:)")


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Note what a tag says."""
        values = {key: value or "" for key, value in attrs}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        target = values.get(LOADED.get(tag, ""), "")
        if target and not (tag == "link" and NOT_LOADED & set(values.get("rel", "").split())):
            self.loaded.append(target)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        self.loaded += [found[0] or found[1] for found in IN_STYLE.findall(values.get("style", ""))]


def problems(root: Path, word: str) -> list[str]:
    """What is wrong with the site in the folder `root`, whose search shall find `word`."""
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html"))}
    found = [] if pages else [f"{root} has no pages"]
    for path, page in pages.items():
        name = path.relative_to(root.resolve())
        found += [f"{name} loads {target}" for target in page.loaded if _is_elsewhere(target)]
        here = [target for target in page.links + page.loaded if not _is_elsewhere(target) and not target.startswith("data:")]
        found += [f"{name}: {target} leads nowhere" for target in here if not _is_there(path, target, pages)]
    for path in sorted(root.rglob("*.css")):
        loaded = [one or other for one, other in IN_STYLE.findall(path.read_text())]
        found += [f"{path.relative_to(root)} loads {target}" for target in loaded if _is_elsewhere(target)]
    for path in sorted(root.rglob("*.js")):
        if IN_SCRIPT.search(path.read_text()):
            found.append(f"{path.relative_to(root)} loads something from another host")
    index = (root / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")")
    if not any(term.startswith(word) for term in json.loads(index)["terms"]):
        found.append(f"the search does not find {word!r}")
    return found


def _is_elsewhere(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "mailto")


def _is_there(path: Path, target: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(target)
    to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if to in pages:
        return unquote(parts.fragment) in pages[to].anchors
    return to.is_file()


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]), "invis")  # the stem under which the search keeps "invisible"
    print("\n".join(wrong) or "The links of the site lead somewhere, and it loads nothing from another host.")
    sys.exit(bool(wrong))
