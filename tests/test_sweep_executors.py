"""Sweeps over several processes: the digits of one process, nothing lost and nothing twice, also where a worker is killed."""

import collections
import concurrent.futures
import functools
import logging
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import xarray as xr

import overlaps as ov

pytestmark = pytest.mark.slow

BLOCK = 20
OVER = {"seed": range(20), "learning_rate": np.linspace(0.005, 0.03, 20)}  # 400 points, in 20 blocks


def build(seed, learning_rate, log=None):
    if log is not None:
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {seed} {learning_rate}\n")
    return {
        "state": ov.Overlaps.random(seed),
        "task": ov.tasks.exponential_filter(0.2, horizon=4.0),
        "rnn": ov.RNN(dt=0.1),
        "rule": ov.GradientDescent(learning_rate, 12),
    }


def dying(seed, learning_rate, flag):
    """Kills its process at one point, the first time."""
    if seed == 12 and not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return build(seed, learning_rate)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    return ov.sweep(build, OVER, tmp_path_factory.mktemp("one") / "sweep.zarr", block=BLOCK, saves=3).load()


def processes(number):
    return concurrent.futures.ProcessPoolExecutor(number, multiprocessing.get_context("spawn"))


def assert_same(one, two):
    assert (two["status"] == 1).all()
    for name in ("loss", "sigma", "learning_time"):
        np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=name)


def test_two_processes_give_the_digits_of_one(one_process, tmp_path):
    with processes(2) as executor:
        found = ov.sweep(build, OVER, tmp_path / "sweep.zarr", executor, BLOCK, saves=3)
    assert_same(one_process, found)


def test_a_pool_that_loses_a_process_leaves_a_store_that_goes_on(one_process, tmp_path):
    job = functools.partial(dying, flag=str(tmp_path / "flag"))
    with processes(1) as executor, pytest.raises(BrokenProcessPool):
        ov.sweep(job, OVER, tmp_path / "sweep.zarr", executor, BLOCK, saves=3)
    with xr.open_zarr(tmp_path / "sweep.zarr") as seen:
        done = seen["status"].values
    assert 0 < done.sum() < done.size
    assert_same(one_process, ov.sweep(job, OVER, tmp_path / "sweep.zarr", None, BLOCK, saves=3))


def test_a_store_that_other_processes_do_not_see_is_named(tmp_path):
    pytest.importorskip("fsspec")
    with (
        processes(1) as executor,
        pytest.raises(ValueError, match="`store` must be a place that all processes see, but a process"),
    ):
        ov.sweep(build, {"seed": [0], "learning_rate": [0.01]}, "memory://unseen.zarr", executor, saves=3)


def test_a_signal_that_ends_the_processes_ends_the_sweep_as_a_signal(tmp_path):
    class Broken(concurrent.futures.Executor):
        def submit(self, job, block):
            future = concurrent.futures.Future()
            if block.region[0].start == 2:
                signal.raise_signal(signal.SIGTERM)
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(job(block))
            return future

    with pytest.raises(SystemExit) as stop:
        ov.sweep(build, OVER, tmp_path / "sweep.zarr", Broken(), BLOCK, saves=3)
    assert stop.value.code == 128 + signal.SIGTERM
    assert "40 of 400 points are in the store" in stop.value.__notes__[0]


def test_a_signal_cancels_what_has_not_begun(tmp_path):
    def signalling(seed, learning_rate):
        if (seed, learning_rate) == (2, OVER["learning_rate"][0]):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(1.0)  # while the block is in hand, the main thread cancels the others
        return build(seed, learning_rate)

    path = tmp_path / "sweep.zarr"
    with concurrent.futures.ThreadPoolExecutor(1) as executor, pytest.raises(SystemExit) as stop:
        ov.sweep(signalling, OVER, path, executor, BLOCK, saves=3)
    assert stop.value.code == 128 + signal.SIGTERM
    assert "60 of 400 points are in the store" in stop.value.__notes__[0]
    with xr.open_zarr(path) as seen:
        assert seen["status"].sum("learning_rate").values.tolist() == [20] * 3 + [0] * 17


def killed_in_the_middle(log, pids):
    """Kill one of the processes when it is in the middle of a block that is not its first ones. Returns which, later."""
    victims = []

    def watch():
        end = time.monotonic() + 60.0
        while time.monotonic() < end and not victims:
            counts = collections.Counter(int(line.split()[0]) for line in log.read_text().splitlines()) if log.exists() else {}
            for pid in pids:
                if counts.get(pid, 0) > 2 * BLOCK:
                    os.kill(pid, signal.SIGKILL)
                    victims.append(pid)
                    break
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, victims


def test_a_dask_cluster_that_loses_a_worker_loses_nothing_and_does_nothing_twice(one_process, tmp_path):
    distributed = pytest.importorskip("distributed")
    log = tmp_path / "built.txt"
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL, local_directory=tmp_path
    )
    with cluster, distributed.Client(cluster) as client:
        workers = list(client.run(os.getpid).values())
        thread, victims = killed_in_the_middle(log, workers)
        found = ov.sweep(
            functools.partial(build, log=str(log)), OVER, tmp_path / "sweep.zarr", client.get_executor(), BLOCK, saves=3
        )
        thread.join()
    assert len(set(workers)) == 2
    assert victims
    assert_same(one_process, found)
    lines = [line.split() for line in log.read_text().splitlines()]
    by_workers = collections.Counter(tuple(point) for pid, *point in lines if int(pid) != os.getpid())
    assert len(by_workers) == 400
    assert len({int(pid) for pid, *_ in lines} - {os.getpid()}) >= 2
    again = [point for point, times in by_workers.items() if times > 1]
    assert len(again) <= BLOCK  # the block that the killed worker had in hand
    assert max(by_workers.values()) <= 2
