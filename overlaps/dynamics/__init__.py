"""From connectivity to activity: transfer functions and their gains, latents, output, fixed points, Gramians, simulations.

(The latents are the few numbers that make up the activity; Gramians are sums and integrals that give the loss of a linear
network.) This room uses states only through the methods of `State`. It may not know tasks, losses or learning rules.
"""

from overlaps.dynamics._activity import require_single as require_single
from overlaps.dynamics._fixed_points import distinct as distinct
from overlaps.dynamics._gramians import (
    LARGEST_TAYLOR_NORM as LARGEST_TAYLOR_NORM,
    Course as Course,
    finite_integral as finite_integral,
    finite_sum as finite_sum,
    infinite_integral as infinite_integral,
    infinite_sum as infinite_sum,
    integral_course as integral_course,
    orbit as orbit,
    sum_course as sum_course,
)
from overlaps.dynamics._impulse_response import (
    impulse_response as impulse_response,
    samples_at as samples_at,
)
from overlaps.dynamics._rnn import RNN as RNN
from overlaps.dynamics._simulation import (
    LARGEST_PANEL_NORM as LARGEST_PANEL_NORM,
    euler_response as euler_response,
    exact_response as exact_response,
    quadrature as quadrature,
)
from overlaps.dynamics._transfer import (
    Transfer as Transfer,
    transfer_of as transfer_of,
)
