"""Figures of the papers, each made from runs of the library: `python -m overlaps figures`.

`FIGURES` lists them, and `make` computes and draws them. One figure, or two that are closely related, is one file. It says how
its data are computed, how they are drawn, and what differs from the paper (docs/figures.md).

This room uses the public functions of all other rooms. No other room may import it, and it may not contain methods that others
need: these belong to the studies.
"""

from overlaps.figures._catalogue import FIGURES as FIGURES
from overlaps.figures._make import (
    chosen as chosen,
    make as make,
)
from overlaps.figures._paper_figure import PaperFigure as PaperFigure
