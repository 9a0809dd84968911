"""The low-rank part of a trained matrix W."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from overlaps._support import argument_error, count, flag, in_float64, real_array, said
from overlaps.connectivity import DenseNetwork, Network, State
from overlaps.dynamics import RNN, require_single

THRESHOLD = 2.858  # times the median singular value of a square matrix ([GD14])


@in_float64
def low_rank(
    weights: Any,
    rank: int | None = None,
    initial: Any = None,
    rnn: RNN | None = None,
    inputs: Any = None,
    keep_initial: bool = False,
) -> tuple[Network, xr.Dataset]:
    """The low-rank part of a trained W, or of the change W - W0, as a `Network`, and a report on what is left over.

    The part of rank R that is nearest to W consists of its R largest singular values s_r and their singular vectors:
    u v^T / N = sum_r s_r a_r b_r^T, with u_r = sqrt(N s_r) a_r and v_r = sqrt(N s_r) b_r.

    - `weights`: a single `DenseNetwork`, or W alone, (N, N). Then m and z of the `Network` are zero.
    - `rank`: R. None: the number of singular values above 2.858 times their median, the best threshold for a low-rank matrix
      in independent noise of unknown size (Gavish and Donoho, IEEE Trans. Inf. Theory 60, 5040, 2014; [GD14]). A W that has
      an exact rank below N / 2 keeps this rank.
    - `initial`: W0 before training, (N, N). The low-rank part is then that of W - W0.
    - `keep_initial`: True keeps W0 as the bulk of the `Network`, which then stands for W0 + u v^T / N, and can be trained,
      reduced (`krylov`) and saved as such (docs/bulk_trained.md). False leaves W0 out.
    - `rnn`, `inputs`: the model and inputs (time, I) or (trials, time, I), as in `rnn.output`, on which outputs are compared.

    Returns the `Network`, with the m, z, b, h0 and c of the `DenseNetwork`, and a Dataset over `component`, the singular values
    from the largest one on: `singular_value`, `kept`, and `left_over`, the Frobenius norm of what the components up to this one
    leave, relative to that of all. With `rnn` and `inputs` it has `output_error`, the root mean square difference of the
    outputs of the low-rank part alone and of the `DenseNetwork`, relative to the output of the latter, and NaN if that is zero
    everywhere. With `initial` too, `output_error_with_initial` is that of W0 plus the low-rank part.

    Raises ValueError for other states than a `DenseNetwork`, for shapes that do not fit, if no singular value is above the
    threshold, for `inputs` without an `rnn` or without a `DenseNetwork`, and for `keep_initial` without `initial`.

    >>> column = np.arange(1.0, 7.0)[:, None]
    >>> network, report = low_rank(column @ column.T)
    >>> network.layout.rank, np.allclose(network.W, column @ column.T)
    (1, True)
    """
    network = weights if isinstance(weights, DenseNetwork) else None
    if network is None and isinstance(weights, State):
        came, mend = f"{type(weights).__name__} came", ""
        if isinstance(weights, Network):
            mend = "A Network is low-rank already."
            if weights.has_bulk:
                came, mend = f"{came}, which has a bulk already", "Its low-rank part is u v^T / N, and `initial` is its `bulk`."
        raise argument_error("weights", "be a matrix W or a DenseNetwork", came, mend)
    if network is not None:
        require_single(network)
    W = _square("weights", weights if network is None else network.W)
    n = len(W)
    if flag("keep_initial", keep_initial) and initial is None:
        raise argument_error("initial", "come with `keep_initial`, which keeps it as the bulk", "None came")
    bulk = None if initial is None else _square("initial", initial, n)
    change = W if bulk is None else W - bulk
    left, values, right = np.linalg.svd(change)
    rank = _standing_out(values) if rank is None else count("rank", rank)
    if rank > n:
        raise argument_error("rank", f"be at most {n}, the number of neurons", f"{rank} came")
    turn = np.sign(left[np.argmax(np.abs(left), axis=0), np.arange(n)])[:rank]  # the signs of singular vectors are arbitrary
    scale = np.sqrt(n * values[:rank])
    u, v = left[:, :rank] * turn * scale, right[:rank].T * turn * scale
    rest: dict[str, Any] = {"m": np.zeros(n), "z": np.zeros(n)}
    if network is not None:
        rest = {name: block for name in ("m", "z", "b", "h0", "c") if (block := getattr(network, name, None)) is not None}
    result = Network(u=u, v=v, bulk=bulk if keep_initial else None, **rest)
    report = _report(values, rank)
    if rnn is not None or inputs is not None:
        if network is None or rnn is None or inputs is None:
            came = "one of them is missing"
            raise argument_error("inputs", "come with an `rnn` and a DenseNetwork as `weights`", came)
        for name, W0 in {"output_error": None, **({} if bulk is None else {"output_error_with_initial": bulk})}.items():
            report[name] = _output_error(rnn, network, Network(u=u, v=v, bulk=W0, **rest), inputs)
    return result, report


def _square(name: str, value: Any, n: int | None = None) -> Float[np.ndarray, "N N"]:
    matrix = np.asarray(real_array(name, value, ndim=2), float)
    if matrix.size == 0 or matrix.shape[0] != matrix.shape[1] or (n is not None and len(matrix) != n):
        size = "N, N" if n is None else f"{n}, {n}"
        raise argument_error(name, f"be a matrix of shape ({size}), or a DenseNetwork", f"its shape is {matrix.shape}")
    return matrix


def _standing_out(values: Float[np.ndarray, " N"]) -> int:
    """The number of singular values that stand out of a random bulk, and of rounding."""
    rounding = len(values) * np.finfo(float).eps * values[0]
    rank = int(np.sum(values > max(THRESHOLD * np.median(values), rounding)))
    if not rank:
        came = f"none of them is above {THRESHOLD} times their median"
        raise argument_error("rank", "be given, where no singular value stands out", came)
    return rank


def _report(values: Float[np.ndarray, " N"], rank: int) -> xr.Dataset:
    squares = values**2
    left_over = np.append(np.cumsum(squares[::-1])[::-1][1:], 0.0)  # summed from the smallest on, to keep their digits
    components = np.arange(1, len(values) + 1)
    whole = squares.sum() or 1.0
    return xr.Dataset(
        {
            "singular_value": ("component", values, said("singular value")),
            "left_over": ("component", np.sqrt(left_over / whole), said("relative Frobenius norm of what is left over")),
        },
        {
            "component": ("component", components, said("number of the singular value")),
            "kept": ("component", components <= rank, said("part of the low-rank network")),
        },
        {"rank": rank},
    )


def _output_error(rnn: RNN, network: Any, other: Any, inputs: Any) -> xr.DataArray:
    """The root mean square difference of two outputs, relative to the first one; NaN if that is zero."""
    exact, found = (np.asarray(rnn.output(one, inputs)) for one in (network, other))
    size = np.mean(exact**2)
    error = np.sqrt(np.mean((found - exact) ** 2) / size) if size else np.nan
    return xr.DataArray(error, attrs=said("relative root mean square error of the output"))
