"""The function `sweep`."""

import contextlib
import dataclasses
import math
import pickle
import queue
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from overlaps._support import argument_error, count, warn
from overlaps.sweeps._again import check_build, check_points, check_settings
from overlaps.sweeps._block import Block, Place, compute
from overlaps.sweeps._points import Points, chunks_of, regions_of
from overlaps.sweeps._runs import Setup, begun, built, rows_of
from overlaps.sweeps._stop import Stop, listening
from overlaps.sweeps._store import Store, report, to_do
from overlaps.sweeps._variables import Kept, checksums_of, kept_of, labels_of

OWN = (ProcessPoolExecutor, ThreadPoolExecutor)  # executors of this program: its own code runs in them
SMALL = 4  # times that the blocks of a new store have more points, from which on a sweep warns
TRIED = 100  # points, at most, until one of them shows which variables there are
MUCH = 10e9  # bytes from which on a sweep warns
TAKEN = {"status", "error", "log", "time", "batch"}
WAIT = 0.2  # seconds between two looks at whether a signal came


class New(NamedTuple):
    """What a new store has to hold: the shape of its blocks, variables, coordinates that points share, and settings."""

    chunks: tuple[int, ...]
    kept: Mapping[str, Kept]
    labels: Mapping[str, Any]
    settings: Mapping[str, Any]


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
      client. None: this process. Processes that come from elsewhere have to make the networks that `build` makes here: `sweep`
      compares one point of each block.
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
    error names the first difference. Raises OSError if the store cannot be written, and RuntimeError if an executor cancels
    blocks.

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
    _check_arguments(build, executor, keep)
    points = Points.of(over)
    block, saves = count("block", block), count("saves", saves, least=2)
    keep = [keep] if isinstance(keep, str) else list(keep)
    kept_in = Store(store)
    settings = {"saves": saves, "keep": keep, "block": block, "over": dict(points.along)}
    new = _new(build, points, settings) if kept_in.found() is None else None
    with kept_in.alone():
        _prepare(kept_in, build, points, settings, new, progress)
        counts = _fill(kept_in, build, points, executor, progress)
    if counts["diverged"] or counts["failed"]:
        warn(
            f"{counts['diverged']} of {math.prod(points.sizes)} points diverged and {counts['failed']} failed: `status` of the "
            "Dataset says which, and `error` why."
        )
    return kept_in.open()


def _check_arguments(build: Any, executor: Any, keep: Any) -> None:
    if not callable(build):
        raise argument_error("build", "be a function of the coordinates of a point", f"{type(build).__name__} came")
    if executor is not None and not hasattr(executor, "submit"):
        raise argument_error("executor", "be a concurrent.futures.Executor or None", f"{type(executor).__name__} came")
    if not isinstance(keep, Iterable) or not all(isinstance(one, str) for one in keep):
        raise argument_error("keep", "be a name, or a list of names", f"{keep!r} came")
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps(build)
        except Exception as error:  # pickle has errors of many kinds for this
            must = "be a function that other processes can import, such as one of a module"
            raise argument_error("build", must, f"it cannot be sent to them ({error})") from error


def _prepare(
    store: Store, build: Callable[..., Any], points: Points, settings: Mapping[str, Any], new: New | None, progress: bool
) -> None:
    """Make the store if it is `new`, or check that it holds this sweep, and make room for points that it does not have."""
    known = store.found()
    if known is None:
        new = new or _new(build, points, settings)
        _say_size(store, points, new.chunks, new.kept, progress)
        store.create(points, new.chunks, new.kept, new.labels, new.settings)
        return
    check_settings(store, known, settings)
    more = check_points(store, known, points)
    check_build(store, known, build, points)
    _say_size(store, points, known["chunks"], store.kept(known), progress)
    if more:
        there, fresh = math.prod(known["chunks"]), math.prod(chunks_of(points.sizes, settings["block"]))
        if fresh >= SMALL * there:
            warn(
                f"The blocks of {store.path!r} have {there} points, as it began with few, and those of a new store would have "
                f"{fresh}. They take more files, and more time."
            )
        store.extend(points, known)


