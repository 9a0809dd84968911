"""Each package of the library (a "room") imports only from the rooms below it (docs/architecture.md)."""

import ast
import importlib
from pathlib import Path

import pytest

import overlaps as ov

PACKAGE = Path(ov.__file__).parent
# From the foundations up. A room may import from the rooms before it, through their pages.
ROOMS = [
    *("_support", "connectivity", "dynamics", "tasks", "learning", "sweeps", "inference", "integration", "interop"),
    *("bulk", "studies", "plots", "figures"),
]


def imports(path):
    """The modules of the library that a file imports, anywhere in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            modules = [f"overlaps.{one.name}" for one in node.names] if node.module == "overlaps" else [node.module]
        elif isinstance(node, ast.Import):
            modules = [one.name for one in node.names]
        else:
            continue
        yield from (module for module in modules if module.split(".")[0] == "overlaps")


def wrong_arrows(room, path):
    """The forbidden imports of a file: from a room that is not below its own, or from a private module of another room."""
    allowed = ROOMS[: ROOMS.index(room)]
    for module in imports(path):
        _, other, *rest = [*module.split("."), ""]
        if other != room and (other not in allowed or any(rest)):
            yield f"{room}/{path.name} imports {module}"


def test_every_file_is_in_a_room():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]
    assert sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_runs_up(room):
    assert [arrow for path in (PACKAGE / room).rglob("*.py") for arrow in wrong_arrows(room, path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "from overlaps.learning import learn",
        "import overlaps",
        "from overlaps import tasks, learning",
        "def late():\n    from overlaps.studies import validate",
        "from overlaps.connectivity._gram import square_root",
    ],
)
def test_an_arrow_that_runs_up_is_seen(line, tmp_path):
    path = tmp_path / "_new.py"
    path.write_text(line)
    assert list(wrong_arrows("tasks", path))


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_what_it_is_for_and_what_it_may_not_know(room):
    page = importlib.import_module(f"overlaps.{room}").__doc__
    assert "may not" in page
    assert len(page.splitlines()) >= 3


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 310


def test_the_public_page_shows_public_names_alone():
    names = [name for name in dir(ov) if not name.startswith("__")]
    assert names == [
        *("BulkOverlaps", "DenseNetwork", "DivergenceError", "GradientDescent", "GradientFlow", "MeanField", "Network"),
        *("Overlaps", "Phase", "Populations", "RNN", "RandomBulk", "ReducedNetwork", "Transfer"),
        *("bulk", "conserved", "final_state", "inference", "initial_state"),
        *("integration", "interop", "learn", "learn_mean_field", "metric", "plots", "rerun", "resume", "studies", "sweep"),
        *("tasks", "trajectory", "validate"),
    ]
