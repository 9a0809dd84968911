"""Two networks learned A or B first, and then C. They do the same now: which experiment tells which one learned A?

Both networks have the same function after C. So no recording of their activity can tell them apart. While they learn something
new, their outputs differ. The script computes how many repetitions (animals) an experiment needs for a power of 80 %, for a
new task that was chosen by hand, and for the protocol that `design` finds.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figures (default: results)")
parser.add_argument("--quick", action="store_true", help="a short search, for tests")
options = parser.parse_args()

NOISE = 0.5  # standard deviation of each observed number: half of the first response of task C
rnn = ov.RNN(dt=0.1)
start = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)


def history(rate: float) -> list[ov.Phase]:
    """First a task with label noise, which moves the invisible overlaps, and then C."""
    first = ov.tasks.label_noise(ov.tasks.exponential_filter(rate), std=0.5)
    last = ov.tasks.exponential_filter(rate=0.3)
    return [ov.Phase("first", first, ov.GradientDescent(2e-3, 10_000)), ov.Phase("C", last, ov.GradientFlow(80.0))]


def probe(numbers: dict[str, float]) -> list[ov.Phase]:
    """The experiment: the network learns two new tasks, one after the other."""
    rule = ov.GradientDescent(2e-4, 1000)  # small steps: at the edge of stability, single steps would tell the most
    return [
        ov.Phase(name, ov.tasks.exponential_filter(numbers[f"rate {name}"], numbers[f"amplitude {name}"]), rule)
        for name in ("D", "E")
    ]


hypotheses = {"A then C": (start, history(0.1)), "B then C": (start, history(0.8))}
by_hand = {"rate D": 0.5, "amplitude D": 1.0, "rate E": 0.5, "amplitude E": 1.0}
bounds = {name: (0.2, 1.0) if name.startswith("rate") else (-1.0, 1.0) for name in by_hand}
effort = {"starts": 1, "steps": 2, "draws": 4} if options.quick else {}
found = ov.inference.design(hypotheses, probe, by_hand, bounds, rnn, noise=NOISE, points=20, progress=True, **effort)
protocols = {"chosen by hand": probe(by_hand), "found": ov.inference.best_protocol(found)}
power = ov.inference.discriminate(hypotheses, protocols, rnn, noise=NOISE, saves=10, progress=True)
for name, one in power.groupby("protocol"):
    before, during = one["d_prime_without_learning"].item(), one["d_prime"].item()
    print(f"{name}: d' = {during:.3g}, and {before:.1g} without learning; {one['needed'].item():.0f} repetitions")
print(f"d' is {found['gain'].item():.3g} times that of the best of {found.sizes['draw']} random protocols.")
print(
    {str(name): round(value, 3) for name, value in zip(found["parameter"].values, found["best"].values.tolist(), strict=True)}
)
options.output.mkdir(parents=True, exist_ok=True)
with ov.plots.style():
    ov.plots.plot_discriminate(power).savefig(options.output / "which_history.png", dpi=150)
with ov.plots.style():
    ov.plots.plot_design(found).savefig(options.output / "which_history_design.png", dpi=150)
print("Written:", options.output / "which_history.png")
