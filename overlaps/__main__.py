"""`python -m overlaps`: train a network in theory and in full, and show that they agree."""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import overlaps as ov

RATE, DT, HORIZON = 0.2, 0.05, 20.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the job, print a table, write a netCDF file and a figure."""
    parser = argparse.ArgumentParser(
        prog="python -m overlaps",
        description="Teach a linear low-rank network to be a leaky integrator (exponential filter of rate 0.2), once in closed "
        "form from its overlaps and once with all its neurons, and compare the two. Writes a netCDF file with both learning "
        "curves and a figure.",
    )
    parser.add_argument("--rank", type=int, default=1, help="rank of the recurrent weights (default: 1)")
    parser.add_argument("--neurons", type=int, default=500, help="neurons in the full network (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial vectors (default: 0)")
    parser.add_argument("--steps", type=int, default=2000, help="gradient steps (default: 2000)")
    parser.add_argument("--learning-rate", type=float, default=5e-3, help="learning time per step (default: 0.005)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (default: results)")
    options = parser.parse_args(arguments)
    try:
        demonstrate(**vars(options))
    except (ValueError, OSError, ov.DivergenceError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def demonstrate(rank: int, neurons: int, seed: int, steps: int, learning_rate: float, output: Path) -> None:
    """Learn the exponential filter in overlap space and with all neurons; print, save and plot both."""
    output.mkdir(parents=True, exist_ok=True)
    network = ov.Overlaps.random(seed, rank=rank, n=neurons).sample(neurons, seed + 1)
    run = functools.partial(
        ov.learn,
        task=ov.tasks.exponential_filter(rate=RATE, horizon=HORIZON),
        rnn=ov.RNN(dt=DT),
        rule=ov.GradientDescent(learning_rate, steps),
        progress=True,
    )
    print(f"Learning an exponential filter of rate {RATE} at rank {rank}, {steps} steps of {learning_rate}.")
    theory = run(network.overlaps())
    simulation = run(network)
    difference = float(np.abs(simulation["sigma"] - theory["sigma"]).max())
    print(_table(theory, simulation, rank))
    print(f"Largest difference between theory and the network of {neurons} neurons in any overlap: {difference:.1e}")

    data, picture = output / "overlaps.nc", output / "overlaps.png"
    simulation.assign(sigma_theory=theory["sigma"], loss_theory=theory["loss"]).to_netcdf(data)
    ov.plots.plot_comparison(theory, simulation).savefig(picture, dpi=150)
    print(f"Written: {data}, {picture}")


def _table(theory: xr.Dataset, simulation: xr.Dataset, rank: int) -> str:
    """The final loss, and what the filter fixes of the visible overlaps, beside the known solution."""
    eigenvalue, euler = 1 - RATE, 1 + (np.exp(-RATE * DT) - 1) / DT
    names = ("loss", "zm", "zu vm", "vu" if rank == 1 else "zu vu vm / zu vm")
    known = ((0.0, 0.0), (1.0, 1.0), (euler, eigenvalue), (euler, eigenvalue))
    columns = zip(names, _fixed_by_filter(theory), _fixed_by_filter(simulation), known, strict=True)
    lines = [f"{'':18}{'theory':>12}{'network':>12}{'solution':>12}{'as dt -> 0':>12}"]
    lines += [f"{name:18}{a:12.6g}{b:12.6g}{c:12.6g}{d:12.6g}" for name, a, b, (c, d) in columns]
    return "\n".join(lines)


def _fixed_by_filter(dataset: xr.Dataset) -> tuple[float, ...]:
    net = ov.final_state(dataset).overlaps()
    gain = (net["zu"] @ net["vm"]).item()
    return dataset["loss"].values[-1], net["zm"].item(), gain, (net["zu"] @ net["vu"] @ net["vm"]).item() / gain


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    main()
