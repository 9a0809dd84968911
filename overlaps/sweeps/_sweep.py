"""The function `sweep`."""

import contextlib
import dataclasses
import math
import os
import queue
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, warn
from overlaps.sweeps._again import check_build, check_points, check_settings
from overlaps.sweeps._block import Block, compute
from overlaps.sweeps._points import Points, chunks_of, regions_of
from overlaps.sweeps._runs import Setup, begun, built, rows_of
from overlaps.sweeps._stop import Stop, listening
from overlaps.sweeps._store import Store, report, to_do
from overlaps.sweeps._variables import kept_of, labels_of

TRIED = 100  # points, at most, until one of them shows which variables there are
MUCH = 10e9  # bytes from which on a sweep warns
TAKEN = {"status", "error", "log", "time", "batch"}
WAIT = 0.2  # seconds between two looks at whether a signal came


def sweep(
    build: Callable[..., Mapping[str, Any]],
    over: Any,
    store: Any,
    executor: Executor | None = None,
    block: int = 128,
    keep: Sequence[str] = ("loss", "sigma"),
    saves: int = 51,
    progress: bool = False,
) -> xr.Dataset:
    """Train a network at each of many points, and keep the trajectories in one store on disk (docs/sweeps.md).

    - `build`: a function of the coordinates of a point, such as build(learning_rate=0.01, seed=3). It returns a dict with the
      arguments of `learn` for a single network: `state`, `task`, `rnn`, and `rule` and `key` where `learn` needs them. `task`
      may be a list of phases. It has to return the same for the same point each time.
    - `over`: the points. A dict of 1-D coordinates, numbers or texts, stands for all their combinations. A Dataset with one
      dimension is a list of points.
    - `store`: a path, or a URL that fsspec knows, such as "s3://bucket/sweep.zarr". It becomes a Zarr group.
    - `executor`: what computes the blocks: any concurrent.futures.Executor, such as ProcessPoolExecutor or that of a Dask
      client. None: this process.
    - `block`: the largest number of points that are computed together, as one batch of `learn` where they fit. Each block is a
      chunk of the store, and is written when it is done.
    - `keep`: which variables of the Datasets of `learn` to keep.
    - `saves`: the number of saved points of each run and phase, as in `learn`.
    - `progress`: whether to say what the sweep takes on disk, and to show a progress bar.

    The same call goes on where a sweep stopped or was killed. It computes points that are missing, and those that failed. With
    longer coordinates it adds the new points. Ctrl-C and SIGTERM end a sweep after the block in hand. With an executor they
    cancel the blocks that have not begun.

    Returns a Dataset that reads from the store what you use. The coordinates of points are dimensions in front of those of
    `learn`. The Dataset has the variables in `keep`, the coordinate `learning_time`, and for each point

    - `status`: 0 missing, 1 done, 2 diverged, 3 failed.
    - `error`: what went wrong, as a text. A point failed if `build`, or `learn`, raised an error.

    A network that diverges is NaN from there on. A run that stops early repeats its last row. A RuntimeWarning says how many
    points diverged or failed.

    Raises ValueError for arguments that do not fit, if no network can be trained, and for a store that holds another sweep. The
    error names the first difference. Raises OSError if the store cannot be written.

    >>> import tempfile
    >>> import overlaps as ov
    >>> task, rnn = ov.tasks.exponential_filter(rate=0.2, horizon=5.0), ov.RNN(dt=0.1)
    >>> def build(seed, learning_rate):
    ...     rule = ov.GradientDescent(learning_rate, steps=20)
    ...     return {"state": ov.Overlaps.random(seed), "task": task, "rnn": rnn, "rule": rule}
    >>> over = {"seed": range(3), "learning_rate": [0.01, 0.02]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dataset = ov.sweep(build, over, f"{folder}/sweep.zarr", saves=5).load()
    >>> dataset["loss"].dims, dataset["loss"].sel(seed=2, learning_rate=0.01).shape
    (('seed', 'learning_rate', 'time'), (5,))
    """
    if not callable(build):
        raise argument_error("build", "be a function of the coordinates of a point", f"{type(build).__name__} came")
    if executor is not None and not hasattr(executor, "submit"):
        raise argument_error("executor", "be a concurrent.futures.Executor or None", f"{type(executor).__name__} came")
    points = Points.of(over)
    block, saves = count("block", block), count("saves", saves, least=2)
    keep = [keep] if isinstance(keep, str) else list(keep)
    kept_in = Store(store if "://" in str(store) else os.path.abspath(os.path.expanduser(store)))
    settings = {"saves": saves, "keep": keep, "block": block, "over": dict(points.along)}
    known = kept_in.found()
    if known is None:
        _create(kept_in, build, points, settings)
    else:
        check_settings(kept_in, known, settings)
        more = check_points(kept_in, known, points)
        check_build(kept_in, known, build, points)
        if more:
            kept_in.extend(points, known)
    blocks = _blocks(kept_in, build, points)
    missing = [one for one, status in blocks if to_do(status).any()]
    counts = Counter()
    for _, status in blocks:
        if not to_do(status).any():
            counts.update(report(status))
    _say_size(kept_in, points, blocks[0][0], len(blocks), progress)
    with (
        listening() as stop,
        tqdm(total=math.prod(points.sizes), initial=counts.total(), disable=not progress, unit=" curves") as bar,
    ):
        for found in _computed(missing, executor, stop):
            counts.update(found)
            bar.update(sum(found.values()))
            bar.set_postfix({name: number for name, number in counts.items() if name in ("diverged", "failed") and number})
        if counts.total() < bar.total or stop.signal is not None:
            raise stop.raised(f"Stopped: {counts.total()} of {bar.total} points are in the store. Call `sweep` again to go on.")
    if counts["diverged"] or counts["failed"]:
        warn(
            f"{counts['diverged']} of {math.prod(points.sizes)} points diverged and {counts['failed']} failed: `status` of the "
            "Dataset says which, and `error` why."
        )
    return kept_in.open()


