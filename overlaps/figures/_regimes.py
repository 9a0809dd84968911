"""Rich and lazy learning of one integrator, from a readout of scale 1 and from a large one."""

from typing import Any

import xarray as xr

from overlaps.figures._curves import few, legend_below
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, letter
from overlaps.integration import compare_regimes

RATE, RADIUS = 0.3, 0.6
SCALES = {"rich": 1.0, "lazy": 30.0}  # of the readout
LOOKS: dict[str, dict[str, Any]] = {
    "rich": {"color": "C0"},
    "krylov": {"color": "C2", "linestyle": "--"},
    "lazy": {"color": "C1"},
    "simulation": {"color": "k", **CIRCLES},
}
NAMES = {"rich": "rich theory", "krylov": "Krylov theory", "lazy": "lazy theory", "simulation": "network"}


def runs(neurons: int, order: int, duration: float = 4.0, saves: int = 41) -> xr.DataTree:
    """Train a network at each scale of the readout, and compute what each theory says about it."""
    return xr.DataTree.from_dict(
        {
            name: compare_regimes(RATE, RADIUS, scale, duration=duration, n=neurons, order=order, saves=saves)
            for name, scale in SCALES.items()
        }
    )


def _compute(quick: bool) -> xr.DataTree:
    return runs(160, 3) if quick else runs(240, 3)


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 4.4)
    axes = figure.subplots(2, 3, sharex=True, sharey="col")
    for row, (name, scale) in zip(axes, SCALES.items(), strict=True):
        dataset = tree[name].to_dataset()
        for theory, look in LOOKS.items():
            one = dataset.sel(theory=theory)
            one = few(one) if theory == "simulation" else one
            for ax, variable in zip(row, ("loss", "outlier_real", "weight_change"), strict=True):
                values = one[variable] if variable == "outlier_real" else one[variable].where(one[variable] > 0)
                ax.plot(one["time"], values, label=NAMES[theory], **look)
        row[0].set(ylabel="loss (1 / tau)", yscale="log", title=f"{name}: readout of scale {scale:g}")
        row[1].axhspan(-RADIUS, RADIUS, color="0.93", zorder=0)
        row[1].axhline(1 - RATE, color="0.5", linestyle=":", linewidth=0.8)
        row[1].set(ylabel="outlier of W", ylim=(-0.68, 0.85))
        row[2].set(ylabel="change of W", yscale="log")
    axes[1, 1].text(1.0, 1 - RATE + 0.01, "target", transform=axes[1, 1].get_yaxis_transform(), ha="right", fontsize=6)
    axes[0, 1].text(1.0, -0.56, "bulk", transform=axes[0, 1].get_yaxis_transform(), ha="right", fontsize=6)
    for ax in axes[1]:
        ax.set_xlabel("learning time")
    letter(axes.ravel())
    legend_below(figure, [axes[0, 0]], ncols=4)
    return figure


FIGURE = PaperFigure(
    name="regimes",
    source="[BCPZ25], rich and lazy learning",
    shows="One network learns to integrate with a readout of scale 1 (a to c) and of scale 30 (d to f). In the rich "
    "regime an eigenvalue of W leaves the bulk (grey) for the target. In the lazy regime the output changes while W hardly "
    "does. No eigenvalue leaves the bulk then, and e shows the one that happens to couple input and readout most. The "
    "Krylov theory, a network of 30 units, is near the network in both.",
    compute=_compute,
    draw=_draw,
    differences="Lazy learning comes from a large readout with an output of 0 at the start, and not from large weights; "
    "W and m then learn more slowly, so that the output changes as fast. The normalisation is that of docs/integration.md. "
    "The lazy theory is for infinitely many neurons.",
)
