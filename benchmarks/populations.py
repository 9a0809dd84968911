"""What populations cost, and when points are cheaper than clouds (docs/populations.md).

The first table has the time of a step of learning, relative to that of a network of 4,096 neurons, for a flip-flop task at rank
2. The second table takes a single Gaussian N(0, G) of neurons apart, at the Gauss-Hermite nodes x_j of N(0, (1 - s^2) G): into
clouds N(x_j, s^2 G) with s = 0.3, which are populations, and, for s = 0, into points, which are a mean field. It has the
largest error of a trained overlap, against a mean field of 8^4 points, and in brackets the time of a step, relative to that of
`Overlaps`.
"""

import time
from typing import Any

import numpy as np

import overlaps as ov

COUNTS = (1, 2, 4, 8, 32)


def seconds(state: Any, task: Any, rnn: Any, steps: int) -> float:
    """The processor time of a step of learning, without that of compiling."""
    rule = ov.GradientDescent(0.02, steps)
    ov.learn(state, task, rnn, rule, saves=2)
    start = time.process_time()
    ov.learn(state, task, rnn, rule, saves=2)
    return (time.process_time() - start) / steps


def main() -> None:
    """Print both tables in Markdown."""
    random = np.random.default_rng(0)
    mixtures = [
        ov.Populations(np.full(p, 1 / p), 0.3 * random.standard_normal((p, 6)), [np.eye(6) / 2] * p, 1, 2) for p in COUNTS
    ]
    print("| phi | overlaps | " + " | ".join(f"{count} populations" for count in COUNTS) + " | 729 points |")
    print("|---|---|" + "---|" * len(COUNTS) + "---|")
    for phi in ("erf", "tanh"):
        rnn, task = ov.RNN(phi, dt=0.2), ov.tasks.flip_flop(0, trials=5, duration=10.0, dt=0.2)
        whole = seconds(mixtures[0].sample(4096, 0), task, rnn, 50)
        states = (mixtures[0].overlaps(), *mixtures, mixtures[0].overlaps().mean_field(3**6))
        parts = [seconds(state, task, rnn, 200) / whole for state in states]
        print(f"| {phi} | " + " | ".join(f"{part:.1%}" for part in parts) + " |", flush=True)

    net, width = ov.Overlaps.random(2).replace(vm=0.3, vu=0.3, zu=0.2), 0.3
    rnn, task, rule = ov.RNN("erf", dt=0.2), ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.2), ov.GradientDescent(0.1, 60)

    def trained(state: Any) -> np.ndarray:
        return ov.learn(state, task, rnn, rule, saves=3)["sigma"].values

    limit, unit = trained(net.mean_field(8**4)), seconds(net, task, rnn, 500)
    print("\n| number | clouds | points |\n|---|---|---|")
    for axis in (1, 3, 4, 5):
        nodes = net.mean_field(axis**4)
        clouds = net.populations()
        if axis > 1:
            covariances = np.broadcast_to(width**2 * net.gram, (nodes.n, 4, 4))
            clouds = ov.Populations(nodes.weights, np.sqrt(1 - width**2) * nodes.vectors, covariances)
        entries = [
            f"{np.abs(trained(state) - limit).max():.0e} ({seconds(state, task, rnn, 200) / unit:.1f})"
            for state in (clouds, nodes)
        ]
        print(f"| {axis}^4 | " + " | ".join(entries) + " |", flush=True)


if __name__ == "__main__":
    main()
