"""Sweeps from the command line: to the end, stopped by a signal, and how far they are."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.__main__ import main

pytestmark = pytest.mark.slow

SCRIPT = """
import time
import overlaps as ov

over = {"seed": range(6), "learning_rate": [0.01, 0.02]}

def build(seed, learning_rate):
    if seed == 5:
        raise LookupError("no such network")
    time.sleep(PAUSE)
    task, rule = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.GradientDescent(learning_rate, 10)
    return {"state": ov.Overlaps.random(seed), "task": task, "rnn": ov.RNN(dt=0.1), "rule": rule}
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("PAUSE", "0.0"))
    return path


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one process", "two processes"])
def test_a_sweep_and_its_status(workers, script, tmp_path, capsys):
    store = tmp_path / "out.zarr"
    with pytest.warns(RuntimeWarning, match="0 of 12 points diverged and 2 failed"):
        main(["sweep", str(script), "--store", str(store), "--saves", "3", "--block", "2", "--keep", "loss", *workers])
    said = capsys.readouterr()
    assert "12 points in 6 blocks" in said.out
    assert "curves/s" in said.err
    assert "12/12" in said.err
    main(["status", str(store)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("12 points over seed, learning_rate: 10 done, 2 failed.")
    assert lines[1] == "  seed=5, learning_rate=0.01: LookupError: no such network"
    with xr.open_zarr(store) as dataset:
        task, rule = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.GradientDescent(0.02, 10)
        alone = ov.learn(ov.Overlaps.random(3), task, ov.RNN(dt=0.1), rule, saves=3)
        np.testing.assert_allclose(dataset["loss"].sel(seed=3, learning_rate=0.02), alone["loss"], rtol=1e-12)


def test_a_sweep_on_a_dask_scheduler(script, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster, pytest.warns(RuntimeWarning, match="2 failed"):
        main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--dask", cluster.scheduler_address])
    assert "10 done, 2 failed" in capsys.readouterr().out


def test_a_missing_dask_is_one_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit):
        main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--dask", "tcp://nowhere:1"])
    assert 'Install "overlaps[cluster]".' in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("number", "workers", "code"),
    [(signal.SIGTERM, [], 143), (signal.SIGINT, ["--workers", "1"], 130)],
    ids=["SIGTERM", "Ctrl-C with a pool"],
)
def test_a_signal_ends_it_after_the_block_in_hand_and_it_goes_on(number, workers, code, script, tmp_path, capsys):
    script.write_text(SCRIPT.replace("PAUSE", "0.3"))
    store = tmp_path / "out.zarr"
    command = ["sweep", str(script), "--store", str(store), "--saves", "3", "--block", "2", *workers]
    process = subprocess.Popen([sys.executable, "-m", "overlaps", *command], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(store.glob("status/c/*/*")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "points are in the store. Call `sweep` again to go on." in said.splitlines()[-1]
    assert "Traceback" not in said
    with xr.open_zarr(store) as dataset:
        status = dataset["status"].values
    assert 0 < (status == 1).sum() < 10
    assert set(status.sum(1).tolist()) <= {0, 2}  # whole blocks
    with pytest.warns(RuntimeWarning, match="2 failed"):
        main(command)
    assert "10 done, 2 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nothing.zarr"], "must be one that `sweep` began"),
        (["sweep", "nothing.py", "--store", "a"], "must be a Python file"),
        (["sweep", "empty.py", "--store", "a"], "has no `build`"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
