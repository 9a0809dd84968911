"""Figures: each function draws a result of the library, by matplotlib.

Most functions draw into the matplotlib Axes `ax` that you pass, or make new Axes, and return them. Functions that draw several
panels make a Figure and return it. The code reads numbers, names and units from the result. It may not compute anything but
what it draws.

Legends stand beside the Axes or above them, where they hide nothing: make figures with layout="constrained", which leaves room
for them.

- Learning curves: `plot_learning` (loss), `plot_overlaps`, `plot_comparison` (theory and simulation).
- What gradient flow conserves, and which overlap moves which: `plot_conserved`, `plot_metric`.
- Activity: `plot_trial`, `plot_phase_portrait`.
- Networks whose whole W learns: `plot_eigenvalues`, `plot_outlier`, `plot_regimes`.
- Networks with a random bulk: `plot_bulk_speed`, `plot_explained`.
- The infinite limit, and how Gaussian the neurons are: `plot_validation`, `plot_quantiles`, `plot_histograms`.
- Populations of neurons, and how many of them a network needs: `plot_populations`, `plot_population_fits`.
- Many runs: `plot_sweep`.
- What curves of learning tell about overlaps: `plot_identifiability`, `plot_fit`. Which experiment tells histories
  apart: `plot_discriminate`, `plot_design`.
- One look for all figures: `style`, and the colour of each overlap: `overlap_colour`, `overlap_style`.
- Results of `overlaps.studies`: `plot_admissible`, `plot_directions`, `plot_holonomy`, `plot_degeneracy`, `plot_memory`,
  `plot_memory_table`, `plot_decoding`, `plot_savings`, `plot_transfer`, `plot_perturbation_assay`.
"""

from overlaps.plots._activity import (
    plot_phase_portrait as plot_phase_portrait,
    plot_trial as plot_trial,
)
from overlaps.plots._bulk_speed import plot_bulk_speed as plot_bulk_speed
from overlaps.plots._decoding import plot_decoding as plot_decoding
from overlaps.plots._degeneracy import plot_degeneracy as plot_degeneracy
from overlaps.plots._experiments import (
    plot_design as plot_design,
    plot_discriminate as plot_discriminate,
)
from overlaps.plots._explained import plot_explained as plot_explained
from overlaps.plots._inference import plot_identifiability as plot_identifiability
from overlaps.plots._inference_fit import plot_fit as plot_fit
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
from overlaps.plots._perturbation_assay import plot_perturbation_assay as plot_perturbation_assay
from overlaps.plots._populations import (
    plot_population_fits as plot_population_fits,
    plot_populations as plot_populations,
)
from overlaps.plots._relearning import (
    plot_savings as plot_savings,
    plot_transfer as plot_transfer,
)
from overlaps.plots._solutions import (
    plot_admissible as plot_admissible,
    plot_directions as plot_directions,
    plot_holonomy as plot_holonomy,
)
from overlaps.plots._style import (
    overlap_colour as overlap_colour,
    overlap_style as overlap_style,
    style as style,
)
from overlaps.plots._sweeps import plot_sweep as plot_sweep
from overlaps.plots._validation import (
    plot_histograms as plot_histograms,
    plot_quantiles as plot_quantiles,
    plot_validation as plot_validation,
)
