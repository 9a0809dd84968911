"""Two networks with the same output: noise hardly tells them apart, but learning does.

The two networks of [GB26] (arXiv:2605.04115) have the same visible overlaps, on which the output depends. They differ only in
uu and mu, two invisible overlaps. Their outputs are the same. Noise in the activity changes the output, and this change has
the same distribution in both networks. For noise in the weights the distributions are nearly the same. But the two networks
learn at different times.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
parser.add_argument("--neurons", type=int, default=100, help="size of the simulated networks (default: 100)")
parser.add_argument("--draws", type=int, default=100, help="random draws of each kind of noise (default: 100)")
parser.add_argument("--steps", type=int, default=400, help="gradient steps (default: 400)")
arguments = parser.parse_args()

first = ov.Overlaps.random(0)
second = first.replace(uu=2.05, mu=0.8)
task, rnn = ov.tasks.exponential_filter(rate=0.2), ov.RNN(dt=0.1)
settings = {"n": arguments.neurons, "draws": arguments.draws, "steps": arguments.steps}
pair = ov.studies.degeneracy(first, second, task, rnn, **settings, progress=True)

theory, simulation = pair.sel(source="theory"), pair.sel(source="simulation")
print(f"outputs before learning differ by {abs(simulation['output'].diff('network')).max().item():.0e}")
print(f"{'d-prime, second minus first network':38}{'theory':>8}{'simulation':>12}")


def print_row(label: str, found: list[float], error: float) -> None:
    """Print one line of the table: d-prime from theory and from simulation, with its standard error."""
    print(f"{label:38}{found[0]:8.2f}{found[1]:12.2f} +- {error:.2f}")


for noise in pair["noise"].values:
    end = pair.sel(noise=noise).isel(time=-1)
    print_row(f"noise in {noise}, whole trial", end["noise_d_prime"].values, end["noise_d_prime_error"].item())
for index in range(5, pair.sizes["learning_time"], 5):
    now = pair.isel(learning_time=index)
    error = now["learning_d_prime_error"].sel(source="simulation").item()
    print_row(f"learning, until time {now['learning_time'].item():.3g}", now["learning_d_prime"].values, error)
difference = abs(theory["loss"] - simulation["loss"]).max().item()
print(f"learning curves: theory and networks differ by {difference:.0e}")

arguments.output.mkdir(parents=True, exist_ok=True)
with ov.plots.style():
    ov.plots.plot_degeneracy(pair).savefig(arguments.output / "degeneracy.png", dpi=150)
print("Written:", arguments.output / "degeneracy.png")
