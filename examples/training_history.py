"""Train task A, then B, then A again: what returns, what does not, and what label noise changes.

Gradient flow brings back everything that the function of the network fixes. The other overlaps, such as the invisible ones,
return up to a small difference, the holonomy. Gradient flow also conserves certain quantities, the charges. They restrict how
the invisible overlaps can move. Label noise (fresh noise on the targets at each step) and a finite learning rate break these
conservation laws.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
output = parser.parse_args().output

net = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
rnn = ov.RNN(dt=0.1)
A, B = (ov.tasks.exponential_filter(rate, horizon=20.0) for rate in (0.2, 0.4))
flow = ov.GradientFlow(duration=15.0, rtol=1e-9, atol=1e-11)
descent = ov.GradientDescent(learning_rate=5e-3, steps=3000)

runs = {
    "gradient flow": ov.learn(net, [ov.Phase("A", A, flow), ov.Phase("B", B, flow), ov.Phase("A again", A, flow)], rnn),
    "descent with label noise": ov.learn(
        net,
        [ov.Phase(name, ov.tasks.label_noise(task, std=1.0), descent) for name, task in (("A", A), ("B", B), ("A again", A))],
        rnn,
        key=0,
    ),
}
for name, dataset in runs.items():
    first, last = (dataset["sigma"].isel(time=np.flatnonzero(dataset["phase"] == phase)[-1]) for phase in ("A", "A again"))
    print(f"{name}: change of each overlap between the end of A and the end of A again")
    changes = zip(dataset["overlap"].values, (last - first).values, strict=True)
    print("   ", ", ".join(f"{label} {change:+.1e}" for label, change in changes))

with ov.plots.style():
    figure, axes = plt.subplots(3, 2, figsize=(7, 7.5))
    for (name, dataset), (top, middle, bottom) in zip(runs.items(), axes.T, strict=True):
        ov.plots.plot_learning(dataset, top)
        ov.plots.plot_overlaps(dataset, middle, visible=False)
        ov.plots.plot_conserved(ov.conserved(dataset), bottom)
        top.set_title(name, pad=14)  # above the names of the phases
        middle.set_title("invisible overlaps\n(not in the loss)", pad=14)
        bottom.set_title("charges\n(gradient flow conserves them)", pad=14)
    for ax in axes[1:, 0]:
        ax.get_legend().remove()  # those of the right column hold for both
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "training_history.png", dpi=150)
print("Written:", output / "training_history.png")
