"""The bias of the Gaussian closure, for several phi, input amplitudes and lengths of training (docs/large_n.md).

The overlap theory of nonlinear networks assumes that vectors are Gaussian over neurons: this is the closure. The mean field is
the exact limit of infinitely many neurons. The bias is the theory minus the mean field. The task is the flip-flop of
`examples/validate_flipflop.py`, with steps of 0.1. Each entry of the table has three numbers:

- the bias, as the root mean square over overlaps;
- the error of the mean field, which is its change from 6^4 to 7^4 quadrature nodes;
- in brackets, the bias relative to how far the overlaps have moved.

For phi that are not odd, a second row has the bias of one population with a mean (docs/populations.md).
"""

import jax
import numpy as np

import overlaps as ov

STEPS = (25, 50, 100, 200, 400)
ODD = ("erf", "tanh")


def main() -> None:
    """Print the table in Markdown, one row for each phi and input amplitude."""
    jax.config.update("jax_enable_x64", True)
    net = ov.Overlaps(0.7 * np.eye(4) + 0.3)
    rule = ov.GradientDescent(learning_rate=0.1, steps=STEPS[-1])
    print("| phi | input | " + " | ".join(f"{steps} steps" for steps in STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for phi in ("erf", "tanh", "relu", "softplus"):
        rnn = ov.RNN(phi, dt=0.2)
        for amplitude in (0.5, 1.0, 2.0):
            task = ov.tasks.flip_flop(0, trials=4, duration=15.0, dt=rnn.dt, input=amplitude)
            theories = {phi: net} if phi in ODD else {phi: net, f"{phi}, with a mean": net.populations()}
            states = (net.mean_field(6**4), net.mean_field(7**4), *theories.values())
            runs = [ov.learn(state, task, rnn, rule, saves=17) for state in states]
            coarse, fine, *closures = (run["sigma"].swap_dims(time="step").sel(step=list(STEPS)) for run in runs)
            start = runs[0]["sigma"].isel(time=0)

            def rms(difference: object) -> np.ndarray:
                return np.sqrt((difference**2).mean("overlap")).values

            error, moved = rms(fine - coarse), rms(fine - start)
            for name, closure in zip(theories, closures, strict=True):
                bias = rms(closure - fine)
                entries = [f"{b:.1g} +- {e:.0e} ({b / m:.1%})" for b, e, m in zip(bias, error, moved, strict=True)]
                print(f"| {name} | {amplitude} | " + " | ".join(entries) + " |", flush=True)


if __name__ == "__main__":
    main()
