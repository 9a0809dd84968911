"""New tasks close to what a network does, whose first learning speeds say as much as possible about its invisible overlaps."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, in_float64, number
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.studies._answers import require_overlaps
from overlaps.tasks import LinearFilter

UNMOVED = 1e-12  # a direction counts as one of gauge if the loss bends along it by less than this fraction of the most
REVERSED = 1e-9  # an eigenvalue that is real, and below this, reverses or ends its mode within one Euler step


@in_float64
def assay_probes(net: Overlaps, rnn: RNN, size: float = 0.1, horizon: float = 20.0) -> dict[str, LinearFilter]:
    """Filter tasks close to the function of a linear network, for `perturbation_assay`.

    A probe asks for f + df, where f is the impulse response of the network and df a small change of it. The gradient dL/dB on
    the visible overlaps B then has directions that span all possible ones evenly: each of n orthogonal ones, and each sum of
    two. n is the number of independent changes of f, (R + O)(R + I) - R^2 for rank R, I inputs and O outputs. So there are
    n (n + 1) / 2 probes: 6, 15 and 28 for the ranks 1, 2 and 3 and one input and output. There are fewer if some changes of B
    hardly change f (less than a part of 1e-6 of what others do), as in networks of rank 2 or 3 with small or similar modes.
    The probes depend on the function and on the visible overlaps alone.

    - `net`: a single `Overlaps`, whose overlap matrix gives f, and which has an output.
    - `rnn`: a linear one. Its Euler steps, if any, must be so short that no mode ends or changes its sign within one step.
    - `size`: the root mean square of df, divided by that of f.
    - `horizon`: the duration over which responses are compared; with Euler steps, a multiple of dt.

    Returns a dictionary from names such as "1" and "1+2" to tasks. Raises ValueError for other states, for another rnn, and for
    a network without output.

    >>> import overlaps as ov
    >>> list(assay_probes(ov.Overlaps.random(0), ov.RNN(dt=0.1)))
    ['1', '1+2', '1+3', '2', '2+3', '3']
    """
    require_overlaps(net)
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    rnn.require_linear()
    size = number("size", size, above=0.0)
    visible = net.layout.size - net.layout.driving, net.layout.driving  # the shape of B
    own = _filter(net, np.zeros(visible), rnn, horizon)
    silent = LinearFilter(own.A, own.B, np.zeros_like(own.C), horizon)  # its loss is the squared norm of f
    norm = float(silent.loss(net, rnn))
    if not norm > 0:
        raise argument_error("net", "have an output, so that it can be changed by a part", "its impulse response is 0")
    bends, directions = np.linalg.eigh(_hessian(own.objective(net, rnn), net))
    moved = bends > UNMOVED * bends[-1]
    bends, directions = bends[moved][::-1], directions[:, moved].T[::-1]
    probes = {}
    for first in range(len(bends)):
        for second in range(first, len(bends)):
            slope = (np.arange(len(bends)) == first) + 1.0 * (np.arange(len(bends)) == second)
            # The gradient is the Hessian times the change, and the loss is half of the change times the gradient.
            step = size * np.sqrt(2 * norm / (slope**2 / bends).sum()) * (slope / bends) @ directions
            name = f"{first + 1}" if first == second else f"{first + 1}+{second + 1}"
            probes[name] = _filter(net, step.reshape(visible), rnn, horizon)
    return probes


def _filter(net: Overlaps, change: Float[np.ndarray, "read driving"], rnn: RNN, horizon: float) -> LinearFilter:
    """The task with the response f + df, where df is the first-order effect of a change of the visible overlaps B."""
    one, rank, still = rnn.system(net), net.rank, net.layout.external
    turned = np.concatenate([np.zeros((still, change.shape[1])), change[:rank]]) / rnn.tau
    # The first copy of the system is driven by the second one through the change of A.
    both = np.block([[one.A, turned], [np.zeros_like(one.A), one.A]])
    if rnn.dt is not None:  # the system in continuous time that Euler steps sample
        factors = np.linalg.eigvals(np.eye(len(one.A)) + rnn.dt * one.A)
        if np.any((factors.real < REVERSED) & (np.abs(factors.imag) < REVERSED)):
            must, came = "have steps in which no mode of the network ends or changes its sign", f"dt = {rnn.dt:g} came"
            raise argument_error("rnn", must, came, "Lower dt, or take RNN() without steps.")
        both = np.real(scipy.linalg.logm(np.eye(len(both)) + rnn.dt * both)) / rnn.dt
    return LinearFilter(both, np.concatenate([np.zeros_like(one.B), one.B]), np.hstack([one.C, one.C + change[rank:]]), horizon)


@eqx.filter_jit
def _hessian(objective: Any, net: Overlaps) -> Float[AnyArray, "entries entries"]:
    """The Hessian of the loss in the entries of B, the visible overlaps."""
    layout, gram = net.layout, jnp.asarray(net.gram)
    split = layout.driving
    shape = layout.size - split, split

    def loss(entries: Float[AnyArray, " entries"]) -> AnyArray:
        block = jnp.reshape(entries, shape)
        return objective(Overlaps(gram.at[split:, :split].set(block).at[:split, split:].set(block.T), *layout))

    return jax.hessian(loss)(jnp.ravel(gram[split:, :split]))
