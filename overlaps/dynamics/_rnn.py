"""The model: how connectivity becomes activity and output, and which overlaps that reads."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, in_float64, number, numpy_for, real_array, said
from overlaps.connectivity import Layout, Overlaps, Projection, State
from overlaps.dynamics import _fixed_points
from overlaps.dynamics._activity import projection, require_single, rollout
from overlaps.dynamics._transfer import Function, Transfer, require_gain, rough, transfer_of

INVISIBLE = 1e-9  # relative size below which a derivative counts as rounding


class LinearSystem(NamedTuple):
    """dx/dt = A x, x(0) = B, y = C x: the response of a linear network to unit impulses, one column per input."""

    A: Float[AnyArray, "n n"]
    B: Float[AnyArray, "n I"]
    C: Float[AnyArray, "O n"]


class RNN(eqx.Module):
    """The dynamics tau dh/dt = -h + u v^T phi(h) / N + m x, y = z^T phi(h) / N, with h(0) = 0 ([GB26]).

    `phi`: the transfer function: "linear", "erf" (erf(sqrt(pi) x / 2), of slope 1 at 0), "tanh", "relu", "softplus", any
    function made of jax.numpy, or a `Transfer` that brings its own gain. `tau`: the time constant; all times and rates of
    tasks are in the same unit as tau. `dt=None` is continuous time; a number is the step of forward Euler, the discretisation
    that networks are trained with: h + (dt / tau) (-h + W phi(h) + m x), output read from the updated state.

    For overlaps the activity is that of the Gaussian closure, exact for linear phi and for N -> infinity as long as the
    vectors are jointly Gaussian with zero mean (docs/activity.md). Raises ValueError for an unknown phi, one that is not
    finite, or does not act entry by entry, for tau <= 0 and for dt outside (0, tau].

    All three are part of a compiled program: a call with other values, or another function object, compiles anew.
    """

    phi: str | Function | Transfer = eqx.field(static=True)
    tau: float = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)

    def __init__(self, phi: Any = "linear", tau: float = 1.0, dt: float | None = None):
        transfer_of(phi)
        self.phi = phi
        self.tau = number("tau", tau, above=0.0)
        self.dt = None if dt is None else number("dt", dt, above=0.0)
        if self.dt is not None and self.dt > self.tau:
            raise argument_error("dt", f"be at most tau = {self.tau:g}", f"{self.dt:g} came", "Euler steps overshoot there.")

    def system(self, state: State) -> LinearSystem:
        """The continuous-time impulse response system of a linear network.

        For overlaps it has I + R states, the filtered inputs k_m and the latents k of h = m k_m + u k:
        A = [[-1, 0], [vm, vu - 1]] / tau, B = [1; 0] / tau, C = [zm, zu]. For networks it has all N units. Raises ValueError
        for other phi, which have no such system.
        """
        self.require_linear()
        recurrent, inputs, readout = state.linear_system()
        leak = numpy_for(state).eye(recurrent.shape[-1])
        return LinearSystem((recurrent - leak) / self.tau, inputs / self.tau, readout)

    def require_linear(self) -> None:
        """Raise ValueError unless phi is linear."""
        if self.phi != "linear":
            raise argument_error(
                "rnn",
                "have a linear phi to have an impulse response",
                f"phi is {self.phi!r}",
                "Train other networks on samples: overlaps.tasks.white_noise(task, key, dt=...).",
            )

    def projection(self, state: State) -> Projection:
        """The map from points kappa = [k_m, k], (points, I + R), to (1/N) [v z]^T phi(h), (points, R + O).

        h = m k_m + u k is the activity, k_m are the filtered inputs, k the latents; tau dk/dt is the first R of these minus k,
        the output the other O. Differentiable, in jax.numpy. Raises ValueError for overlaps if the gain of phi is not known
        to quadrature.
        """
        transfer = transfer_of(self.phi)
        if state.needs_gain:
            require_gain(transfer)
        state.check_transfer(self.phi)
        return projection(transfer, state)

    def simulate(
        self, state: State, inputs: Float[AnyArray, "trials time I"], dt: float
    ) -> tuple[Float[AnyArray, "trials time kappa"], Float[AnyArray, "trials time O"]]:
        """Latents kappa = [k_m, k] and outputs after each input sample, `dt` apart; differentiable, in jax.numpy."""
        return rollout(self.projection(state), inputs, state.layout.rank, dt, self.tau, self.dt is None)

    @in_float64
    def rate(self, activity: Any) -> Float[AnyArray, "*shape"]:
        """Phi of an array."""
        return transfer_of(self.phi).function(jnp.asarray(real_array("activity", activity)))

    @in_float64
    def gain(self, variance: Any) -> Float[AnyArray, "*shape"]:
        """g(Delta) = E[phi'(sqrt(Delta) xi)], xi standard normal, for an array of variances Delta of the activity.

        A gain without a closed form is right to 1e-6 or better for Delta up to 900, to 1e-11 for "tanh" up to 1e4
        (docs/activity.md); for a negative variance it is meaningless. Raises ValueError if quadrature cannot know it.
        """
        transfer = transfer_of(self.phi)
        require_gain(transfer)
        return transfer.gain(jnp.asarray(real_array("variance", variance)))  # pyright: ignore[reportOptionalCall]

    def latents(self, state: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The latent variables kappa = [k_m, k] of the activity h = m k_m + u k, after each input sample.

        `inputs`: (time, I), or (trials, time, I), array-like; (time,) for a single input. `dt`: the time between samples, for
        continuous time alone, in which inputs are held for that long. Returns a DataArray (trial, time, latent) with the names
        of the vectors m and u along `latent`. Raises ValueError for shapes that do not fit and for a batch of networks.
        """
        return self._labelled(state, inputs, dt)[0]

    def output(self, state: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The output y after each input sample, a DataArray (trial, time, readout); arguments and errors as in `latents`."""
        return self._labelled(state, inputs, dt)[1]

    def activity(self, network: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The activity h of all N units after each input sample, a DataArray (trial, time, neuron).

        Arguments and errors are as in `latents`; phi(h) is `rate(activity)`.
        """
        if not (isinstance(network, State) and network.simulated):
            mend = "Sample one with overlaps.sample(n, key), or ask for `latents`."
            raise argument_error("network", "be a Network or a DenseNetwork", f"{type(network).__name__} came", mend)
        latents = self.latents(network, inputs, dt)
        driven: Any = network
        drivers = xr.DataArray(np.asarray(driven.drivers), dims=("neuron", "latent"))
        activity = latents.drop_vars("latent").dot(drivers, dim="latent")
        return activity.assign_attrs(long_name="activity h", units="1").rename("activity")

    def fixed_points(
        self, state: State, input: Any = 0.0, starts: int | None = None, extent: float | None = None
    ) -> xr.Dataset:
        """All fixed points of the latents under a constant input that a search from many starts finds.

        `input`: a number, or one per input. `starts`: how many starts, by default 256 at ranks 1 and 2 and twice as many for
        each rank more, up to 4096; they are spread evenly (Sobol points) over |k_r| <= `extent`, by default twice the largest
        latents that a phi between -1 and 1 can reach. Returns a Dataset with dims `fixed_point`, `latent`, `readout` and
        `mode`: `position` of the latents, `output`, `eigenvalue_real` and `eigenvalue_imag` of the Jacobian of dk/dt, `stable`,
        and `kind`: "stable", "saddle", "unstable", "marginal" (an eigenvalue within 1e-6 / tau of zero, as on a line or ring of
        fixed points, of which the search returns many) or "nonsmooth": the Jacobian differs from side to side, as at h = 0 for
        relu, so that it does not decide; its eigenvalues are NaN, and `stable` is False. With dt, stability is that of the
        Euler map. Raises ValueError for arguments that do not fit.
        """
        return _fixed_points.fixed_points(self, state, input, starts, extent)

    def phase_portrait(self, state: State, input: Any = 0.0, points: int = 41, extent: float | None = None) -> xr.Dataset:
        """Velocity dk/dt on a grid of latents under a constant input, with the fixed points, for `plot_phase_portrait`.

        For rank 1 and 2. `points`: per axis; `extent`: the grid covers |k_r| <= extent, by default a third more than the fixed
        points. Returns the Dataset of `fixed_points` with `velocity(u1, u2, latent)`, at rank 1 `velocity(u, latent)`, added.
        Raises ValueError for other ranks.
        """
        return _fixed_points.phase_portrait(self, state, input, points, extent)

    def visible(self, layout: Any) -> tuple[bool, ...]:
        """For each pair of `layout.pairs`, whether activity and output depend on that overlap.

        Derived, not listed: the derivative of the reduced dynamics with respect to each overlap at a generic overlap matrix.
        It is the split of the Gaussian closure. A finite network reads more than overlaps: in one of relu units mm, mu and uu,
        invisible in the closure, do matter (docs/activity.md). Raises ValueError for a layout of another kind.
        """
        if not isinstance(layout, Layout):
            raise argument_error("layout", "be that of vectors m, u, v, z", f"{type(layout).__name__} came")
        return _visible(self, layout)

    @in_float64
    def _labelled(self, state: Any, inputs: Any, dt: Any) -> tuple[xr.DataArray, xr.DataArray]:
        require_single(state, inputs)
        count = state.layout.inputs
        array = real_array("inputs", inputs)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim not in (2, 3) or array.shape[-1] != count or 0 in array.shape:
            came = f"its shape is {array.shape}"
            raise argument_error("inputs", f"have shape (time, {count}) or (trials, time, {count}), and not be empty", came)
        step = self.step(dt)
        trials = array if array.ndim == 3 else array[None]
        latents, output = _simulate(self, state, trials, step)
        times = ("time", step * np.arange(1, trials.shape[1] + 1), said("time", "as tau"))
        results = []
        for name, dim, values, names, meaning in (
            ("latents", "latent", latents, state.layout.latents, "latent variable"),
            ("output", "readout", output, state.layout.readouts, "output"),
        ):
            values = np.asarray(values)
            values, dims = (values, ("trial",)) if array.ndim == 3 else (values[0], ())
            coordinates = {"time": times, dim: list(names)}
            results.append(xr.DataArray(values, coordinates, (*dims, "time", dim), name, said(meaning)))
        return results[0], results[1]

    def step(self, dt: Any) -> float:
        """The time between input samples: that of the Euler steps, or `dt` in continuous time; raises ValueError otherwise."""
        if self.dt is None:
            if dt is None:
                raise argument_error("dt", "be given for continuous time", "None came", "It is the time between input samples.")
            return number("dt", dt, above=0.0)
        if dt is not None and abs(number("dt", dt, above=0.0) - self.dt) > 1e-12 * self.dt:
            raise argument_error("dt", f"be the step {self.dt:g} of the rnn", f"{dt:g} came", "Make both the same.")
        return self.dt


@eqx.filter_jit
def _simulate(rnn: RNN, state: State, inputs: Float[AnyArray, "trials time I"], dt: float) -> tuple[AnyArray, AnyArray]:
    return rnn.simulate(state, inputs, dt)


@functools.lru_cache
def _visible(rnn: RNN, layout: Layout) -> tuple[bool, ...]:
    size, split = layout.size, layout.inputs + layout.rank
    random = np.random.default_rng(0)
    vectors, latents = random.standard_normal((2 * size, size)) / np.sqrt(2 * size), random.standard_normal((2 * split, split))

    def respond(gram: Float[AnyArray, "D D"]) -> Float[AnyArray, "points read"]:
        # A rough gain tells what it depends on, and networks of every phi, which may have no other, ask for this split.
        return projection(rough(transfer_of(rnn.phi)), Overlaps(gram, *layout))(jnp.asarray(latents))

    gram = vectors.T @ vectors
    with jax.enable_x64(True):
        # Compiled ahead of time, it runs at once even where a user's jit surrounds this call.
        slopes = np.abs(jax.jit(jax.jacfwd(respond)).lower(gram).compile()(gram)).max(axis=(0, 1))
    read = slopes > INVISIBLE * slopes.max()
    return tuple(bool(read[pair.row, pair.column] or read[pair.column, pair.row]) for pair in layout.pairs)
