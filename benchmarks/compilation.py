"""What the first flow of a process waits for: the compiler, and what makes it faster.

Part one times the first and a later `learn` of the same flow in one process. The program as it is (rarely used gradients are
loops, and the compiler has options) and the program with all gradients unrolled and without options are compiled in turn,
several rounds over, with cleared caches; ratios are medians over rounds. Part two starts new processes that compute one flow
without JAX's persistent compilation cache, with an empty cache, and with a full one.
"""

import os
import subprocess
import sys
import tempfile
import time
from unittest import mock

import jax
import numpy as np

import overlaps as ov
from overlaps.learning import _flow

ROUNDS, WARM = 3, 5
NET, EULER, CONTINUOUS = ov.Overlaps.random(0), ov.RNN(dt=0.05), ov.RNN()
FILTER, FLOW = ov.tasks.exponential_filter(0.2), ov.GradientFlow(10.0)
FLOWS = {
    "Euler, rank 1": (NET, FILTER, EULER, FLOW),
    "Euler, rank 1, stops": (NET, FILTER, EULER, ov.GradientFlow(10.0, stop_gradient=1e-8)),
    "Euler, rank 1, batch of 8": (NET, ov.tasks.exponential_filter(np.linspace(0.1, 0.5, 8)), EULER, FLOW),
    "continuous, rank 1": (NET, FILTER, CONTINUOUS, FLOW),
    "continuous, rank 2": (ov.Overlaps.random(0, rank=2), ov.tasks.damped_oscillation(), CONTINUOUS, FLOW),
}
ONE_FLOW = """
import time
import overlaps as ov
start = time.perf_counter()
ov.learn(ov.Overlaps.random(0), ov.tasks.exponential_filter(0.2), ov.RNN(), ov.GradientFlow(10.0))
print(time.perf_counter() - start)
"""


def timed(flow: tuple) -> tuple[float, float]:
    """Seconds of the first `learn` and of a later one."""
    jax.clear_caches()
    _flow._compiled.cache_clear()
    seconds = []
    for _ in range(1 + WARM):
        start = time.perf_counter()
        ov.learn(*flow)
        seconds.append(time.perf_counter() - start)
    return seconds[0], min(seconds[1:])


def unrolled(flow: tuple) -> tuple[float, float]:
    """The same with unrolled gradients everywhere, compiled without options."""
    with (
        mock.patch.object(_flow, "quick_to_compile", lambda objective: objective),
        mock.patch.object(_flow, "COMPILER_OPTIONS", {}),
    ):
        return timed(flow)


def fresh(**environment: str) -> float:
    """Seconds of the flow in a new process."""
    process = subprocess.run(
        [sys.executable, "-c", ONE_FLOW], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return float(process.stdout)


def main() -> None:
    """Time both parts and print their tables."""
    print(
        f"median of {ROUNDS} interleaved rounds\n\n{'':28}{'first, s':>10}{'/ unrolled':>12}{'later, ms':>12}{'/ unrolled':>12}"
    )
    for name, flow in FLOWS.items():
        seconds = np.array([(timed(flow), unrolled(flow)) for _ in range(ROUNDS)])
        first, later = np.median(seconds[:, 0], axis=0)
        ratios = np.median(seconds[:, 0] / seconds[:, 1], axis=0)
        print(f"{name:28}{first:10.2f}{ratios[0]:12.2f}{1e3 * later:12.1f}{ratios[1]:12.2f}")

    print("\nfirst flow of a new process, continuous, rank 1, s")
    with tempfile.TemporaryDirectory() as folder:
        cache = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        print(f"{'without a cache':28}{fresh():10.2f}")
        print(f"{'with an empty cache':28}{fresh(EQX_ON_ERROR='nan', **cache):10.2f}")
        print(f"{'with a full cache':28}{fresh(EQX_ON_ERROR='nan', **cache):10.2f}")
    with tempfile.TemporaryDirectory() as folder:
        cache["JAX_COMPILATION_CACHE_DIR"] = folder
        fresh(**cache)
        print(f"{'full, without EQX_ON_ERROR':28}{fresh(**cache):10.2f}")


if __name__ == "__main__":
    main()
