"""The examples as sphinx-gallery wants them: with a title, and with saved pictures where running them takes too long."""

import shutil
from pathlib import Path

# Examples that run while the site is built, within a few seconds each.
QUICK = ("quickstart", "rank2_oscillator", "training_history", "equivalence", "flip_flop")
# Not even with EXAMPLES=all: one needs torch and neurogym; the processes of the other cannot import a page of the gallery.
NEVER = ("train_in_pytorch", "sweep")
# Pictures in docs/images that the other examples made.
PICTURES = {
    "decoding": ["decoding"],
    "degeneracy": ["degeneracy"],
    "from_pytorch": ["from_pytorch"],
    "learn_to_integrate": ["learn_to_integrate", "lazy_integrator"],
    "learn_to_oscillate": ["learn_to_oscillate"],
    "memory": ["memory", "memory_table"],
    "perturbation_assay": ["perturbation_assay"],
    "savings": ["savings"],
    "sweep": ["sweep"],
    "transfer": ["transfer"],
    "validate_flipflop": ["large_n"],
}
TITLES = {
    "decoding": "Decode training history",
    "degeneracy": "Two networks with the same output",
    "equivalence": "Many networks with the same output",
    "from_pytorch": "A network from PyTorch",
    "memory": "Memory of an earlier task",
    "perturbation_assay": "The perturbation assay",
    "quickstart": "Ten lines",
    "rank2_oscillator": "A rank-2 oscillator",
    "sweep": "A sweep",
    "train_in_pytorch": "Train in PyTorch",
    "validate_flipflop": "Validate the flip-flop",
}
SAVED = "This page was built from saved pictures, because the script takes longer than a few seconds. Run it to make them anew."
NOT_RUN = "The script did not run while this page was built."
HEADER = """Gallery
=======

Each example is a complete script of the folder `examples`. You can download it from its page.
"""


def prepare(source: Path, folder: Path, images: Path, run_all: bool) -> str:
    """Copy the examples to `folder`, each with a title and its pictures. Returns the pattern of the file names that shall run."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    (folder / "GALLERY_HEADER.rst").write_text(HEADER.replace("`", "``"))
    names = [path.stem for path in sorted(folder.glob("*.py"))]
    running = [name for name in names if name not in NEVER and (run_all or name in QUICK)]
    for name in names:
        pictures = [] if name in running else [f for f in PICTURES.get(name, []) if (images / f"{f}.png").exists()]
        _prepare_one(folder / f"{name}.py", name in running, pictures)
    return r"/(" + "|".join(running) + r")\.py$"


def _prepare_one(path: Path, runs: bool, pictures: list[str]) -> None:
    _, text, code = path.read_text().split('"""', 2)
    title = TITLES.get(path.stem, path.stem.replace("_", " ").capitalize())
    page = [title, "=" * len(title), "", text.strip().replace("`", "``")]
    if not runs:
        page += ["", SAVED if pictures else NOT_RUN]
    for picture in pictures:
        page += ["", f".. image:: /images/{picture}.png", f"   :alt: The picture {picture}.png, made by this script", "   :width: 100%"]
    if pictures:
        code += f"\n# sphinx_gallery_thumbnail_path = 'images/{pictures[0]}.png'\n"
    path.write_text('"""' + "\n".join(page) + '\n"""' + code)


def arguments(gallery: dict, variables: dict) -> list[str]:
    """The command line of the examples that run: their files go into a folder that git ignores."""
    return [] if Path(variables["src_file"]).stem == "quickstart" else ["--output", "results"]
