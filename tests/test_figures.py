"""The command that makes the figures of the papers, with two small figures of its own."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from overlaps.__main__ import main
from overlaps.figures import FIGURES, PaperFigure, _make, chosen, make

PAGE = Path(__file__).parents[1] / "docs" / "figures.md"


def computed(quick):
    """A tree of two nodes with attributes."""
    points = 3 if quick else 5
    line = xr.Dataset({"height": ("place", np.linspace(0, 1, points))}, {"place": np.arange(points)}, {"kept": "said"})
    return xr.DataTree.from_dict({"here": line, "there": line.isel(place=[0])})


def drawn(tree):
    figure, ax = plt.subplots()
    ax.plot(tree["here"]["place"], tree["here"]["height"])
    ax.set_title("a title that is text")
    return figure


def failing(quick):
    raise RuntimeError("no such thing")


GOOD = PaperFigure("good", "a paper", "A line.", computed, drawn)
BAD = replace(GOOD, name="bad", compute=failing)


@pytest.fixture
def two(monkeypatch):
    """Let the library have these two figures, of which the first fails."""
    monkeypatch.setattr(_make, "FIGURES", (BAD, GOOD))


def counting(monkeypatch, draw=drawn):
    """Let the library have a figure that counts how often it is computed."""
    calls = []

    def counted(quick):
        calls.append(quick)
        return computed(quick)

    monkeypatch.setattr(_make, "FIGURES", (replace(GOOD, compute=counted, draw=draw),))
    return calls


def test_a_figure_becomes_a_vector_file_a_picture_and_its_data(two, tmp_path):
    make(["good"], tmp_path / "new", quick=True)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["good.nc", "good.pdf", "good.png"]
    with xr.open_datatree(tmp_path / "new" / "good.nc", engine="h5netcdf") as tree:
        xr.testing.assert_identical(tree["here"].to_dataset(), computed(True)["here"].to_dataset())
        xr.testing.assert_identical(tree["there"].to_dataset(), computed(True)["there"].to_dataset())
        assert (tree.attrs["figure"], tree.attrs["source"], tree.attrs["quick"]) == ("good", "a paper", 1)
    assert (tmp_path / "new" / "good.pdf").read_bytes().startswith(b"%PDF")
    assert plt.get_fignums() == []


def test_what_is_complete_is_drawn_again_but_not_computed(monkeypatch, tmp_path):
    calls = counting(monkeypatch)
    for quick, again, expected in (
        (True, False, [True]),
        (True, False, [True]),  # there already
        (False, False, [True, False]),  # the quick data are no data of the full figure
        (False, False, [True, False]),
        (False, True, [True, False, False]),
    ):
        (tmp_path / "good.png").unlink(missing_ok=True)
        make(None, tmp_path, quick=quick, again=again)
        assert calls == expected
        assert (tmp_path / "good.png").exists()


@pytest.mark.parametrize("spoil", ["version", "cut"])
def test_data_of_another_version_or_in_part_are_computed_again(monkeypatch, tmp_path, spoil):
    calls = counting(monkeypatch)
    make(None, tmp_path)
    if spoil == "version":
        monkeypatch.setattr(_make, "VERSION", "another")
    else:
        path = tmp_path / "good.nc"
        path.write_bytes(path.read_bytes()[:1000])
    make(None, tmp_path)
    assert calls == [False, False]


def test_an_interrupt_leaves_no_data_that_look_complete(monkeypatch, tmp_path):
    def interrupted(self, path, **options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    calls = counting(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(xr.DataTree, "to_netcdf", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(None, tmp_path)
    assert not (tmp_path / "good.nc").exists()
    make(None, tmp_path)
    assert calls == [False, False]


def test_after_a_failure_the_command_goes_on_and_says_which_failed(two, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["figures", "--quick", "--output", str(tmp_path)])
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert said.out.splitlines()[0] == "bad: failed. RuntimeError: no such thing"
    assert said.out.splitlines()[1].startswith("good: ")
    assert said.err.strip().endswith("1 of 2 figures failed: bad.")
    assert (tmp_path / "good.pdf").exists()
    with pytest.raises(ExceptionGroup) as group:
        make(None, tmp_path)
    assert group.value.exceptions[0].__notes__ == ["This happened in the figure 'bad'."]


def test_unknown_names_are_refused_before_anything_is_made(two, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["figures", "good", "god", "--output", str(tmp_path / "new")])
    assert stop.value.code == 2
    assert "'god' came. There are bad, good." in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=r"be a list of names"):
        make("good")


def test_the_list_names_each_figure_and_makes_nothing(two, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["figures", "--list"])
    assert capsys.readouterr().out.splitlines() == [f"{name} (a paper): A line." for name in ("bad", "good")]
    assert list(tmp_path.iterdir()) == []


def test_figures_have_one_name_each_and_come_in_the_order_of_the_list():
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names) > 0
    assert [figure.name for figure in chosen(names[::-1])] == names


def test_the_page_of_the_figures_says_what_each_shows_and_how_it_differs_from_the_paper():
    rows = {line.split("`")[1]: line for line in PAGE.read_text().splitlines() if line.startswith("| `")}
    assert list(rows) == [figure.name for figure in FIGURES]
    for figure in FIGURES:
        for part in (figure.source, figure.shows, figure.differences or "none known"):
            assert f" {part} |" in rows[figure.name], f"write in the row of {figure.name} in docs/figures.md: {part}"
        picture = f"images/figure_{figure.name}.png"
        assert f"({picture})" in PAGE.read_text()
        assert (PAGE.parent / picture).is_file()
