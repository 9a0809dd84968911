"""Which folders a sweep may write to: its own ones, one sweep at a time. What belongs to others stays as it is."""

import errno
import itertools

import numpy as np
import pytest
import xarray as xr
import zarr

import overlaps as ov
from overlaps.sweeps import _store, summary
from tests.test_sweep import OVER, assert_same, build


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.zarr"


class Killed(BaseException):
    """Ends a sweep as a kill does: nothing of the library catches it."""


def killed(*_):
    raise Killed


def contents(path):
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("value", [0, "", {}, False, None, 3, {"a": 1}, [1], "abc", "{", "{}"])
@pytest.mark.parametrize("name", ["sweep", "overlaps_sweep"])
def test_a_group_of_somebody_else_is_refused_whatever_its_attributes(name, value, path):
    group = zarr.open_group(path, mode="w", attributes={name: value})
    group.create_array("thesis", data=np.arange(3.0))
    before = contents(path)
    with pytest.raises(ValueError, match="Argument `store` must be a new path, or a store of `sweep`, but"):
        ov.sweep(build, OVER, path, saves=3)
    assert contents(path) == before


def test_what_is_no_group_is_refused(path, tmp_path):
    zarr.create_array(path, data=np.arange(3))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/zarr.json").write_text('{"zarr_fo')
    for one in (path, tmp_path / "torn"):
        with pytest.raises(ValueError, match=r"a store of `sweep`, but .* is not a Zarr group, or it is damaged"):
            ov.sweep(build, OVER, one)
        with pytest.raises(ValueError, match=r"must be one that `sweep` began, but .*is not a Zarr group.*\)\.$"):
            summary(one)


@pytest.mark.parametrize("where", ["path", "url"])
def test_a_half_made_store_is_begun_again_but_not_what_lies_beside(where, path, monkeypatch):
    if where == "url":
        pytest.importorskip("fsspec")
    store = path if where == "path" else "memory://half/made.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "_finish", killed)
        with pytest.raises(Killed):
            ov.sweep(build, OVER | {"seed": range(9)}, store, saves=4)
    zarr.open_group(store, mode="r+").create_array("thesis", data=np.arange(3.0))
    with pytest.raises(ValueError, match="holds 'thesis', beside a sweep whose making was stopped"):
        ov.sweep(build, OVER, store, saves=3)
    assert zarr.open_group(store, mode="r")["thesis"][:].tolist() == [0, 1, 2]
    del zarr.open_group(store, mode="r+")["thesis"]
    assert_same(ov.sweep(build, OVER, path.with_name("whole"), saves=3), ov.sweep(build, OVER, store, saves=3))


def test_two_sweeps_do_not_write_to_one_path_at_the_same_time(path, monkeypatch):
    finish, others = _store.Store._finish, []

    def at_the_same_time(self, *arguments):
        with pytest.raises(ValueError, match="Argument `store` must be free, but another sweep writes to"):
            ov.sweep(build, {"seed": range(2), "learning_rate": [0.3]}, path, saves=3)
        others.append(arguments)
        return finish(self, *arguments)

    monkeypatch.setattr(_store.Store, "_finish", at_the_same_time)
    dataset = ov.sweep(build, OVER, path, saves=3)
    assert len(others) == 1
    assert (dataset["status"] == 1).all()
    more = ov.sweep(build, OVER | {"seed": range(7)}, path, saves=3)  # the lock of the first sweep is gone
    assert len(others) == 2
    assert (more["status"] == 1).all()


def no_locks(*_):
    raise OSError(errno.ENOLCK, "no locks here")


@pytest.mark.parametrize(("name", "value"), [("fcntl.flock", no_locks), ("overlaps.sweeps._lock.LOCK", "no/such/folder")])
def test_a_folder_that_cannot_be_locked_is_used_without(name, value, path, monkeypatch):
    whole = ov.sweep(build, OVER, path, saves=3).load()
    monkeypatch.setattr(name, value)
    assert_same(whole, ov.sweep(build, OVER, path, saves=3))


def test_a_path_that_becomes_a_store_while_build_runs_is_seen(path):
    count = itertools.count()

    def meanwhile(seed, learning_rate):
        if next(count) == 0:
            ov.sweep(build, OVER | {"seed": range(4)}, path, saves=3)
        return build(seed, learning_rate)

    dataset = ov.sweep(meanwhile, OVER, path, saves=3)
    assert dataset["seed"].values.tolist() == list(range(5))
    assert (dataset["status"] == 1).all()


def test_a_file_url_is_a_path(path):
    dataset = ov.sweep(build, OVER, f"file://{path}", saves=3)
    assert_same(dataset, ov.sweep(build, OVER, path, saves=3))
    with xr.open_zarr(path) as seen:
        assert (seen["status"] == 1).all()
    assert summary(f"file://{path}").endswith("15 done.")


@pytest.mark.parametrize("store", [None, 5, "", zarr.storage.MemoryStore()], ids=["None", "number", "empty", "object"])
def test_a_store_is_a_path_or_a_url(store):
    with pytest.raises(ValueError, match="Argument `store` must be a path, or a URL that fsspec knows, but"):
        ov.sweep(build, OVER, store)


def test_a_status_says_nothing_about_writing(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"must be one that `sweep` began, but .* holds other files\.$"):
        summary(tmp_path)


def test_the_size_is_said_before_the_store_is_made(path, monkeypatch, capsys):
    monkeypatch.setattr(_store.Store, "create", killed)
    with pytest.raises(Killed):
        ov.sweep(build, OVER, path, saves=3, progress=True)
    assert "15 points in 1 blocks take up to" in capsys.readouterr().out
