"""A network that was trained in PyTorch: what the theory explains of it, and how both learn the next task.

`train_in_pytorch.py` trained the network: 512 tanh neurons of rank 2, on the task ContextDecisionMaking-v0 of neurogym. Two
noisy stimuli come at once, and a cue says which of them to report. The script imports the network and

1. compares its outputs with those that PyTorch gave,
2. shows how training in PyTorch changed the overlaps,
3. fits 1, 2, 4 and 8 Gaussian populations to the neurons, and compares how well the theory then gives the output of the
   network with how much the output depends on single neurons,
4. asks whether the theory follows the cue, and where its fixed points lie while it has to decide,
5. lets theory and network learn the reversed task, in which the two cues have changed places.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import overlaps as ov

DATA = Path(__file__).parent / "data"
COLORS = {"network": "k", "one Gaussian": "C0", "populations": "C1"}
SWAPPED = [0, 1, 2, 3, 4, 6, 5]  # the input channels: fixation, two stimuli of two channels each, and the two cues
DECISION = {"cue 1": [0, 0, 0, 0, 0, 1, 0], "cue 2": [0, 0, 0, 0, 0, 0, 1]}  # the inputs while the network has to decide


def load() -> dict[str, np.ndarray]:
    """The trials: inputs, targets, the mask of the loss (periods `fixation` and `decision`), and the outputs of PyTorch."""
    file = np.load(DATA / "neurogym_trials.npz")
    truth, step = file["ground_truth"], np.arange(file["ground_truth"].shape[1])
    start, end = file["periods"][:, [0, -1], :1], file["periods"][:, [0, -1], 1:]
    return {
        "inputs": file["inputs"].astype(float),
        "targets": np.eye(3)[truth],  # one-hot: fixation, choice 1, choice 2
        "mask": ((start <= step) & (step < end)).any(axis=1)[..., None],
        "outputs": file["outputs"],
        "stimulus": (file["periods"][:, 1, :1] <= step) & (step < file["periods"][:, 1, 1:]),
        "running": step < end[:, -1],  # not the zeros after the end of a trial
        "last": (np.arange(len(truth)), end[:, -1, 0] - 1),  # the last step of each trial
    }


def redrawn(network: ov.Network, seed: int) -> ov.Network:
    """A network of as many neurons, drawn with replacement from those of `network`."""
    pick = np.random.default_rng(seed).integers(network.n, size=network.n)
    return ov.Network(*(block[pick] for block in (network.m, network.u, network.v, network.z)))


def correct(state: Any, rnn: ov.RNN, inputs: np.ndarray, trials: dict[str, np.ndarray]) -> float:
    """The fraction of trials in which the largest output at the last step is the right one."""
    choices = rnn.output(state, inputs).values[trials["last"]].argmax(axis=-1)
    return float(np.mean(choices == trials["targets"][trials["last"]].argmax(axis=-1)))


def changes(run: xr.Dataset, visible: bool) -> np.ndarray:
    """How far learning has moved the visible or the invisible overlaps."""
    return (run["sigma"][-1] - run["sigma"][0]).values[run["visible"].values == visible]


def draw_changes(ax: Any, change: np.ndarray, labels: tuple[str, ...]) -> None:
    """Which overlaps training in PyTorch has changed."""
    image = ax.imshow(change, cmap="RdBu_r", vmin=-np.abs(change).max(), vmax=np.abs(change).max())
    first = labels.index("v1") - 0.5  # overlaps among v and z are invisible
    ax.add_patch(plt.Rectangle((first, first), len(labels) - 0.5 - first, len(labels) - 0.5 - first, fill=False, lw=2))
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_title("what training\nin PyTorch changed")
    ax.tick_params(axis="x", rotation=90)
    ax.figure.colorbar(image, ax=ax, label="change of overlap\n(in the frame: invisible)", shrink=0.8)


def draw_errors(ax: Any, report: xr.Dataset) -> None:
    """How far the output of the theory is from that of the network."""
    redraws, counts = report["resampling_error"], report["count"].values
    ax.axhspan(*redraws.quantile([0.25, 0.75]).values, color="0.9", label="neurons redrawn\n(quartiles, median)")
    ax.axhline(redraws.median(), color="0.6")
    ax.plot(counts, report["output_error"], "o-", color=COLORS["populations"], label="theory")
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, list(map(str, counts)))
    ax.set(xlabel="Gaussian populations", ylabel="relative error of the output", ylim=(0, None))
    ax.set_title("how exact is the theory?")
    ax.legend(loc="lower left")


def draw_choices(ax: Any, right: dict[str, list[float]]) -> None:
    """How often the choice is right."""
    places = np.arange(len(right))
    for column, (color, label) in enumerate((("C2", "as in training"), ("0.75", "swapped"))):
        ax.bar(places + 0.4 * column - 0.2, [pair[column] for pair in right.values()], 0.38, color=color, label=f"cues {label}")
    ax.axhline(0.5, color="k", lw=0.8, ls=":")
    ax.set_xticks(places, list(right), rotation=25, ha="right")
    ax.set(ylim=(0, 1.45), yticks=[0, 0.5, 1], ylabel="fraction of right choices", title="does it follow the cue?")
    ax.legend(loc="upper center")


def draw_fixed_points(ax: Any, points: dict[tuple[str, str], xr.Dataset], paths: np.ndarray) -> None:
    """Fixed points, over the latents of the network on its trials."""
    for path in paths:
        ax.plot(*path.T, color="0.8", lw=0.8, zorder=0)
    for (name, cue), found in points.items():
        for stable, position in zip(found["stable"].values, found["position"].values, strict=True):
            fill = COLORS[name] if stable else "w"
            ax.plot(*position, "o" if cue == "cue 1" else "^", ms=9, mfc=fill, mec=COLORS[name], alpha=0.7)
    for name, color in COLORS.items():
        ax.plot([], [], "o", color=color, label=name)
    ax.plot([], [], color="0.8", label="trials of the network")
    for label, marker, fill in (("cue 1", "o", "0.5"), ("cue 2", "^", "0.5"), ("saddle", "o", "w")):
        ax.plot([], [], marker, mec="0.5", mfc=fill, label=label)
    ax.set(xlabel="latent of u1", ylabel="latent of u2", title="fixed points\nwhile it has to decide")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_losses(ax: Any, runs: dict[str, xr.Dataset]) -> None:
    """The loss of all runs."""
    for name, run in runs.items():
        style = {"color": "0.7", "lw": 1, "zorder": 0} if "redrawn" in name else {"color": COLORS[name], "lw": 2}
        label = {"neurons redrawn 1": "neurons redrawn"}.get(name, None if "redrawn" in name else name)
        ov.plots.plot_learning(run, ax, label=label, **style)
    ax.set_yticks([0.03, 0.05, 0.1, 0.2], ["0.03", "0.05", "0.1", "0.2"])
    ax.minorticks_off()
    ax.set_title("learning the reversed task")
    ax.legend()


def draw_moves(ax: Any, runs: dict[str, xr.Dataset]) -> None:
    """How far learning moves each overlap, in the theory and in the network."""
    ax.axline((0, 0), slope=1, color="0.6", lw=0.8)
    for name, alpha in (("one Gaussian", 0.4), ("populations", 0.8)):
        for visible, kind in ((True, "visible"), (False, "invisible")):
            pair = changes(runs["network"], visible), changes(runs[name], visible)
            fill = COLORS[name] if visible else "none"
            ax.plot(*pair, "o", ms=5, mfc=fill, mec=COLORS[name], alpha=alpha, label=f"{name},\n{kind}")
    ax.set(xlabel="change of overlap in the network", ylabel="change of overlap in the theory", xticks=[-0.4, -0.2, 0, 0.2])
    ax.set_title("which overlaps move\nin the reversed task")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def main() -> None:
    """Import, analyse, learn, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
    parser.add_argument("--steps", type=int, default=300, help="gradient steps on the reversed task (default: 300)")
    parser.add_argument("--quick", action="store_true", help="1 and 2 populations, 2 redrawn networks in place of 20")
    options = parser.parse_args()
    counts, draws, copies = ([1, 2], 2, 1) if options.quick else ([1, 2, 4, 8], 20, 3)

    network, rnn = ov.interop.from_state_dict(DATA / "neurogym_rank2.npz", alpha=0.2, phi="tanh")
    before, _ = ov.interop.from_state_dict(DATA / "neurogym_rank2_initial.npz", alpha=0.2, phi="tanh")
    trials = load()
    inputs, swapped = trials["inputs"], trials["inputs"][..., SWAPPED]
    output = rnn.output(network, inputs).values
    print(network, rnn)
    sizes = [np.sqrt(np.mean(np.square(y, dtype=float))) for y in (trials["outputs"], output)]
    print(f"outputs (root mean square): {sizes[0]:.7f} in PyTorch, {sizes[1]:.7f} here")
    print(f"largest difference: {np.abs(output - trials['outputs']).max():.1e} (PyTorch computed in float32)")

    print("change of overlaps by training in PyTorch")
    for name in ("visible", "invisible"):
        old, new = (getattr(state, name)(rnn) for state in (before, network))
        change = {label: new[label] - old[label] for label in new}
        largest = sorted(change, key=lambda label: -abs(change[label]))[:4]
        size = np.sqrt(np.mean(np.square(list(change.values()))))
        listed = ", ".join(f"{label} {change[label]:+.2f}" for label in largest)
        print(f"  {len(change)} {name} overlaps: {size:.2f} (root mean square), most of all {listed}")

    fits, report = ov.Populations.fit(network, counts, key=0, rnn=rnn, inputs=inputs, draws=draws)
    error, redraws = report["output_error"], report["resampling_error"].values
    print("relative error of the output")
    print("  theory (number of populations): " + ", ".join(f"{error.sel(count=count):.0%} ({count})" for count in counts))
    print(f"  network with redrawn neurons: {np.median(redraws):.0%} (median), {redraws.min():.0%} to {redraws.max():.0%}")

    best = int(error.idxmin())
    print(f"from here on: {best} populations")
    aligned = fits[best].align(network)
    number = np.any(aligned.vectors != network.vectors, axis=1).sum()
    difference = np.abs(rnn.output(aligned, inputs).values - output).max()
    print(f"they describe the mirror images of {number} of {network.n} neurons, which changes the output by {difference:.0e}")
    others = [redrawn(network, seed) for seed in range(draws)]
    states = {"network": network, "one Gaussian": network.overlaps(), "populations": fits[best]}
    groups = {name: [state] for name, state in states.items()} | {"neurons redrawn": others}
    right = {
        name: [np.mean([correct(state, rnn, x, trials) for state in group]) for x in (inputs, swapped)]
        for name, group in groups.items()
    }
    print("right choices, with the cues of the training and with swapped cues")
    for name, (same, other) in right.items():
        print(f"  {name}: {same:.0%}, {other:.0%}")
    print("overlaps of v2 with the stimuli (m2 to m5), each neuron weighted by its slope phi'(h) while the stimuli are there")
    slopes = 1 - rnn.rate(rnn.activity(network, inputs)) ** 2
    for cue, channel in (("cue 1", 5), ("cue 2", 6)):
        mean = slopes[trials["stimulus"] & (inputs[:, :1, channel] == 1)].mean(axis=0)
        print(
            f"  {cue}: " + ", ".join(f"{np.mean(network.v[:, 1] * mean * network.m[:, index]):+.2f}" for index in range(1, 5))
        )
    points = {
        (name, cue): rnn.fixed_points(state, held, starts=64)
        for name, state in states.items()
        for cue, held in DECISION.items()
    }
    print("fixed points\nwhile it has to decide")
    for (name, cue), found in points.items():
        listed = zip(found["position"].values, found["kind"].values, strict=True)
        print(f"  {name}, {cue}: " + ", ".join(f"({k[0]:.2f}, {k[1]:.2f}) {kind}" for k, kind in listed))

    task = ov.tasks.Trials(swapped, trials["targets"], trials["mask"], dt=rnn.dt)
    rule = ov.GradientDescent(0.05, options.steps)
    states |= {f"neurons redrawn {index + 1}": state for index, state in enumerate(others[:copies])}
    runs = {}
    print("the reversed task: loss, right choices (with the old cues), correlation of the changes of overlaps with the network")
    for name, state in states.items():
        run = runs[name] = ov.learn(state, task, rnn, rule, saves=61)
        alike = [np.corrcoef(changes(run, visible), changes(runs["network"], visible))[0, 1] for visible in (True, False)]
        start, end = run["loss"].values[[0, -1]]
        now, then = (correct(ov.final_state(run), rnn, x, trials) for x in (swapped, inputs))
        print(f"  {name}: {start:.3f} -> {end:.3f}, {now:.0%} ({then:.0%}), visible {alike[0]:.2f}, invisible {alike[1]:.2f}")

    with ov.plots.style():
        figure, axes = plt.subplots(3, 2, figsize=(7, 8.5))
        draw_changes(axes[0, 0], network.gram - before.gram, network.layout.labels)
        draw_errors(axes[0, 1], report)
        draw_choices(axes[1, 0], right)
        paths = rnn.latents(network, inputs).sel(latent=["u1", "u2"]).values
        draw_fixed_points(axes[1, 1], points, np.where(trials["running"][..., None], paths, np.nan))
        draw_losses(axes[2, 0], runs)
        draw_moves(axes[2, 1], runs)
        options.output.mkdir(parents=True, exist_ok=True)
        figure.savefig(options.output / "from_pytorch.png", dpi=150)
    print("Written:", options.output / "from_pytorch.png")


if __name__ == "__main__":
    main()
