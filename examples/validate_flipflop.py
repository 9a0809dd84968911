"""Tell apart the two errors of the overlap theory on the flip-flop task: finite size, and the Gaussian closure.

The script trains erf networks of several sizes, the overlap theory and the infinite limit (the mean field). The vectors start
with unit length and overlaps of 0.3. Networks approach the mean field as 1 / sqrt(N). They approach the overlap theory only up
to its bias. The theory uses the Gaussian closure: it assumes that vectors are Gaussian over neurons. A second figure shows why
there is a bias: learning makes the entries of the vectors non-Gaussian, by gradient flow, by large steps and by Adam.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import optax

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400, 1600], help="neurons (default: 100 400 1600)")
parser.add_argument("--seeds", type=int, default=8, help="networks of each size (default: 8)")
parser.add_argument("--steps", type=int, default=400, help="gradient steps of 0.1 (default: 400)")
parser.add_argument("--neurons", type=int, default=1000, help="neurons of the networks in the second figure (default: 1000)")
options = parser.parse_args()
options.output.mkdir(parents=True, exist_ok=True)

net = ov.Overlaps(0.7 * np.eye(4) + 0.3)
rnn = ov.RNN("erf", dt=0.2)
task = ov.tasks.flip_flop(0, trials=4, duration=15.0, dt=rnn.dt)

rule = ov.GradientDescent(0.1, options.steps)
dataset = ov.validate(net, task, rnn, rule, options.sizes, options.seeds, progress=True)
print(dataset.attrs["verdict"])
with ov.plots.style():
    ov.plots.plot_validation(dataset).savefig(options.output / "validate_flipflop.png", dpi=150)

network, duration = net.sample(options.neurons, 0, exact=False), 0.1 * options.steps
rules = {
    "gradient flow": ov.GradientFlow(duration, rtol=1e-5, atol=1e-7),
    "steps of 1": ov.GradientDescent(1.0, max(1, round(duration))),
    "Adam": ov.GradientDescent(0.02, max(1, options.steps // 2), optax.adam),
}
datasets = {}
for name, rule in rules.items():
    trained = ov.learn(network, task, rnn, rule, saves=2, observe=["moments"], progress=True)
    kurtosis, distance = trained["kurtosis"].values[-1].round(2), trained["non_gaussianity"].values
    print(
        f"{name}: excess kurtosis of m, u, v, z {kurtosis}, "
        f"divergence from a joint normal distribution {distance[0]:.2g} -> {distance[1]:.2g}"
    )
    datasets[name] = trained
with ov.plots.style():
    figure, axes = plt.subplots(4, 4, figsize=(7, 7.6))
    for row, (name, dataset) in zip(axes, datasets.items(), strict=False):
        ov.plots.plot_quantiles(dataset, row)
        row[0].set_ylabel(f"{name}\nquantile of entries")
    ov.plots.plot_histograms(datasets["Adam"], axes[3])
    axes[3, 0].set_ylabel("Adam\ndensity of entries")
    figure.savefig(options.output / "non_gaussian.png", dpi=150)
print("Written:", options.output / "validate_flipflop.png", "and", options.output / "non_gaussian.png")
