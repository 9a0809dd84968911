"""How much of networks whose whole W was trained theories with and without a bulk explain: the tables in docs/bulk_trained.md.

The first table of a network compares it with its initial W0 plus a low-rank change, and with this change alone, along learning.
The second table goes on from a checkpoint in the middle: W learns on, or u and v do with W0 as the bulk, or without W0.

    python benchmarks/bulk_trained.py exponential 0 0.3 0.6 0.9
"""

import argparse
import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

import overlaps as ov
from overlaps.bulk._explained import responses

NEURONS, STRETCHES, SAVES = 200, 16, 4  # saved points of a loss curve in each stretch of learning
SMALL = 1e-3  # singular values below this one do not learn on: 1 / (2 s_r) is too large a rate


class Setting(NamedTuple):
    """A task, the model, and how W learns."""

    task: Any
    rnn: ov.RNN
    rule: ov.GradientDescent
    ranks: tuple[int, ...]


SETTINGS = {
    "exponential": Setting(
        ov.tasks.exponential_filter(0.2, horizon=20.0), ov.RNN(dt=0.1), ov.GradientDescent(0.002, 384), (1, 2)
    ),
    "oscillation": Setting(
        ov.tasks.damped_oscillation(0.3, 2.0, horizon=10.0), ov.RNN(dt=0.05), ov.GradientDescent(0.04, 800), (2,)
    ),
    "flip-flop": Setting(ov.tasks.flip_flop(0, trials=6, dt=0.2), ov.RNN("tanh", dt=0.2), ov.GradientDescent(0.1, 320), (2,)),
}


def main(name: str, radius: float, seed: int | None) -> None:
    """Train one network, and print both tables for it."""
    task, rnn, rule, ranks = SETTINGS[name]
    stretch = dataclasses.replace(rule, steps=rule.steps // STRETCHES)
    path: list[Any] = [ov.DenseNetwork.random(int(10 * radius) if seed is None else seed, NEURONS, radius)]
    losses: Any = []
    for _ in range(STRETCHES):
        run = ov.learn(path[-1], task, rnn, stretch, saves=2)
        losses.append(run["loss"].values)
        path.append(ov.final_state(run))
    losses = np.array([losses[0][0], *(pair[1] for pair in losses)])
    start = path[0].W
    print(f"{name}, radius {radius:g}: loss {losses[0]:.3g} to {losses[-1]:.2g}")
    middle = next(index for index in range(1, STRETCHES) if losses[index] < losses[[0, -1]].mean())
    for place in sorted({1, middle, STRETCHES}):
        report = ov.bulk.explained(path[place], start, task, rnn)
        show(f"step {place * stretch.steps}", report)
    rest = dataclasses.replace(rule, steps=rule.steps - middle * stretch.steps)
    report = ov.bulk.explained(path[middle], start, task, rnn, ranks)
    continued(name, path[middle], start, rest, SAVES * (STRETCHES - middle) + 1, report)


def show(title: str, report: Any) -> None:
    """Print a Dataset of `explained`."""
    print(f"  {title}: loss of the network {report.trained_loss.item():.3g}")
    for rank in report["rank"].values:
        one = report.sel(rank=rank)
        pairs = [
            f"{name}: loss {one.loss.sel(part=name).item():.3g}, output off by {one.output_error.sel(part=name).item():.1%}"
            for name in report["part"].values
        ]
        print(
            f"    rank {rank}: left over {one.left_over.item():.3f}, "
            + "; ".join(pairs)
            + f"; tangent share {one.tangent_share.item():.3f}, rate {one.rate.item():.2f}"
        )


def continued(name: str, network: ov.DenseNetwork, start: Any, rule: ov.GradientDescent, saves: int, report: Any) -> None:
    """Go on learning in each theory, and print the share of the loss curve that it explains."""
    task, rnn, *_ = SETTINGS[name]
    respond = responses(task, rnn)

    def learned(state: Any, **rates: float) -> tuple[np.ndarray, Any]:
        run = ov.learn(state, task, rnn, dataclasses.replace(rule, rates=rates), saves=saves)
        return run["loss"].values, ov.final_state(run)

    true, end = learned(network)
    exact = respond(end)
    print(
        f"  {rule.steps} steps, loss {true[0]:.3g} to {true[-1]:.2g}: share of the curve, last loss, error of the last response"
    )

    def line(label: str, losses: np.ndarray, last: Any) -> None:
        error = np.sqrt(np.mean((respond(last) - exact) ** 2) / np.mean(exact**2))
        share = 1 - np.sum((losses - true) ** 2) / np.sum((true - true.mean()) ** 2)
        print(f"    {label:44s} {share:9.4f}   {losses[-1]:.2g}   {error:.1%}", flush=True)

    line("W frozen", *learned(network, W=0.0))
    linear = rnn.phi == "linear"
    for order in range(3 if linear else 0):
        line(f"W learns, krylov {order}", *learned(network.krylov(order)))
    for rank in report["rank"].values[report["singular_value"].values > SMALL]:
        rate = report["rate"].sel(rank=rank).item()
        for theory, keep in (("with bulk", True), ("without bulk", False)):
            state = ov.interop.low_rank(network, int(rank), start, keep_initial=keep)[0]
            line(f"rank {rank} {theory}, rate 1", *learned(state))
            line(f"rank {rank} {theory}, rate {rate:.2f}", *learned(state, u=rate, v=rate))
            line(f"rank {rank} {theory}, rates 1 / (2 s_r)", *renewed(state, task, rnn, rule, saves))
            for order in range(4 if linear and keep else 0):
                line(f"rank {rank} {theory}, rate {rate:.2f}, krylov {order}", *learned(state.krylov(order), u=rate, v=rate))


def renewed(state: Any, task: Any, rnn: ov.RNN, rule: ov.GradientDescent, saves: int) -> tuple[np.ndarray, Any]:
    """Learn at the rates 1 / (2 s_r). At each saved point, u_r and v_r get equal lengths, and new rates."""
    curve = []
    for _ in range(saves - 1):
        left, values, right = np.linalg.svd(state.u @ state.v.T / state.n)
        scale = np.sqrt(state.n * values[: state.layout.rank])
        new = left[:, : len(scale)] * scale, right[: len(scale)].T * scale
        state = eqx.tree_at(lambda one: (one.u, one.v), state, new)
        numbers = range(1, len(scale) + 1) if len(scale) > 1 else [""]
        names = [f"{letter}{number}" for letter in "uv" for number in numbers]
        rates = dict(zip(names, np.tile(state.n / (2 * scale**2), 2), strict=True))
        run = ov.learn(state, task, rnn, dataclasses.replace(rule, steps=rule.steps // (saves - 1), rates=rates), saves=2)
        curve.append(run["loss"].values)
        state = ov.final_state(run)
    return np.array([pair[0] for pair in curve] + [curve[-1][1]]), state


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("radii", type=float, nargs="+")
    parser.add_argument("--seed", type=int, help="of the network; by default 10 times its radius")
    arguments = parser.parse_args()
    for radius in arguments.radii:
        main(arguments.name, radius, arguments.seed)
