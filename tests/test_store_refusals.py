"""Stores that are damaged, taken, full, or hold another run: what is repaired, and what is refused."""

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning import _describe, _log, _store, _view
from tests.test_store import DESCENT, MOMENTUM, NET, RNN, A, B, Killed, begun, killed_at


@pytest.fixture(autouse=True)
def _write_each_record_at_once(monkeypatch):
    monkeypatch.setattr(_store, "SHARE", 1e9)


@pytest.mark.parametrize("suffix", [".memory", ".rows"])
@pytest.mark.parametrize("damage", [b"", b"{}\n", None])
def test_a_damaged_record_is_noticed_and_computed_again(tmp_path, monkeypatch, suffix, damage):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    name = sorted((path / "log").glob(f"*{suffix}"))[-1]
    name.write_bytes(name.read_bytes()[:-7] if damage is None else damage)
    with pytest.warns(RuntimeWarning, match=f"is damaged \\({name.name}"):
        dataset = ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    xr.testing.assert_identical(dataset, ov.learn(NET, A, RNN, MOMENTUM, saves=11))


def test_a_store_cut_short_is_made_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    for name in sorted((path / "log").glob("*.*"))[2:]:
        if name.name != "run.json":
            name.unlink()
    shutil.rmtree(path / "sigma", ignore_errors=True)
    dataset = ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    xr.testing.assert_identical(dataset, ov.learn(NET, A, RNN, MOMENTUM, saves=11))
    np.testing.assert_array_equal(xr.open_zarr(path)["sigma"], dataset["sigma"])


def test_another_run_another_version_and_another_folder_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    before = {name: name.read_bytes() for name in path.rglob("*") if name.is_file()}
    for other, difference in (
        ({"rule": DESCENT}, r"`rule\.steps`: it is 60 there and 40 here"),
        (
            {"rule": ov.GradientDescent(1e-2, 60, functools.partial(optax.sgd, momentum=0.8))},
            r"`rule\.optimizer\.keywords\.momentum`: it is 0\.9 there and 0\.8 here",
        ),
        ({"saves": 12}, "`saves`: it is 11 there and 12 here"),
        ({"state": NET.replace(uu=2.0)}, r"`state\.gram\[1\]\[1\]`"),
        ({"task": B}, r"`task\.A\[0\]\[0\]`: it is -0\.2 there and -0\.4 here"),
    ):
        arguments = {"state": NET, "task": A, "rnn": RNN, "rule": MOMENTUM, "saves": 11} | other
        with pytest.raises(ValueError, match=f"`store` must be a new path, or hold this run, but .* differs in {difference}"):
            ov.learn(**arguments, store=path)
    name = path / "log" / "run.json"
    known = json.loads(name.read_bytes())
    for key in ("format", "version"):
        name.write_text(json.dumps({**known, key: "0"}))
        with pytest.raises(ValueError, match=f"differs in `{key}`"):
            ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    name.write_text("{")
    with pytest.raises(ValueError, match=r"run\.json' is damaged"):
        ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    name.write_bytes(before[name])
    assert {name: name.read_bytes() for name in path.rglob("*") if name.is_file()} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("important")
    for taken in (tmp_path / "full", tmp_path / "full" / "thesis.tex"):
        with pytest.raises(ValueError, match="holds other files"):
            ov.learn(NET, A, RNN, MOMENTUM, store=taken)
    with pytest.raises(ValueError, match="`path` must be a store that `learn` began"):
        ov.resume(tmp_path / "full")


def test_two_networks_with_equal_sizes_are_told_apart(tmp_path, monkeypatch):
    killed_at(monkeypatch, 5, "after")
    with pytest.raises(Killed):
        ov.learn(NET.sample(5, 0), A, RNN, DESCENT, saves=3, store=tmp_path / "run.zarr")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="differs in `numbers of the first state`"):
        ov.learn(NET.sample(5, 1), A, RNN, DESCENT, saves=3, store=tmp_path / "run.zarr")


