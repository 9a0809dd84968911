"""A linear network learns a damped oscillation: after a plateau of the loss, W gets a pair of complex eigenvalues.

The network has one input and one output, and only W learns. The vectors m and z are equal, so the network becomes a leaky
integrator first, and the loss stays on a plateau. W starts with a small rotation. This rotation grows at a rate that is known
in closed form, until two real eigenvalues meet and become a complex conjugate pair.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
parser.add_argument("--neurons", type=int, default=100, help="size of the simulated network (default: 100)")
parser.add_argument("--steps", type=int, default=2000, help="gradient steps (default: 2000)")
arguments = parser.parse_args()

rate, frequency, seed, size = 0.3, 0.5, 1e-3, arguments.neurons
generator = np.random.default_rng(0)
first, second = np.linalg.qr(generator.standard_normal((size, 2)))[0].T
W = seed * (np.outer(second, first) - np.outer(first, second))
network = ov.DenseNetwork(W, np.sqrt(size) * first, np.sqrt(size) * first)

task = ov.tasks.damped_oscillation(rate, frequency, horizon=None)
rule = ov.GradientDescent(learning_rate=0.025, steps=arguments.steps, rates={"m": 0, "z": 0})
simulation = ov.learn(network, task, ov.RNN(), rule, saves=101, progress=True)
times = simulation["time"].values[1:]
theory = ov.integration.plateau_flow(rate, frequency, times, seed, rates={"m": 0, "z": 0})
escape = ov.integration.escape_rate(rate, frequency)
print(f"escape rate {escape:.4f}: the plateau lasts about ln(1 / {seed:g}) / {escape:.4f} = {np.log(1 / seed) / escape:.1f}")
learned = [simulation[name].values[-1] for name in ("outlier_real", "outlier_imag")]
print(f"learned pair: {learned[0]:.4f} +- {learned[1]:.4f} i, target {1 - rate} +- {frequency} i")

circles = {"linestyle": "none", "marker": "o", "markersize": 4, "markerfacecolor": "none", "color": "k"}
few = simulation.isel(time=slice(None, None, 4))
with ov.plots.style():
    figure, axes = plt.subplot_mosaic("AA;BC", figsize=(7, 5))
    ov.plots.plot_learning(theory, axes["A"], label="theory", color="C0")
    ov.plots.plot_learning(few, axes["A"], label=f"{size} neurons", **circles)
    axes["A"].axvline(np.log(1 / seed) / escape, color="C1", linestyle=":", label="end of the plateau, predicted")
    axes["A"].legend()
    ov.plots.plot_outlier(theory, axes["B"], color="C0")
    ov.plots.plot_outlier(few, axes["B"], **circles)
    axes["B"].get_legend().remove()  # the title says it
    axes["B"].set_title("outlier\n(solid: real part, dashed: imaginary part)")
    ov.plots.plot_eigenvalues(simulation, axes["C"])
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "learn_to_oscillate.png", dpi=150)
print("Written:", arguments.output / "learn_to_oscillate.png")
