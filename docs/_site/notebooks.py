"""Pages of the site as notebooks: the code of a page becomes cells of code, and the rest of it cells of text."""

import base64
import mimetypes
import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PAGES = ("what_is_this", "first_ten_minutes", "start_trained_network", "start_data", "start_theory", "start_adding")
"""The names of the pages that can be downloaded as notebooks."""

CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[([^\]]*)\]\((images/[^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)\s]+\)")
COMMAND = re.compile(r"^pip install [^'\n#]+", re.MULTILINE)


def notebook(page: Path, readme: Path) -> nbformat.NotebookNode:
    """The notebook of a page in Markdown.

    A first cell of text says how to install the library, with the command of `readme`. Pictures travel in the notebook. A link
    to another page leads nowhere outside of the site, so only its words stay.
    """
    text = page.read_text()
    install = COMMAND.search(readme.read_text())
    assert install, f"{readme} has no line that begins with: pip install"
    cells = [new_markdown_cell(FIRST.format(name=page.stem, command=install[0].strip()), id="install")]
    # `split` gives text and code in turn, beginning with text.
    for index, part in enumerate(CODE.split(text)):
        if index % 2:
            cells.append(new_code_cell(part.rstrip("\n"), id=f"cell-{index}"))
        elif part.strip():
            cells.append(_text_cell(part.strip(), page.parent, f"cell-{index}"))
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
FIRST = """This notebook is the page `{name}` of the documentation of `overlaps`. It needs the library: download the
repository, and type in its folder

```bash
{command}
```

Then run the cells from top to bottom."""


def _text_cell(text: str, folder: Path, name: str) -> nbformat.NotebookNode:
    attachments = {}
    for _, picture in PICTURE.findall(text):
        path = folder / picture
        content = base64.b64encode(path.read_bytes()).decode()
        attachments[path.name] = {mimetypes.guess_type(path.name)[0]: content}
    text = PICTURE.sub(lambda found: f"![{found[1]}](attachment:{Path(found[2]).name})", text)
    cell = new_markdown_cell(LINK.sub(r"\1", text), id=name)
    if attachments:
        cell["attachments"] = attachments
    return cell


def write(docs: Path, folder: Path) -> None:
    """Write the notebooks of all `PAGES` of the folder `docs`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        nbformat.write(notebook(docs / f"{name}.md", docs.parent / "README.md"), folder / f"{name}.ipynb")


def add_link(app, name: str, source: list[str]) -> None:
    """A handler of the event "source-read": below the title of a page, a link to its notebook, which `write` wrote."""
    if name in PAGES:
        title, rest = source[0].split("\n", 1)
        source[0] = f"{title}\n\n{{download}}`Download this page as a notebook </_build/notebooks/{name}.ipynb>`\n{rest}"
