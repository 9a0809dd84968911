"""An invisible overlap decides how fast a network learns, and at which learning rates it learns at all.

The sweep trains 2,000 networks with the same initial output. They differ in uu, the squared length of the vector u divided by
N, and in the learning rate of gradient descent. The overlap uu is invisible: neither the output nor the loss depends on it. The
heat map shows how many steps each network needs until its loss is a tenth of the first one. Grey networks diverge, or need more
than 1,000 steps.

Start the program again after you stopped it: it goes on.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import overlaps as ov

STEPS, SAVES, SHARE = 1000, 501, 0.1
NET, TASK, RNN = ov.Overlaps.random(0), ov.tasks.exponential_filter(rate=0.2), ov.RNN(dt=0.1)


def build(uu: float, learning_rate: float) -> dict[str, Any]:
    """One network: the arguments of `learn`."""
    return {"state": NET.replace(uu=uu), "task": TASK, "rnn": RNN, "rule": ov.GradientDescent(learning_rate, STEPS)}


def main() -> None:
    """Run the sweep, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for store and figure (default: results)")
    parser.add_argument("--workers", type=int, default=0, help="number of processes (default: this one alone)")
    parser.add_argument("--quick", action="store_true", help="30 networks in place of 2,000")
    arguments = parser.parse_args()
    numbers = (6, 5) if arguments.quick else (50, 40)
    over = {
        "uu": xr.DataArray(np.geomspace(0.5, 50, numbers[0]), dims="uu", attrs={"long_name": "initial invisible overlap uu"}),
        "learning_rate": xr.DataArray(
            np.geomspace(1e-3, 0.1, numbers[1]), dims="learning_rate", attrs={"long_name": "learning rate"}
        ),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    store = arguments.output / ("sweep-quick.zarr" if arguments.quick else "sweep.zarr")
    settings = {"build": build, "over": over, "store": store, "keep": "loss", "saves": SAVES, "progress": True}
    if arguments.workers:
        with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as executor:
            dataset = ov.sweep(**settings, executor=executor)
    else:
        dataset = ov.sweep(**settings)

    learned = (dataset["loss"] <= SHARE * dataset["loss"].isel(time=0)) & (dataset["status"] == 1)
    first = learned.argmax("time").compute()
    steps = (dataset["learning_time"].load().isel(time=first) / dataset["learning_rate"]).where(learned.any("time"))
    dataset["steps"] = steps.assign_attrs(long_name="steps until the loss is a tenth", units="1")
    alive = dataset["learning_rate"].where(dataset["status"] == 1)
    print(f"{'uu':>8}{'largest learning rate':>24}{'steps at the best one':>24}{'at the smallest one':>22}")
    for index in np.linspace(0, dataset.sizes["uu"] - 1, 5).astype(int):
        row = steps.isel(uu=index)
        best, slow = (f"{one.item():.0f}" if np.isfinite(one) else "-" for one in (row.min(), row.isel(learning_rate=0)))
        print(f"{dataset['uu'][index].item():8.2f}{alive.isel(uu=index).max().item():24.4f}{best:>24}{slow:>22}")
    with ov.plots.style():
        ax = ov.plots.plot_sweep(dataset, "steps", x="learning_rate", y="uu", ax=plt.figure(figsize=(7, 4.4)).subplots())
        ax.set_title("grey: the learning diverged, or the steps did not suffice")
        ax.figure.savefig(arguments.output / "sweep.png", dpi=150)
    print("Written:", store, arguments.output / "sweep.png")


if __name__ == "__main__":
    main()
