"""How long `learn` takes on a large batch before its first gradient step.

A batch of 2,000 rank-1 overlaps learns an exponential filter. (A batch is many networks in one array, trained side by side.)
`learn` checks the batch and builds its learning problem as a whole. The benchmark compares this with the older way: one
objective, one check and one problem for each network, which are stacked afterwards. It times both in turn in one process, in
several rounds, after a first call that compiles.
"""

import time
from typing import Any

import jax
import numpy as np

import overlaps as ov
from overlaps.learning import _descent as descent
from overlaps.learning._problem import Problem

NETWORKS, ROUNDS = 2000, 7


def one_by_one(batch: ov.Overlaps, task: ov.tasks.LinearFilter, rnn: ov.RNN) -> Any:
    """The learning problem of a batch, built network by network as in older versions."""
    states = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], batch) for lane in range(NETWORKS)]
    columns = tuple(range(batch.layout.size))
    problems = [Problem(state, task.objective(state, rnn), columns, False) for state in states]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *problems)


def main() -> None:
    """Time both ways. Print the median times and the median of their ratios."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((NETWORKS, 500, 4))
    batch = ov.Overlaps(vectors.swapaxes(1, 2) @ vectors / 500)
    task, rnn, rule = ov.tasks.exponential_filter(horizon=20.0), ov.RNN(dt=0.05), ov.GradientDescent(5e-3, 20)
    begun: list[float] = []
    advance = descent._advance

    def noted(*arguments: Any) -> Any:
        begun.append(time.perf_counter())
        return advance(*arguments)

    descent._advance = noted
    seconds = {"learn, to its first step": [], "learn, whole call": [], "problems one by one": []}
    for count in range(ROUNDS + 1):
        start = time.perf_counter()
        ov.learn(batch, task, rnn, rule, saves=2)
        whole, first = time.perf_counter() - start, begun[0] - start
        begun.clear()
        start = time.perf_counter()
        with jax.enable_x64(True):
            one_by_one(batch, task, rnn)
        if count:  # the first round compiles
            for values, value in zip(seconds.values(), (first, whole, time.perf_counter() - start), strict=True):
                values.append(value)
    for name, values in seconds.items():
        print(f"{name:28}{1e3 * np.median(values):10.1f} ms")
    together, _, apart = (np.array(values) for values in seconds.values())
    print(f"\none by one / as a whole, {NETWORKS:,} networks: {np.median(apart / together):.3g}")


if __name__ == "__main__":
    main()
