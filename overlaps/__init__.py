"""Low-dimensional theory of how low-rank recurrent networks learn: overlap matrices, exact learning flows, simulations."""

from importlib.metadata import version as _version

from overlaps import (
    integration as integration,
    plots as plots,
    studies as studies,
    tasks as tasks,
)
from overlaps._connectivity import (
    MeanField as MeanField,
    Network as Network,
    Overlaps as Overlaps,
)
from overlaps._dense import (
    DenseNetwork as DenseNetwork,
    ReducedNetwork as ReducedNetwork,
)
from overlaps._rnn import RNN as RNN
from overlaps._transfer import Transfer as Transfer
from overlaps._validate import (
    learn_mean_field as learn_mean_field,
    validate as validate,
)
from overlaps.learning import (
    DivergenceError as DivergenceError,
    GradientDescent as GradientDescent,
    GradientFlow as GradientFlow,
    Phase as Phase,
    conserved as conserved,
    final_state as final_state,
    initial_state as initial_state,
    learn as learn,
    metric as metric,
    rerun as rerun,
)

__version__ = _version("overlaps")