def test_a_full_disk_ends_the_run_and_the_store_goes_on_later(tmp_path, monkeypatch):
    count = iter(range(100))

    def full(*given, whole=_log.write, **named):
        if next(count) == 5:
            raise OSError(28, "No space left on device")
        whole(*given, **named)

    monkeypatch.setattr(_log, "write", full)
    with pytest.raises(OSError, match=r"cannot be written any more: .*No space left.* call `learn` again") as caught:
        ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=tmp_path / "run.zarr")
    assert caught.value.dataset.sizes["time"] > 1
    monkeypatch.undo()
    dataset = ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=tmp_path / "run.zarr")
    xr.testing.assert_identical(dataset, ov.learn(NET, A, RNN, MOMENTUM, saves=11))


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(ValueError, match=r"`store` must be a folder that can be written, but .*Permission denied"):
        ov.learn(NET, A, RNN, MOMENTUM, store=tmp_path / "run.zarr")


@pytest.mark.slow
def test_what_has_no_name_is_told_apart_by_what_it_holds(tmp_path, monkeypatch):
    def rule(momentum):
        return ov.GradientDescent(1e-2, 30, lambda rate: optax.sgd(rate, momentum=momentum))

    def network(factor):
        return ov.RNN(lambda h: jax.numpy.tanh(factor * h), dt=0.1)

    class Mine(ov.tasks.LinearFilter):
        """A task of a user, known by its arrays."""

    trials = ov.tasks.flip_flop(0, trials=1, duration=6.0, dt=0.1)
    for index, (one, other) in enumerate(
        [
            ((NET, A, RNN, rule(0.5)), (NET, A, RNN, rule(0.9))),
            ((NET, trials, network(1.0), DESCENT), (NET, trials, network(2.0), DESCENT)),
            [(NET, Mine([[rate]], [[1.0]], [[1.0]], 4.0), RNN, DESCENT) for rate in (-0.2, -0.3)],
        ]
    ):
        path = tmp_path / f"{index}.zarr"
        first = ov.learn(*one, saves=3, store=path)
        xr.testing.assert_identical(ov.learn(*one, saves=3, store=path), first)
        with pytest.raises(ValueError, match=r"differs in .*(digest|opaque)"):
            ov.learn(*other, saves=3, store=path)


@pytest.mark.parametrize("number", [0, 1])
def test_a_gap_in_the_log_is_noticed(tmp_path, monkeypatch, number):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch, 13)
    (path / "log" / f"000-00000{number}.rows").unlink()
    with pytest.warns(RuntimeWarning, match=f"000-00000{number}.rows is missing"):
        dataset = ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    xr.testing.assert_identical(dataset, ov.learn(NET, A, RNN, MOMENTUM, saves=11))


def test_no_flip_of_a_bit_gets_through(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    whole = ov.learn(NET, A, RNN, MOMENTUM, saves=11)
    shutil.copytree(path, tmp_path / "kept")
    generator = np.random.default_rng(0)
    for name in sorted((path / "log").glob("000-*")):
        for _ in range(3):
            shutil.rmtree(path)
            shutil.copytree(tmp_path / "kept", path)
            content = bytearray(name.read_bytes())
            content[generator.integers(len(content))] ^= 1 << generator.integers(8)
            name.write_bytes(content)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                dataset = ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
            xr.testing.assert_identical(dataset, whole)
            last = max(one.stem for one in (tmp_path / "kept" / "log").glob("*.memory"))
            assert any("is damaged" in str(one.message) for one in caught) or (name.suffix == ".memory" and name.stem != last)


def test_records_without_a_description_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    (path / "log" / "run.json").unlink()
    with pytest.raises(ValueError, match="holds other files"):
        ov.learn(NET, B, RNN, MOMENTUM, saves=11, store=path)


@pytest.mark.parametrize("damage", ["zarr.json", "sigma/zarr.json", "loss/zarr.json"])
def test_a_damaged_view_is_made_anew(tmp_path, monkeypatch, damage):
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    (path / damage).write_text("")
    dataset = ov.resume(path)
    np.testing.assert_array_equal(xr.open_zarr(path)["sigma"], dataset["sigma"])


def test_two_processes_do_not_share_a_store(tmp_path, monkeypatch):
    append = _store.Store.append

    def meddle(self, *arguments):
        with pytest.raises(ValueError, match="`store` must be free, but another process writes to"):
            ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=tmp_path / "run.zarr")
        append(self, *arguments)

    monkeypatch.setattr(_store.Store, "append", meddle)
    ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=tmp_path / "run.zarr")


