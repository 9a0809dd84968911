"""The list of all figures."""

from overlaps.figures._metric import FIGURE as METRIC
from overlaps.figures._paper_figure import PaperFigure

FIGURES: tuple[PaperFigure, ...] = (METRIC,)
