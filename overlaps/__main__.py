"""`python -m overlaps`: train a network by the overlap theory and with all its neurons, and compare the two.

`python -m overlaps validate` compares networks of several sizes with the theory and with their infinite limit.
`python -m overlaps sweep script.py --store out.zarr` trains networks at many settings, and `python -m overlaps status out.zarr`
says how far a sweep is. `python -m overlaps figures` makes the figures of the papers.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import overlaps as ov
from overlaps.sweeps import Script, begin_worker, summary

RATE, DT, HORIZON = 0.2, 0.05, 20.0
INTERRUPTED = 130  # the usual exit code after Ctrl-C: 128 + the number of the signal SIGINT
CORRELATED = 0.7 * np.eye(4) + 0.3  # overlaps of four vectors: 1 with themselves, 0.3 with each other
PRESETS: dict[str, Callable[[], dict[str, Any]]] = {
    "flip-flop": lambda: {
        "net": ov.Overlaps(CORRELATED),
        "task": ov.tasks.flip_flop(0, trials=4, duration=15.0, dt=0.2),
        "rnn": ov.RNN("erf", dt=0.2),
        "rule": ov.GradientDescent(learning_rate=0.1, steps=400),
    },
    "filter": lambda: {
        "net": ov.Overlaps(CORRELATED),
        "task": ov.tasks.exponential_filter(RATE, horizon=10.0),
        "rnn": ov.RNN(dt=0.1),
        "rule": ov.GradientDescent(learning_rate=5e-3, steps=1000),
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and run the main job, or the job that the first argument names."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    jobs: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[..., None]]] = {
        "validate": (_validation_parser, check),
        "sweep": (_sweep_parser, sweep),
        "status": (_status_parser, lambda store: print(summary(store))),
        "figures": (_figures_parser, draw),
    }
    if arguments and arguments[0] in jobs:
        parser, job = jobs[arguments[0]]
        return _run(parser(), arguments[1:], job)
    return _run(_parser(), arguments, demonstrate)


def _run(parser: argparse.ArgumentParser, arguments: list[str], job: Callable[..., None]) -> None:
    """Run a job. An error that the user can mend, or Ctrl-C, ends the program with one line and an exit code."""
    options = parser.parse_args(arguments)
    try:
        job(**vars(options))
    except concurrent.futures.BrokenExecutor:
        parser.exit(
            2, f"{parser.prog}: A worker process ended before its work was done. Call the same command again to go on.\n"
        )
    except ExceptionGroup as failures:
        parser.exit(1, f"{parser.prog}: {failures.message}.\n")
    except (ValueError, OSError, ov.DivergenceError) as error:
        parser.exit(2, f"{parser.prog}: {_with_notes(str(error), error)}\n")
    except SystemExit as stop:  # what SIGTERM does to a sweep
        parser.exit(int(stop.code or 0), f"{parser.prog}: {_with_notes('Ended.', stop)}\n")
    except KeyboardInterrupt as stop:
        parser.exit(INTERRUPTED, f"{parser.prog}: {_with_notes('Interrupted.', stop)}\n")


def _with_notes(text: str, stop: BaseException) -> str:
    """A text, followed by the notes that a job has added to the exception, in one line."""
    return " ".join([text, *getattr(stop, "__notes__", [])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m overlaps",
        description="Train a linear low-rank network to be a leaky integrator, whose response to an impulse is exp(-0.2 t). "
        "Train it twice: by the theory, from the scalar products of its connectivity vectors (overlaps), and with all its "
        "neurons. Compare the two. Writes a netCDF file with both learning curves, and a figure. Ctrl-C ends the program early "
        "and saves what has been learned so far, as theory.nc and network.nc.",
        epilog="Other jobs, each with its own --help: python -m overlaps validate, sweep, status or figures",
    )
    parser.add_argument("--rank", type=int, default=1, help="rank of the recurrent weights (default: 1)")
    parser.add_argument("--neurons", type=int, default=500, help="number of neurons of the network (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the initial vectors (default: 0)")
    parser.add_argument("--steps", type=int, default=2000, help="number of steps of gradient descent (default: 2000)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=5e-3,
        help="learning rate, the learning time that passes in one step (default: 0.005)",
    )
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (default: results)")
    return parser


def _validation_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m overlaps validate",
        description="Train the overlap theory, networks of several sizes, and their limit of infinitely many neurons. Tell the "
        "error of finite size from that of the Gaussian closure (the assumption of the theory that connectivity vectors are "
        "Gaussian over neurons). Prints a verdict, and writes a netCDF file and a figure.",
    )
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="flip-flop",
        help="network and task: flip-flop is nonlinear (erf), filter is linear (default: flip-flop)",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[100, 400, 1600],
        help="numbers of neurons of the networks (default: 100 400 1600)",
    )
    parser.add_argument("--seeds", type=int, default=8, help="number of networks of each size (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the networks (default: 0)")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="draw networks whose initial overlaps are exactly those of the theory (default: Gaussian draws, whose overlaps "
        "differ from the theory by about 1 / sqrt(N))",
    )
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the results (default: results)")
    return parser


def _sweep_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m overlaps sweep",
        description="Train networks at many settings. The script defines `build` and `over`, the first two arguments of "
        "overlaps.sweep. The same command goes on where a sweep stopped or was killed. Ctrl-C and SIGTERM end it after the "
        "blocks in hand.",
    )
    parser.add_argument("script", help="Python file that defines `build` and `over`")
    parser.add_argument("--store", required=True, help="path or URL of the Zarr store to write")
    parser.add_argument("--block", type=int, default=128, help="largest number of points of a block (default: 128)")
    parser.add_argument("--saves", type=int, default=51, help="number of saved points of a run (default: 51)")
    parser.add_argument("--keep", nargs="+", default=["loss", "sigma"], help="variables to keep (default: loss sigma)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_workers, default=0, help="number of processes here (default: this one alone)")
    where.add_argument("--dask", metavar="ADDRESS", help="address of a Dask scheduler, such as tcp://host:8786")
    return parser


def _workers(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, but {number} came")
    return number


def _status_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m overlaps status", description="Say how many points of a sweep are done, and what went wrong."
    )
    parser.add_argument("store", help="path or URL of the Zarr store of a sweep")
    return parser


def _figures_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m overlaps figures",
        description="Make the figures of the papers from runs of this library. Each becomes a vector file NAME.pdf, a picture "
        "NAME.png, and the data behind it, NAME.nc. Data that are in the folder already are drawn, not computed. So the same "
        "command goes on after it was interrupted.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of figures (default: all)")
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder for the figures (default: figures)")
    parser.add_argument(
        "--quick", action="store_true", help="smaller networks, fewer steps and fewer draws: some minutes for all"
    )
    parser.add_argument("--again", action="store_true", help="compute what is in the folder already too")
    parser.add_argument("--list", action="store_true", help="list the names, and what each figure shows, and make nothing")
    return parser


def sweep(script: str, store: str, block: int, saves: int, keep: list[str], workers: int, dask: str | None) -> None:
    """Run `overlaps.sweep` on what a file defines, in this process, in several, or on a Dask cluster. Print how it went."""
    job = Script(script)
    with contextlib.ExitStack() as stack:
        executor: Any = None
        if workers:
            context = multiprocessing.get_context("spawn")
            executor = stack.enter_context(concurrent.futures.ProcessPoolExecutor(workers, context, begin_worker))
        elif dask:
            try:
                from distributed import Client
            except ModuleNotFoundError:
                raise ValueError(
                    'Argument `--dask` must find Dask, but it is not installed. Install "overlaps[cluster]".'
                ) from None
            executor = stack.enter_context(Client(dask)).get_executor()
        try:
            ov.sweep(job, job.over, store, executor, block, keep, saves, progress=True)
        except BaseException as stop:
            if any(isinstance(one, concurrent.futures.BrokenExecutor) for one in (stop, stop.__cause__)):
                for child in multiprocessing.active_children():  # the pool asks them to end, by a signal that they ignore
                    child.kill()
            raise
    print(summary(store))


def draw(names: list[str], output: Path, quick: bool, again: bool, list: bool) -> None:
    """Make figures of the papers, or list them."""
    from overlaps.figures import chosen, make

    if list:
        for figure in chosen(names or None):
            print(f"{figure.name} ({figure.source}): {figure.shows}")
    else:
        make(names or None, output, quick, again, say=functools.partial(print, flush=True))
        print(f"Written: {output}")


def check(preset: str, sizes: list[int], seeds: int, seed: int, exact: bool, output: Path) -> None:
    """Run `overlaps.validate` on a preset. Print the verdict, save the result and draw it."""
    output.mkdir(parents=True, exist_ok=True)
    print(f"Validating {preset}: {seeds} networks each of {', '.join(map(str, sizes))} neurons.")
    try:
        dataset = ov.validate(**PRESETS[preset](), sizes=sizes, seeds=seeds, key=seed, exact=exact, progress=True)
    except (KeyboardInterrupt, ov.DivergenceError) as stop:
        stop.add_note("Nothing is saved: a validation has no result before all of its networks are trained.")
        raise
    print(dataset.attrs["verdict"])
    data, picture = output / "validation.nc", output / "validation.png"
    dataset.to_netcdf(data)
    with ov.plots.style():
        ov.plots.plot_validation(dataset).savefig(picture)
    print(f"Written: {data}, {picture}")


def demonstrate(rank: int, neurons: int, seed: int, steps: int, learning_rate: float, output: Path) -> None:
    """Learn the exponential filter by the overlap theory and with all neurons. Print, save and draw both.

    If Ctrl-C or a divergence ends the training early, save what has been learned, as `theory.nc` and `network.nc`.
    """
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
    runs: dict[str, xr.Dataset] = {}
    try:
        theory = runs["theory"] = run(network.overlaps())
        simulation = runs["network"] = run(network)
        difference = float(np.abs(simulation["sigma"] - theory["sigma"]).max())
        print(_table(theory, simulation, rank))
        print(f"Largest difference between theory and the network of {neurons} neurons in any overlap: {difference:.1e}")
        data, picture = output / "overlaps.nc", output / "overlaps.png"
        simulation.assign(sigma_theory=theory["sigma"], loss_theory=theory["loss"]).to_netcdf(data)
        with ov.plots.style():
            ov.plots.plot_comparison(theory, simulation).savefig(picture)
        print(f"Written: {data}, {picture}")
    except (KeyboardInterrupt, ov.DivergenceError) as stop:
        unfinished = getattr(stop, "dataset", None)  # what `learn` has recorded, if it was running then
        if unfinished is not None:
            runs["network" if runs else "theory"] = unfinished
        stop.add_note(_saved(runs, steps, output))
        raise


def _saved(runs: dict[str, xr.Dataset], steps: int, output: Path) -> str:
    """Save runs, of which the last may be unfinished. Returns a sentence with the files, and the last step of each."""
    written = []
    for name, dataset in runs.items():
        path = output / f"{name}.nc"
        dataset.to_netcdf(path)
        written.append(f"{path} (step {dataset['step'].values[-1]} of {steps})")
    return f"Saved: {', '.join(written)}." if written else "Nothing is saved: no steps were recorded yet."


def _table(theory: xr.Dataset, simulation: xr.Dataset, rank: int) -> str:
    """A table of the final loss and of the visible overlaps that the filter determines, with the known solution."""
    eigenvalue, euler = 1 - RATE, 1 + (np.exp(-RATE * DT) - 1) / DT
    names = ("loss", "zm", "zu vm", "vu" if rank == 1 else "zu vu vm / zu vm")
    known = ((0.0, 0.0), (1.0, 1.0), (euler, eigenvalue), (euler, eigenvalue))
    columns = zip(names, _fixed_by_filter(theory), _fixed_by_filter(simulation), known, strict=True)
    lines = [f"{'':18}{'theory':>12}{'network':>12}{'solution':>12}{'as dt -> 0':>12}"]
    lines += [f"{name:18}{a:12.6g}{b:12.6g}{c:12.6g}{d:12.6g}" for name, a, b, (c, d) in columns]
    return "\n".join(lines)


def _fixed_by_filter(dataset: xr.Dataset) -> tuple[float, ...]:
    """The final loss, zm, zu vm, and zu vu vm / (zu vm), which is vu at rank 1."""
    net = ov.final_state(dataset).overlaps()
    gain = (net["zu"] @ net["vm"]).item()
    return dataset["loss"].values[-1], net["zm"].item(), gain, (net["zu"] @ net["vu"] @ net["vm"]).item() / gain


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    main()
