"""The command line, the examples and the code in the documents run as they stand."""

import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from overlaps.__main__ import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITHOUT_CODE = {"index.md", "glossary.md", "symbols.md", "contributing.md", "changelog.md"}


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name not in WITHOUT_CODE], ids=lambda path: path.name)
def test_code_in_documents_runs(document):
    code = "\n".join(re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL))
    assert code
    exec(compile(code, document.name, "exec"), {})


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_of_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_tests_that_documents_name_exist():
    known = {name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    known |= {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    for document in DOCUMENTS:
        assert set(re.findall(r"\b(test_\w+)", document.read_text())) <= known, document.name


def test_the_quickstart_is_the_one_of_the_readme():
    inside = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    example = (ROOT / "examples/quickstart.py").read_text().split('"""')[2]

    def statements(code):
        return [line.split("#")[0].strip() for line in code.splitlines() if line.split("#")[0].strip()]

    assert statements(inside) == statements(example)


@pytest.mark.parametrize("example", ["rank2_oscillator.py", "training_history.py", "equivalence.py", "perturbation_assay.py"])
def test_examples_run(example, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [example, "--output", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    assert list(tmp_path.glob("*.png"))


def test_the_flip_flop_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["flip_flop.py", "--output", str(tmp_path), "--neurons", "30", "--steps", "20"])
    runpy.run_path(str(ROOT / "examples/flip_flop.py"), run_name="__main__")
    assert "fixed points before learning: 0.000 (stable)" in capsys.readouterr().out
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("example", ["learn_to_integrate.py", "learn_to_oscillate.py"])
def test_examples_of_full_matrix_learning_run(example, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [example, "--output", str(tmp_path), "--neurons", "12", "--steps", "30"])
    runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    assert list(tmp_path.glob("*.png"))


def test_the_sweep_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sweep.py", "--output", str(tmp_path), "--quick"])
    with pytest.warns(RuntimeWarning, match="of 30 points diverged and 0 failed"):
        runpy.run_path(str(ROOT / "examples/sweep.py"), run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:-1]]
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    assert "nan" not in [text for row in rows for text in row]
    assert float(rows[-1][1]) < float(rows[0][1])  # the largest learning rate falls with the invisible overlap
    assert list(tmp_path.glob("*.png"))


def test_the_degeneracy_example_runs(tmp_path, monkeypatch):
    small = ["--neurons", "10", "--draws", "5", "--steps", "20"]
    monkeypatch.setattr("sys.argv", ["degeneracy.py", "--output", str(tmp_path), *small])
    runpy.run_path(str(ROOT / "examples/degeneracy.py"), run_name="__main__")
    assert list(tmp_path.glob("*.png"))


def test_the_example_of_two_histories_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["which_history.py", "--output", str(tmp_path), "--quick"])
    runpy.run_path(str(ROOT / "examples/which_history.py"), run_name="__main__")
    assert "without learning" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_the_decoding_example_runs(tmp_path, monkeypatch):
    small = ["--twins", "6", "--steps", "10", "--draws", "1"]
    monkeypatch.setattr("sys.argv", ["decoding.py", "--output", str(tmp_path), *small])
    runpy.run_path(str(ROOT / "examples/decoding.py"), run_name="__main__")
    assert list(tmp_path.glob("*.png"))
    assert list(tmp_path.glob("*.nc"))


def test_the_memory_example_runs(tmp_path, monkeypatch):
    small = ["--rules", "small steps", "--systems", "linear"]
    monkeypatch.setattr("sys.argv", ["memory.py", "--output", str(tmp_path), *small])
    runpy.run_path(str(ROOT / "examples/memory.py"), run_name="__main__")
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_identifiability_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["identifiability.py", "--output", str(tmp_path), "--duration", "0.5", "--rates", "0.2"])
    runpy.run_path(str(ROOT / "examples/identifiability.py"), run_name="__main__")
    assert capsys.readouterr().out.count("null: J\n") == 4
    assert list(tmp_path.glob("*.png"))


def test_the_validation_example_runs(tmp_path, monkeypatch, capsys):
    small = ["--sizes", "20", "40", "--seeds", "2", "--steps", "10", "--neurons", "50"]
    monkeypatch.setattr("sys.argv", ["validate_flipflop.py", "--output", str(tmp_path), *small])
    runpy.run_path(str(ROOT / "examples/validate_flipflop.py"), run_name="__main__")
    assert "Networks approach the infinite limit" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_the_example_from_pytorch_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["from_pytorch.py", "--output", str(tmp_path), "--quick", "--steps", "5"])
    runpy.run_path(str(ROOT / "examples/from_pytorch.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert float(re.search(r"largest difference: (\S+)", printed)[1]) < 1e-5  # PyTorch computed in float32
    aligned = re.search(r"mirror images of (\d+) of 512 neurons, which changes the output by (\S+)", printed)
    assert 0 < int(aligned[1]) < 512
    assert float(aligned[2]) < 1e-12
    assert "  network: 97%, 38%" in printed  # of the 32 trials
    assert list(tmp_path.glob("*.png"))


def test_main_job(tmp_path, capsys):
    main(["--rank", "2", "--neurons", "30", "--steps", "100", "--seed", "3", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert float(re.search(r"in any overlap: (\S+)", printed)[1]) < 1e-12
    results = xr.load_dataset(tmp_path / "overlaps.nc")
    np.testing.assert_allclose(results["sigma"], results["sigma_theory"], atol=1e-12)
    np.testing.assert_allclose(results["loss"], results["loss_theory"], atol=1e-12)
    assert results.sizes["neuron"] == 30
    assert (tmp_path / "overlaps.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "5"], "Lower `learning_rate`"),
        (["--neurons", "2"], "`n` must be at least 4"),
        (["--rank", "0"], "`rank` must be a whole number of at least 1"),
    ],
)
def test_main_job_ends_with_one_line_on_bad_input(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--steps", "50"])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in last
    assert last.lstrip().startswith("python -m overlaps: ")
