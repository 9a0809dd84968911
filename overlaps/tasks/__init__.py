"""What networks learn."""

from overlaps.tasks._filters import (
    LinearFilter as LinearFilter,
    damped_oscillation as damped_oscillation,
    exponential_filter as exponential_filter,
    linear_filter as linear_filter,
)
from overlaps.tasks._label_noise import (
    LabelNoise as LabelNoise,
    label_noise as label_noise,
)
from overlaps.tasks._task import Task as Task
