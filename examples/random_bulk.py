"""A low-rank network learns on top of random connectivity that does not learn: what the radius of the bulk changes.

The recurrent weights are W = J + u v^T / N. The bulk J is a random matrix of radius g, and the vectors m, u, v and z learn. The
figure has four panels. Learning curves of the theory for infinitely many neurons, and of networks with 400 neurons. Learning
times over g, also for a start with small random overlaps. Overlaps after learning over g. The error of the theory that keeps
words of up to 0, 1 and 2 factors J and J^T, for one network of 300 neurons.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
output = parser.parse_args().output

net = ov.Overlaps.random(0, n=None).replace(zu=0.4, vm=0.4, vu=0.2)
rnn, task = ov.RNN(dt=0.1), ov.tasks.exponential_filter(rate=0.2, horizon=10.0)
rule = ov.GradientDescent(learning_rate=0.01, steps=200)

radii = np.arange(0.0, 1.0, 0.15)
theory = ov.bulk.speed(net, task, rnn, rule, radii, order=6)
weak = ov.bulk.speed(ov.Overlaps.random(0), task, rnn, rule, radii, order=6)
print(theory[["learning_time", "loss_change"]].to_dataframe())

networks = {g: ov.learn(net.sample(400, key=1, bulk=g), task, rnn, rule, saves=21) for g in radii[[0, 2, 4, 6]]}

small, orders = 10 ** np.linspace(-1.5, -0.1, 7), (0, 1, 2)
errors = np.zeros((len(orders), len(small)))
for column, g in enumerate(small):
    network = net.sample(300, key=2, bulk=g)
    full, *few = (ov.learn(state, task, rnn, rule, saves=21) for state in (network, *(network.krylov(p) for p in orders)))
    errors[:, column] = [abs(run["sigma"] - full["sigma"]).max() for run in few]

with ov.plots.style():
    figure, axes = plt.subplots(2, 2, figsize=(7, 5.4))
    (curves, times), (ends, error) = axes
    for g, run in networks.items():
        loss = theory["loss"].sel(radius=g)
        (line,) = curves.semilogy(theory["time"], loss, label=f"g = {g:.1f}")
        curves.semilogy(run["time"], run["loss"], "o", color=line.get_color(), markersize=2.5)
    curves.set(xlabel="learning time", ylabel="loss", title="lines: theory, points: 400 neurons")
    curves.legend()

    ov.plots.plot_bulk_speed(weak, times)
    times.plot(theory["radius"], theory["learning_time"], "k--", linewidth=1)
    times.set_title("random start (dashed: start of the left panel)")

    for name in ("mm", "uu", "zm", "vu", "mu"):
        ends.plot(theory["radius"], theory["sigma"].sel(overlap=name), label=name, **ov.plots.overlap_style(name))
    ends.set(xlabel="radius g of the bulk", ylabel="overlap at the end")
    ends.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.0, handlelength=1.2)

    for p in orders:
        (line,) = error.loglog(small, errors[p], "o-", label=f"order {p}")
        guide = errors[p, 0] * (small / small[0]) ** (2 * p + 2)
        error.loglog(small, guide, ":", color=line.get_color())
    error.minorticks_off()
    error.set_xticks([0.03, 0.1, 0.3], labels=["0.03", "0.1", "0.3"])
    error.set(
        xlabel="radius g of the bulk", ylabel="error of overlaps", title="error, and powers 2 p + 2 (dotted)", ylim=(1e-10, 3)
    )
    error.legend()

    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "random_bulk.png", dpi=150)
print("Written:", output / "random_bulk.png")
