"""The loss over parameters and over overlaps, and a flow of the four visible overlaps alone, which goes elsewhere."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from overlaps._support import in_float64
from overlaps.connectivity import Network, Overlaps
from overlaps.dynamics import RNN
from overlaps.figures._paper_figure import PaperFigure
from overlaps.figures._parts import CIRCLES, PAGE, canvas, draw_overlaps, legend_beside, letter
from overlaps.learning import GradientDescent, final_state, learn, metric
from overlaps.tasks import exponential_filter

MODEL, TASK, LEARNING_RATE = RNN(dt=0.1), exponential_filter(0.2), 5e-3
LARGE = 100.0  # squared length of all vectors where visible overlaps alone are given: any values of them are possible then
PIECE = 25  # steps of descent between two points of the path of the network
MARKS = 40  # circles of the network
EVERY = 5  # steps of descent between two saved ones
GRID, MARGIN = 61, 0.3  # points on each side of the maps of the loss, and the part of them beyond the paths
LEVELS = np.arange(-3.0, 1.1, 0.25)  # of log10 of the loss
FLOWS = ("unit metric", "initial metric")


def _compute(quick: bool) -> xr.DataTree:
    neurons, steps = (60, 1000) if quick else (500, 2000)
    start = Overlaps.random(0).replace(uu=2.05, mu=0.8).sample(neurons, key=1)
    theory = learn(start.overlaps(), TASK, MODEL, GradientDescent(LEARNING_RATE, steps), saves=steps // EVERY + 1)
    network, vectors = _path(start, steps)
    visible = theory["overlap"].values[theory["visible"].values]
    one = theory.sel(overlap=visible)[["sigma", "loss"]]
    fixed = metric(start.overlaps(), MODEL).sel(overlap=visible, source=visible).values
    flows = np.stack([naive_flow(one["sigma"].values[0], steps, matrix)[::EVERY] for matrix in (np.eye(len(visible)), fixed)])
    naive = xr.Dataset(
        {"sigma": (("flow", "time", "overlap"), flows), "loss": (("flow", "time"), losses(flows))},
        {**one.coords, "flow": list(FLOWS)},
    )
    ends = np.stack([one["sigma"].values[0], one["sigma"].values[-1], naive["sigma"].values[0, -1]])
    paths = {"theory": one["sigma"].values, "network": network["sigma"].sel(overlap=visible).values}
    paths |= dict(zip(FLOWS, flows, strict=True))
    corners = vectors[[0, -1, _farthest(vectors)]]
    return xr.DataTree.from_dict(
        {
            "theory": theory,
            "network": network,
            "naive": naive,
            "parameters": _plane(corners, {"network": vectors}, lambda points: losses(_visible(points, start))),
            "overlaps": _plane(ends, paths, losses),
        }
    )


def _path(state: Any, steps: int) -> tuple[xr.Dataset, np.ndarray]:
    """Train a network in short pieces. Returns the overlaps and the loss, and all vectors over sqrt(N) in one row per point."""
    rule = GradientDescent(LEARNING_RATE, PIECE)
    runs, vectors = [], [state.factor.ravel()]
    for piece in range(steps // PIECE):
        run = learn(state, TASK, MODEL, rule, saves=2)
        state = final_state(run)
        vectors.append(np.ravel(state.factor))
        shifted = run.assign_coords(time=run["time"] + piece * PIECE * LEARNING_RATE)[["sigma", "loss"]]
        runs.append(shifted.isel(time=slice(0 if piece == 0 else 1, None)).drop_vars("step"))
    joined: Any = xr.concat(runs, "time")
    return joined, np.stack(vectors)


def _farthest(path: np.ndarray) -> int:
    """The point of a path that is farthest from the line between its ends."""
    along = (path[-1] - path[0]) / np.linalg.norm(path[-1] - path[0])
    away = path - path[0]
    return int(np.argmax(np.linalg.norm(away - np.outer(away @ along, along), axis=1)))


def _visible(points: np.ndarray, network: Network) -> np.ndarray:
    """The visible overlaps of networks whose vectors over sqrt(N) are given in one row per network."""
    factors = points.reshape(*points.shape[:-1], *network.factor.shape)
    layout = network.layout
    return layout.listed(np.einsum("...na,...nb->...ab", factors, factors))[..., _places()]


def _places() -> np.ndarray:
    """The places of the visible overlaps among all."""
    return np.flatnonzero(list(MODEL.visible(Overlaps(np.eye(4)).layout)))


def _loss(visible: Any) -> Any:
    """The loss of a network with these visible overlaps; it does not depend on the others."""
    net = Overlaps(LARGE * np.eye(4))
    sigma = jnp.asarray(net.layout.listed(net.gram)).at[_places()].set(visible)
    return TASK.loss(Overlaps(net.layout.matrix(sigma)), MODEL)


@in_float64
def losses(visible: Any) -> Any:
    """The losses (...) of networks with the visible overlaps (..., 4)."""
    flat = jnp.asarray(visible).reshape(-1, np.shape(visible)[-1])
    return jax.jit(lambda rows: jax.lax.map(_loss, rows, batch_size=256))(flat).reshape(np.shape(visible)[:-1])


@in_float64
def naive_flow(start: Any, steps: int, matrix: Any) -> Any:
    """Euler steps of d sigma/ds = -matrix dL/d sigma in the visible overlaps alone, with a constant matrix (steps + 1, 4)."""

    def step(sigma: Any, _: None) -> tuple[Any, Any]:
        moved = sigma - LEARNING_RATE * matrix @ jax.grad(_loss)(sigma)
        return moved, moved

    path = jax.jit(lambda sigma: jax.lax.scan(step, sigma, None, steps)[1])(jnp.asarray(start))
    return jnp.concatenate([jnp.asarray(start)[None], path])


def _plane(corners: np.ndarray, paths: dict[str, np.ndarray], losses_of: Any) -> xr.Dataset:
    """The loss in the plane through three points, and paths projected onto it."""
    axes = np.linalg.qr((corners[1:] - corners[0]).T)[0].T
    axes = axes * np.sign(np.sum(axes * (corners[1:] - corners[0]), axis=1))[:, None]
    flat = {name: (path - corners[0]) @ axes.T for name, path in paths.items()}
    all_points = np.concatenate(list(flat.values()))
    low, high = all_points.min(0), all_points.max(0)
    x, y = (np.linspace(a - MARGIN * (b - a), b + MARGIN * (b - a), GRID) for a, b in zip(low, high, strict=True))
    grid = corners[0] + np.stack(np.meshgrid(x, y), -1) @ axes
    variables: dict[str, Any] = {"loss": (("y", "x"), losses_of(grid))}
    variables |= {name: ((f"point_{name}", "axis"), path) for name, path in flat.items()}
    return xr.Dataset(variables, {"x": x, "y": y})


def _draw(tree: xr.DataTree) -> Any:
    figure = canvas(PAGE, 5.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    (parameters, overlaps), (loss, visible) = (half.subplots(1, 2) for half in (above, below))
    theory, network, naive = (tree[name].to_dataset() for name in ("theory", "network", "naive"))
    network = network.isel(time=slice(None, None, network.sizes["time"] // MARKS))
    for ax, name, title in ((parameters, "parameters", "parameter space"), (overlaps, "overlaps", "space of visible overlaps")):
        plane = tree[name].to_dataset()
        shown = ax.contourf(plane["x"], plane["y"], np.log10(plane["loss"]), LEVELS, cmap="Greys", alpha=0.5, extend="both")
        above.colorbar(shown, ax=ax, label="log10 of the loss", ticks=range(-3, 2))
        units = " (vectors / sqrt(N))" if name == "parameters" else ""
        ax.set(xlabel=f"distance towards the end{units}", ylabel="distance across", title=title)
    plane = tree["parameters"].to_dataset()
    parameters.plot(*plane["network"].values.T, color="C0", marker="o", markersize=2)
    plane = tree["overlaps"].to_dataset()
    overlaps.plot(*plane["theory"].values.T, color="C0", label="theory: ten overlaps")
    overlaps.plot(*plane["network"].values.T, color="C0", label="network", **CIRCLES)
    for ax, end in ((parameters, tree["parameters"].to_dataset()["network"]), (overlaps, plane["theory"])):
        ax.plot(*end.values[-1], "*", color="C0", markersize=7)
    loss.plot(theory["time"], theory["loss"], color="C0", label="theory: ten overlaps")
    loss.plot(network["time"], network["loss"], color="C0", label="network", **CIRCLES)
    for flow, (colour, line) in zip(FLOWS, (("C1", "--"), ("C2", ":")), strict=True):
        overlaps.plot(*plane[flow].values.T, line, color=colour)
        overlaps.plot(*plane[flow].values[-1], "*", color=colour)
        loss.plot(naive["time"], naive["loss"].sel(flow=flow), line, color=colour, label=f"four overlaps: {flow}")
    draw_overlaps(theory, visible, True)
    draw_overlaps(network, visible, True, named=False, **CIRCLES)
    one = naive.sel(flow=FLOWS[0]).assign_coords(visible=("overlap", np.ones(naive.sizes["overlap"], bool)))
    draw_overlaps(one, visible, True, named=False, linestyle="--")
    loss.set(yscale="log", ylabel="loss", title="loss")
    visible.set(ylabel="visible overlap a.b / N", title="visible overlaps")
    for ax in (loss, visible):
        ax.set_xlabel("learning time (learning rate x step)")
    legend_beside(visible)
    below.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    letter((parameters, overlaps, loss, visible))
    return figure


FIGURE = PaperFigure(
    name="loss_landscape",
    source="[GB26], the loss in parameter space and in overlap space",
    shows="Gradient descent of a network in the space of its parameters (a) and of its visible overlaps (b). A flow of the "
    "four visible overlaps alone (broken lines), which ignores the invisible ones, goes elsewhere. Stars are the ends.",
    compute=_compute,
    draw=_draw,
    differences="Two such flows are shown: one with a unit metric, and one with the right metric of the start, held fixed.",
)
