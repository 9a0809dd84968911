"""Stores lose nothing of a user, tell more runs apart, and are whole again after any damage to one file."""

import errno
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import diffrax
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning import _log, _store, _view
from tests.test_store import DESCENT, MOMENTUM, NET, RNN, A, Killed, begun, killed_at

RUN = functools.partial(ov.learn, NET, A, RNN, MOMENTUM, saves=11)
# Zarr warns of the files of the log if a user adds something to a store, or reads it without consolidated metadata.
pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
MINE = xr.Dataset({"precious": ("x", np.arange(3.0))})


@pytest.fixture(autouse=True)
def _write_each_record_at_once(monkeypatch):
    monkeypatch.setattr(_store, "SHARE", 1e9)


@pytest.fixture(scope="module")
def whole():
    return RUN()


def contents(path):
    return {name: name.read_bytes() for name in Path(path).rglob("*") if name.is_file()}


def assert_shown(path, whole):
    for consolidated in (True, False):
        shown = xr.open_zarr(path, consolidated=consolidated)
        for variable in whole.variables:
            np.testing.assert_array_equal(shown[variable].values.astype(whole[variable].dtype), whole[variable])


@pytest.mark.slow
def test_equal_runs_are_accepted_however_they_are_written(tmp_path):
    descent = functools.partial(ov.GradientDescent, 1e-2, 30)
    pairs = [
        (descent(rates={"m": 0, "u": 0.5}), descent(rates={"u": 0.5, "m": 0})),
        (descent(rates={}), descent()),
        (ov.GradientFlow(0.5), ov.GradientFlow(0.5, solver=diffrax.Tsit5())),
    ]
    for index, (one, other) in enumerate(pairs):
        first, second = (ov.learn(NET, A, RNN, rule, saves=3, store=tmp_path / f"{index}.zarr") for rule in (one, other))
        xr.testing.assert_equal(first, second)


def test_states_with_other_code_are_refused(tmp_path):
    def state(factor):
        own = type("Own", (ov.Overlaps,), {"__module__": __name__, "tracked_factor": factor})
        return own(NET.gram)

    ov.learn(state(1.0), A, RNN, DESCENT, saves=3, store=tmp_path / "run.zarr")
    with pytest.raises(ValueError, match="differs in `code of the first state`"):
        ov.learn(state(2.0), A, RNN, DESCENT, saves=3, store=tmp_path / "run.zarr")


@pytest.mark.parametrize("how", ["before", "middle", "after"])
def test_a_kill_at_any_file_of_the_beginning_is_mended(tmp_path, monkeypatch, whole, how):
    path = tmp_path / "run.zarr"
    for moment in range(6):
        shutil.rmtree(path, ignore_errors=True)
        with monkeypatch.context() as patch:
            killed_at(patch, moment, how)
            with pytest.raises(Killed):
                RUN(store=path)
        xr.testing.assert_identical(RUN(store=path), whole)
        assert_shown(path, whole)


