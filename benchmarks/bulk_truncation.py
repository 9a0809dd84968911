"""What the order of a `BulkOverlaps` leaves out, and the error of runs (docs/bulk_truncation.md).

`python benchmarks/bulk_truncation.py` prints two tables. Overlaps of random vectors learn the exponential filter of rate 0.2
over a horizon of 10, in 300 steps. The first table is for a bulk with independent entries at N -> infinity, and its truth is
the run at order 7. The second one is for vectors in the middle of learning (after 100 steps): the error of their loss for
partially symmetric bulks of correlation eta, and, as root mean square over 16 draws, for networks of N neurons. It takes two
minutes on one core.
"""

import numpy as np

import overlaps as ov

NET, TASK, RNN = ov.Overlaps.random(0), ov.tasks.exponential_filter(0.2, horizon=10.0), ov.RNN(dt=0.1)
TRUTH = 7
NAMES = ("loss", "sigma", "sigma_bulk")


def run(state, steps=300):
    """A run of learning."""
    return ov.learn(state, TASK, RNN, ov.GradientDescent(1e-2, steps), saves=11)


def difference(one, other):
    """The largest difference of loss and overlaps over two runs."""
    return max(float(np.abs(one[name] - other[name]).max()) for name in NAMES)


def errors_of_runs():
    """Print the first table."""
    print("| g | order | left out, untrained | left out, trained | change | estimate | error |")
    print("|---|---|---|---|---|---|---|")
    for radius in (0.1, 0.3, 0.6, 0.9):
        truth = run(NET.with_bulk(radius, TRUTH))
        runs = [run(NET.with_bulk(radius, order)) for order in range(5)]
        for order in (2, 3, 4):
            start, end = NET.with_bulk(radius, order), ov.final_state(runs[order])
            first, last = (ov.bulk.truncation(state, TASK, RNN).left_out for state in (start, end))
            before, change = (difference(runs[place], runs[place - 1]) for place in (order - 1, order))
            ratio = max(change / before, radius**2)
            row = [first, last, change, change * ratio / (1 - ratio), difference(runs[order], truth)]
            print(f"| {radius} | {order} | {' | '.join(f'{value:.1g}' for value in row)} |", flush=True)


def errors_of_loss():
    """Print the second table."""
    print("| g | order | eta = 0.5 | eta = -0.5 | eta = 1 | N = 100 | N = 400 |")
    print("|---|---|---|---|---|---|---|")
    for radius in (0.1, 0.3):
        for order in (0, 1, 2):
            row = []
            for correlation in (0.5, -0.5, 1.0):
                end = ov.final_state(run(NET.with_bulk(radius, order, correlation), 100))
                found = ov.bulk.truncation(end, TASK, RNN)
                row.append(abs(found.loss - found.whole_loss))
            for n in (100, 400):
                squares = []
                for seed in range(16):
                    network = NET.sample(n, seed, bulk=radius)
                    found = ov.bulk.truncation(ov.final_state(run(network.krylov(order), 100)), TASK, RNN, network.bulk)
                    squares.append((found.loss - found.whole_loss) ** 2)
                row.append(np.sqrt(np.mean(squares)))
            print(f"| {radius} | {order} | {' | '.join(f'{value:.1g}' for value in row)} |", flush=True)


if __name__ == "__main__":
    errors_of_runs()
    errors_of_loss()
