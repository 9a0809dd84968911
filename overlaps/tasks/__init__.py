"""Tasks: what networks learn, as losses of states.

This room knows states and their dynamics. It may not know learning rules: a task never asks how it will be learned.
"""

from overlaps.tasks._decision_making import (
    DecisionMaking as DecisionMaking,
    decision_making as decision_making,
)
from overlaps.tasks._filter_losses import (
    SampledLoss as SampledLoss,
    quick_to_compile as quick_to_compile,
    quick_to_run as quick_to_run,
)
from overlaps.tasks._filters import (
    LinearFilter as LinearFilter,
    damped_oscillation as damped_oscillation,
    exponential_filter as exponential_filter,
    linear_filter as linear_filter,
)
from overlaps.tasks._flip_flop import (
    FlipFlop as FlipFlop,
    flip_flop as flip_flop,
)
from overlaps.tasks._label_noise import (
    LabelNoise as LabelNoise,
    label_noise as label_noise,
)
from overlaps.tasks._neurogym import from_neurogym as from_neurogym
from overlaps.tasks._pool import TrialPool as TrialPool
from overlaps.tasks._task import (
    Task as Task,
    first_of as first_of,
)
from overlaps.tasks._teacher import (
    Teacher as Teacher,
    teacher as teacher,
)
from overlaps.tasks._trials import (
    FreshTrials as FreshTrials,
    TrialGenerator as TrialGenerator,
    Trials as Trials,
    squared_error as squared_error,
)
from overlaps.tasks._white_noise import (
    WhiteNoise as WhiteNoise,
    summed_error as summed_error,
    white_noise as white_noise,
)
