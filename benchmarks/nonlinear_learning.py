"""How long one gradient step of a nonlinear network takes, by the overlap theory and with all neurons.

One step is the loss and its gradient on 10 flip-flop trials of 800 Euler steps of 0.025, rank 1, erf. There are two
comparisons:

- the overlap theory, with the same step in a Python loop over time samples and automatic differentiation;
- a network of 1,000 neurons, with the evaluations that it cannot avoid: phi for every neuron and sample, and phi' once more for
  the gradient, in arrays of the same shapes.

The benchmark times all of them in turn in one process, in several rounds. Ratios are medians over rounds.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import overlaps as ov

DT, TRIALS, SAMPLES, NEURONS, ROUNDS = 0.025, 10, 800, 1000, 3


def library(task: ov.tasks.Trials, rnn: ov.RNN, state: Any) -> tuple[Callable, Any]:
    """The compiled step that `learn` takes, and its argument."""
    objective = task.objective(state, rnn)
    return jax.jit(jax.value_and_grad(lambda factor: objective(state.with_factor(factor)))), jnp.asarray(state.factor)


def loop_loss(gram: jax.Array, task: ov.tasks.Trials) -> jax.Array:
    """The loss of the overlap theory (Gaussian closure) at rank 1, in a Python loop over samples."""
    zm, zu, vm, vu, mm, mu, uu = (gram[i, j] for i, j in ((3, 0), (3, 1), (2, 0), (2, 1), (0, 0), (0, 1), (1, 1)))
    k_m, k, total = jnp.zeros(TRIALS), jnp.zeros(TRIALS), 0.0

    def gain(k_m: jax.Array, k: jax.Array) -> jax.Array:
        return 1 / jnp.sqrt(1 + jnp.pi / 2 * (mm * k_m**2 + 2 * mu * k_m * k + uu * k**2))

    for sample in range(SAMPLES):
        drive = gain(k_m, k) * (vm * k_m + vu * k)
        k_m, k = k_m + DT * (task.inputs[:, sample, 0] - k_m), k + DT * (drive - k)
        output = gain(k_m, k) * (zm * k_m + zu * k)
        total = total + jnp.sum(task.mask[:, sample, 0] * (output - task.targets[:, sample, 0]) ** 2)
    return total / task.mask.sum()


def evaluations(slope: bool) -> Callable:
    """A function that evaluates phi, or its slope phi', for all neurons of all trials, sample after sample."""
    phi = jax.lax.erf if not slope else lambda x: jnp.exp(-(x**2))

    def run(activity: jax.Array) -> jax.Array:
        def sample(activity: jax.Array, _: None) -> tuple[jax.Array, None]:
            return phi(activity) + 0.1, None

        return jax.lax.scan(sample, activity, None, length=SAMPLES)[0]

    return jax.jit(run)


def main() -> None:
    """Check that theory and loop agree, time everything, and print ratios and memory."""
    jax.config.update("jax_enable_x64", True)
    rnn = ov.RNN("erf", dt=DT)
    task = ov.tasks.flip_flop(0, trials=TRIALS, duration=SAMPLES * DT, dt=DT)
    net = ov.Overlaps.random(0)
    overlap_step, network_step = library(task, rnn, net), library(task, rnn, net.sample(NEURONS, 1))
    by_loop = jax.value_and_grad(loop_loss)
    assert abs(by_loop(jnp.asarray(net.gram), task)[0] - overlap_step[0](overlap_step[1])[0]) < 1e-12
    activity = jnp.asarray(np.random.default_rng(0).standard_normal((TRIALS, NEURONS)))
    contenders = {
        "overlaps, one step": lambda: overlap_step[0](overlap_step[1]),
        "Python loop over samples, autodiff": lambda: by_loop(jnp.asarray(net.gram), task),
        f"network of {NEURONS}, one step": lambda: network_step[0](network_step[1]),
        "its evaluations of phi": lambda: evaluate(activity),
        "its evaluations of phi'": lambda: differentiate(activity),
    }
    evaluate, differentiate = evaluations(slope=False), evaluations(slope=True)
    seconds = {name: [] for name in contenders}
    for count in range(ROUNDS + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if count:  # the first round compiles
                seconds[name].append(time.perf_counter() - start)
    overlaps, loop, network, phi, slope = (np.array(values) for values in seconds.values())
    for name, values in seconds.items():
        print(f"{name:40}{1e3 * np.median(values):12.4g} ms")
    print(f"\nloop / overlaps:                        {np.median(loop / overlaps):12.3g}")
    print(f"network / (phi + phi'), {SAMPLES * TRIALS * NEURONS:,} of each: {np.median(network / (phi + slope)):8.3g}")
    print("\ntemporary memory of one step:")
    for neurons in (NEURONS, 2 * NEURONS, 4 * NEURONS):
        step, argument = library(task, rnn, net.sample(neurons, 1))
        size = step.lower(argument).compile().memory_analysis().temp_size_in_bytes
        print(f"{neurons:8} neurons {size / 2**20:8.2f} MiB, {size / neurons:8.1f} bytes per neuron")


if __name__ == "__main__":
    main()
