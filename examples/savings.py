"""How much faster does a network learn task A again after an interlude, and how much of this do invisible overlaps explain?

Two figures: linear networks that learn exponential filters, with label noise in the interlude, and erf networks that learn to
imitate teachers (other erf networks), as theory and as networks of 200 neurons.
"""

import argparse
from pathlib import Path

import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--neurons", type=int, default=200, help="neurons of the erf networks (default: 200)")
parser.add_argument("--steps", type=int, default=600, help="steps of learning of the erf networks (default: 600)")
parser.add_argument("--draws", type=int, default=4, help="draws of the label noise (default: 4)")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)


def show(name: str, dataset) -> None:
    """Print the effect at the longest interlude with B, and write the figure."""
    for source in dataset["source"].values:
        last = dataset.sel(source=source, interlude="B").isel(duration=-1).mean("draw")
        for noise in dataset["noise"].values:
            one = last.sel(noise=noise)
            again, visible, alone = one["savings"].values
            print(
                f"{name} {source}, noise {noise:g}: savings {again:.3f}, with visible overlaps alone {visible:.3f}, "
                f"B alone {alone:.3f}; {float(one['speed_up']):.3f} times faster than with visible overlaps alone"
            )
    with ov.plots.style():
        ov.plots.plot_savings(dataset).savefig(arguments.output / f"savings_{name}.png", dpi=150)


# Large enough self-overlaps: then a network with the new visible and the initial invisible overlaps exists.
net = ov.Overlaps.random(0, scale=1.5)
tasks = [ov.tasks.exponential_filter(rate) for rate in (0.3, 0.8)]
rule = ov.GradientDescent(5e-3, 2000)
settings = {"durations": [0, 0.5, 2, 10, 40, 160], "noise": [0.0, 1.0], "criterion": 0.01, "draws": arguments.draws}
show("linear", ov.studies.savings(net, tasks, ov.RNN(dt=0.1), rule, **settings))

rnn = ov.RNN("erf", dt=0.5)
base = ov.Overlaps(4 * np.eye(4)).replace(zm=1.0, zu=1.0, vm=1.0, vu=0.8, mm=1.0, uu=1.0, mu=0.3)
inputs = {"trials": 8, "duration": 6.0, "pulse": 2.0, "length": 2.0, "noise": 1.0}
tasks = [ov.tasks.teacher(one, rnn, 0, **inputs) for one in (base, base.replace(zu=-0.5, vu=0.3))]
net = ov.Overlaps.random(0).replace(vv=3.0, zz=3.0)
settings = {"durations": [0, 3, 10, 30], "criterion": 0.1, "n": arguments.neurons, "draws": 2}
show("erf", ov.studies.savings(net, tasks, rnn, ov.GradientDescent(0.1, arguments.steps), **settings))
