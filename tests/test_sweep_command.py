"""Sweeps from the command line: to the end, stopped by a signal, and how far they are."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.__main__ import main
from overlaps.sweeps._stop import Stop

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


def test_a_sweep_and_its_status(script, tmp_path, capsys):
    store = tmp_path / "out.zarr"
    with pytest.warns(RuntimeWarning, match="0 of 12 points diverged and 2 failed"):
        main(["sweep", str(script), "--store", str(store), "--saves", "3", "--block", "2", "--keep", "loss"])
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


def test_a_script_that_was_edited_is_computed_anew_by_workers_of_dask_that_live_on(script, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    with cluster:
        for steps in (10, 20):
            script.write_text(SCRIPT.replace("PAUSE", "0.0").replace(", 10)", f", {steps})"))
            store = tmp_path / f"{steps}.zarr"
            with pytest.warns(RuntimeWarning, match="2 failed"):
                main(["sweep", str(script), "--store", str(store), "--saves", "3", "--dask", cluster.scheduler_address])
            assert "10 done, 2 failed" in capsys.readouterr().out
            with xr.open_zarr(store) as dataset:
                np.testing.assert_allclose(dataset["learning_time"].sel(seed=1, learning_rate=0.02)[-1], 0.02 * steps)


def test_a_script_may_import_a_file_beside_it(script, tmp_path, capsys):
    (tmp_path / "beside_the_script.py").write_text("SEEDS = range(2)\n")
    text = SCRIPT.replace("PAUSE", "0.0").replace("import time", "import time\nfrom beside_the_script import SEEDS")
    script.write_text(text.replace("range(6)", "SEEDS"))
    main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--saves", "3", "--workers", "1"])
    assert "4 points over seed, learning_rate: 4 done." in capsys.readouterr().out


def test_a_missing_dask_is_one_line(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit):
        main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--dask", "tcp://nowhere:1"])
    assert 'Install "overlaps[cluster]".' in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


def begun(command, store):
    """A process that runs a command, in a group of its own, and has written its first block."""
    command = [sys.executable, "-m", "overlaps", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 60
    while not list(store.glob("status/c/*/*")) and time.monotonic() < end:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "workers", "code", "send"),
    [
        (signal.SIGTERM, [], 143, os.kill),
        (signal.SIGINT, ["--workers", "1"], 130, os.killpg),
        (signal.SIGTERM, ["--workers", "1"], 143, os.killpg),
    ],
    ids=["SIGTERM", "Ctrl-C to all processes", "SIGTERM to all processes"],
)
def test_a_signal_ends_it_after_the_block_in_hand_and_it_goes_on(number, workers, code, send, script, tmp_path, capsys):
    script.write_text(SCRIPT.replace("PAUSE", "0.3"))
    store = tmp_path / "out.zarr"
    command = ["sweep", str(script), "--store", str(store), "--saves", "3", "--block", "2"]
    process = begun([*command, *workers], store)
    send(process.pid, number)
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


def test_workers_end_with_a_program_that_is_killed(script, tmp_path):
    script.write_text(SCRIPT.replace("PAUSE", "0.3"))
    store = tmp_path / "out.zarr"
    process = begun(["sweep", str(script), "--store", str(store), "--saves", "3", "--block", "1", "--workers", "2"], store)
    process.kill()
    process.communicate(timeout=60)  # returns when the last process has ended that can write messages
    assert len(list(store.glob("status/c/*/*"))) < 12


def test_a_pool_that_loses_a_worker_ends(script, tmp_path, capsys):
    kill = "import os, pathlib\n    if seed == 3:\n        os.kill(os.getpid(), 9)\n    time.sleep"
    script.write_text(SCRIPT.replace("time.sleep", kill).replace("PAUSE", "0.0"))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--saves", "3", "--block", "2", "--workers", "1"])
    assert stop.value.code == 2
    assert "A worker process ended before its work was done." in capsys.readouterr().err


def test_a_second_signal_says_how_to_go_on():
    stop = Stop()
    stop(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt) as caught:
        stop(signal.SIGINT, None)
    assert caught.value.__notes__ == ["What is done is in the store. Call `sweep` again to go on."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nothing.zarr"], "must be one that `sweep` began"),
        (["sweep", "nothing.py", "--store", "a"], "must be a Python file"),
        (["sweep", "empty.py", "--store", "a"], "has no `build`"),
        (["status", "."], "must be one that `sweep` began, but"),
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


def test_a_negative_number_of_workers_is_refused(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", str(script), "--store", str(tmp_path / "out.zarr"), "--workers", "-2"])
    assert "argument --workers: must be at least 0, but -2 came" in capsys.readouterr().err
