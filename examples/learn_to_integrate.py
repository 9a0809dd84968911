"""A linear network learns to integrate white noise: one eigenvalue of W moves away from all others and makes the integrator.

All of W, m and z learn. The eigenvalues of the random W fill a disk, the bulk. One of them, the outlier, leaves the bulk. The
script compares a simulation of 300 neurons with three theories, which are networks of few units. The rich theory keeps only
what W does between m and z, and has two units. The Krylov theory also keeps the products of W and of its transpose with these
vectors, and has six units. The limit of infinitely many neurons has thirty units. A second figure shows a network with a large
readout (rate 0.6, bulk of radius 0.6). Learning is lazy there: the output changes while W hardly does.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--neurons", type=int, default=300, help="size of the simulated network (default: 300)")
parser.add_argument("--steps", type=int, default=200, help="gradient steps (default: 200)")
arguments = parser.parse_args()

rate, sigma = 0.2, 0.3
task = ov.tasks.exponential_filter(rate, horizon=None)
rnn, rule = ov.RNN(), ov.GradientDescent(learning_rate=0.01, steps=arguments.steps)
network = ov.DenseNetwork.random(0, arguments.neurons, sigma)
simulation = ov.learn(network, task, rnn, rule, saves=41, progress=True)
theories = {
    "rich, 2 units": network.krylov(0),
    "Krylov, 6 units": network.krylov(1),
    "infinite, 30 units": ov.integration.infinite_network(sigma, order=3),
}

datasets = {name: ov.learn(state, task, rnn, rule, saves=41) for name, state in theories.items()} | {"simulation": simulation}
for name, dataset in datasets.items():
    print(f"{name:20} outlier {dataset['outlier_real'].values[-1]:.4f}   loss {dataset['loss'].values[-1]:.2e}")

circles = {"linestyle": "none", "marker": "o", "markersize": 4, "markerfacecolor": "none", "color": "k"}
with ov.plots.style():
    figure, axes = plt.subplot_mosaic("AA;BC", figsize=(7, 5))
    for index, (name, dataset) in enumerate(datasets.items()):
        style = circles if name == "simulation" else {"color": f"C{index}"}
        ov.plots.plot_learning(dataset, axes["A"], label=name, **style)
        ov.plots.plot_outlier(dataset, axes["B"], **style)
    axes["A"].legend()
    axes["B"].axhline(1 - rate, color="0.5", linestyle=":")
    axes["B"].get_legend().remove()  # that of the loss says all
    axes["B"].set_title("outlier (dotted: target)")
    ov.plots.plot_eigenvalues(simulation, axes["C"], bulk=sigma)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "learn_to_integrate.png", dpi=150)
print("Written:", arguments.output / "learn_to_integrate.png")

regimes = ov.integration.compare_regimes(0.6, 0.6, scale=30.0, n=arguments.neurons // 2 * 2, duration=2.0, saves=21)
with ov.plots.style():
    ov.plots.plot_regimes(regimes).savefig(arguments.output / "lazy_integrator.png", dpi=150)
print("Written:", arguments.output / "lazy_integrator.png")
