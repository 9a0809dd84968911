"""States: what a network is connected like, at every resolution, and all that others may ask of it.

A state says what it consists of, how it reads and drives activity, what of a run it records, and how it is stored. This room
may not know transfer functions, tasks or learning rules: it receives them as arguments where it needs them.
"""

from overlaps.connectivity._charges import (
    charge_variables as charge_variables,
    gram_charges as gram_charges,
)
from overlaps.connectivity._dense import (
    DenseNetwork as DenseNetwork,
    ReducedNetwork as ReducedNetwork,
)
from overlaps.connectivity._gram import square_root as square_root
from overlaps.connectivity._layout import Layout as Layout
from overlaps.connectivity._network import (
    MeanField as MeanField,
    Network as Network,
    Neurons as Neurons,
)
from overlaps.connectivity._overlaps import Overlaps as Overlaps
from overlaps.connectivity._projection import Projection as Projection
from overlaps.connectivity._quadrature import refinements as refinements
from overlaps.connectivity._state import (
    FiniteNetwork as FiniteNetwork,
    Results as Results,
    State as State,
    Variable as Variable,
)
