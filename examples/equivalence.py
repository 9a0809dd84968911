"""Many networks have the same output: how far they can differ, how learning moves them, and what remains after a cycle.

A rank-1 network learns a filter. The figure has three panels. Left: the range of each invisible overlap, that is of each
overlap on which the output does not depend. Middle: the directions around the trained network, with the rates at which learning
shrinks a deviation. Right: the change of all overlaps that remains after the network has learned another filter and then the
first filter again.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
output = parser.parse_args().output

rnn = ov.RNN(dt=0.1)
first, second = (ov.tasks.exponential_filter(rate, horizon=20.0) for rate in (0.2, 0.22))
flow = ov.GradientFlow(duration=1000.0, stop_gradient=1e-8)
start = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
net = ov.final_state(ov.learn(start, first, rnn, flow, saves=2))
print(net)
print(ov.studies.poles(net, rnn)[["pole_real", "residue_real"]].to_dataframe())

twin = ov.studies.equivalent(net, rnn, set={"uu": 3.0, "zv": 0.2})
copy = ov.studies.gauge(twin, 2.0)
print(f"distance between the outputs of the network and its copy: {ov.studies.function_distance(net, copy, rnn):.1e}")

ranges = ov.studies.admissible(net, rnn)
around = ov.studies.solution_manifold(net, first, rnn)
print(
    "dimensions of the set of solutions around this network:",
    {name: around[name].item() for name in ("dimension", "invisible", "gauge")},
)
cycle = ov.studies.holonomy(net, first, second, rnn)

with ov.plots.style():
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(7, 6), height_ratios=(1, 1.4, 1))
    ov.plots.plot_admissible(ranges, top)
    ov.plots.plot_directions(around, middle)
    ov.plots.plot_holonomy(cycle, bottom)
    top.set_title("networks with the same output")
    middle.set_title("directions around a trained network")
    bottom.set_title("change that remains after A, B, A")
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "equivalence.png", dpi=150)
print("Written:", output / "equivalence.png")
