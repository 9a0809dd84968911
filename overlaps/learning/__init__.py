"""Learning: learning rules, the function `learn` that trains a state on a task by a rule, and the Datasets that it returns.

This room knows states, their dynamics and tasks, each only through the methods that all states, or all tasks, share. It may not
ask of which kind a state or a task is, and it may not know the studies. (Descriptions name the tasks of the library, so that
files can be read.)
"""

from overlaps.learning._again import (
    rerun as rerun,
    resume as resume,
)
from overlaps.learning._compiler import (
    BARRIERS_STAY as BARRIERS_STAY,
    compiled as compiled,
)
from overlaps.learning._course import saves_of as saves_of
from overlaps.learning._datasets import (
    VERSION as VERSION,
    final_state as final_state,
    grams as grams,
    initial_state as initial_state,
    layout_of as layout_of,
)
from overlaps.learning._describe import (
    describable as describable,
    describe as describe,
    difference as difference,
    restore as restore,
)
from overlaps.learning._learn import (
    DivergenceError as DivergenceError,
    learn as learn,
)
from overlaps.learning._observables import lags_of as lags_of
from overlaps.learning._phase import (
    Phase as Phase,
    Rule as Rule,
    runs_to_the_end as runs_to_the_end,
)
from overlaps.learning._rules import (
    GradientDescent as GradientDescent,
    GradientFlow as GradientFlow,
    checked_rates as checked_rates,
)
from overlaps.learning._symmetry import (
    conserved as conserved,
    metric as metric,
)
from overlaps.learning._trajectory import (
    Trajectory as Trajectory,
    trajectory as trajectory,
)
