"""Theories of linear networks whose whole matrix W learns to integrate white noise, or to oscillate ([BCPZ25]).

The page docs/integration.md derives all of them. The network is tau dh/dt = -h + W h + m x with the output z^T h / N. It learns
the impulse response f*(t) = exp(-rate t), or exp(-rate t) cos(frequency t). The docstrings use these words and symbols:

- The *bulk* is the disk of radius sigma that the eigenvalues of a random W fill. The *outlier* is the eigenvalue (or the
  conjugate pair) of W that couples input and readout most.
- Learning is *rich* if W changes at order one. It is *lazy* if the output changes while W hardly does.
- Times within a trial are in units of tau. Learning time s is learning rate x step. f is the impulse response of the network.
- mu = rate + i frequency. r_W, r_m and r_z are the relative learning rates of W, m and z. The argument `rates` names them "W",
  "m" and "z"; a rate that is not named is 1, and 0 freezes.

The functions are:

- Small systems that some networks follow exactly: `outlier_flow`, `pair_flow`, `orthogonal_flow`, `plateau_flow`.
- Closed forms of where learning ends, and when: `outlier_limit`, `outlier_time`, `escape_rate`, `plateau_rate`,
  `small_start_time`.
- Lazy learning: `lazy_kernels`, `lazy_exponent`, `learnable`, `lazy_learning_curve`.
- `infinite_network` stands for infinitely many neurons, and `compare_regimes` compares theories with a simulation.

This room runs `learn` beside its own small systems. It may not import studies or figures.
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
