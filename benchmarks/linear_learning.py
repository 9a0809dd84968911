"""How long one learning curve takes: the overlap theory, and other ways to compute the same curve.

The curve is that of the main job, `python -m overlaps`: rank 1, exponential filter of rate 0.2, 400 Euler steps of 0.05, 2,000
gradient steps (epochs). The benchmark times all ways in turn in one process, in several rounds. Each round gives one ratio for
each way, and the benchmark prints the median. Slow ways run fewer epochs, as listed, and their times are scaled up to 2,000.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import overlaps as ov

RATE, DT, SAMPLES, EPOCHS, LEARNING_RATE, ROUNDS = 0.2, 0.05, 400, 2000, 5e-3, 5

NET = ov.Overlaps.random(0)
TARGET = np.exp(-RATE * DT * np.arange(SAMPLES))


def library(state: ov.Overlaps | ov.Network, epochs: int) -> np.ndarray:
    """`learn`, with the time it takes to build its Dataset."""
    task = ov.tasks.exponential_filter(RATE, horizon=SAMPLES * DT)
    rule = ov.GradientDescent(LEARNING_RATE, epochs)
    return ov.final_state(ov.learn(state, task, ov.RNN(dt=DT), rule)).overlaps().gram


def numpy_loop(epochs: int) -> np.ndarray:
    """Time steps of the reduced network (the latents) in NumPy, for any rank, with a backward pass written by hand."""
    G, inputs, rank = NET.gram.copy(), 1, 1
    x, y = slice(0, inputs + rank), slice(inputs + rank, None)  # [m u] and [v z]
    for _ in range(epochs):
        B = G[y, x]
        step = np.eye(inputs + rank)
        step[:inputs] *= 1 - DT
        step[inputs:] += DT * (B[:rank] - step[inputs:])
        readout = B[rank:]
        states = [np.eye(inputs + rank, inputs)]
        for _ in range(SAMPLES - 1):
            states.append(step @ states[-1])
        adjoint, slope = np.zeros((inputs + rank, inputs)), np.zeros_like(B)
        for state, target in zip(reversed(states), reversed(TARGET), strict=True):
            error = 2 * DT * (readout @ state - target)
            slope[:rank] += DT * adjoint[inputs:] @ state.T
            slope[rank:] += error @ state.T
            adjoint = step.T @ adjoint + readout.T @ error
        S = np.zeros_like(G)
        S[y, x], S[x, y] = slope, slope.T
        update = np.eye(len(G)) - LEARNING_RATE * S
        G = update @ G @ update
    return G


def scalar_loop(epochs: int) -> np.ndarray:
    """The same with single numbers in place of matrices, for rank 1 only."""
    G = NET.gram.copy()
    k_m = (1 - DT) ** np.arange(SAMPLES)
    for _ in range(epochs):
        zm, zu, vm, vu = G[3, 0], G[3, 1], G[2, 0], G[2, 1]
        k = np.zeros(SAMPLES)
        for t in range(SAMPLES - 1):
            k[t + 1] = k[t] + DT * (vm * k_m[t] + (vu - 1) * k[t])
        error = 2 * DT * (zm * k_m + zu * k - TARGET)
        adjoint = np.zeros(SAMPLES)
        for t in range(SAMPLES - 2, -1, -1):
            adjoint[t] = (1 + DT * (vu - 1)) * adjoint[t + 1] + zu * error[t + 1]
        gradients = error @ k_m, error @ k, DT * adjoint[:-1] @ k_m[:-1], DT * adjoint[:-1] @ k[:-1]
        S = np.zeros((4, 4))
        S[[3, 3, 2, 2], [0, 1, 0, 1]] = gradients
        step = np.eye(4) - LEARNING_RATE * (S + S.T)
        G = step @ G @ step
    return G


def reduced_loss(gram: jax.Array) -> jax.Array:
    """The loss from time steps of the reduced network, one JAX operation after another."""
    zm, zu, vm, vu = gram[3, 0], gram[3, 1], gram[2, 0], gram[2, 1]
    k_m, k, loss = jnp.ones(()), jnp.zeros(()), 0.0
    for target in TARGET:
        loss = loss + DT * (zm * k_m + zu * k - target) ** 2
        k_m, k = k_m - DT * k_m, k + DT * (vm * k_m + vu * k - k)
    return loss


def scanned_loss(gram: jax.Array) -> jax.Array:
    """The same loss as a scan, which JAX can compile."""
    zm, zu, vm, vu = gram[3, 0], gram[3, 1], gram[2, 0], gram[2, 1]

    def step(carry: tuple[jax.Array, jax.Array], target: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        k_m, k = carry
        error = zm * k_m + zu * k - target
        return (k_m - DT * k_m, k + DT * (vm * k_m + vu * k - k)), error**2

    return DT * jnp.sum(jax.lax.scan(step, (jnp.ones(()), jnp.zeros(())), TARGET)[1])


def differentiated_loop(gradient: Callable, epochs: int) -> np.ndarray:
    """A Python loop over epochs, each with a gradient by automatic differentiation."""
    G = jnp.asarray(NET.gram)
    for _ in range(epochs):
        gamma = gradient(G)
        step = jnp.eye(4) - LEARNING_RATE * (gamma + gamma.T)
        G = step @ G @ step
    return np.asarray(G)


def main() -> None:
    """Check that all ways give the same result, time them, and print the table."""
    jax.config.update("jax_enable_x64", True)
    network = NET.sample(500, 1)
    compiled = jax.jit(jax.grad(scanned_loss))
    contenders = {
        "learn, overlaps": (EPOCHS, functools.partial(library, NET)),
        "loop over epochs, autodiff op by op": (1, functools.partial(differentiated_loop, jax.grad(reduced_loss))),
        "loop over epochs, compiled autodiff": (200, functools.partial(differentiated_loop, compiled)),
        "loop over epochs, NumPy by hand": (20, numpy_loop),
        "loop over epochs, by hand, rank 1 only": (50, scalar_loop),
        "learn, network of 500 neurons": (200, functools.partial(library, network)),
    }
    for name, (_, run) in contenders.items():
        difference = np.abs(run(epochs=1) - library(NET, 1)).max()
        assert difference < 1e-12, (name, difference)
        run(epochs=2)
    seconds = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (epochs, run) in contenders.items():
            start = time.perf_counter()
            run(epochs=epochs)
            seconds[name].append((time.perf_counter() - start) * EPOCHS / epochs)
    print(f"{EPOCHS} epochs of {SAMPLES} Euler steps; median of {ROUNDS} interleaved rounds\n")
    print(f"{'':40}{'epochs run':>12}{'seconds':>12}{'ratio to learn':>16}")
    for name, (epochs, _) in contenders.items():
        ratio = np.median(np.divide(seconds[name], seconds["learn, overlaps"]))
        print(f"{name:40}{epochs:12d}{np.median(seconds[name]):12.3g}{ratio:16.3g}")


if __name__ == "__main__":
    main()