@pytest.mark.parametrize("how", ["divergence", "end"])
def test_a_disk_that_is_full_at_the_end_keeps_the_result(tmp_path, monkeypatch, how):
    def full(self, dataset, complete):
        if dataset.sizes.get("time"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_view.View, "write", full)
    monkeypatch.setattr(_store, "SHARE", 0.0)
    rule, error = (ov.GradientDescent(0.9, 100), ov.DivergenceError) if how == "divergence" else (MOMENTUM, OSError)
    with pytest.raises(error) as caught:
        ov.learn(NET, A, RNN, rule, saves=11, store=tmp_path / "run.zarr")
    assert caught.value.dataset.sizes["time"] >= 1
    monkeypatch.undo()
    if how == "end":
        xr.testing.assert_identical(ov.resume(tmp_path / "run.zarr"), ov.learn(NET, A, RNN, MOMENTUM, saves=11))


def test_paths_are_what_a_shell_makes_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ov.learn(NET, A, RNN, MOMENTUM, saves=3, store="~/run.zarr")
    assert sorted(name.name for name in tmp_path.iterdir()) == ["run.zarr"]
    assert ov.resume("run.zarr/").sizes["time"] == 3
    for path in ("", 5, "s3://bucket/run.zarr"):
        with pytest.raises(ValueError, match="`store` must be the path of a folder"):
            ov.learn(NET, A, RNN, MOMENTUM, store=path)


@pytest.mark.parametrize("log", [None, "diary.txt"])
def test_folders_of_a_user_are_never_touched(tmp_path, monkeypatch, log):
    mine = tmp_path / "project"
    (mine / "log").mkdir(parents=True)
    (mine / "data").mkdir()
    (mine / "data" / "precious").write_text("important")
    if log:
        (mine / "log" / log).write_text("important")
    with pytest.raises(ValueError, match="holds other files"):
        ov.learn(NET, A, RNN, MOMENTUM, saves=3, store=mine)
    assert (mine / "data" / "precious").read_text() == "important"
    path = tmp_path / "run.zarr"
    begun(path, monkeypatch)
    (path / "figures").mkdir()
    (path / "figures" / "f.png").write_text("important")
    (path / "zarr.json").write_text("")
    ov.resume(path)
    assert (path / "figures" / "f.png").read_text() == "important"


SCALE = 1.0


def from_a_global(learning_rate):
    return optax.sgd(SCALE * learning_rate)


def of_itself(learning_rate, depth=2):
    return of_itself(learning_rate, depth - 1) if depth else optax.sgd(learning_rate)


class Called:
    """An optimiser that is an object, with a method."""

    def __init__(self, momentum):
        self.momentum = momentum

    def __call__(self, learning_rate):
        return optax.sgd(learning_rate, momentum=self.momentum)

    def method(self, learning_rate):
        return self(learning_rate)


def digest(optimizer):
    return _describe.describe(optimizer)["digest"]


def test_digests_follow_what_functions_refer_to(monkeypatch):
    before = digest(from_a_global)
    assert digest(from_a_global) == before
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert digest(from_a_global) != before
    assert digest(of_itself) == digest(of_itself)
    assert digest(Called(0.5)) == digest(Called(0.5)) != digest(Called(0.9))
    assert digest(Called(0.5).method) == digest(Called(0.5).method) != digest(Called(0.9).method)
    one, other = (jax.jit(lambda x, c=c: c * x) for c in (1.0, 2.0))
    assert digest(one) != digest(other)


@pytest.mark.slow
def test_digests_are_those_of_another_process():
    program = "from overlaps.learning import _describe; print(_describe.describe(lambda x: x in {'a', 'b', 'c'})['digest'])"
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
