"""Train A, then B, then A again, beside A all the time: what of B do the overlaps remember, and under which learning rules?

The first figure is one protocol under gradient flow and one under descent with label noise; the second is the table of
learning rules, with the law by which each of them breaks what gradient flow conserves. The whole table takes a few minutes.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--rules", nargs="*", help="learning rules of the table (default: all)")
parser.add_argument("--systems", nargs="*", help="linear, erf, erf mean field (default: all)")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

net = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
rnn = ov.RNN(dt=0.1)
tasks = [ov.tasks.exponential_filter(rate, horizon=20.0) for rate in (0.2, 0.4)]
noisy = [ov.tasks.label_noise(task, std=0.5) for task in tasks]
runs = {
    "flow": ov.studies.memory(net, tasks, rnn, ov.GradientFlow(20.0, rtol=1e-9, atol=1e-11)),
    "label_noise": ov.studies.memory(net, noisy, rnn, ov.GradientDescent(2e-3, 10000), key=0),
}
for name, dataset in runs.items():
    written, function = dataset["invisible_distance"].values[-1], dataset["function_distance"].values[0]
    print(f"{name:12} invisible distance to the control {written:.1e}, distance of outputs {function:.1e}")
    ov.plots.plot_memory(dataset).savefig(arguments.output / f"memory_{name}.png", dpi=130)

table = ov.studies.memory_table(arguments.rules, arguments.systems, progress=True)
for rule in table["rule"].values:
    for system in table["system"].values:
        cell = table.sel(rule=rule, system=system)
        if cell["measured"].item():
            law = f"exponent {cell['exponent'].item():.3f} +- {cell['exponent_error'].item():.1g} in {cell['parameter'].item()}"
            print(f"{rule:20} {system:15} {cell['kept'].item():45} {cell['measured'].item()}: {law}")
table.to_netcdf(arguments.output / "memory_table.nc")
ov.plots.plot_memory_table(table).savefig(arguments.output / "memory_table.png", dpi=130)
print("Written:", arguments.output / "memory_table.png")
