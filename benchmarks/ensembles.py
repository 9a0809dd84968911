"""What a learning curve costs in an ensemble: one batch of 2,000 networks beside a loop over `learn`.

Rank-1 overlaps learn an exponential filter in 2,000 gradient steps. The loop runs a few of the networks, one after the other,
and counts in proportion. Both are timed in turn in one process, several rounds over, after a first call that compiles. The same
batch then runs in a new process that offers the two cores of a machine as two devices; JAX wants to know their number before it
starts.
"""

import os
import subprocess
import sys
import time

import jax
import numpy as np

import overlaps as ov

NETWORKS, ALONE, ROUNDS = 2000, 10, 3
TASK, MODEL, RULE = ov.tasks.exponential_filter(0.2, horizon=20.0), ov.RNN(dt=0.05), ov.GradientDescent(5e-3, 2000)
DEVICES = "--xla_force_host_platform_device_count=2"


def curves_per_second(batch: ov.Overlaps) -> float:
    """Learning curves per second of a batch."""
    start = time.perf_counter()
    ov.learn(batch, TASK, MODEL, RULE, saves=11)
    return batch.batch[0] / (time.perf_counter() - start)


def one_by_one(batch: ov.Overlaps) -> float:
    """The same of the first networks, one after the other."""
    start = time.perf_counter()
    for index in range(ALONE):
        ov.learn(jax.tree.map(lambda leaf, index=index: leaf[index], batch), TASK, MODEL, RULE, saves=11)
    return ALONE / (time.perf_counter() - start)


def main() -> None:
    """Time the contenders, and print medians and the median of ratios."""
    vectors = np.random.default_rng(0).standard_normal((NETWORKS, 500, 4))
    batch = ov.Overlaps(vectors.swapaxes(1, 2) @ vectors / 500)
    rates = np.array(
        [(curves_per_second(batch), 0.0 if jax.device_count() > 1 else one_by_one(batch)) for _ in range(1 + ROUNDS)]
    )
    together, apart = rates[1:].T  # the first round compiles
    print(f"batch of {NETWORKS:,}, devices: {jax.device_count()}{np.median(together):12.0f} curves/s", flush=True)
    if jax.device_count() == 1:
        print(f"one after the other           {np.median(apart):12.0f} curves/s")
        print(f"batch / one after the other   {np.median(together / apart):12.1f}", flush=True)
        subprocess.run([sys.executable, __file__], env=os.environ | {"XLA_FLAGS": DEVICES}, check=True)


if __name__ == "__main__":
    main()
