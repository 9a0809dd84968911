"""How far the theories of full-matrix learning are from networks: the tables of docs/integration.md.

Small random W: largest error of loss and outlier over learning, relative to the largest loss and to the target. Lazy: largest
error of the loss, relative to its start, root mean square over networks.
"""

import numpy as np

import overlaps as ov

RNN = ov.RNN()


def rich_table(neurons: int = 300, rate: float = 0.2, steps: int = 100) -> None:
    """Print errors of theories for small random W."""
    task, rule = ov.tasks.exponential_filter(rate, horizon=None), ov.GradientDescent(0.02, steps)
    print(f"Small random W, {neurons} neurons, everything learns: errors of the loss / of the outlier")
    for sigma in (0.01, 0.1, 0.3):
        network = ov.DenseNetwork.random(0, neurons, sigma)
        simulation = ov.learn(network, task, RNN, rule, saves=21)
        states = {f"order {order}": network.krylov(order) for order in range(3)}
        states["infinite"] = ov.integration.infinite_network(sigma, 4)
        row = []
        for name, state in states.items():
            theory = ov.learn(state, task, RNN, rule, saves=21)
            loss = float(abs(theory["loss"] - simulation["loss"]).max() / simulation["loss"].max())
            emerged = simulation["outlier_real"] > sigma + 0.1  # before, the outlier is in the bulk
            outlier = float(abs(theory["outlier_real"] - simulation["outlier_real"]).where(emerged).max() / (1 - rate))
            row.append(f"{name}: {loss:.0e} / {outlier:.0e}")
        print(f"  sigma {sigma:<5}", "   ".join(row))


def lazy_table(rate: float = 0.6, sigma: float = 0.6, scale: float = 300.0, seeds: int = 8) -> None:
    """Print errors of the lazy theory by size."""
    task = ov.tasks.exponential_filter(rate, horizon=None)
    rule = ov.GradientFlow(1.0, rtol=1e-5, atol=1e-8, rates={"W": 1 / scale**2, "m": 1 / scale**2})
    print(f"Lazy, readout scale {scale:g}, sigma {sigma}: error of the loss")
    errors = []
    sizes = (50, 100, 200, 400)
    for neurons in sizes:
        runs = [
            ov.learn(ov.DenseNetwork.random(seed, neurons, sigma, scale=scale, silent=True), task, RNN, rule, saves=11)
            for seed in range(seeds)
        ]
        curve = ov.integration.lazy_learning_curve(rate, sigma, runs[0]["time"].values)["loss"].values
        squares = np.mean([(run["loss"].values - curve) ** 2 for run in runs], axis=0)
        errors.append(float(np.sqrt(squares).max() / curve[0]))
        print(f"  {neurons:4} neurons: {errors[-1]:.1e}")
    print(f"  exponent: {np.polyfit(np.log(sizes), np.log(errors), 1)[0]:.2f}")


if __name__ == "__main__":
    rich_table()
    lazy_table()
