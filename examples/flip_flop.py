"""A rank-1 erf network learns the flip-flop task and becomes bistable, in overlap theory and with all neurons.

The output has to hold the sign of the last input pulse. Before learning, the only fixed point is the state of rest, where all
activity is zero. Learning increases the overlap of v and u, until rest becomes unstable and two stable states appear, one for
each sign.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
parser.add_argument("--neurons", type=int, default=500, help="neurons of the full network (default: 500)")
parser.add_argument("--steps", type=int, default=400, help="gradient steps (default: 400)")
options = parser.parse_args()

rnn = ov.RNN("erf", dt=0.1)
task = ov.tasks.flip_flop(0, trials=10, dt=rnn.dt)
rule = ov.GradientDescent(learning_rate=0.2, steps=options.steps)

net = ov.Overlaps.random(0, n=options.neurons)
theory = ov.learn(net, task, rnn, rule, progress=True)
network = ov.learn(net.sample(options.neurons, key=1, exact=True), task, rnn, rule, progress=True)
trained, trained_network = ov.final_state(theory), ov.final_state(network)

print(f"final loss: {theory['loss'].values[-1]:.4f} in overlap space, {network['loss'].values[-1]:.4f} with all neurons")
for name, state in (
    ("before learning", net),
    ("after learning, overlaps", trained),
    ("after learning, network", trained_network),
):
    found = rnn.fixed_points(state)
    listed = ", ".join(
        f"{position:.3f} ({kind})" for position, kind in zip(found["position"].values[:, 0], found["kind"].values, strict=True)
    )
    print(f"fixed points {name}: {listed}")

with ov.plots.style():
    figure, axes = plt.subplots(3, 2, figsize=(7, 7.5), height_ratios=(1, 1, 0.75))
    ov.plots.plot_learning(theory, axes[0, 0], label="overlap theory")
    ov.plots.plot_learning(network, axes[0, 0], color="C1", linestyle="--", label=f"{options.neurons} neurons")
    axes[0, 0].legend(loc="lower left")
    ov.plots.plot_overlaps(theory, axes[0, 1], visible=True)
    ov.plots.plot_overlaps(network, axes[0, 1], visible=True, linestyle="none", marker="o", markersize=2, markevery=10)
    axes[0, 1].set_title("visible overlaps\n(lines: theory; circles: network)")
    for column, (title, state) in enumerate((("before learning", net), ("after learning", trained))):
        ov.plots.plot_trial(task, rnn.output(state, task.inputs), trial=1, ax=axes[1, column])
        axes[1, column].set_title(f"one trial, {title}")
        portrait, paths = rnn.phase_portrait(state, extent=0.6), rnn.latents(state, task.inputs[1])
        ov.plots.plot_phase_portrait(portrait, paths, axes[2, column])
        axes[2, column].set_title(f"phase portrait, {title}")
    for ax in axes[1:, 0]:
        ax.get_legend().remove()  # those of the right column hold for both
    options.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output / "flip_flop.png", dpi=150)
print("Written:", options.output / "flip_flop.png")
