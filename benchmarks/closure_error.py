"""How well overlaps and populations describe trained networks, as tables in Markdown (docs/trained_networks.md).

`python benchmarks/closure_error.py FOLDER` reads the .npz files that `benchmarks/train_networks.py` wrote. An error is the root
mean square of the error of the output, relative to that of the output, on the 32 test trials of a file, and on 32 random
constant inputs. An entry is the median over seeds of the fit, and in brackets the smallest and the largest value. "1/2" is the
share of the masked steps at which the output is less than 1/2 away from its target. "Folded" fits may take the mirror image of
any neuron, which acts alike for tanh.

`--learning` makes the table of learning: the network and its descriptions learn the trials of the file with the opposite
targets. `--time` shows the user seconds of the processor for making a network, fitting 8 populations and learning 100 steps.
"""

import argparse
import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import overlaps as ov

PARAMETERS = ("wi", "si", "m", "n", "wo", "so", "h0", "b")
COUNTS = (1, 2, 4, 8)
ALPHA = 0.2


def load(path: Path) -> tuple[ov.Network, ov.RNN, dict[str, np.ndarray]]:
    """The network of a file, its RNN, and all arrays of the file."""
    with np.load(path) as file:
        arrays = dict(file)
    parameters = {name: arrays[name] for name in PARAMETERS if name in arrays}
    network, rnn = ov.interop.from_state_dict(parameters, alpha=ALPHA, phi="tanh")
    return network, rnn, arrays


def redrawn(network: ov.Network, seed: int) -> ov.Network:
    """The network with its neurons redrawn with replacement."""
    rows = network.vectors[np.random.default_rng(seed).integers(network.n, size=network.n)]
    return ov.Network(**network.layout.vectors(rows), c=network.c)


def fits(network: ov.Network, count: int, seeds: int, rnn: ov.RNN | None = None) -> list[ov.Populations]:
    """Fits from several seeds. Those that leave a population without enough neurons are left out."""
    found = []
    for seed in range(seeds):
        try:
            found.append(ov.Populations.fit(network, count, seed, rnn))
        except ValueError as error:
            print(f"<!-- {count} populations, seed {seed}: {error} -->")
    return found


def spread(values: Iterable[float], scale: float = 100.0, digits: int = 1) -> str:
    """Median, and in brackets the smallest and the largest value, in per cent."""
    ordered = sorted(scale * value for value in values)
    middle = f"{np.median(ordered):.{digits}f}"
    return (
        middle
        if ordered[-1] - ordered[0] < 10.0**-digits
        else f"{middle} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"
    )


def descriptions(network: ov.Network, rnn: ov.RNN, seeds: int) -> Iterable[tuple[str, list[Any]]]:
    """Names and states, in the order of the table."""
    yield "`Overlaps`", [network.overlaps()]
    counts = (*COUNTS, 16) if network.n > 4000 else COUNTS
    for count in counts:
        yield f"{count}", fits(network, count, 1 if count == 1 else seeds)
    folded = {count: fits(network, count, seeds, rnn) for count in counts}
    for count, found in folded.items():
        yield f"{count}, folded", found
    most, n = max(COUNTS), network.n
    yield f"{n} neurons drawn from {most}, folded", [net.sample(n, seed) for net in folded[most] for seed in range(10)]
    yield "neurons redrawn", [redrawn(network, seed) for seed in range(30)]


def activity(path: Path, seeds: int) -> dict[str, str]:
    """Print the table of errors of the output for one network. Returns the first column of numbers."""
    network, rnn, arrays = load(path)
    channels, steps = network.layout.inputs, arrays["inputs"].shape[1]
    constant = np.repeat(np.random.default_rng(0).standard_normal((32, 1, channels)), steps, axis=1)
    inputs = {"test": arrays["inputs"], "constant": constant}
    outputs = {name: rnn.output(network, value).values for name, value in inputs.items()}

    def error(state: Any, name: str) -> float:
        difference = rnn.output(state, inputs[name]).values - outputs[name]
        return float(np.sqrt((difference**2).mean() / (outputs[name] ** 2).mean()))

    def solved(output: np.ndarray) -> float:
        return float(np.mean((np.abs(output - arrays["targets"]) < 0.5)[arrays["mask"] > 0]))

    scored = "targets" in arrays
    share = f" (the network itself: {100 * solved(outputs['test']):.1f} %)" if scored else ""
    print(f"\n**{path.stem}**{share}\n")
    print("| populations | test trials, % | constant inputs, % | 1/2, % |\n|---|---|---|---|", flush=True)
    column = {}
    for name, states in descriptions(network, rnn, seeds):
        if states:
            errors = [spread([error(state, kind) for state in states]) for kind in inputs]
            near = spread([solved(rnn.output(state, inputs["test"]).values) for state in states]) if scored else ""
            print(f"| {name} | {errors[0]} | {errors[1]} | {near} |", flush=True)
            column[name] = errors[0].split(" (")[0]
    return column


