"""The speed at which networks begin to learn new tasks tells their invisible overlaps, which their output does not tell.

Networks with the same function are asked for new filters that are close to it (probes). The figure compares the speeds at which
the loss of each probe begins to fall. Then one network is measured as in an experiment: its loss is taken before and after a
short training on each probe, with noise, and its invisible overlaps are estimated from the speeds.
"""

import argparse
from pathlib import Path

import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
output = parser.parse_args().output

rnn = ov.RNN(dt=0.1)
flow = ov.GradientFlow(duration=1000.0, stop_gradient=1e-8)
start = ov.studies.gauge(ov.Overlaps.random(0).replace(uu=2.0, mu=0.8), 1.5)
net = ov.final_state(ov.learn(start, ov.tasks.exponential_filter(0.2), rnn, flow, saves=2))
networks = {
    "as trained": net,
    "larger uu": ov.studies.equivalent(net, rnn, set={"uu": net["uu"].item() + 2.0}),
    "larger vv": ov.studies.equivalent(net, rnn, set={"vv": net["vv"].item() + 2.0}),
}
probes = ov.studies.assay_probes(net, rnn)
assay = ov.studies.perturbation_assay(networks, probes, rnn, noise=0.02)
print(assay.attrs["prediction"])
print(assay["ratio"].to_pandas().round(3))

# The experiment: each probe is learned for a short time, from the same network, and the fall of the loss is measured.
measured, noise = [], np.random.default_rng(0).standard_normal(len(probes))
for name, probe in probes.items():
    expected = assay.sel(state="as trained", probe=name)
    duration = 0.01 * (expected["speed"] / abs(expected["curvature"])).item()  # so short that the loss falls along a line
    run = ov.learn(networks["larger uu"], probe, rnn, ov.GradientFlow(duration), saves=2)
    measured.append(-np.diff(run["loss"]).item() / duration)
measured = np.array(measured) * (1 + 0.02 * noise)
estimate = ov.studies.invisible_from_speeds(assay.sel(state="as trained"), measured)
print(f"misfit: chi-square {estimate['chi_square'].item():.2f} with {estimate['degrees'].item()} degree of freedom")
true = assay["sigma"].sel(state="larger uu")
for index in estimate["combination"].values:
    one = estimate.sel(combination=index)
    parts = " ".join(f"{part:+.2f} {label}" for label, part in one["direction"].to_series().items() if abs(part) > 0.005)
    print(f"{parts}: {one['value']:.2f} +- {one['error']:.2f}, in truth {one['direction'] @ true:.2f}")

output.mkdir(parents=True, exist_ok=True)
with ov.plots.style():
    ov.plots.plot_perturbation_assay(assay).savefig(output / "perturbation_assay.png", dpi=150)
print("Written:", output / "perturbation_assay.png")
