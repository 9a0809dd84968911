"""The list of all figures."""

from overlaps.figures._degeneracy import FIGURE as DEGENERACY
from overlaps.figures._filter_task import FIGURE as FILTER_TASK
from overlaps.figures._flip_flop import FIGURE as FLIP_FLOP
from overlaps.figures._history import ADAM as HISTORY_ADAM, FIGURE as HISTORY
from overlaps.figures._history_decoding import FIGURE as DECODING
from overlaps.figures._learning_rules import FIGURE as LEARNING_RULES
from overlaps.figures._loss_landscape import FIGURE as LOSS_LANDSCAPE
from overlaps.figures._metric import FIGURE as METRIC
from overlaps.figures._outlier import FIGURE as OUTLIER
from overlaps.figures._pair import FIGURE as PAIR
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._rank_2 import FIGURE as RANK_2
from overlaps.figures._regimes import FIGURE as REGIMES
from overlaps.figures._spectra import FIGURE as SPECTRA
from overlaps.figures._student_courses import FIGURE as STUDENT_COURSES

FIGURES: tuple[PaperFigure, ...] = (
    *(LOSS_LANDSCAPE, FILTER_TASK, DEGENERACY, HISTORY, HISTORY_ADAM),
    *(FLIP_FLOP, LEARNING_RULES, DECODING, STUDENT_COURSES, METRIC, RANK_2),
    *(OUTLIER, SPECTRA, REGIMES, PAIR),
)
