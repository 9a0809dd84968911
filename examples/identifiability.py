"""Which overlaps can an experiment on learning measure? Compare one task with three tasks in sequence, and outputs with loss.

For each experiment, the script prints the weakest direction of overlap space that the curves show, the null directions with the
symmetries that explain them, and the twins, which are other networks with the same curves. It draws the first experiment.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
parser.add_argument("--rank", type=int, default=1, help="rank of the network (default: 1)")
parser.add_argument("--duration", type=float, default=3.0, help="learning time of each task (default: 3)")
parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.5, 1.0], help="rates of the tasks, learned in turn")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

net, rnn = ov.Overlaps.random(0, rank=arguments.rank), ov.RNN(dt=0.1)
rule = ov.GradientFlow(arguments.duration, rtol=1e-10, atol=1e-12)
phases = [ov.Phase(f"rate {rate}", ov.tasks.exponential_filter(rate, horizon=20.0), rule) for rate in arguments.rates]
for tasks in (phases[:1], phases):
    for observe in ("impulse_response", "loss"):
        dataset = ov.inference.identifiability(net, tasks, rnn, observe, noise=1e-3, saves=21)
        if len(tasks) == 1 and observe == "impulse_response":
            with ov.plots.style():
                ov.plots.plot_identifiability(dataset).savefig(arguments.output / "identifiability.png", dpi=150)
        sizes = dataset["singular_value"].values[~dataset["null"].values]
        null = ", ".join(str(name) for name in dataset["why"].values[dataset["null"].values])
        print(f"{len(tasks)} task(s), {observe}: singular values from {sizes[0]:.2g} to {sizes[-1]:.2g}; null: {null}")
print("Twins:", "; ".join(str(name) for name in dataset["twin"].values))
print("Written:", arguments.output / "identifiability.png")