PROGRAM = """
import resource, signal, sys
import overlaps as ov
from tests.test_store import DESCENT, NET, RNN, A
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    ov.learn(NET, A, RNN, DESCENT, saves=3, store=sys.argv[1])
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_beginning_ends_no_process(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "run.zarr")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert ended.returncode == 0
    assert "`store` must be a folder that can be written, but" in ended.stdout
    assert ov.learn(NET, A, RNN, DESCENT, saves=3, store=tmp_path / "run.zarr").sizes["time"] == 3


@pytest.mark.parametrize("at", ["half", "complete", "damaged"])
def test_what_a_user_keeps_in_a_store_stays(tmp_path, monkeypatch, whole, at):
    path = tmp_path / "run.zarr"
    if at == "complete":
        RUN(store=path)
    else:
        begun(path, monkeypatch)
    MINE.to_zarr(path, group="analysis", mode="a", zarr_format=3)
    MINE.to_zarr(path, mode="a", zarr_format=3)
    if at == "damaged":
        (path / "zarr.json").write_text("")
        (path / "sigma" / "zarr.json").write_text("")
    xr.testing.assert_identical(RUN(store=path), whole)
    xr.testing.assert_identical(xr.open_zarr(path, group="analysis", consolidated=False).load(), MINE)
    np.testing.assert_array_equal(xr.open_zarr(path, consolidated=False)["precious"], MINE["precious"])
    assert_shown(path, whole)


def test_what_is_in_the_way_stays(tmp_path, monkeypatch, whole):
    path = tmp_path / "run.zarr"
    killed_at(monkeypatch, 3, "after")  # before the first loss is shown
    with pytest.raises(Killed):
        RUN(store=path)
    monkeypatch.undo()
    MINE.to_zarr(path, group="loss", mode="a", zarr_format=3)
    before = contents(path / "loss")
    with pytest.raises(OSError, match="is not of this run, and is in the way: move it away"):
        RUN(store=path)
    assert contents(path / "loss") == before
    (path / "loss").rename(tmp_path / "mine")
    xr.testing.assert_identical(RUN(store=path), whole)


def test_a_folder_of_a_user_with_a_lock_is_refused(tmp_path):
    path = tmp_path / "project"
    (path / "log").mkdir(parents=True)
    (path / "log" / "lock").touch()
    MINE.to_zarr(path / "data.zarr", zarr_format=3)
    (path / "loss").mkdir()
    before = contents(path)
    with pytest.raises(ValueError, match="holds other files"):
        RUN(store=path)
    assert contents(path) == before


@pytest.mark.parametrize("at", ["half", "complete"])
@pytest.mark.parametrize("damage", [b"", b"1234\n", None])
def test_a_damaged_start_is_written_anew(tmp_path, monkeypatch, whole, at, damage):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch) if at == "half" else RUN(store=path)
    start = path / "log" / "start"
    start.unlink() if damage is None else start.write_bytes(damage)
    with pytest.raises(ValueError, match=r"its file log/start is damaged: .* Call `learn` with the same arguments"):
        ov.resume(path)
    xr.testing.assert_identical(RUN(store=path), whole)
    xr.testing.assert_identical(ov.resume(path), whole)


@pytest.mark.parametrize("damage", ["sigma/c/0/0", "loss/c/0", "sigma/zarr.json", "zarr.json", "loss", "log/zarr.json"])
def test_a_complete_store_is_repaired(tmp_path, whole, damage):
    path = tmp_path / "run.zarr"
    RUN(store=path)
    shutil.rmtree(path / damage) if (path / damage).is_dir() else (path / damage).write_bytes(b"")
    xr.testing.assert_identical(ov.resume(path), whole)
    assert_shown(path, whole)


def test_a_complete_store_with_another_number_is_repaired(tmp_path, whole):
    path = tmp_path / "run.zarr"
    RUN(store=path)
    shown = xr.open_zarr(path).load()
    shown["loss"][3] += 1e-12
    shown[["loss"]].to_zarr(path, mode="a")
    xr.testing.assert_identical(ov.resume(path), whole)
    assert_shown(path, whole)


def test_numbers_are_on_disk_before_the_store_says_that_it_is_complete(tmp_path, monkeypatch):
    order = []
    sync, write = _log.sync, _view.write
    monkeypatch.setattr(_log, "sync", lambda path: order.append(path) or sync(path))
    monkeypatch.setattr(_view, "write", lambda path, *rest: order.append(path) or write(path, *rest))
    path = tmp_path / "run.zarr"
    dataset = RUN(store=path)
    last = len(order) - 1 - order[::-1].index(path / "zarr.json")
    for variable in dataset.variables:
        files = {path / variable, *(path / variable).rglob("*")}
        assert len(files) > 1
        assert files <= set(order[:last])


def test_a_run_that_begins_and_ends_between_look_and_claim_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    claim = _store.Store._claim

    def late(self):
        with monkeypatch.context() as patch:
            patch.setattr(_store.Store, "_claim", claim)
            ov.learn(NET, A, RNN, DESCENT, saves=11, store=path)  # what another process does in between
        claim(self)

    monkeypatch.setattr(_store.Store, "_claim", late)
    before = ov.learn(NET, A, RNN, DESCENT, saves=11)
    with pytest.raises(ValueError, match=r"differs in `rule\.steps`: it is 40 there and 60 here"):
        RUN(store=path)
    monkeypatch.undo()
    xr.testing.assert_identical(ov.resume(path), before)


@pytest.mark.parametrize("phase", [0, 1])
def test_no_file_of_a_store_changes_while_another_process_writes(tmp_path, phase):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "run.zarr"
    run = functools.partial(ov.learn, NET, [ov.Phase("A", A, MOMENTUM), ov.Phase("B", A, DESCENT)], RNN, saves=5, store=path)
    run()
    sorted((path / "log").glob(f"00{phase}-*.rows"))[2].write_bytes(b"")
    before = contents(path)
    with (path / "log" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="`store` must be free"):
            run()
    assert contents(path) == before


def test_an_interrupt_leaves_a_complete_store_complete(tmp_path, monkeypatch, whole):
    path = tmp_path / "run.zarr"
    RUN(store=path)
    before = contents(path)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_view.View, "holds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            RUN(store=path)
    assert contents(path) == before
    xr.testing.assert_identical(ov.resume(path), whole)


@pytest.mark.parametrize("damage", ["null", "[]", '"x"', "{}", "3", ""])
def test_a_damaged_description_is_named(tmp_path, damage):
    path = tmp_path / "run.zarr"
    RUN(store=path)
    (path / "log" / "run.json").write_text(damage)
    for call in (functools.partial(RUN, store=path), functools.partial(ov.resume, path)):
        with pytest.raises(ValueError, match=r"run\.json' is damaged"):
            call()


def test_paths_that_no_store_can_have_are_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a link to nothing"):
        RUN(store=tmp_path / "link")
    for path in ("a\0b", None, 5):
        with pytest.raises(ValueError, match="Argument `path` must be the path of a folder"):
            ov.resume(path)
    with pytest.raises(ValueError, match="Argument `store` must be the path of a folder"):
        RUN(store="a\0b")


@pytest.mark.parametrize(("number", "mend"), [(errno.ENOSPC, "Make room, or choose"), (errno.EACCES, "Choose")])
def test_an_error_of_the_system_at_the_beginning_says_what_to_do(tmp_path, monkeypatch, number, mend):
    def fails(*_, **__):
        raise OSError(number, "the reason")

    monkeypatch.setattr(_store, "write", fails)
    with pytest.raises(ValueError, match=rf"gave: .* the reason\. {mend} another path\."):
        RUN(store=tmp_path / "run.zarr")


def test_precision_and_version_are_compared_first(tmp_path):
    RUN(store=tmp_path / "run.zarr")
    with pytest.raises(ValueError, match='differs in `precision`: it is "float64" there and "float32" here'):
        RUN(store=tmp_path / "run.zarr", precision="float32")
    known = json.loads((tmp_path / "run.zarr" / "log" / "run.json").read_bytes())
    assert list(known)[:3] == ["format", "version", "precision"]
