"""Train tasks A, B and A again, and beside it A three times: what do overlaps remember of B, under which learning rule?

Two figures show this protocol, one under gradient flow and one under gradient descent with label noise (fresh noise on the
targets at each step). A third figure is a table of learning rules. It also shows the law by which each rule changes what
gradient flow conserves. The whole table takes a few minutes.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--rules", nargs="*", help='learning rules of the table, such as "small steps" or Adam (default: all)')
parser.add_argument("--systems", nargs="*", help='kinds of networks in the table: linear, erf, "erf mean field" (default: all)')
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
    print(f"{name:12} distance to the control: invisible overlaps {written:.1e}, outputs {function:.1e}")
    with ov.plots.style():
        ov.plots.plot_memory(dataset).savefig(arguments.output / f"memory_{name}.png", dpi=150)

table = ov.studies.memory_table(arguments.rules, arguments.systems, progress=True)
for rule in table["rule"].values:
    for system in table["system"].values:
        cell = table.sel(rule=rule, system=system)
        if cell["measured"].item():
            law = f"exponent {cell['exponent'].item():.3f} +- {cell['exponent_error'].item():.1g} in {cell['parameter'].item()}"
            print(f"{rule:20} {system:15} {cell['kept'].item():45} {cell['measured'].item()}: {law}")
table.to_netcdf(arguments.output / "memory_table.nc")
with ov.plots.style():
    ov.plots.plot_memory_table(table).savefig(arguments.output / "memory_table.png", dpi=150)
print("Written:", arguments.output / "memory_table.png")
