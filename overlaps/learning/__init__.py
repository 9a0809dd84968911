"""How networks learn: rules, and the verb that applies them."""

from overlaps.learning._datasets import (
    final_state as final_state,
    initial_state as initial_state,
)
from overlaps.learning._learn import (
    DivergenceError as DivergenceError,
    learn as learn,
    rerun as rerun,
)
from overlaps.learning._phase import Phase as Phase
from overlaps.learning._rules import (
    GradientDescent as GradientDescent,
    GradientFlow as GradientFlow,
)
from overlaps.learning._symmetry import (
    conserved as conserved,
    metric as metric,
)
