"""Figures: each function draws a Dataset of the library and returns the axes.

This room reads names, units and numbers from Datasets. It may not compute anything but what it draws.
"""

from overlaps.plots._activity import (
    plot_phase_portrait as plot_phase_portrait,
    plot_trial as plot_trial,
)
from overlaps.plots._decoding import plot_decoding as plot_decoding
from overlaps.plots._degeneracy import plot_degeneracy as plot_degeneracy
from overlaps.plots._integration import (
    plot_eigenvalues as plot_eigenvalues,
    plot_outlier as plot_outlier,
    plot_regimes as plot_regimes,
)
from overlaps.plots._learning import (
    plot_comparison as plot_comparison,
    plot_conserved as plot_conserved,
    plot_learning as plot_learning,
    plot_metric as plot_metric,
    plot_overlaps as plot_overlaps,
)
from overlaps.plots._memory import (
    plot_memory as plot_memory,
    plot_memory_table as plot_memory_table,
)
from overlaps.plots._solutions import (
    plot_admissible as plot_admissible,
    plot_directions as plot_directions,
    plot_holonomy as plot_holonomy,
)
from overlaps.plots._validation import (
    plot_histograms as plot_histograms,
    plot_quantiles as plot_quantiles,
    plot_validation as plot_validation,
)
