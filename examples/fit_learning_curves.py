"""Measure the overlaps of a network from noisy learning curves, and check that the model describes the data.

A network of 500 neurons learns two tasks in sequence. Its impulse response is observed at a few times, with noise and gaps. The
fit knows only these numbers. It gives back the overlaps with their errors, and the twins that the curves cannot tell apart. A
second network learns by Adam. The fit assumes plain descent, and the goodness of fit shows that this is wrong.
"""

import argparse
from pathlib import Path

import optax

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
parser.add_argument("--starts", type=int, default=20, help="number of random starts (default: 20)")
parser.add_argument("--noise", type=float, default=1e-3, help="standard deviation of the observations (default: 1e-3)")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

net, rnn = ov.Overlaps.random(3, n=50), ov.RNN(dt=0.1)
network = net.sample(500, key=0)
tasks = {"A": ov.tasks.exponential_filter(0.2, horizon=10.0), "B": ov.tasks.exponential_filter(0.8, horizon=10.0)}
protocol = [ov.Phase(name, task, ov.GradientDescent(1e-2, steps=200)) for name, task in tasks.items()]
adam = [ov.Phase(name, task, ov.GradientDescent(1e-2, 200, optax.adam)) for name, task in tasks.items()]

for name, phases in (("descent", protocol), ("Adam", adam)):
    data = ov.inference.observations(network, phases, rnn, noise=arguments.noise, noise_key=1, saves=21)
    data = data.where(abs(data["lag"] - 3.0) > 0.6)  # gaps
    result = ov.inference.fit(data, protocol, rnn, noise=arguments.noise, starts=arguments.starts)
    print(f"{name}: {result['message'].item()} Starts that arrived: {result['arrived'].sum().item()}")
    if name == "descent":
        with ov.plots.style():
            ov.plots.plot_fit(result, truth=net).savefig(arguments.output / "fit.png", dpi=150)
        truth = net.layout.listed(net.gram)
        for label, true in zip(result["overlap"].values, truth, strict=True):
            one = result.sel(overlap=label)
            print(f"  {label}: {one['sigma'].item():.4f} +- {one['standard_error'].item():.1g} (truth {true:.4f})")
        print("  Twins:", "; ".join(str(twin) for twin in result["twin"].values[result["alike"].values]))
print("Written:", arguments.output / "fit.png")
