"""A linear rank-2 network learns a damped oscillation: its poles, what gradient flow conserves, and how all overlaps move.

The target exp(-0.3 t) cos(2 t) has the poles -0.3 +- 2i. A linear network of rank 1 cannot have them; rank 2 is the smallest.
The loss depends on the 9 visible overlaps alone, but learning moves all 21 overlaps.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import overlaps as ov

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure (default: results)")
output = parser.parse_args().output

net = ov.Overlaps.random(0, rank=2)
task = ov.tasks.damped_oscillation(rate=0.3, frequency=2.0, horizon=None)
dataset = ov.learn(net, task, ov.RNN(), ov.GradientFlow(duration=40.0, rtol=1e-9, atol=1e-11), saves=401, progress=True)
trained = ov.final_state(dataset)

print(trained)
print("loss:", f"{dataset['loss'].values[-1]:.2e}")
print("learned poles:", np.round(np.linalg.eigvals(trained["vu"]) - 1, 6), "  target: -0.3 +- 2i")


def signed_spectrum(state: ov.Overlaps) -> np.ndarray:
    """Eigenvalues of J G, which gradient flow conserves; G is the overlap matrix, and J is +1 on m, u and -1 on v, z."""
    signs = np.array([1, 1, 1, -1, -1, -1])
    return np.sort(np.linalg.eigvals(signs[:, None] * state.gram).real)


drift = np.abs(signed_spectrum(trained) - signed_spectrum(net)).max()
print(f"drift of the spectrum of J G over the whole training: {drift:.1e}")

with ov.plots.style():
    figure, axes = plt.subplot_mosaic("AA;BC", figsize=(7, 5))
    ov.plots.plot_learning(dataset, axes["A"])
    ov.plots.plot_overlaps(dataset, axes["B"], visible=True)
    axes["B"].set_title("visible overlaps\n(the loss depends on them)")
    ov.plots.plot_overlaps(dataset, axes["C"], visible=False)
    axes["C"].set_title("invisible overlaps\n(not in the loss)")
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "rank2_oscillator.png", dpi=150)
print("Written:", output / "rank2_oscillator.png")
