"""How low-rank recurrent neural networks learn: a theory of few numbers, and full simulations that check it.

The network has N neurons with the activity h, the input x and the output y:

    tau dh/dt = -h + W phi(h) + m x,     W = u v^T / N,     y = z^T phi(h) / N.

An overlap is the scalar product of two of the vectors m, u, v, z, divided by N. The library trains either the matrix of all
overlaps (the theory, without neurons) or the network itself, by the same function `learn`. For linear networks the two agree to
rounding. For nonlinear networks the theory is an approximation, the Gaussian closure, which takes the vectors to be Gaussian
over neurons.

>>> import overlaps as ov
>>> net = ov.Overlaps.random(0, rank=1)  # overlaps of random vectors
>>> task = ov.tasks.exponential_filter(rate=0.2, horizon=5.0)  # the wanted response to an impulse is exp(-0.2 t)
>>> rnn = ov.RNN(dt=0.1)  # a linear network in Euler steps of 0.1
>>> rule = ov.GradientDescent(learning_rate=5e-3, steps=20)
>>> theory = ov.learn(net, task, rnn, rule)  # trains a 4 x 4 matrix
>>> simulation = ov.learn(net.sample(30, key=1), task, rnn, rule)  # trains 30 neurons with the same overlaps
>>> bool(abs(theory.sigma - simulation.sigma).max() < 1e-12)
True

- Networks: `Overlaps`, `Network` (its vectors), `MeanField` (infinitely many neurons), `Populations` (a mixture of Gaussian
  populations of neurons), `DenseNetwork` (all of W learns), `ReducedNetwork` (a small network that learns as a `DenseNetwork`
  does), `BulkOverlaps` (a network with a random part of W that does not learn, which a `RandomBulk` draws).
- Model: `RNN`, with a nonlinearity `Transfer`.
- Training: `tasks`, `GradientDescent`, `GradientFlow`, `Phase` (one of several tasks in a row), `learn`, `learn_mean_field`.
- Many runs: `sweep` trains networks at many settings, in one process or on a cluster.
- Results: `initial_state`, `final_state`, `rerun`, `DivergenceError`; `conserved` and `metric` analyse the learning dynamics.
- Checks: `validate` tells the error of finite size from that of the Gaussian closure.
- Derivatives: `trajectory` is `learn` as a pure JAX function. `inference` measures overlaps from observed learning.
- `integration`: theories of networks whose whole W learns. `bulk`: theories of networks with a random part of W.
- `studies`: networks with equal outputs, and memory of earlier tasks. `interop`: trained networks from PyTorch, and back.
  `plots`: figures.
"""

from importlib.metadata import version as _version

from overlaps import (
    bulk as bulk,
    inference as inference,
    integration as integration,
    interop as interop,
    plots as plots,
    studies as studies,
    tasks as tasks,
)
from overlaps.connectivity import (
    BulkOverlaps as BulkOverlaps,
    DenseNetwork as DenseNetwork,
    MeanField as MeanField,
    Network as Network,
    Overlaps as Overlaps,
    Populations as Populations,
    RandomBulk as RandomBulk,
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
    resume as resume,
    trajectory as trajectory,
)
from overlaps.studies import (
    learn_mean_field as learn_mean_field,
    rerun as rerun,
    validate as validate,
)
from overlaps.sweeps import sweep as sweep

__version__ = _version("overlaps")

# Packages whose public names are imported above, and the one that the command line alone uses.
_ROOMS = {"connectivity", "dynamics", "learning", "sweeps", "figures"}


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(name for name in globals() if name not in _ROOMS and (name.startswith("__") or not name.startswith("_")))
