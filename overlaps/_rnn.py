"""The model: how connectivity becomes activity and output, and which overlaps that reads."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._checks import argument_error, choice, number, numpy_for
from overlaps._connectivity import Network, Overlaps, State
from overlaps._layout import Layout
from overlaps._typing import AnyArray


class LinearSystem(NamedTuple):
    """dx/dt = A x, x(0) = B, y = C x: the response of a linear network to unit impulses, one column per input."""

    A: Float[AnyArray, "n n"]
    B: Float[AnyArray, "n I"]
    C: Float[AnyArray, "O n"]


class RNN(eqx.Module):
    """The dynamics tau dh/dt = -h + u v^T phi(h) / N + m x, y = z^T phi(h) / N, with h(0) = 0 ([GB26]).

    `phi`: the transfer function, "linear". `tau`: the time constant; all times and rates of tasks are in the same unit as
    tau. `dt=None` is continuous time; a number is the step of forward Euler, the discretisation that networks are trained
    with: h + (dt / tau) (-h + W h + m x), output read from the updated state. Raises ValueError for an unknown phi, for
    tau <= 0 and for dt outside (0, tau].

    All three are part of a compiled program: a call with other values compiles anew.
    """

    phi: str = eqx.field(static=True)
    tau: float = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    def __init__(self, phi: str = "linear", tau: float = 1.0, dt: float | None = None):
        self.phi = choice("phi", phi, ("linear",))
        self.tau = number("tau", tau, above=0.0)
        self.dt = None if dt is None else number("dt", dt, above=0.0)
        if self.dt is not None and self.dt > self.tau:
            raise argument_error("dt", f"be at most tau = {self.tau:g}", f"{self.dt:g} came", "Euler steps overshoot there.")

    def system(self, state: State) -> LinearSystem:
        """The continuous-time impulse response system of a linear network.

        For overlaps it has I + R states, the filtered inputs k_m and the latents k of h = m k_m + u k:
        A = [[-1, 0], [vm, vu - 1]] / tau, B = [1; 0] / tau, C = [zm, zu]. For a network it has all N units.
        """
        xp = numpy_for(state)
        if isinstance(state, Network):
            return LinearSystem((state.W - xp.eye(state.n)) / self.tau, state.m / self.tau, state.z.T / state.n)
        net = state.overlaps()
        inputs, rank, _ = net.layout
        recurrent = xp.concatenate([xp.zeros((inputs, inputs + rank)), xp.concatenate([net["vm"], net["vu"]], 1)])
        return LinearSystem(
            (recurrent - xp.eye(inputs + rank)) / self.tau,
            xp.eye(inputs + rank, inputs) / self.tau,
            xp.concatenate([net["zm"], net["zu"]], 1),
        )

    def visible(self, layout: Layout) -> tuple[bool, ...]:
        """For each pair of `layout.pairs`, whether activity and output depend on that overlap.

        Derived, not listed: the derivative of the reduced system with respect to each overlap at a generic overlap matrix.
        """
        return _visible(self, layout)


@functools.lru_cache
def _visible(rnn: RNN, layout: Layout) -> tuple[bool, ...]:
    vectors = np.random.default_rng(0).standard_normal((2 * layout.size, layout.size))

    def system(gram: Float[AnyArray, "D D"]) -> LinearSystem:
        return rnn.system(Overlaps(gram, *layout))

    gram = vectors.T @ vectors
    with jax.enable_x64(True):
        # Compiled ahead of time, it runs at once even where a user's jit surrounds this call.
        slopes = jax.jit(jax.jacfwd(system)).lower(gram).compile()(gram)
    size = layout.size
    read = sum(np.any(np.asarray(slope) != 0.0, axis=(0, 1)) for slope in slopes) > np.zeros((size, size))
    return tuple(bool(read[pair.row, pair.column] or read[pair.column, pair.row]) for pair in layout.pairs)
