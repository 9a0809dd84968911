"""How far networks of N neurons with a random bulk are from the theory at N -> infinity (docs/bulk_nonlinear.md).

`python benchmarks/bulk_static.py` simulates networks W = J + u v^T / N of N = 2,000 and 8,000 tanh neurons, twenty draws each,
at g = 0.5 and g = 1.5. They have rank 1, and an input pulse drives them. It prints two tables. In the first one, an error is
the root mean square over draws and time of the difference to the theory, times sqrt(N). The exponent a is that of
error ~ N^(-a) between the two sizes; if it is 1/2, the errors times sqrt(N) agree. The bias is the mean over draws and time,
times sqrt(N).

The second table is for networks without low rank, which start from a small random activity. Above g = 1 they become chaotic.
It shows the variance over neurons, averaged over the last quarter of the time and over draws, with the standard error over
draws, and that of the theory.

`--sizes 500 2000 --draws 4` makes a run that a laptop does in two minutes. The script runs on a GPU if JAX finds one. With
`--theory FILE.npz` it keeps the theory in a file, if the file is not there yet, and else reads it. Then the machine with the
GPU needs JAX and NumPy alone.
"""

import argparse
import importlib.metadata
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

DT = 0.1
GRAM = [[1.0, 0.3, 0.2, 0.0], [0.3, 1.0, 0.8, 0.5], [0.2, 0.8, 2.0, 0.3], [0.0, 0.5, 0.3, 1.0]]  # of m, u, v, z
PULSE = np.concatenate([np.full(20, 2.0), np.zeros(80)])
RADII, TRANSITION = (0.5, 1.5), (0.8, 1.2, 1.5, 2.0)
START, DURATION = 0.1, 60.0  # variance of the initial activity without low rank, and how long it runs


@jax.jit
def pulse_response(key: jax.Array, vectors: jax.Array, g: float, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The output and the variance over neurons of one network, in Euler steps. `vectors`: (N, 4) standard normal numbers."""
    n = vectors.shape[0]
    bulk = jax.random.normal(key, (n, n)) * g / jnp.sqrt(n)
    m, u, v, z = (vectors @ jnp.linalg.cholesky(jnp.asarray(GRAM)).T).T

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        rates = jnp.tanh(h)
        h = h + DT * (-h + bulk @ rates + u * (v @ rates) / n + m * x)
        return h, (z @ jnp.tanh(h) / n, jnp.mean(h**2))

    return jax.lax.scan(step, jnp.zeros(n), inputs)[1]


@jax.jit
def free_variance(key: jax.Array, start: jax.Array, g: float) -> jax.Array:
    """The variance over neurons without low rank and without input."""
    n = start.size
    bulk = jax.random.normal(key, (n, n)) * g / jnp.sqrt(n)

    def step(h: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        h = h + DT * (-h + bulk @ jnp.tanh(h))
        return h, jnp.mean(h**2)

    return jax.lax.scan(step, start, None, length=round(DURATION / DT))[1]


def theories() -> dict[str, np.ndarray]:
    """Output and variance over time at N -> infinity, for each g of the two tables."""
    try:
        importlib.metadata.version("overlaps")
    except importlib.metadata.PackageNotFoundError:  # the library is on the path, and not installed
        installed = importlib.metadata.version
        importlib.metadata.version = lambda name: "0" if name == "overlaps" else installed(name)
    import overlaps as ov

    rnn, found = ov.RNN("tanh", dt=DT), {}
    for g in RADII:
        theory = ov.bulk.activity(ov.Overlaps(GRAM), g, PULSE, rnn)
        found[f"pulse {g}"] = np.stack([theory["output"].values[:, 0], theory["variance"].values])
    silent = ov.Overlaps(np.diag([0.0, START, 0.0, 0.0, 0.0]), initial=True)  # h0 alone: neither input nor low rank
    for g in TRANSITION:
        found[f"free {g}"] = ov.bulk.activity(silent, g, np.zeros(round(DURATION / DT)), rnn)["variance"].values
    return found


def pulse_table(theory: dict[str, np.ndarray], sizes: list[int], draws: int) -> None:
    """The table of networks of rank 1 that a pulse drives."""
    print("| g | N | output: error x sqrt(N) | bias x sqrt(N) | variance: error x sqrt(N) | bias x sqrt(N) | seconds |")
    print("|---|---|---|---|---|---|---|")
    for g in RADII:
        errors = []
        for n in sizes:
            begun, found = time.perf_counter(), []
            for draw in range(draws):
                keys = jax.random.split(jax.random.key(draw))
                found.append(pulse_response(keys[0], jax.random.normal(keys[1], (n, 4)), g, jnp.asarray(PULSE)))
            apart = np.asarray(found) - theory[f"pulse {g}"]
            errors.append(np.sqrt(np.mean(apart**2, axis=(0, 2))))
            bias = np.mean(apart, axis=(0, 2))
            pairs = " | ".join(f"{one * n**0.5:.3f}" for both in zip(errors[-1], bias, strict=True) for one in both)
            print(f"| {g} | {n} | {pairs} | {time.perf_counter() - begun:.1f} |", flush=True)
        if len(sizes) > 1:
            exponents = np.log(errors[0] / errors[-1]) / np.log(sizes[-1] / sizes[0])
            print(f"| {g} | exponent | {exponents[0]:.3f} | | {exponents[1]:.3f} | | |", flush=True)


def transition_table(theory: dict[str, np.ndarray], sizes: list[int], draws: int) -> None:
    """The table of networks without low rank."""
    print("\n| g | N | variance of networks | standard error | theory |\n|---|---|---|---|---|")
    for g in TRANSITION:
        expected = theory[f"free {g}"]
        last = slice(3 * expected.size // 4, None)
        for n in sizes:
            found = []
            for draw in range(draws):
                keys = jax.random.split(jax.random.key(draw))
                start = np.sqrt(START) * jax.random.normal(keys[1], (n,))
                found.append(np.mean(np.asarray(free_variance(keys[0], start, g))[last]))
            spread = np.std(found, ddof=1) / np.sqrt(draws)
            print(f"| {g} | {n} | {np.mean(found):.6f} | {spread:.6f} | {np.mean(expected[last]):.6f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 8000])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--theory", type=Path, help="an .npz file that keeps the theory")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(f"jax {jax.__version__} on {jax.devices()[0]}\n")
    known = arguments.theory is not None and arguments.theory.exists()
    theory = dict(np.load(arguments.theory)) if known else theories()
    if arguments.theory is not None and not known:
        np.savez(arguments.theory, **theory)  # pyright: ignore[reportArgumentType]
    pulse_table(theory, arguments.sizes, arguments.draws)
    transition_table(theory, arguments.sizes, arguments.draws)


if __name__ == "__main__":
    main()
