"""How far the theories of networks whose whole W learns are from simulations: the errors in docs/integration.md.

The first table is for small random W. It shows the largest error of the loss over learning, relative to the largest loss. It
also shows the largest error of the outlier (the eigenvalue of W that couples input and readout most), relative to the target.
The second table is for lazy learning, where the output changes while W hardly does. It shows the largest error of the loss over
learning, as the root mean square over networks, relative to the loss at the start.
"""

import numpy as np
import scipy.integrate
import scipy.linalg

import overlaps as ov

RNN = ov.RNN()


def rich_table(neurons: int = 300, rate: float = 0.2, steps: int = 100) -> None:
    """Print the errors of several theories for small random W."""
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
            emerged = (
                simulation["outlier_real"] > sigma + 0.1
            )  # before this, the outlier is one of the eigenvalues in the bulk of random W
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
    print(f"Lazy, sigma {sigma}, rate {rate}: error of the loss; silent networks, readouts so large that the kernel is fixed")
    errors, sizes = [], (100, 200, 400)
    for neurons in sizes:
        # A silent network consists of two copies of a network of half the size, and has the same kernel as this network.
        kernels = [_kernel(ov.DenseNetwork.random(seed, neurons // 2, sigma), times) for seed in range(seeds)]
        deviations = [_kernel_loss(kernel, weights, target, s) - curve for kernel in kernels]
        errors.append(float(np.sqrt(np.mean(np.square(deviations), axis=0)).max() / curve[0]))
        print(f"  {neurons:4} neurons: {errors[-1]:.1e}", flush=True)
    print(f"  exponent: {np.polyfit(np.log(sizes), np.log(errors), 1)[0]:.2f}")


def _kernel(network: ov.DenseNetwork, times: np.ndarray) -> np.ndarray:
    """The kernel K + 2 C of one network (docs/integration.md, "Lazy") on a grid of times, from powers of one propagator."""
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
    """The loss at the learning times `s` under a fixed kernel; `weights` are those of the integral over time."""
    roots = np.sqrt(weights)
    values, vectors = np.linalg.eigh(roots[:, None] * kernel * roots)
    start = vectors.T @ (roots * target)
    return np.array([np.sum((np.exp(-2 * time * values) * start) ** 2) for time in s])


if __name__ == "__main__":
    rich_table()
    lazy_table()
