"""What a Dataset shows of a network whose whole W learns: its eigenvalues over time, and the directions of eigenvectors."""

from typing import Any, cast

import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Float

from overlaps._support import said
from overlaps.connectivity._protocols import Variable

SLOWEST = 1e-3  # slower modes, and growing ones, which a finite horizon allows, count with this decay rate

FOLLOWED = {  # recorded values, and their dimensions for one network at one time
    "eigenvalue_real": ("eigenvalue",),
    "eigenvalue_imag": ("eigenvalue",),
    "coupling": ("eigenvalue",),
    "alignment_right": ("eigenvalue", "vector"),
    "alignment_left": ("eigenvalue", "vector"),
}
MEANINGS = {
    "eigenvalue_real": "real part of the eigenvalues of W",
    "eigenvalue_imag": "imaginary part of the eigenvalues of W",
    "coupling": "coupling of input and readout through eigenvalues of W",
    "outlier_real": "real part of the outlier of W",
    "outlier_imag": "imaginary part of the outlier of W",
    "alignment_right": "cosine between vector and right eigenvectors of W",
    "alignment_left": "cosine between vector and left eigenvectors of W",
    "weight_change": "Frobenius norm of the change of W",
}


def spectra(
    factors: Float[np.ndarray, "*batch saves N columns"], kept: np.ndarray, W: np.ndarray, inputs: int
) -> dict[str, np.ndarray]:
    """Eigenvalues of W, with their couplings and alignments, from factors [W, m / sqrt(N), z / sqrt(N)] at saved points.

    `kept` says at which saved points to compute them; they are NaN at all others. The change of W is the difference from `W`,
    the matrix of the network from which the whole run started.
    """
    n, vectors = factors.shape[-2], factors.shape[-1] - factors.shape[-2]
    sizes = {"eigenvalue": n, "vector": vectors}
    values = {name: np.full((*factors.shape[:-2], *(sizes[dim] for dim in dims)), np.nan) for name, dims in FOLLOWED.items()}
    for place in np.ndindex(factors.shape[:-2]):
        if kept[place[-1]] and np.all(np.isfinite(factors[place])):  # not finite: a network of a batch that has diverged
            for name, value in _spectrum(factors[place], inputs).items():
                values[name][place] = value
    values["weight_change"] = np.linalg.norm(factors[..., :n] - W[..., None, :, :], axis=(-2, -1))
    return values


def follow(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same values, with the eigenvalues sorted into lines that do not swap over time.

    From each saved point to the one before, eigenvalues are matched such that the sum of their squared distances is smallest.
    The lines are in the order of their coupling at the end. The first is the outlier, which couples input and readout most.
    """
    values = dict(values)
    eigenvalues = values["eigenvalue_real"] + 1j * values["eigenvalue_imag"]
    order = np.empty(eigenvalues.shape, int)
    for lane in np.ndindex(eigenvalues.shape[:-2]):
        order[lane] = _lines(eigenvalues[lane], values["coupling"][lane])
    for name, dims in FOLLOWED.items():
        places = order.reshape(*order.shape, *[1] * (len(dims) - 1))
        values[name] = np.take_along_axis(values[name], places, axis=order.ndim - 1)
    for part in ("real", "imag"):
        values[f"outlier_{part}"] = values[f"eigenvalue_{part}"][..., 0]
    return values


def spectral_variables(values: dict[str, np.ndarray]) -> dict[str, Variable]:
    """These values as variables of a Dataset."""
    return {
        name: (("time", *FOLLOWED.get(name, ())), value, said(MEANINGS[name]))
        for name, value in follow(values).items()
        if name in MEANINGS
    }


def _spectrum(factor: Float[np.ndarray, "N columns"], inputs: int) -> dict[str, np.ndarray]:
    n = len(factor)
    W, vectors = np.split(np.asarray(factor, float), [n], axis=1)
    blocks = np.split(vectors, [inputs], axis=1)
    values, left, right = cast(Any, scipy.linalg.eig(W, left=True))
    return {
        "eigenvalue_real": values.real,
        "eigenvalue_imag": values.imag,
        "coupling": _couplings(values, left, right, *blocks),  # blocks are m / sqrt(N) and z / sqrt(N)
        "alignment_right": _cosines(right, vectors),
        "alignment_left": _cosines(left, vectors),
    }


def _couplings(values: Any, left: Any, right: Any, m: np.ndarray, z: np.ndarray) -> np.ndarray:
    """For each eigenvalue the energy |z^T r|^2 |l^H m|^2 / (2 N^2 (1 - Re eigenvalue)), with eigenvectors r, l of unit length.

    Residues, which have l^H r in the denominator, would give the energies of the modes themselves. But where two eigenvectors
    become parallel, residues become very large and cancel each other.
    """
    amplitudes = np.linalg.norm(z.T @ right, axis=0) * np.linalg.norm(m.T @ left.conj(), axis=0)
    return amplitudes**2 / (2 * np.maximum(1 - values.real, SLOWEST))


def _cosines(eigenvectors: Any, vectors: Float[np.ndarray, "N V"]) -> Float[np.ndarray, "N V"]:
    """The cosine of the angle between each vector and each eigenvector (a column).

    For a complex eigenvector the angle is with the plane that the eigenvector and its conjugate span.
    """
    real, imag = eigenvectors.real, eigenvectors.imag
    a, b, c = (np.sum(x * y, axis=0)[:, None] for x, y in ((real, real), (real, imag), (imag, imag)))
    along, across = real.T @ vectors, imag.T @ vectors
    area = a * c - b**2
    plane = area > 0
    in_plane = (c * along**2 - 2 * b * along * across + a * across**2) / np.where(plane, area, 1.0)
    squares = np.where(plane, in_plane, along**2 / a)
    lengths = np.sum(vectors**2, axis=0)[None]
    return np.sqrt(np.clip(squares / np.where(lengths > 0, lengths, 1.0), 0.0, 1.0))


def _lines(eigenvalues: Any, couplings: np.ndarray) -> np.ndarray:
    """For each time, the places of the eigenvalues (time, N) in the order of their lines."""
    finite = np.flatnonzero(np.all(np.isfinite(eigenvalues), axis=1))
    order = np.tile(np.arange(eigenvalues.shape[1]), (len(eigenvalues), 1))
    if not finite.size:
        return order
    last, shares = eigenvalues[finite[-1]], couplings[finite[-1]]
    shares = np.round(shares / (np.max(shares) or 1.0), 9)  # rounding must not order a conjugate pair, of equal coupling
    order[finite[-1]] = np.lexsort((-last.imag, -np.abs(last), -shares))
    for later, index in zip(finite[:0:-1], finite[-2::-1], strict=True):
        after = eigenvalues[later][order[later]]
        order[index] = scipy.optimize.linear_sum_assignment(np.abs(after[:, None] - eigenvalues[index][None]) ** 2)[1]
    return order


def by_modulus(values: np.ndarray) -> np.ndarray:
    """The same numbers, ordered along the last axis from the largest modulus to the smallest."""
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=-1, kind="stable"), axis=-1)
