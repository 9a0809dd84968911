"""Make the animation of the page "What is this": python docs/_site/animation.py writes docs/images/invisible_moves.svg.

Invisible overlaps of a network move to and fro. Its output stands still, and the course of its learning moves.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import overlaps as ov

FRAMES = 24  # of one round, which takes SECONDS
SECONDS = 9
AFTER = 0.8  # the learning time at which the middle panel shows the output once more
VISIBLE, INVISIBLE, GREY = "#0072B2", "#D55E00", "#888888"
MEANING = {
    "visible": {"zm": 0.4, "zu": 0.05, "vm": 0.05, "vu": 0.2},
    "invisible": {"mu": 0.0, "zv": 0.0, "mm": 1.0, "uu": 1.0, "vv": 1.0, "zz": 1.0},
}
RNN, TASK = ov.RNN(dt=0.1), ov.tasks.exponential_filter(rate=0.2, horizon=20.0)
PULSE = np.eye(1, 150)[0] / RNN.dt  # 15 time units, with a pulse of unit area at their start


def networks() -> ov.Overlaps:
    """A batch of networks, one per frame. They have equal visible overlaps, and the invisible uu, mu and zv go round."""
    phase = 2 * np.pi * np.arange(FRAMES) / FRAMES
    start = ov.Overlaps(np.eye(4)).replace(**{name: value for part in MEANING.values() for name, value in part.items()})
    round_trip = zip(1.25 - 0.7 * np.cos(phase), 0.2 - 0.55 * np.cos(phase - 0.6), 0.3 * np.sin(phase), strict=True)
    moved = [start.replace(uu=uu, mu=mu, zv=zv) for uu, mu, zv in round_trip]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *moved)


class Panel:
    """A rectangle of the picture, with scales from numbers to places in it."""

    def __init__(self, left: float, x: Sequence[float], y: Sequence[float], size: tuple[float, float] = (250, 190)):
        self.left, self.top, (self.width, self.height) = left, 50, size
        self.x, self.y = x, y

    def places(self, x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
        """The places of points, in pixels from the left and the top of the picture."""
        across = self.left + self.width * (np.asarray(x, float) - self.x[0]) / (self.x[1] - self.x[0])
        down = self.top + self.height * (self.y[1] - np.asarray(y, float)) / (self.y[1] - self.y[0])
        return list(zip(across, down, strict=True))

    def line(self, x: np.ndarray, y: np.ndarray) -> str:
        """The path of a curve through these points."""
        return "M" + "L".join(f"{across:.1f},{down:.1f}" for across, down in self.places(x, y))

    def frame(self, title: str, below: str, ticks: Sequence[float]) -> str:
        """The axes, a title above them, and a label and numbers below the horizontal axis."""
        bottom, middle = self.top + self.height, self.left + self.width / 2
        axes = f"M{self.left},{self.top}V{bottom}H{self.left + self.width}"
        numbers = "".join(
            text(across, bottom + 15, f"{tick:g}", GREY, "middle")
            for tick, (across, _) in zip(ticks, self.places(np.asarray(ticks), np.zeros(len(ticks))), strict=True)
        )
        return (
            f'<path d="{axes}" class="line" stroke="{GREY}" stroke-width="1"/>{numbers}'
            + text(self.left, self.top - 14, title, "black", "start", "bold")
            + text(middle, bottom + 32, below, GREY, "middle")
        )


def text(x: float, y: float, words: str, colour: str, anchor: str, weight: str = "normal") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>'


def curve(paths: Sequence[str], colour: str, width: float = 2.5, dashes: str = "") -> str:
    """A curve that goes through these paths, one after the other and back to the first; a single path stands still."""
    style = f'class="line" stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
    if len(paths) == 1:
        return f'<path d="{paths[0]}" {style}/>'
    values = ";".join([*paths, paths[0]])
    moving = f'<animate attributeName="d" dur="{SECONDS}s" repeatCount="indefinite" values="{values}"/>'
    still = "".join(
        f'<path d="{path}" {style} opacity="{opacity}"/>' for path, opacity in zip(paths[::8], (1, 0.6, 0.3), strict=True)
    )
    return f'<g class="moving"><path d="{paths[0]}" {style}>{moving}</path></g><g class="still">{still}</g>'


def picture() -> str:
    """The animation, as the text of an SVG file. Who asks for less motion sees three moments, one over the other."""
    nets = networks()
    learned = ov.learn(nets, TASK, RNN, ov.GradientDescent(learning_rate=5e-3, steps=400), saves=101)
    at = int(np.argmin(np.abs(learned.time.values - AFTER)))
    pairs = nets.layout.pairs
    labels = [pair.label for pair in pairs]
    times = np.arange(1, len(PULSE) + 1) * RNN.dt

    def output(gram: np.ndarray) -> np.ndarray:
        return RNN.output(ov.Overlaps(gram), PULSE).values[:, 0]

    before = [output(gram) for gram in nets.gram]
    after = [output(nets.layout.matrix(sigma[at])) for sigma in learned.sigma.values]
    assert np.ptp(before, axis=0).max() < 1e-12  # the output stands still

    bars = Panel(70, (-0.6, 2.1), (len(labels) - 0.5, -0.5))
    shown = [bars.frame("overlaps", "", (0, 1, 2))]
    for row, label in enumerate(labels):
        seen = label in MEANING["visible"]
        ends = nets.gram[:, pairs[row].row, pairs[row].column]
        paths = [bars.line(np.array([0.0, end]), np.array([row, row])) for end in ends]
        ((_, down),) = bars.places(np.zeros(1), np.array([row]))
        shown.append(text(bars.left - 8, down + 4, label, VISIBLE if seen else INVISIBLE, "end"))
        shown.append(curve(paths if np.ptp(ends) else paths[:1], VISIBLE if seen else INVISIBLE, 9))
    shown.append(text(bars.left + 248, bars.top + 40, "visible", VISIBLE, "end"))
    shown.append(text(bars.left + 248, bars.top + 90, "invisible", INVISIBLE, "end"))

    outputs = Panel(390, (0, times[-1]), (0, 1.05 * np.max(after)))
    shown.append(outputs.frame("output after a pulse", "time", (0, 5, 10, 15)))
    shown.append(curve([outputs.line(times[::3], np.exp(-0.2 * times[::3]))], GREY, 1.5, "5 4"))
    shown.append(curve([outputs.line(times[::3], one[::3]) for one in after], INVISIBLE, 2))
    shown.append(curve([outputs.line(times[::3], before[0][::3])], VISIBLE))
    for line, (words, colour) in enumerate(
        (("wanted", GREY), ("before learning", VISIBLE), (f"at learning time {AFTER:g}", INVISIBLE))
    ):
        shown.append(text(outputs.left + 248, outputs.top + 12 + 17 * line, words, colour, "end"))

    losses = Panel(710, (0, 2), (0, 1.05 * float(learned.loss.max())))
    shown.append(losses.frame("loss during learning", "learning time", (0, 0.5, 1, 1.5, 2)))
    shown.append(curve([losses.line(np.full(2, AFTER), np.asarray(losses.y))], GREY, 1, "2 4"))
    shown.append(curve([losses.line(learned.time.values, one) for one in learned.loss.values], INVISIBLE))
    return HEAD + "\n".join(shown) + "\n</svg>\n"


HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 990 300" font-family="sans-serif" font-size="13">
<title>Invisible overlaps move: the output before learning stands still, and the learning curve moves.</title>
<style>
.line { fill: none }
.still { display: none }
@media (prefers-reduced-motion: reduce) { .moving { display: none } .still { display: inline } }
</style>
<rect width="990" height="300" fill="white"/>
"""

if __name__ == "__main__":
    path = Path(__file__).parents[1] / "images/invisible_moves.svg"
    path.write_text(picture())
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
