"""The check of the theory: train overlaps, their infinite limit and networks of several sizes, and separate the two errors."""

import functools
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import scipy
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, flag, number, random_key, said, warn
from overlaps.connectivity import Overlaps, Populations
from overlaps.dynamics import RNN
from overlaps.learning import VERSION, DivergenceError, describe, learn, runs_to_the_end
from overlaps.studies._verdict import verdict
from overlaps.tasks import LabelNoise, Trials

NEURONS_AT_ONCE = 8192  # networks are trained side by side up to this many neurons in all
REFERENCES = ("theory", "mean_field")
CONFIDENCE = 0.95


def validate(
    net: Overlaps | Populations,
    task: Any,
    rnn: RNN,
    rule: Any = None,
    sizes: Sequence[int] = (100, 400, 1600),
    seeds: int = 8,
    key: Any = 0,
    exact: bool = False,
    nodes: int | str = "auto",
    tolerance: float = 1e-3,
    saves: int = 21,
    progress: bool = False,
) -> xr.Dataset:
    """Train overlaps, their mean field and networks of several sizes in the same way, and separate finite size from closure.

    The overlap theory computes with overlaps alone (scalar products of connectivity vectors, divided by N). It has two errors.
    The *finite-size error* is the difference between a network of N neurons and the mean field, which is the limit
    N -> infinity of this network. It falls as 1 / sqrt(N). The *closure bias* is the difference between the overlap theory and
    the mean field. It comes from the Gaussian closure of nonlinear networks, which assumes that the connectivity vectors are
    jointly Gaussian over neurons, and more neurons do not reduce it. Equations and figures: docs/large_n.md.

    - `net`: the initial overlaps of one network, or its populations.
    - `task`, `rnn`, `rule`: as in `learn`, for single networks and without early stops.
    - `sizes`: numbers of neurons, at least two. `seeds`: number of networks of each size.
    - `key`: a jax.random key or an integer seed, for the networks and for tasks that draw samples. All runs see the same
      samples.
    - `exact`: True for networks that have the initial overlaps exactly, False for Gaussian draws.
    - `nodes`, `tolerance`: of the mean field, as in `learn_mean_field`.
    - `saves`: number of saved points. `progress`: whether to show a bar.

    Returns a Dataset with dims `time` (learning time, learning rate x step), `overlap`, `size`, `seed` and `reference`
    ("theory", "mean_field"):

    - `sigma` and `loss`: of the networks. The same names with `_theory` and `_mean_field`: of the two references.
    - `deviation(reference, size, seed, time)`: network minus reference, as the root mean square over overlaps. Likewise
      `loss_deviation` and, for fixed trials, `output_deviation`.
    - `bias(time)`, `loss_bias` and `output_bias`: the same measures for theory minus mean field.
    - `mean_field_change(time)`: how much the last refinement of the mean field changed its overlaps.
    - `exponent(reference, time)`: of a fit deviation ~ N^exponent, with its 95 % interval `exponent_low` to `exponent_high`.
    - `crossover(time)`: the size at which the fitted deviation from the mean field equals the bias. It is NaN if the data do
      not resolve that the deviation falls with N.

    Networks that diverge are NaN. The attribute `verdict` says in two sentences what the trained networks show. The other
    attributes hold all arguments as JSON, so that `rerun` can repeat the validation. Among them, `nodes` is the number of nodes
    that were used, and `nodes_asked` is the argument. Raises ValueError for arguments out of range, before anything is trained.
    """
    sizes, exact = _checked(net, task, rule, sizes, exact)
    seeds, key = count("seeds", seeds, least=2), random_key("key", key)
    if key.shape:
        raise argument_error("key", "be a single key", f"a batch of {key.shape[0]} came")
    task_key, draws, nodes_key = (jax.random.fold_in(key, index) for index in range(3))
    observe = ("output",) if isinstance(task.task if isinstance(task, LabelNoise) else task, Trials) else ()
    run = functools.partial(learn, task=task, rnn=rnn, rule=rule, saves=saves, key=task_key, observe=observe)
    with tqdm(total=len(sizes) * seeds + 2, disable=not progress, unit="run", leave=False) as bar:
        bar.set_description("theory")
        theory = run(net)
        bar.update()
        bar.set_description("mean field")
        mean_field = learn_mean_field(
            net, task, rnn, rule, nodes, tolerance, nodes_key, saves=saves, key=task_key, observe=observe
        )
        bar.update()
        columns = []
        for size in sizes:
            bar.set_description(f"{size} neurons")
            keys = [jax.random.fold_in(jax.random.fold_in(draws, size), seed) for seed in range(seeds)]
            lanes = max(1, NEURONS_AT_ONCE // size)
            parts = []
            for first in range(0, seeds, lanes):
                networks = [net.sample(size, one, exact) for one in keys[first : first + lanes]]
                parts.append(_compared(networks, run, theory, mean_field))
                bar.update(len(networks))
            columns.append(xr.concat(parts, "seed"))
    dataset = _gathered(theory, mean_field, xr.concat(columns, "size").assign_coords(size=sizes, seed=np.arange(seeds)))
    dataset = dataset.assign(_scaling(dataset))
    arguments = {"task": task, "rnn": rnn, "rule": rule, "sizes": sizes, "seeds": seeds, "key": key, "exact": exact}
    arguments |= {"validated": net, "nodes_asked": nodes, "saves": saves, "version": VERSION}
    dataset.attrs = {name: json.dumps(describe(value)) for name, value in arguments.items()}
    dataset.attrs |= {name: mean_field.attrs[name] for name in ("nodes", "mean_field_error", "tolerance")}
    dataset.attrs["verdict"] = verdict(dataset)
    return dataset


def learn_mean_field(
    net: Overlaps | Populations,
    task: Any,
    rnn: RNN,
    rule: Any = None,
    nodes: int | str = "auto",
    tolerance: float = 1e-3,
    nodes_key: Any = 0,
    **settings: Any,
) -> xr.Dataset:
    """Train the mean field of `net`, the limit of infinitely many neurons, with as many nodes as it takes.

    The nodes are those of a quadrature over the distribution of neurons (docs/large_n.md, "The mean field").

    - `net`: the initial `Overlaps` or `Populations`. `task`, `rnn`, `rule`: as in `learn`.
    - `nodes`: "auto" adds nodes until no trained overlap changes by more than `tolerance`. A number of nodes is used as it is,
      and compared with the next coarser set of nodes.
    - `nodes_key`: a jax.random key or an integer seed, for scattered nodes (Sobol points), which many vectors need.
    - `settings`: the other arguments of `learn`.

    Returns the Dataset of `learn` with `mean_field_change(time)`, which is the change of the overlaps in the last refinement
    (root mean square over overlaps). Its attribute `nodes` is the number of nodes, and `mean_field_error` is the largest change
    of any overlap in the last refinement. Warns if 20,000 nodes do not reach the tolerance. Raises ValueError for another kind
    of `net`, and as `learn` and `Overlaps.mean_field` do.
    """
    tolerance = number("tolerance", tolerance, above=0.0)
    if not isinstance(net, Overlaps | Populations):
        raise argument_error("net", "be Overlaps or Populations", f"{net!r} came", _mend(net))
    ladder = net.refinements
    if nodes != "auto":
        nodes = count("nodes", nodes)
        ladder = [max([rung for rung in ladder if rung < nodes], default=max(1, nodes // 2)), nodes]
    last: Any = None
    change, squares = np.inf, xr.DataArray(np.inf)
    for rung in ladder:
        now = learn(net.mean_field(rung, nodes_key), task, rnn, rule, **settings)
        if last is not None:
            difference = now["sigma"] - last["sigma"]
            change, squares = float(np.abs(difference).max()), (difference**2).mean("overlap")
        last = now
        if nodes == "auto" and change < tolerance:
            break
    if nodes == "auto" and not change < tolerance:
        missed = f"its overlaps still change by {change:.1g} in the last refinement, to {last.sizes['neuron']} nodes"
        warn(f"The mean field misses `tolerance` = {tolerance:g}: {missed}.")
    last = last.assign(mean_field_change=(squares**0.5).assign_attrs(said("change of overlaps in the last refinement")))
    return last.assign_attrs(nodes=last.sizes["neuron"], mean_field_error=change, tolerance=tolerance)


def _mend(net: Any) -> str:
    if getattr(net, "has_bulk", False):
        return "Its bulk couples each neuron to all others, so no mean field of independent neurons exists: train the Network."
    return "Pass network.overlaps() or Populations.fit(network, count, key)."


def _checked(net: Any, task: Any, rule: Any, sizes: Any, exact: Any) -> tuple[list[int], bool]:
    if not isinstance(net, Overlaps | Populations) or net.batch:
        raise argument_error("net", "be a single Overlaps or Populations", f"{net!r} came", _mend(net))
    exact = flag("exact", exact)
    if not isinstance(sizes, Sequence | np.ndarray) or len(set(sizes)) < 2:
        raise argument_error("sizes", "hold at least two numbers of neurons", f"{sizes!r} came")
    least = net.layout.size if exact and isinstance(net, Overlaps) else 2
    for one, each in runs_to_the_end(task, rule, "Networks"):
        if np.ndim(getattr(each, "learning_rate", 0.0)) or getattr(one, "batch", ()):
            raise argument_error(
                "rule", "be one of a single network, and so must the task", "a batch came", "Validate them one by one."
            )
    sizes = sorted({count("sizes", size, least=least) for size in sizes})
    if exact and isinstance(net, Populations):
        for size in sizes:
            net.numbers(size)
    return sizes, exact


def _compared(networks: list[Any], run: Any, theory: xr.Dataset, mean_field: xr.Dataset) -> xr.Dataset:
    """The curves of some networks, and how far they are from both references."""
    try:
        found = run(jax.tree.map(lambda *leaves: np.stack(leaves), *networks)).rename(batch="seed").drop_vars("seed")
    except DivergenceError as stop:
        found = xr.full_like(theory, np.nan).expand_dims(seed=len(networks))
        if hasattr(stop, "dataset"):
            found = stop.dataset.rename(batch="seed").drop_vars("seed").reindex(time=theory["time"].values)
    distances = [_distances(found, reference) for reference in (theory, mean_field)]
    return xr.concat(distances, xr.Variable("reference", list(REFERENCES))).assign(sigma=found["sigma"], loss=found["loss"])


def _distances(found: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """Root mean square differences of overlaps and of outputs, and the absolute difference of losses."""
    difference = {"deviation": _rms(found["sigma"] - reference["sigma"], ["overlap"])}
    difference["loss_deviation"] = abs(found["loss"] - reference["loss"])
    if "output" in found:
        difference["output_deviation"] = _rms(found["output"] - reference["output"], ["trial", "sample", "readout"])
    return xr.Dataset(difference).drop_vars(["step"], errors="ignore")


def _rms(values: xr.DataArray, dims: list[str]) -> xr.DataArray:
    return (values**2).mean(dims, skipna=False) ** 0.5


def _gathered(theory: xr.Dataset, mean_field: xr.Dataset, networks: xr.Dataset) -> xr.Dataset:
    bias = _distances(theory, mean_field)
    dataset = networks.assign({str(name).replace("deviation", "bias"): values for name, values in bias.items()})
    dataset["mean_field_change"] = mean_field["mean_field_change"].drop_vars("step", errors="ignore")
    for name in ("sigma", "loss"):
        dataset[name].attrs = theory[name].attrs
        for reference, values in (("theory", theory), ("mean_field", mean_field)):
            dataset[f"{name}_{reference}"] = values[name].drop_vars("step", errors="ignore")
    meanings = {"deviation": "overlaps", "loss_deviation": "loss", "output_deviation": "output"}
    for name in meanings.keys() & dataset.keys():
        dataset[name].attrs = said(f"deviation of the {meanings[name]}")
        dataset[name.replace("deviation", "bias")].attrs = said(f"closure bias of the {meanings[name]}")
    dataset["size"].attrs = said("neurons")
    return dataset


def _scaling(dataset: xr.Dataset) -> dict[str, Any]:
    """Straight lines through log deviation over log size, with one point per network, and where they meet the bias."""
    deviation = dataset["deviation"].transpose("reference", "time", "size", "seed")
    shape = deviation.shape[:2]
    x = np.broadcast_to(np.log(dataset["size"].values)[:, None], deviation.shape[2:]).ravel()
    exponent, low, high, intercept = (np.full(shape, np.nan) for _ in range(4))
    for place in np.ndindex(shape):
        y = deviation.values[place].ravel()
        valid = np.isfinite(y) & (y > 0)
        if len(np.unique(x[valid])) < 2 or valid.sum() < 3:
            continue
        fit: Any = scipy.stats.linregress(x[valid], np.log(y[valid]))
        half = fit.stderr * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, valid.sum() - 2)
        exponent[place], intercept[place] = fit.slope, fit.intercept
        low[place], high[place] = fit.slope - half, fit.slope + half
    limit = REFERENCES.index("mean_field")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        crossover = np.exp((np.log(dataset["bias"].values) - intercept[limit]) / exponent[limit])
    crossover[~(high[limit] < 0)] = np.nan
    dims = ("reference", "time")
    return {
        "exponent": (dims, exponent, said("exponent of the deviation in the size")),
        "exponent_low": (dims, low, said("lower end of its 95 % interval")),
        "exponent_high": (dims, high, said("upper end of its 95 % interval")),
        "crossover": ("time", crossover, said("size at which finite-size error equals closure bias", "neurons")),
    }
