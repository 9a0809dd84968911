"""Compute figures, and write each as a vector file, a picture, and the data behind it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from overlaps._support import argument_error, flag
from overlaps.figures._catalogue import FIGURES
from overlaps.figures._paper_figure import PaperFigure
from overlaps.learning import VERSION
from overlaps.plots import style

DOTS_PER_INCH = 200


def chosen(names: Sequence[str] | None = None) -> list[PaperFigure]:
    """The figures of these names, in the order of the list; all for None. Raises ValueError for an unknown name."""
    known = [figure.name for figure in FIGURES]
    names = known if names is None else names
    if isinstance(names, str):
        raise argument_error("names", "be a list of names", f"the text {names!r} came", f"Pass [{names!r}].")
    unknown = [name for name in names if name not in known]
    if unknown:
        came = f"{', '.join(map(repr, unknown))} came"
        raise argument_error("names", "be names of figures", came, f"There are {', '.join(known)}.")
    return [figure for figure in FIGURES if figure.name in names]


def make(
    names: Sequence[str] | None = None,
    output: Any = "figures",
    quick: bool = False,
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Make figures of the papers, and write NAME.pdf, NAME.png and the data NAME.nc of each into a folder.

    - `names`: names of figures; None makes all of `FIGURES`.
    - `output`: the folder, which is made if it is missing.
    - `quick`: whether to use smaller networks, fewer steps or fewer draws. All figures then take some minutes.
    - `again`: whether to compute a figure whose data are in the folder. Else such data are only drawn, if they are of this
      version of the library and of the same `quick`.
    - `say`: a function that gets one line of text per figure, with its name and the seconds it took.

    NAME.nc holds a DataTree: xarray.open_datatree(path) reads it.

    Raises ValueError for an unknown name, before anything is computed. A figure that fails does not stop the others: after the
    last one an ExceptionGroup is raised that holds all errors.
    """
    figures, quick, again = chosen(names), flag("quick", quick), flag("again", again)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, Exception] = {}
    for figure in figures:
        start, start_cpu = time.perf_counter(), time.process_time()
        try:
            path = folder / f"{figure.name}.nc"
            tree = None if again else _complete(path, figure, quick)
            computed = tree is None
            if tree is None:
                tree = _computed(figure, quick, path)
            _draw(figure, tree, folder)
        except Exception as error:
            error.add_note(f"This happened in the figure {figure.name!r}.")
            failed[figure.name] = error
            say(f"{figure.name}: failed. {type(error).__name__}: {error}")
        else:
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
            how = "" if computed else ", drawn from saved data"
            say(f"{figure.name}: {seconds:.1f} s ({cpu:.1f} s of CPU){how}")
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(figures)} figures failed: {', '.join(failed)}", list(failed.values()))


def _marks(figure: PaperFigure, quick: bool) -> dict[str, Any]:
    """The attributes of the root of a tree, which tell what it holds. Files know no booleans."""
    return {"figure": figure.name, "source": figure.source, "quick": int(quick), "version": VERSION}


def _complete(path: Path, figure: PaperFigure, quick: bool) -> xr.DataTree | None:
    """The data in a file, or None if the file is missing, cannot be read, or is of another version or another `quick`."""
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError):
        return None
    return tree if {name: tree.attrs.get(name) for name in _marks(figure, quick)} == _marks(figure, quick) else None


def _computed(figure: PaperFigure, quick: bool, path: Path) -> xr.DataTree:
    """Compute the data of a figure, and write them. A file with its full name is complete, whenever the program ends."""
    tree = figure.compute(quick)
    tree.attrs = {**tree.attrs, **_marks(figure, quick)}
    part = path.with_suffix(".nc.part")
    tree.to_netcdf(part, engine="h5netcdf")
    part.replace(path)
    return tree


def _draw(figure: PaperFigure, tree: xr.DataTree, folder: Path) -> None:
    import matplotlib.pyplot as plt

    with style():
        drawn = figure.draw(tree)
        try:
            drawn.savefig(folder / f"{figure.name}.pdf", metadata={"CreationDate": None})
            drawn.savefig(folder / f"{figure.name}.png", dpi=DOTS_PER_INCH)
        finally:
            plt.close(drawn)
