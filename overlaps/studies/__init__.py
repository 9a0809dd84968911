"""Studies answer questions that need many runs, such as what invisible overlaps do, or how large the errors of the theory are.

An overlap is the scalar product of two connectivity vectors, divided by the number N of neurons. An overlap is visible if the
function of the network (the map from its inputs to its outputs) depends on it. All other overlaps are invisible.

- Errors of the overlap theory (docs/large_n.md): `validate`, `learn_mean_field`.
- Networks with the same function (docs/invisible_overlaps.md): `equivalent`, `function_distance`, `functionally_equal`,
  `gauge`, `canonical`, `poles`, `admissible`, `sample_equivalent`, `degeneracy`.
- Motion of a network among the solutions of a task (docs/invisible_overlaps.md): `solution_manifold`, `holonomy`,
  `predicted_holonomy`, `label_noise_drift`, `label_noise_flow`.
- What a network remembers of earlier tasks (docs/training_history.md): `memory`, `memory_table`, `train_twins`, `twin_starts`,
  `twin_tasks`, `twin_states`, `annealed_descent`, `decode_history`.
- What learning shows of invisible overlaps in an experiment (docs/predictions.md): `savings`, `transfer`.
- `rerun` repeats a run or a study from the description in its Dataset.

This room runs `learn` and reads the Datasets that it returns. It may not import figures (`overlaps.plots`), and it may not know
how `learn` carries out a rule.
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
from overlaps.studies._savings import savings as savings
from overlaps.studies._slice import (
    admissible as admissible,
    sample_equivalent as sample_equivalent,
)
from overlaps.studies._solutions import solution_manifold as solution_manifold
from overlaps.studies._transfer import transfer as transfer
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
