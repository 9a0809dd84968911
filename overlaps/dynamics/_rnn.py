"""The model of the neurons: how connectivity becomes activity and output, and which overlaps these depend on."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, as_float, flag, in_float64, number, numpy_for, real_array, said
from overlaps.connectivity import Layout, Overlaps, Populations, Projection, State
from overlaps.dynamics import _fixed_points
from overlaps.dynamics._activity import projection, require_single, rollout
from overlaps.dynamics._transfer import Function, Transfer, require_gain, require_mean, rough, transfer_of

INVISIBLE = 1e-9  # derivatives below this size, relative to the largest one, count as rounding


class LinearSystem(NamedTuple):
    """The system dx/dt = A x, x(0) = B, y = C x: the response of a linear network to unit impulses, one column per input."""

    A: Float[AnyArray, "n n"]
    B: Float[AnyArray, "n I"]
    C: Float[AnyArray, "O n"]


class RNN(eqx.Module):
    """The model of the neurons: tau dh/dt = -h + W phi(h) + m x, y = z^T phi(h) / N, with h(0) = 0 ([GB26]).

    Here h is the activity, x the input, y the output, and W = u v^T / N. (In a `DenseNetwork`, W is any matrix.)

    - `phi`: the transfer function of a neuron. It is "linear", "erf" (erf(sqrt(pi) x / 2), with slope 1 at 0), "tanh", "relu",
      "softplus", any function made of jax.numpy, or a `Transfer`, which brings its own averages (see `gain`, `mean_rate`).
    - `tau`: the time constant. All times and rates of tasks are in the same unit as tau.
    - `dt`: None for continuous time. A number is the step of forward Euler, the discretisation with which networks are trained:
      h becomes h + (dt / tau) (-h + W phi(h) + m x), and the output is read from the updated h.

    For `Overlaps` the activity is that of the Gaussian closure, which computes from overlaps alone. It is exact for linear phi.
    It is also exact for N -> infinity, as long as the vectors are jointly Gaussian with zero mean. Learning does not keep them
    so: they become non-Gaussian, and get means if phi is not odd (docs/activity.md, "The Gaussian closure"). Raises ValueError
    for an unknown phi, for a phi that is not finite or does not act entry by entry, for tau <= 0, and for dt outside (0, tau].

    All three arguments are part of a compiled program. A call with other values, or another function object, compiles again.

    >>> RNN("erf", dt=0.1).gain([0.0, 2.0]).round(2).tolist()
    [1.0, 0.49]
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
        """The matrices A, B, C of a linear network in continuous time: its impulse response is C exp(A t) B.

        For `Overlaps` and `MeanField` the system has I + R variables: the filtered inputs k_m and the latents k, where the
        activity is h = m k_m + u k. Then A = [[-1, 0], [vm, vu - 1]] / tau, B = [1; 0] / tau, C = [zm, zu]. For networks of N
        units the variables are all units. Returns a named tuple of A (n, n), B (n, I) and C (O, n). Raises ValueError if phi is
        not linear, because there is no such system then.
        """
        return self._system(*state.linear_system())

    def latent_system(self, state: State) -> LinearSystem:
        """A system as in `system`, but with I + R variables for every network that has overlaps."""
        return self._system(*state.latent_system())

    def _system(self, recurrent: AnyArray, inputs: AnyArray, readout: AnyArray) -> LinearSystem:
        self.require_linear()
        leak = numpy_for(recurrent).eye(recurrent.shape[-1])
        return LinearSystem((recurrent - leak) / self.tau, inputs / self.tau, readout)

    def require_linear(self) -> None:
        """Raise ValueError unless phi is linear."""
        if self.phi != "linear":
            raise argument_error(
                "rnn",
                "have a linear phi to have an impulse response",
                f"phi is {self.phi!r}",
                "For other phi, turn the filter task into trials: overlaps.tasks.white_noise(task, key, dt=...).",
            )

    def projection(self, state: State) -> Projection:
        """A function from latents kappa = [k_m, k], (points, I + R), to (1/N) [v z]^T phi(h), (points, R + O).

        The activity is h = m k_m + u k. Here k_m are the filtered inputs, and k the numbers that the recurrence drives. The
        first R results minus k are tau dk/dt. The other O results are the output. The function is differentiable and made of
        jax.numpy, for use inside jit, vmap and grad. Raises ValueError for overlaps if quadrature cannot give the gain of phi.
        """
        transfer = transfer_of(self.phi)
        if state.needs_gain:
            require_gain(transfer)
        if state.needs_mean:
            require_mean(transfer)
        state.check_transfer(self.phi)
        return projection(transfer, state)

    def simulate(
        self, state: State, inputs: Float[AnyArray, "trials time I"], dt: float
    ) -> tuple[Float[AnyArray, "trials time kappa"], Float[AnyArray, "trials time O"]]:
        """Latents kappa = [k_m, k] and outputs after each input sample, for use inside jit, vmap and grad.

        `inputs`: samples at a distance of `dt` in time. The results are differentiable and made of jax.numpy.
        """
        return rollout(self.projection(state), inputs, state.latent_layout, dt, self.tau, self.dt is None)

    @in_float64
    def rate(self, activity: Any) -> Float[AnyArray, "*shape"]:
        """The rates phi(h), for an array of activities h of any shape."""
        return transfer_of(self.phi).function(jnp.asarray(real_array("activity", activity)))

    @in_float64
    def gain(self, variance: Any) -> Float[AnyArray, "*shape"]:
        """The gain g(Delta) = E[phi'(sqrt(Delta) xi)], with xi standard normal: the mean slope of phi over the neurons.

        `variance`: an array of values of Delta, the variance of the activity over neurons. Returns an array of the same shape.
        A gain without a closed form is right to 1e-6 or better for Delta up to 900, and for "tanh" to 1e-11 for Delta up to 1e4
        (docs/activity.md, "Gains"). For a negative variance the result has no meaning. Raises ValueError if quadrature cannot
        compute the gain of this phi.
        """
        transfer = transfer_of(self.phi)
        require_gain(transfer)
        return transfer.gain(jnp.asarray(real_array("variance", variance)))  # pyright: ignore[reportOptionalCall]

    @in_float64
    def mean_rate(self, mean: Any, variance: Any) -> Float[AnyArray, "*shape"]:
        """The Gaussian mean <phi>(mu, Delta) = E[phi(mu + sqrt(Delta) xi)], with xi standard normal: the mean rate of neurons.

        - `mean`: an array of values of mu, the mean of the activity over neurons.
        - `variance`: an array of values of Delta, the variance of the activity. The two arrays broadcast.

        Returns an array of their common shape. Its slope in mu at mu = 0 is the `gain`. A mean without a closed form is right
        to 1e-6 or better for Delta up to 900, and for "tanh" to 1e-11 (docs/activity.md, "Gains"). For a negative variance the
        result has no meaning. Raises ValueError if the arrays do not broadcast, and if quadrature cannot compute the mean of
        this phi.
        """
        transfer = transfer_of(self.phi)
        require_mean(transfer)
        arrays = [real_array(name, value) for name, value in (("mean", mean), ("variance", variance))]
        try:
            np.broadcast_shapes(*(array.shape for array in arrays))
        except ValueError:
            shapes = f"they have the shapes {arrays[0].shape} and {arrays[1].shape}"
            raise argument_error("mean", "fit the shape of `variance`", shapes) from None
        return transfer.mean(*(jnp.asarray(array) for array in arrays))  # pyright: ignore[reportOptionalCall]

    def latents(self, state: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The latents kappa = [k_m, k] after each input sample: I + R numbers that determine the activity h = m k_m + u k.

        - `state`: a single network of any kind.
        - `inputs`: array-like of shape (time, I) or (trials, time, I), or (time,) for a single input.
        - `dt`: the time between two samples, needed in continuous time only. Each input is held for this time.

        Returns a DataArray with the dimensions (trial, time, latent), or (time, latent) without trials. The entries along
        `latent` have the names of the vectors m and u (for a `DenseNetwork`, of m and of the units). Raises ValueError for
        shapes that do not fit, and for a batch of networks.
        """
        return self._labelled(state, inputs, dt)[0]

    def output(self, state: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The output y after each input sample, a DataArray with the dimensions (trial, time, readout).

        Arguments and errors are as in `latents`. Without trials there is no dimension `trial`.
        """
        return self._labelled(state, inputs, dt)[1]

    def activity(self, network: Any, inputs: Any, dt: Any = None) -> xr.DataArray:
        """The activity h of all N units after each input sample, a DataArray with the dimensions (trial, time, neuron).

        `network`: a single `Network` or `DenseNetwork`. The other arguments and the errors are as in `latents`. Without trials
        there is no dimension `trial`. The rates phi(h) are `rate(activity)`.
        """
        if not (isinstance(network, State) and network.simulated):
            mend = "Draw a network with neurons by the method sample(n, key) of an Overlaps, or ask for `latents`."
            raise argument_error("network", "be a Network or a DenseNetwork", f"{type(network).__name__} came", mend)
        latents = self.latents(network, inputs, dt)
        driven: Any = network
        drivers = xr.DataArray(np.asarray(driven.drivers), dims=("neuron", "latent"))
        activity = latents.drop_vars("latent").dot(drivers, dim="latent")
        return activity.assign_attrs(long_name="activity h", units="1").rename("activity")

    def fixed_points(
        self, state: State, input: Any = 0.0, starts: int | None = None, extent: float | None = None
    ) -> xr.Dataset:
        """Fixed points of the latents k under a constant input: all that a search from many starting points finds.

        - `state`: a single network of any kind that has overlaps.
        - `input`: a number, or one number for each input.
        - `starts`: the number of starting points. The default is 256 at ranks 1 and 2, and doubles for each further rank, up to
          4096, and 32 for a network with a bulk. They are spread evenly (Sobol points) over |k_r| <= `extent`.
        - `extent`: by default twice the largest latents that a phi between -1 and 1 can reach.

        Returns a Dataset with the dimensions `fixed_point`, `latent`, `readout` and `mode`, and these variables:

        - `position`: the latents k at the fixed point. `output`: the output there.
        - `eigenvalue_real`, `eigenvalue_imag`: the eigenvalues of the Jacobian of dk/dt, in units of 1 / time.
        - `kind`: "stable", "saddle", "unstable", "marginal" or "nonsmooth". A marginal point has an eigenvalue within
          1e-6 / tau of zero. This happens on a line or a ring of fixed points, of which the search returns many. At nonsmooth
          points the Jacobian differs from side to side (for relu at h = 0), so it does not decide the stability. Their
          eigenvalues are NaN.
        - `stable`: whether `kind` is "stable".

        With `dt`, stability is that of the Euler map. A network with a bulk has one latent for each unit, and a search takes
        the time of dozens of solutions of N linear equations. Raises ValueError for arguments that do not fit.
        """
        return _fixed_points.fixed_points(self, state, input, starts, extent)

    def phase_portrait(self, state: State, input: Any = 0.0, points: int = 41, extent: float | None = None) -> xr.Dataset:
        """The velocity dk/dt on a grid of latents k under a constant input, with the fixed points, for `plot_phase_portrait`.

        - `state`, `input`: as in `fixed_points`, for rank 1 or 2.
        - `points`: the number of grid points along each axis.
        - `extent`: the grid covers |k_r| <= extent. By default it reaches a third further than the fixed points.

        Returns the Dataset of `fixed_points` with one more variable: `velocity(u1, u2, latent)`, or `velocity(u, latent)` at
        rank 1, in units of 1 / time. Raises ValueError for other ranks.
        """
        return _fixed_points.phase_portrait(self, state, input, points, extent)

    def visible(self, layout: Any, populations: bool = False) -> tuple[bool, ...]:
        """For each pair of vectors in `layout.pairs`, whether activity and output depend on their overlap (then it is visible).

        With `populations`, the question is asked of the means and covariances of populations of neurons. The answer then has
        first one entry for each vector, for its mean, and then one for each pair of vectors, for their covariance.

        The library has no list of visible overlaps. It differentiates the dynamics of the latents with respect to each overlap,
        at a generic overlap matrix. So the answer is that of the Gaussian closure. A finite network depends on more:
        in a network of relu units mm, mu and uu matter, although they are invisible in the closure (docs/activity.md, "Gains").
        `layout`: `state.layout` of a state with overlaps. Raises ValueError for a layout of another kind.
        """
        if not isinstance(layout, Layout):
            raise argument_error("layout", "be that of vectors m, u, v, z, as in an Overlaps", f"{type(layout).__name__} came")
        return _visible(self, layout, flag("populations", populations))

    @in_float64
    def _labelled(self, state: Any, inputs: Any, dt: Any) -> tuple[xr.DataArray, xr.DataArray]:
        require_single(state, inputs)
        count = state.layout.inputs
        array = as_float(real_array("inputs", inputs))
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim not in (2, 3) or array.shape[-1] != count or 0 in array.shape:
            came = f"its shape is {array.shape}"
            raise argument_error("inputs", f"have shape (time, {count}) or (trials, time, {count}), and not be empty", came)
        step = self.step(dt)
        array = array.astype(np.promote_types(array.dtype, jax.tree.leaves(state)[0].dtype))
        trials = array if array.ndim == 3 else array[None]
        latents, output = _simulate(self, state, trials, step)
        times = ("time", step * np.arange(1, trials.shape[1] + 1), said("time", "as tau"))
        results = []
        for name, dim, values, names, meaning in (
            ("latents", "latent", latents, state.latent_layout.latents, "latent variable"),
            ("output", "readout", output, state.layout.readouts, "output"),
        ):
            values = np.asarray(values)
            values, dims = (values, ("trial",)) if array.ndim == 3 else (values[0], ())
            coordinates = {"time": times, dim: list(names)}
            results.append(xr.DataArray(values, coordinates, (*dims, "time", dim), name, said(meaning)))
        return results[0], results[1]

    def step(self, dt: Any) -> float:
        """The time between two input samples: the length of an Euler step, or `dt` in continuous time.

        Raises ValueError if `dt` is missing in continuous time, and if it is not the length of an Euler step.
        """
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
def _visible(rnn: RNN, layout: Layout, populations: bool) -> tuple[bool, ...]:
    size, split = layout.size, layout.driving
    random = np.random.default_rng(0)
    vectors, latents = random.standard_normal((2 * size, size)) / np.sqrt(2 * size), random.standard_normal((2 * split, split))
    means = random.standard_normal((2, size)) / 2
    # A rough gain is enough to tell on what it depends. Networks with any phi ask for this, and may have no better gain.
    transfer = rough(transfer_of(rnn.phi))

    def respond(means: Float[AnyArray, "2 D"], matrix: Float[AnyArray, "D D"]) -> Float[AnyArray, "points read"]:
        state = Populations([0.5, 0.5], means, jnp.stack([matrix] * 2), *layout) if populations else Overlaps(matrix, *layout)
        return projection(transfer, state)(jnp.asarray(latents))

    arguments = means, vectors.T @ vectors
    with jax.enable_x64(True):
        # The function is compiled ahead of time. So it runs at once even if this call is inside a jit of the user.
        slopes = jax.jit(jax.jacfwd(respond, (0, 1))).lower(*arguments).compile()(*arguments)
    of_means, of_pairs = (np.abs(slope).max(axis=(0, 1)) for slope in slopes)
    threshold = INVISIBLE * max(of_means.max(), of_pairs.max())
    read = np.maximum(of_pairs, of_pairs.T) > threshold
    seen = tuple(bool(read[pair.row, pair.column]) for pair in layout.pairs)
    return (*(bool(slope > threshold) for slope in of_means.max(axis=0)), *seen) if populations else seen
