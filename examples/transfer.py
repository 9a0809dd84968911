"""How fast is each task learned after each other task, and which part of the asymmetry do invisible overlaps explain?

Two figures: linear networks that learn exponential filters, and erf networks that learn to imitate teachers (other erf
networks), as theory and as networks of 200 neurons.
"""

import argparse
from pathlib import Path

import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--neurons", type=int, default=200, help="neurons of the erf networks (default: 200)")
parser.add_argument("--steps", type=int, default=600, help="steps of learning of the erf networks (default: 600)")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)


def show(name: str, dataset) -> None:
    """Print the asymmetry of each pair of tasks, and write the figure."""
    names = dataset["first"].values.tolist()
    for source in dataset["source"].values:
        mean = dataset.sel(source=source).mean("draw")
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                pair = mean.sel(first=first, second=second)
                after, visible = pair["asymmetry"].values
                print(
                    f"{name} {source}, {first} before {second}: speed {float(pair['speed'][0]):.3f}, asymmetry {after:.3f}, "
                    f"with visible overlaps alone {visible:.3f}, invisible part {float(pair['invisible_asymmetry']):.3f}"
                )
    with ov.plots.style():
        ov.plots.plot_transfer(dataset).savefig(arguments.output / f"transfer_{name}.png", dpi=150)


# Large enough self-overlaps: then a network with the new visible and the initial invisible overlaps exists.
net = ov.Overlaps.random(0, scale=1.5)
tasks = {f"rate {rate}": ov.tasks.exponential_filter(rate) for rate in (0.2, 0.4, 0.8)}
show("linear", ov.studies.transfer(net, tasks, ov.RNN(dt=0.1), ov.GradientFlow(20.0), draws=1))

rnn = ov.RNN("erf", dt=0.5)
base = ov.Overlaps(4 * np.eye(4)).replace(zm=1.0, zu=1.0, vm=1.0, vu=0.8, mm=1.0, uu=1.0, mu=0.3)
inputs = {"trials": 8, "duration": 6.0, "pulse": 2.0, "length": 2.0, "noise": 1.0}
teachers = {"teacher 1": base, "teacher 2": base.replace(zu=-0.5, vu=0.3), "teacher 3": base.replace(zm=-0.5, vu=0.4)}
tasks = {name: ov.tasks.teacher(one, rnn, 0, **inputs) for name, one in teachers.items()}
net = ov.Overlaps.random(0).replace(vv=3.0, zz=3.0)
rule = ov.GradientDescent(0.1, arguments.steps)
show("erf", ov.studies.transfer(net, tasks, rnn, rule, criterion=0.1, n=arguments.neurons, draws=2))
