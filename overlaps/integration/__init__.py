"""Theories of networks whose whole matrix learns to integrate white noise, or to oscillate ([BCPZ25]; docs/integration.md).

This room runs `learn` beside its own small systems. It may not know studies or figures.
"""

from overlaps.integration._closed_forms import (
    Limit as Limit,
    escape_rate as escape_rate,
    outlier_limit as outlier_limit,
    outlier_time as outlier_time,
    plateau_rate as plateau_rate,
    small_start_time as small_start_time,
)
from overlaps.integration._infinite import infinite_network as infinite_network
from overlaps.integration._lazy import (
    lazy_exponent as lazy_exponent,
    lazy_kernels as lazy_kernels,
    lazy_learning_curve as lazy_learning_curve,
    learnable as learnable,
)
from overlaps.integration._regimes import compare_regimes as compare_regimes
from overlaps.integration._systems import (
    orthogonal_flow as orthogonal_flow,
    outlier_flow as outlier_flow,
    pair_flow as pair_flow,
    plateau_flow as plateau_flow,
)
