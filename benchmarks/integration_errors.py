"""How far the theories of full-matrix learning are from networks: the tables of docs/integration.md.

Small random W: largest error of loss and outlier over learning, relative to the largest loss and to the target. Lazy: largest
error of the loss, relative to its start, root mean square over networks.
"""

import numpy as np
import scipy.integrate
import scipy.linalg

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


def lazy_table(rate: float = 0.6, sigma: float = 0.6, seeds: int = 40) -> None:
    """Print errors of the lazy theory by size."""
    times, s = np.linspace(0, 20, 201), np.linspace(0, 1, 11)
    weights = scipy.integrate.simpson(np.eye(len(times)), x=times, axis=1)
    target = np.exp(-rate * times)
    kernels = ov.integration.lazy_kernels(times, sigma)
    curve = _kernel_loss(kernels["weights"].values + 2 * kernels["vectors"].values, weights, target, s)
    print(
        f"Lazy, sigma {sigma}, rate {rate}: error of the loss of silent networks with readouts so large that their kernel stays"
    )
    errors, sizes = [], (100, 200, 400)
    for neurons in sizes:
        # A silent network is two copies of one of half the size, and has its kernel.
        kernels = [_kernel(ov.DenseNetwork.random(seed, neurons // 2, sigma), times) for seed in range(seeds)]
        deviations = [_kernel_loss(kernel, weights, target, s) - curve for kernel in kernels]
        errors.append(float(np.sqrt(np.mean(np.square(deviations), axis=0)).max() / curve[0]))
        print(f"  {neurons:4} neurons: {errors[-1]:.1e}", flush=True)
    print(f"  exponent: {np.polyfit(np.log(sizes), np.log(errors), 1)[0]:.2f}")


def _kernel(network: ov.DenseNetwork, times: np.ndarray) -> np.ndarray:
    """K + 2 C of one network, on a grid of times, by powers of one propagator."""
    n, J = network.n, network.W - np.eye(network.n)
    generator = np.block([[J, network.m @ network.z.T / n], [np.zeros((n, n)), J]])
    step, now = scipy.linalg.expm(times[1] * generator), np.eye(2 * n)
    right, left, both = [], [], []
    for _ in times:
        right.append(now[:n, :n] @ network.m[:, 0])
        left.append(network.z[:, 0] @ now[:n, :n])
        both.append(now[:n, n:].ravel())
        now = now @ step
    right, left, both = np.array(right), np.array(left), np.array(both)
    return both @ both.T + (left @ left.T + right @ right.T) / n


def _kernel_loss(kernel: np.ndarray, weights: np.ndarray, target: np.ndarray, s: np.ndarray) -> np.ndarray:
    roots = np.sqrt(weights)
    values, vectors = np.linalg.eigh(roots[:, None] * kernel * roots)
    start = vectors.T @ (roots * target)
    return np.array([np.sum((np.exp(-2 * time * values) * start) ** 2) for time in s])


if __name__ == "__main__":
    rich_table()
    lazy_table()