def _fill(store: Store, build: Callable[..., Any], points: Points, executor: Executor | None, progress: bool) -> Counter[str]:
    """Compute what is missing, and count the points of each status. Raises what the signals ask for, or RuntimeError."""
    counts: Counter[str] = Counter()
    missing = []
    for block, status in _blocks(store, build, points):
        todo = np.argwhere(to_do(status))
        if len(todo):
            missing.append((block, tuple(todo[0].tolist())))
        else:
            counts.update(report(status))
    with (
        listening() as stop,
        tqdm(total=math.prod(points.sizes), initial=counts.total(), disable=not progress, unit=" curves") as bar,
    ):
        broken = None
        try:
            for found in _computed(missing, executor, stop):
                counts.update(found)
                bar.update(sum(found.values()))
                bar.set_postfix({name: number for name, number in counts.items() if name in ("diverged", "failed") and number})
        except BrokenExecutor as error:
            if stop.signal is None:
                raise
            broken = error
        there = f"{counts.total()} of {bar.total} points are in the store. Call `sweep` again to go on."
        if stop.signal is not None:
            raise stop.raised(f"Stopped: {there}") from broken
        if counts.total() < bar.total:
            raise RuntimeError(f"The executor cancelled blocks: {there}")
    return counts


def _new(build: Callable[..., Any], points: Points, settings: Mapping[str, Any]) -> New:
    """What a new store has to hold, as a short run of the first point shows that can run."""
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
        raise argument_error("build", must, f"all points that were tried failed, the first one {first}".rstrip("."))
    rows = rows_of(setup, settings["saves"])
    kept = kept_of(outcome.dataset, settings["keep"], rows)
    labels = labels_of(outcome.dataset, kept, rows)
    taken = TAKEN | set(kept) | set(labels) | {dim for one in kept.values() for dim in one.dims}
    clash = sorted(taken & {*points.dims, *points.values})
    if clash:
        raise argument_error("over", "have names that results do not have", f"{clash[0]!r} came", "Choose another name.")
    whole = {**settings, "rows": rows, "kept": list(kept), "labels": checksums_of(labels)}
    return New(chunks_of(points.sizes, settings["block"]), kept, labels, whole)


def _blocks(store: Store, build: Callable[..., Any], points: Points) -> list[tuple[Block, Any]]:
    """All blocks of a sweep, each with the status of its points."""
    known = store.found()
    assert known is not None
    chunks = tuple(known["chunks"])
    kept, status, call = store.kept(known), store.read("status", ...), uuid.uuid4().hex
    first = Block(build, points, (), store.path, known["saves"], known["rows"], kept, known["labels"], math.prod(chunks), call)
    return [
        (dataclasses.replace(first, points=points.within(region), region=region), status[region])
        for region in regions_of(points.sizes, chunks)
    ]


def _computed(blocks: Sequence[tuple[Block, Place]], executor: Executor | None, stop: Stop) -> Iterator[dict[str, int]]:
    """Compute blocks, and yield what each has found, in the order in which they are done. Ends early if a signal came.

    Each block comes with its first point that is missing. Processes that this one did not start may have another `build`, so
    they get to know what it makes there.
    """
    if executor is None:
        for block, _ in blocks:
            if stop.signal is not None:
                return
            yield compute(block)
        return
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    futures = []
    try:
        for block, first in blocks:
            if stop.signal is not None:
                break
            job = block if isinstance(executor, OWN) else block.checked_by(first)
            try:
                futures.append(executor.submit(compute, job))
            except RuntimeError as error:
                if isinstance(error, BrokenExecutor):
                    raise
                raise argument_error("executor", "take tasks", f"it says: {error}") from error
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


def _say_size(store: Store, points: Points, chunks: Sequence[int], kept: Mapping[str, Kept], progress: bool) -> None:
    """Say what the sweep takes on disk, and warn if this is much."""
    total = math.prod(points.sizes)
    blocks = math.prod(math.ceil(size / chunk) for size, chunk in zip(points.sizes, chunks, strict=True))
    size = total * (1 + sum(math.prod(one.shape) * int(one.dtype[2:]) for one in kept.values()))
    files = blocks * (len(kept) + 2)
    text = f"{total:,} points in {blocks:,} blocks take up to {size / 1e6:,.6g} MB in {files:,} files at {store.path!r}"
    if progress:
        tqdm.write(f"{text}.")
    free = store.free()
    if size > MUCH or size > free / 2:
        room = "" if math.isinf(free) else f", where {free / 1e6:,.6g} MB are free"
        warn(f"{text}{room}. Fewer `saves`, or less in `keep`, take less.")
