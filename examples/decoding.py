"""Decode which task, A or B, a network learned before task C, from overlaps on which its loss does not depend.

Twins are two networks with the same initial overlaps. One twin learns a flip-flop (A), and the other learns decision-making
(B). Then both learn to imitate the same teacher network (C). A decoder has to find out which task came first. It reads either
the visible overlaps, on which the loss depends, or the invisible ones, on which it does not. All overlaps are measured with
noise. Training takes minutes; the script keeps the trained twins in a netCDF file.
"""

import argparse
from pathlib import Path

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (default: results)")
parser.add_argument("--twins", type=int, default=100, help="pairs of networks with the same start (default: 100)")
parser.add_argument("--steps", type=int, default=2000, help="gradient steps per task (default: 2000)")
parser.add_argument("--draws", type=int, default=10, help="noisy measurements of each network (default: 10)")
options = parser.parse_args()

options.output.mkdir(parents=True, exist_ok=True)
path = options.output / f"twins_{options.twins}_{options.steps}.nc"
starts = ov.studies.twin_starts(options.twins)
twins = ov.studies.train_twins(starts, steps=options.steps, path=path, progress=True)
for stage in ("A/B", "C"):
    low, middle, high = twins["loss"].sel(stage=stage).quantile([0.0, 0.5, 1.0], ["twin"]).transpose("quantile", ...).values
    for index, history in enumerate(twins["history"].values):
        print(f"loss at {stage}, history {history}: {low[index]:.1e} to {high[index]:.1e}, median {middle[index]:.1e}")

found = ov.studies.decode_history(twins, draws=options.draws, progress=True)
last = found.sel(stage="C")
print("noise   from visible overlaps   from invisible overlaps")
for level in last["noise"].values:
    row = last.sel(noise=level)
    cells = [
        f"{row['accuracy'].sel(features=name):.3f} ({row['accuracy_lower'].sel(features=name):.3f} to "
        f"{row['accuracy_upper'].sel(features=name):.3f})"
        for name in ("visible", "invisible")
    ]
    print(f"{level:5g}   {'   '.join(cells)}")
for name in ("separation", "difference_mean", "difference_std"):
    values = zip(last["overlap"].values, last[name].values, strict=True)
    print(f"{last[name].attrs['long_name']}: " + ", ".join(f"{overlap} {value:.2f}" for overlap, value in values))

with ov.plots.style():
    ov.plots.plot_decoding(found).savefig(options.output / "decoding.png", dpi=150)
print("Written:", path, "and", options.output / "decoding.png")
