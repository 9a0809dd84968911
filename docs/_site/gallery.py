"""The examples as sphinx-gallery wants them: with a title, and with saved pictures where running them takes too long."""

import shutil
from pathlib import Path

# Examples that run while the site is built, within a few seconds each.
QUICK = ("quickstart", "rank2_oscillator", "training_history")
# Not even with EXAMPLES=all. One needs torch and neurogym. One looks for its data beside its own file, and sphinx-gallery gives
# it no name of a file. The processes of the third cannot import a page of the gallery.
NEVER = ("train_in_pytorch", "from_pytorch", "sweep")
# Pictures in docs/images that the other examples made, where they do not have the name of the example.
PICTURES = {
    "learn_to_integrate": ["learn_to_integrate", "lazy_integrator"],
    "memory": ["memory", "memory_table"],
    "which_history": ["which_history", "which_history_design"],
    "validate_flipflop": ["large_n"],
}
# Titles, in the order of the gallery. Examples that are not here follow, with their file names as titles.
TITLES = {
    "quickstart": "Ten lines",
    "rank2_oscillator": "A damped oscillation",
    "flip_flop": "A network becomes bistable",
    "equivalence": "Many networks with one output",
    "degeneracy": "Two networks with one output",
    "training_history": "Training history",
    "memory": "Memory of an earlier task",
    "decoding": "Decode training history",
    "savings": "Savings",
    "transfer": "Transfer",
    "perturbation_assay": "The perturbation assay",
    "validate_flipflop": "Errors of the theory",
    "from_pytorch": "A network from PyTorch",
    "train_in_pytorch": "Train in PyTorch",
    "learn_to_integrate": "Learn to integrate",
    "learn_to_oscillate": "Learn to oscillate",
    "sweep": "A sweep",
    "random_bulk": "Learning on random connectivity",
    "identifiability": "What learning can reveal",
    "fit_learning_curves": "Fit learning curves",
    "which_history": "Which task came first?",
}
SAVED = "This page was built from saved pictures, because the script takes longer than a few seconds. Run it to make them anew."
NOT_RUN = "The script did not run while this page was built."
HEADER = """Gallery
=======

Each example is a complete script of the folder `examples`. You can download it from its page.
"""


def prepare(source: Path, folder: Path, images: Path, run_all: bool) -> str:
    """Copy the examples to `folder`, each with a title and its pictures. Returns the pattern of the files that shall run."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    (folder / "GALLERY_HEADER.rst").write_text(HEADER.replace("`", "``"))
    names = [path.stem for path in sorted(folder.glob("*.py"))]
    running = [name for name in names if name not in NEVER and (run_all or name in QUICK)]
    for name in names:
        saved = [picture for picture in PICTURES.get(name, [name]) if (images / f"{picture}.png").exists()]
        pictures = [] if name in running else saved
        _prepare_one(folder / f"{name}.py", name in running, pictures)
    return r"/(" + "|".join(running) + r")\.py$"


def _prepare_one(path: Path, runs: bool, pictures: list[str]) -> None:
    _, text, code = path.read_text().split('"""', 2)
    title = TITLES.get(path.stem, path.stem.replace("_", " ").capitalize())
    page = [title, "=" * len(title), "", text.strip().replace("`", "``")]
    if not runs:
        page += ["", SAVED if pictures else NOT_RUN]
    for picture in pictures:
        page += ["", f".. image:: /images/{picture}.png", f"   :alt: {picture}", f"   :target: ../_images/{picture}.png"]
    if pictures:
        code += f"\n# sphinx_gallery_thumbnail_path = 'images/{pictures[0]}.png'\n"
    if runs:
        code = code.replace(", progress=True", "")  # a page has no use for the steps of a progress bar
    code = code.replace("__doc__.splitlines()[0]", f'"{title}"')  # sphinx-gallery runs examples without their docstrings
    path.write_text('"""' + "\n".join(page) + '\n"""' + code)


class Order:
    """The order of the examples in the gallery, as a key for sorting."""

    def __init__(self, folder: str):
        del folder  # sphinx-gallery passes it; the order does not depend on it

    def __call__(self, file: str) -> tuple[int, str]:
        name = Path(file).stem
        return (list(TITLES).index(name) if name in TITLES else len(TITLES), name)


def arguments(gallery: dict, variables: dict) -> list[str]:
    """The command line of the examples that run: their files go into a folder that git ignores."""
    return [] if Path(variables["src_file"]).stem == "quickstart" else ["--output", "results"]
