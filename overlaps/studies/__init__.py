"""Studies: questions that a scientist asks of many runs, such as what invisible overlaps do, or which error is which.

This room runs `learn` and reads its Datasets (docs/invisible_overlaps.md, docs/training_history.md, docs/large_n.md).
It may not know figures, nor how a rule is carried out.
"""

from overlaps.studies._decoding import decode_history as decode_history
from overlaps.studies._degeneracy import degeneracy as degeneracy
from overlaps.studies._equivalence import (
    canonical as canonical,
    equivalent as equivalent,
    function_distance as function_distance,
    functionally_equal as functionally_equal,
    gauge as gauge,
    poles as poles,
)
from overlaps.studies._holonomy import (
    holonomy as holonomy,
    predicted_holonomy as predicted_holonomy,
)
from overlaps.studies._label_noise_drift import (
    label_noise_drift as label_noise_drift,
    label_noise_flow as label_noise_flow,
)
from overlaps.studies._memory import memory as memory
from overlaps.studies._memory_table import memory_table as memory_table
from overlaps.studies._rerun import rerun as rerun
from overlaps.studies._slice import (
    admissible as admissible,
    sample_equivalent as sample_equivalent,
)
from overlaps.studies._solutions import solution_manifold as solution_manifold
from overlaps.studies._twins import (
    annealed_descent as annealed_descent,
    train_twins as train_twins,
    twin_starts as twin_starts,
    twin_states as twin_states,
    twin_tasks as twin_tasks,
)
from overlaps.studies._validate import (
    learn_mean_field as learn_mean_field,
    validate as validate,
)
