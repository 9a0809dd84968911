"""What it costs to write a run to disk while it goes on: `learn(..., store=path)` beside `learn`.

Both are timed in turn in one process, several rounds over, after a first call that compiles. Each round writes a new store into
a temporary folder. The runs take 2 s or more: shorter ones are dominated by the few files that every store has.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import overlaps as ov

ROUNDS = 5


def seconds(run: Callable[[], Any]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Time both, and print medians and the median of ratios."""
    net, rnn, task = ov.Overlaps.random(0), ov.RNN(dt=0.05), ov.tasks.exponential_filter(horizon=20.0)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *[ov.Overlaps.random(seed) for seed in range(100)])
    runs = {
        "overlaps, 600,000 steps": (net, ov.GradientDescent(1e-3, 600_000)),
        "100 overlaps, 18,000 steps": (batch, ov.GradientDescent(1e-3, 18_000)),
        "500 neurons, 4,000 steps": (net.sample(500, 1), ov.GradientDescent(1e-3, 4_000)),
    }
    print(f"{'':28}{'learn, s':>10}{'with store, s':>15}{'ratio':>8}{'bytes':>12}")
    for name, (state, rule) in runs.items():
        ov.learn(state, task, rnn, rule)
        plain, stored = [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "run.zarr"
                plain.append(seconds(lambda: ov.learn(state, task, rnn, rule)))  # noqa: B023
                stored.append(seconds(lambda: ov.learn(state, task, rnn, rule, store=path)))  # noqa: B023
                size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        ratio = np.median(np.array(stored) / np.array(plain))
        print(f"{name:28}{np.median(plain):10.2f}{np.median(stored):15.2f}{ratio:8.3f}{size:12,}")


if __name__ == "__main__":
    main()
