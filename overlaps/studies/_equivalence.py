"""Which networks have the same function: change of gauge, canonical form, poles and residues, and a comparison of outputs."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from overlaps._support import argument_error, in_float64, number, real_array, said
from overlaps.connectivity import Layout, Overlaps, State, require_no_bulk, require_no_constants
from overlaps.dynamics import RNN
from overlaps.studies._slice import interval

SINGULAR = 1e-10  # a singular value or an eigenvalue below this fraction of the largest one counts as zero
PROBES = 16  # random input sequences on which outputs are compared


def gauge(state: Any, mixing: Any) -> Any:
    """The same network in other latent coordinates: u -> u a, v -> v a^-T, with an invertible R x R matrix a.

    The latents are the R numbers that describe the recurrent activity along the columns of u. This change of coordinates,
    called a change of gauge, leaves W = u v^T / N as it is. So activity, output and loss stay the same, for every phi
    (docs/invisible_overlaps.md, "One function, many networks").

    - `state`: `Overlaps`, `Network` or `MeanField`, of one network or of a batch.
    - `mixing`: the matrix a, of shape (R, R); at rank 1 also a number.

    Returns a state of the same kind. Raises ValueError for a matrix of another shape, or a singular matrix.
    """
    rank = _low_rank(state).layout.rank
    a = np.atleast_2d(real_array("mixing", mixing))
    if a.shape != (rank, rank):
        raise argument_error("mixing", f"have shape ({rank}, {rank})", f"its shape is {a.shape}")
    values = np.linalg.svd(a, compute_uv=False)
    if values[-1] < SINGULAR * values[0] or values[0] == 0:
        raise argument_error("mixing", "be invertible", f"its singular values are {values.round(12)}")
    m, u, v, z = state.layout.split(state.factor)
    return state.with_factor(np.concatenate([m, u @ a, v @ np.linalg.inv(a).T, z], axis=-1))


def canonical(state: Any) -> Overlaps:
    """The overlaps of a network in one standard gauge, in which the input drives the latents one after the other.

    A change of gauge, u -> u a and v -> v a^-T, gives the same network in other latent coordinates (see `gauge`). This function
    chooses a as the first R independent columns of [vm, vu vm, vu^2 vm, ...]. For a single input, vm is then the first unit
    vector, and vu is a companion matrix that sends each latent to the next. The choice depends on vm and vu alone, so it works
    for every phi. Networks of one rank that are gauge copies of each other have equal canonical overlaps
    (docs/invisible_overlaps.md, "One function, many networks").

    `state`: `Overlaps`, `Network` or `MeanField`, not a batch. Raises ValueError for others, for a network with a bulk, and for
    one with latents that no input reaches: its function is that of a network of lower rank.
    """
    if _single(state).needs_mean:
        came, mend = f"{type(state).__name__} came, which means describe too", "For linear phi, take `state.overlaps()`."
        raise argument_error("state", "be an Overlaps, a Network or a MeanField", came, mend)
    net = _single_overlaps(state)
    reached, block = np.zeros((net.rank, 0)), np.asarray(net["vm"])
    for _ in range(net.rank):
        for column in block.T:
            candidate = np.column_stack([reached, column])
            lengths = np.maximum(np.linalg.norm(candidate, axis=0), np.finfo(float).tiny)
            if np.linalg.matrix_rank(candidate / lengths, tol=SINGULAR) == candidate.shape[1]:
                reached = candidate
        block = net["vu"] @ block
    if reached.shape[1] < net.rank:
        mend = "Its function is that of a network of lower rank."
        raise argument_error("state", f"have {net.rank} latents that input reaches", f"it reaches {reached.shape[1]}", mend)
    return gauge(net, reached)


def poles(state: Any, rnn: RNN) -> xr.Dataset:
    """Poles and residues of a linear network: its impulse response is f(t) = sum over modes of residue exp(pole t).

    `state`: `Overlaps`, `Network` or `MeanField` of one network, of rank R. `rnn`: linear. Returns a Dataset with dims `mode`,
    `readout` and `input`. The modes are the R recurrent modes, from the slowest to the fastest, and then the input filter,
    whose pole is -1 / tau.

    - `pole_real`, `pole_imag` (mode): the pole, per unit of time.
    - `residue_real`, `residue_imag` (mode, readout, input): the residue, per unit of time.

    A change of gauge leaves poles and residues as they are. The function of the network fixes these numbers, and nothing else.
    Under Euler steps, the response at sample k is the sum of residue (1 + dt pole)^k. Raises ValueError for nonlinear phi, for
    a network with a bulk, which has N modes, and if two modes coincide so closely that the response is no sum of exponentials.
    """
    rnn.require_linear()
    net = _single_overlaps(state)
    system: Any = np.linalg.eig(net["vu"])
    values, right = system
    if np.linalg.cond(right) > 1 / SINGULAR or np.min(np.abs(values)) < SINGULAR * max(1.0, np.max(np.abs(values))):
        came = f"the eigenvalues of vu are {values.round(6)}"
        raise argument_error("state", "have modes that are distinct from each other and from the input filter", came)
    order = np.lexsort((-values.imag, -values.real))
    values, right, left = values[order], right[:, order], np.linalg.inv(right)[order]
    recurrent = np.einsum("or,rn,nk,ki->noi", net["zu"], right, left / values[:, None], net["vm"])
    residues = np.concatenate([recurrent, (net["zm"] - recurrent.sum(0))[None]]) / rnn.tau
    rates: Any = (np.append(values, 0.0) - 1) / rnn.tau
    dims, unit = ("mode", "readout", "input"), "1 / time"
    return xr.Dataset(
        {
            "pole_real": ("mode", rates.real, said("real part of the pole", unit)),
            "pole_imag": ("mode", rates.imag, said("imaginary part of the pole", unit)),
            "residue_real": (dims, residues.real, said("real part of the residue", unit)),
            "residue_imag": (dims, residues.imag, said("imaginary part of the residue", unit)),
        },
        {"readout": list(net.layout.readouts), "input": list(net.layout.latents[: net.inputs])},
    )


@in_float64
def function_distance(one: Any, other: Any, rnn: RNN) -> float:
    """How far apart the outputs of two networks are on random inputs, relative to the largest output so far (0 to 2).

    - `one`, `other`: `Overlaps`, `Network` or `MeanField` of any ranks R and R', with the same numbers of inputs and outputs.
      For a network with a bulk, N stands in place of its rank.
    - `rnn`: gives phi. Both networks get the same 16 sequences of independent normal input, and run from activity 0 in Euler
      steps of length tau, whatever the time step of `rnn` is.

    The distance decides whether the two functions are equal. The outputs of linear networks are sums of the Markov parameters
    zm and zu vu^k vm. If the first R + R' + 1 of these agree in two networks, all agree (Cayley and Hamilton). For other
    analytic phi, the difference of two outputs is an analytic function of the input. Such a function is zero everywhere, or it
    is zero only for inputs of measure zero. So equal functions have a distance of the size of rounding errors. Different
    functions have a larger distance, except by chance.

    Raises ValueError for networks that differ in the numbers of inputs or outputs.
    """
    sizes = [(state.layout.inputs, state.layout.outputs) for state in (_single(one), _single(other))]
    if sizes[0] != sizes[1]:
        raise argument_error("other", f"have {sizes[0]} inputs and outputs, as `one` has", f"it has {sizes[1]}")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an RNN", f"{type(rnn).__name__} came")
    probe = RNN(rnn.phi, dt=1.0)
    samples = one.latent_layout.rank + other.latent_layout.rank + 2
    inputs = jax.random.normal(jax.random.key(0), (PROBES, samples, sizes[0][0]))
    outputs = np.stack([np.asarray(probe.output(state, inputs)) for state in (one, other)])
    largest = np.maximum.accumulate(np.abs(outputs).max(axis=(0, 1, 3)))
    distance = np.abs(outputs[0] - outputs[1]).max(axis=(0, 2))
    return float(np.max(np.divide(distance, largest, out=np.zeros_like(distance), where=largest > 0)))


def functionally_equal(one: Any, other: Any, rnn: RNN, tolerance: float = 1e-9) -> bool:
    """Whether two networks give the same output to every input: `function_distance` is at most `tolerance`.

    Arguments and errors are as in `function_distance`.
    """
    return function_distance(one, other, rnn) <= number("tolerance", tolerance, above=0.0)


def equivalent(overlaps: Overlaps, rnn: RNN, set: Mapping[str, Any]) -> Overlaps:
    """A network with the same function, in which some invisible overlaps are set to given values.

    An overlap is the scalar product of two connectivity vectors, divided by the number N of neurons. It is invisible if the
    function of the network does not depend on it under `rnn`.

    - `overlaps`: the network. `rnn`: decides which overlaps are invisible.
    - `set`: names and values of overlaps, as in `Overlaps.replace`.

    Returns `Overlaps`. Raises ValueError for an overlap that is visible under `rnn`, and for values whose overlap matrix is not
    positive semi-definite. For a single overlap the error names the interval that this overlap can have (see `admissible`).

    >>> import overlaps as ov
    >>> net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.1)
    >>> twin = ov.studies.equivalent(net, rnn, set={"uu": 2.05, "mu": 0.8})
    >>> ov.studies.functionally_equal(net, twin, rnn)
    True
    """
    layout = overlaps.layout
    seen = layout.matrix(np.array(rnn.visible(layout)))
    for name in set:
        rows, columns = layout.block(name) or layout.entry(name)
        if np.any(seen[rows, columns]):
            mend = f"The invisible overlaps are {', '.join(overlaps.invisible(rnn))}."
            raise argument_error("set", "name invisible overlaps", f"{name!r} is visible, so the function depends on it", mend)
    try:
        return overlaps.replace(**set)
    except ValueError as error:
        pairs = {pair.label: pair for pair in layout.pairs}
        known = [name for name in set if name in pairs]
        if "positive semi-definite" not in str(error) or len(set) > 1 or not known or overlaps.gram.ndim > 2:
            raise
        lower, upper = interval(np.asarray(overlaps.gram), pairs[known[0]].row, pairs[known[0]].column)
        must = f"lie between {lower:.6g} and {upper:.6g}, while the other overlaps stay as they are"
        raise argument_error(known[0], must, f"{set[known[0]]} came") from None


def _low_rank(state: Any) -> State:
    if not (isinstance(state, State) and isinstance(state.layout, Layout)):
        raise argument_error("state", "be an Overlaps, a Network or a MeanField", f"{type(state).__name__} came")
    require_no_constants(state)
    return state


def _single(state: Any) -> Any:
    """The state, if it is one low-rank network; raises ValueError for a batch."""
    if _low_rank(state).batch:
        raise argument_error("state", "be a single network", f"a batch of {state.batch[0]} came", "Take them one by one.")
    return state


def _single_overlaps(state: Any) -> Overlaps:
    """The overlaps of one low-rank network. Its means do not matter here, so that nothing warns of them."""
    require_no_bulk(_single(state), "to have a function of rank R")
    return Overlaps(_single(state).gram, *state.layout)
