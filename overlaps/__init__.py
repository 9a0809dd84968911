"""Low-dimensional theory of how low-rank recurrent networks learn: overlap matrices, exact learning flows, simulations."""

from importlib.metadata import version as _version

from overlaps import (
    integration as integration,
    plots as plots,
    studies as studies,
    tasks as tasks,
)
from overlaps.connectivity import (
    DenseNetwork as DenseNetwork,
    MeanField as MeanField,
    Network as Network,
    Overlaps as Overlaps,
    ReducedNetwork as ReducedNetwork,
)
from overlaps.dynamics import RNN as RNN, Transfer as Transfer
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
)
from overlaps.studies import (
    learn_mean_field as learn_mean_field,
    rerun as rerun,
    validate as validate,
)

__version__ = _version("overlaps")

_ROOMS = {"connectivity", "dynamics", "learning"}  # whose public names stand above


def __dir__() -> list[str]:
    """The public names."""
    return sorted(name for name in globals() if name not in _ROOMS and (name.startswith("__") or not name.startswith("_")))