def _create(store: Store, build: Callable[..., Any], points: Points, settings: Mapping[str, Any]) -> None:
    first = ""
    for place in points.some(TRIED):
        setup = built(build, points.at(place))
        if isinstance(setup, Setup):
            outcome = begun(setup)
            if outcome.dataset is not None and not outcome.all_diverged:
                break
            setup = outcome.error or "the network diverged at the start"
        first = first or f"at {points.at(place)}: {setup}"
    else:
        must = "make networks that can be trained"
        raise argument_error("build", must, f"all points that were tried failed, the first one {first}")
    rows = rows_of(setup, settings["saves"])
    kept = kept_of(outcome.dataset, settings["keep"], rows)
    labels = labels_of(outcome.dataset, kept, rows)
    taken = TAKEN | set(kept) | set(labels) | {dim for one in kept.values() for dim in one.dims}
    clash = sorted(taken & {*points.dims, *points.values})
    if clash:
        raise argument_error("over", "have names that results do not have", f"{clash[0]!r} came", "Choose another name.")
    chunks = chunks_of(points.sizes, settings["block"])
    store.create(points, chunks, kept, labels, {**settings, "rows": rows, "kept": list(kept)})


def _blocks(store: Store, build: Callable[..., Any], points: Points) -> list[tuple[Block, Any]]:
    """All blocks of a sweep, each with the status of its points."""
    known = store.found()
    assert known is not None
    chunks = tuple(known["chunks"])
    kept, status, call = store.kept(known), store.read("status", ...), uuid.uuid4().hex
    first = Block(build, points, (), store.path, known["saves"], known["rows"], kept, math.prod(chunks), call)
    return [
        (dataclasses.replace(first, points=points.within(region), region=region), status[region])
        for region in regions_of(points.sizes, chunks)
    ]


def _computed(blocks: Sequence[Block], executor: Executor | None, stop: Stop) -> Iterator[dict[str, int]]:
    """Compute blocks, and yield what each has found, in the order in which they are done. Ends early if a signal came."""
    if executor is None:
        for block in blocks:
            if stop.signal is not None:
                return
            yield compute(block)
        return
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    futures = []
    try:
        for block in blocks:
            futures.append(executor.submit(compute, block))
            futures[-1].add_done_callback(done.put)
        left, cancelled = len(futures), False
        while left:
            if stop.signal is not None and not cancelled:
                cancelled = True
                for future in futures:  # not those that run: they end first
                    future.cancel()
            with contextlib.suppress(queue.Empty):
                future = done.get(timeout=WAIT)
                left -= 1
                if not future.cancelled():
                    yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _say_size(store: Store, points: Points, block: Block, blocks: int, progress: bool) -> None:
    """Say what the sweep takes on disk, and warn if this is much."""
    total = math.prod(points.sizes)
    size = total * (1 + sum(math.prod(one.shape) * int(one.dtype[2:]) for one in block.kept.values()))
    files = blocks * (len(block.kept) + 2)
    text = f"{total:,} points in {blocks:,} blocks take up to {size / 1e6:,.6g} MB in {files:,} files at {store.path!r}"
    if progress:
        tqdm.write(f"{text}.")
    free = store.free()
    if size > MUCH or size > free / 2:
        room = "" if math.isinf(free) else f", where {free / 1e6:,.6g} MB are free"
        warn(f"{text}{room}. Fewer `saves`, or less in `keep`, take less.")
