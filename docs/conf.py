"""How Sphinx builds the site: `make docs` writes it into docs/_build/html. All of it works offline."""

import inspect
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _site import docstrings, formulas, gallery, links, notebooks  # noqa: E402

import overlaps  # noqa: E402

project = "overlaps"
author = "the authors of overlaps"
copyright = author
version = release = overlaps.__version__

extensions = [
    *("sphinx.ext.autodoc", "sphinx.ext.autosummary", "myst_parser", "sphinx_gallery.gen_gallery", "sphinx_copybutton"),
    "_site.formulas",
]
exclude_patterns = ["_build", "_site", "_templates", "explore", "**/GALLERY_HEADER.rst", "gallery/*.py"]
templates_path = ["_templates"]
highlight_language = "text"
pygments_style = "friendly"

# Formulas become MathML while the site is built, so MathJax is not needed: no page loads anything from another host.
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "site": "{{path}}"}

html_theme = "furo"
html_title = f"overlaps {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static", "_build/fonts"]
html_css_files = ["site.css"]

autosummary_generate = True
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 88
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "_build/examples",
    "gallery_dirs": "gallery",
    "filename_pattern": gallery.prepare(
        HERE.parent / "examples", HERE / "_build/examples", HERE / "images", os.environ.get("EXAMPLES") == "all"
    ),
    "reset_argv": "_site.gallery.arguments",
    "default_thumb_file": str(HERE / "images/integrator.png"),
    "doc_module": ("overlaps",),
    "reference_url": {"overlaps": None},
    "backreferences_dir": "gallery/backreferences",
    "notebook_extensions": set(),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "within_subsection_order": "_site.gallery.Order",
}


def _public() -> dict[str, str]:
    """Full names of all that is public, by the names under which docstrings speak of it."""
    names = {}
    modules = {"": overlaps, **dict(inspect.getmembers(overlaps, inspect.ismodule))}
    for room, module in modules.items():
        for name in dir(module):
            if not name.startswith("_") and room not in overlaps._ROOMS and name not in overlaps._ROOMS:
                full = ".".join(filter(None, ["overlaps", room, name]))
                names[full.removeprefix("overlaps.")] = names[full] = full
                names.setdefault(name, full)
                thing = getattr(module, name)
                if inspect.isclass(thing):
                    names |= {f"{name}.{member}": f"{full}.{member}" for member in dir(thing) if not member.startswith("_")}
    return names


def _copy_page_to_play_with(app, exception) -> None:
    if exception is None and (HERE / "explore").exists():
        shutil.copytree(HERE / "explore", Path(app.outdir) / "explore", dirs_exist_ok=True)
        page = Path(app.outdir) / "explore/index.html"
        back = '<p><a href="../index.html">What this is, and the Python library</a></p>'
        page.write_text(page.read_text().replace("<!-- site -->", back))


def setup(app) -> None:
    """Connect what the site needs besides the extensions."""
    pages = [path.stem for path in HERE.glob("*.md")]
    app.connect("autodoc-process-docstring", docstrings.translator(_public(), pages))
    app.connect("autodoc-process-signature", docstrings.shorten)
    formulas.write_font(HERE / "_build/fonts")
    notebooks.write(HERE, HERE / "_build/notebooks")
    app.connect("source-read", links.rewrite)
    app.connect("source-read", notebooks.add_link)
    app.connect("build-finished", _copy_page_to_play_with)
