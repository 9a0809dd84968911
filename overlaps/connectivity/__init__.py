"""States: descriptions of the connectivity of a network, from a small matrix of overlaps to the weights of all neurons.

An overlap is the scalar product of two connectivity vectors, divided by the number of neurons. A state knows its own numbers.
It knows how its connectivity drives the activity and how it reads the activity. It also knows which of its quantities a run
records, and how a file stores it. This room may not know transfer functions, tasks or learning rules. It receives them as
arguments where it needs them.
"""

from overlaps.connectivity._bulk import RandomBulk as RandomBulk
from overlaps.connectivity._bulk_overlaps import BulkOverlaps as BulkOverlaps
from overlaps.connectivity._charges import (
    charge_variables as charge_variables,
    gram_charges as gram_charges,
    without_spectrum as without_spectrum,
)
from overlaps.connectivity._dense import (
    DenseNetwork as DenseNetwork,
    ReducedNetwork as ReducedNetwork,
)
from overlaps.connectivity._fock import fock_bulk as fock_bulk
from overlaps.connectivity._gram import square_root as square_root
from overlaps.connectivity._layout import Layout as Layout
from overlaps.connectivity._mean_field import MeanField as MeanField
from overlaps.connectivity._network import Network as Network
from overlaps.connectivity._overlaps import Overlaps as Overlaps
from overlaps.connectivity._populations import Populations as Populations
from overlaps.connectivity._projection import Projection as Projection
from overlaps.connectivity._protocols import (
    FiniteNetwork as FiniteNetwork,
    Results as Results,
    Variable as Variable,
)
from overlaps.connectivity._state import (
    State as State,
    require_no_constants as require_no_constants,
)
