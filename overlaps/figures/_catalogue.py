"""The list of all figures."""

from overlaps.figures._degeneracy import FIGURE as DEGENERACY
from overlaps.figures._filter_task import FIGURE as FILTER_TASK
from overlaps.figures._history import ADAM as HISTORY_ADAM, FIGURE as HISTORY
from overlaps.figures._loss_landscape import FIGURE as LOSS_LANDSCAPE
from overlaps.figures._metric import FIGURE as METRIC
from overlaps.figures._paper_figure import PaperFigure

FIGURES: tuple[PaperFigure, ...] = (LOSS_LANDSCAPE, FILTER_TASK, DEGENERACY, HISTORY, HISTORY_ADAM, METRIC)
