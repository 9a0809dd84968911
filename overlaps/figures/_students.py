"""Students: erf networks that learn a flip-flop (A) or decision-making (B) first, and then imitate a teacher (C)."""

from typing import Any

import xarray as xr

from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN
from overlaps.learning import Phase, learn
from overlaps.studies import annealed_descent, twin_tasks

HISTORIES = {"A": "C0", "B": "C1"}  # the first task, and its colour in all panels


def trained(starts: Overlaps, steps: int, saves: int) -> dict[str, xr.Dataset]:
    """Train each start on A and then C, and on B and then C, as `studies.train_twins` does; with all of both phases."""
    tasks, rule, rnn = twin_tasks(), annealed_descent(steps=steps), RNN("erf", dt=0.1)
    phases = {first: [Phase(name, tasks[name], rule) for name in (first, "C")] for first in HISTORIES}
    return {first: learn(starts, phases[first], rnn, saves=saves) for first in HISTORIES}


def shade_last(ax: Any, run: xr.Dataset) -> None:
    """Shade the phase in which C is learned, and name the phases above the panel."""
    step = run["step"].values
    middle = step[len(step) // 2]
    ax.axvspan(middle, step[-1], color="0.93", zorder=0)
    for place, name in ((middle / 2, "A or B"), (1.5 * middle, "C")):
        ax.text(place, 1.0, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=6)
