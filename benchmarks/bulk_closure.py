"""The error of a closure that trains overlaps with a random bulk as if the vectors stayed independent of it, as a table.

`python benchmarks/bulk_closure.py` trains erf networks with a bulk J of radius g on the flip-flop task of docs/large_n.md, and
beside them the closure: gradient descent on overlaps, with the output that `overlaps.bulk.activity` computes from them. The
closure takes m, u, v and z to be Gaussian and independent of J at each step. They are not, once they have learned
(docs/bulk_nonlinear.md, "Learning does not close"). An entry is the root mean square difference between the outputs of network
and closure on the trials, after some steps of learning, relative to the root mean square target, and the mean over draws. What
does not fall as 1 / sqrt(N) is the error of the closure.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import overlaps as ov
from overlaps.bulk._activity import _trial

GRAM = 0.7 * np.eye(4) + 0.3
RADII, STEPS, RATE = (0.0, 0.3, 0.6, 0.9), (5, 10, 15, 20, 40), 0.5
RNN = ov.RNN("erf", dt=0.2)


def closure(task: ov.tasks.Trials, g: float) -> list[np.ndarray]:
    """The outputs of the closure before learning and after these steps."""

    def outputs(factor: jax.Array) -> jax.Array:
        net = ov.Overlaps(factor.T @ factor)
        return jax.vmap(lambda trial: _trial(RNN, net, g, trial, False)["output"])(jnp.asarray(task.inputs))

    slope = jax.jit(jax.grad(lambda factor: task.loss_function(outputs(factor), task.targets, task.mask)))
    factor, kept = jnp.asarray(ov.Overlaps(GRAM).factor), {}
    for step in range(STEPS[-1] + 1):
        if step in (0, *STEPS):
            kept[step] = np.asarray(jax.jit(outputs)(factor))
        factor = factor - RATE * slope(factor)
    return list(kept.values())


def network(task: ov.tasks.Trials, g: float, n: int, seed: int) -> list[np.ndarray]:
    """The outputs of a network before learning and after these steps."""
    state = ov.Overlaps(GRAM).sample(n, seed, bulk=ov.RandomBulk(g, seed))
    kept = [RNN.output(state, task.inputs).values]
    for before, after in zip((0, *STEPS), STEPS, strict=False):
        state = ov.final_state(ov.learn(state, task, RNN, ov.GradientDescent(RATE, after - before), saves=2))
        kept.append(RNN.output(state, task.inputs).values)
    return kept


def size(values: np.ndarray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--draws", type=int, default=4)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    task = ov.tasks.flip_flop(0, trials=2, duration=8.0, dt=0.2)
    print("| g | N | before learning | " + " | ".join(f"{steps} steps" for steps in STEPS) + " |")
    print("|---|---|---|" + "---|" * len(STEPS))
    for g in RADII:
        theory = closure(task, g)
        for n in arguments.sizes:
            errors = []
            for seed in range(arguments.draws):
                outputs = network(task, g, n, seed)
                errors.append([size(a - b) / size(np.asarray(task.targets)) for a, b in zip(outputs, theory, strict=True)])
            print(f"| {g} | {n} | " + " | ".join(f"{error:.1%}" for error in np.mean(errors, axis=0)) + " |", flush=True)


if __name__ == "__main__":
    main()