def learning(path: Path, rate: float, steps: int) -> None:
    """The table of learning for one network: how far loss and overlaps are from those of the network itself."""
    network, rnn, arrays = load(path)
    task = ov.tasks.Trials(arrays["inputs"], -arrays["targets"], mask=arrays["mask"], dt=rnn.dt)
    rule = ov.GradientDescent(rate, steps)

    def learn(state: Any) -> Any:
        return ov.learn(state, task, rnn, rule, saves=11)

    own = learn(network)
    moved = own["sigma"] - own["sigma"][0]
    losses = own["loss"].values[[0, 5, -1]].round(3).tolist()
    print(f"\n**{path.stem}**, {steps} steps of {rate:g}. Loss of the network at the start, middle and end: {losses}\n")
    print("| state | loss: start, middle, end | loss, % | overlaps, % |\n|---|---|---|---|")
    states: dict[str, Callable[[], Any]] = {
        "`Overlaps`": network.overlaps,
        "8": lambda: ov.Populations.fit(network, 8, 0),
        "1, folded": lambda: ov.Populations.fit(network, 1, 0, rnn),
        "8, folded": lambda: ov.Populations.fit(network, 8, 0, rnn),
        "neurons redrawn, 1": lambda: redrawn(network, 0),
        "neurons redrawn, 2": lambda: redrawn(network, 1),
        "neurons redrawn, 3": lambda: redrawn(network, 2),
    }
    for name, make in states.items():
        run = learn(make())
        losses = ", ".join(f"{value:.3f}" for value in run["loss"].values[[0, 5, -1]])
        apart = np.sqrt(((run["loss"] - own["loss"]) ** 2).mean() / (own["loss"] ** 2).mean())
        change = run["sigma"] - run["sigma"][0]
        overlaps = np.sqrt(((change - moved) ** 2).mean() / (moved**2).mean())
        print(f"| {name} | {losses} | {100 * float(apart):.1f} | {100 * float(overlaps):.1f} |", flush=True)


def timing(path: Path, folded: bool, trials: int) -> None:
    """User seconds of this process after each part."""

    def report(part: str) -> None:
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        print(f"{part:40}{seconds:8.2f} s   load average {os.getloadavg()[0]:.1f}", flush=True)

    report("Python, JAX and the library")
    network, rnn, arrays = load(path)
    report("the network")
    net = ov.Populations.fit(network, 8, 0, rnn if folded else None)
    report("the fit")
    inputs, targets, mask = (arrays[name][:trials] for name in ("inputs", "targets", "mask"))
    task = ov.tasks.Trials(inputs, -targets, mask=mask, dt=rnn.dt)
    for part in ("100 steps, with compilation", "100 steps again"):
        ov.learn(net, task, rnn, ov.GradientDescent(0.02, 100), saves=11)
        report(part)


def main() -> None:
    """Print the tables of all files, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="names of files, without .npz (default: all)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--learning", action="store_true", help="the table of learning instead")
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--time", action="store_true", help="the time of import, fit and learning instead")
    parser.add_argument("--folded", action="store_true", help="fold the neurons (with --time)")
    parser.add_argument("--trials", type=int, default=32, help="number of trials (with --time)")
    options = parser.parse_args()
    columns = {}
    for name in options.names or sorted(path.stem for path in options.folder.glob("*.npz")):
        path = options.folder / f"{name}.npz"
        if options.time:
            timing(path, options.folded, options.trials)
        elif options.learning:
            learning(path, options.rate, options.steps)
        else:
            columns[name] = activity(path, options.seeds)
    if columns:
        rows = [name for name in next(iter(columns.values())) if " neurons " not in name]
        print("\n**Medians on test trials, %**\n\n| network | " + " | ".join(rows) + " |\n" + "|---" * (len(rows) + 1) + "|")
        for name, column in columns.items():
            print(f"| {name} | " + " | ".join(column.get(row, "") for row in rows) + " |")


if __name__ == "__main__":
    main()
