"""Runs on disk: a run that was killed at any moment goes on to the digits of a run that was not."""

import functools
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import diffrax
import jax
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning import _log, _store, _view

NET = ov.Overlaps.random(0)
BATCH = jax.tree.map(lambda *leaves: np.stack(leaves), *[ov.Overlaps.random(seed) for seed in range(3)])
A, B = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.tasks.exponential_filter(0.4, horizon=4.0)
NOISY = ov.tasks.label_noise(A, 0.3)
RNN = ov.RNN(dt=0.1)
MOMENTUM = ov.GradientDescent(1e-2, 60, functools.partial(optax.sgd, momentum=0.9))
DESCENT, FLOW = ov.GradientDescent(1e-2, 40), ov.GradientFlow(0.5, stop_loss=1e-3)
CASES = {
    "overlaps under momentum": (NET, A, RNN, MOMENTUM),
    "a network under Adam": (NET.sample(6, 0), A, RNN, ov.GradientDescent(1e-2, 60, optax.adam)),
    "a flow": (NET, A, RNN, ov.GradientFlow(2.0)),
    "a flow in slices": (NET.sample(5, 0), A, RNN, ov.GradientFlow(40.0, rtol=1e-10, atol=1e-12)),
    "phases with label noise": (NET, [ov.Phase("A", NOISY, MOMENTUM), ov.Phase("B", NOISY, DESCENT)], RNN, None),
    "a batch": (BATCH, [ov.Phase("A", A, MOMENTUM), ov.Phase("B", B, FLOW)], RNN, None),
    "a mean field": (
        NET.mean_field(3**4),
        ov.tasks.flip_flop(0, trials=2, duration=6.0, dt=0.1),
        ov.RNN("erf", dt=0.1),
        DESCENT,
    ),
    "networks with a random bulk": (BATCH.sample(6, 0, bulk=[0.2, 0.4, 0.6]), A, RNN, MOMENTUM),
    "a whole W": (ov.DenseNetwork.random(0, 6, 0.3), A, RNN, MOMENTUM),
}


@pytest.fixture(autouse=True)
def _write_each_record_at_once(monkeypatch):
    monkeypatch.setattr(_store, "SHARE", 1e9)


class Killed(BaseException):
    """Ends a run as a kill does: nothing of the library catches it."""


def killed_at(monkeypatch, moment, how):
    """Let the run die at the file number `moment` that it writes: before it, in its middle, or after it."""
    count = iter(range(10**6))

    def write(path, content, *rest, whole=_log.write, **named):
        if next(count) == moment:
            if how == "middle":
                path.with_name(f"{path.name}.part").write_bytes(content[: len(content) // 2])
            if how == "after":
                whole(path, content, *rest, **named)
            raise Killed
        whole(path, content, *rest, **named)

    for module in (_log, _store, _view):
        monkeypatch.setattr(module, "write", write)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_at_ten_moments_ends_with_the_digits_of_one_that_was_not(name, tmp_path, monkeypatch):
    run = functools.partial(ov.learn, *CASES[name], saves=41, key=3)
    whole = run()
    generator = np.random.default_rng(len(name))
    path = tmp_path / "run.zarr"
    deaths = 0
    for moment, how in zip(generator.integers(0, 4, 10), ["before", "middle", "after"] * 4, strict=False):
        killed_at(monkeypatch, moment, how)
        try:
            run(store=path)
        except Killed:
            deaths += 1
        monkeypatch.undo()
    assert deaths == 10
    xr.testing.assert_identical(run(store=path), whole)
    xr.testing.assert_identical(ov.resume(path), whole)
    shown = xr.open_zarr(path).load()
    assert json.loads(shown.attrs.pop("progress")) == {"complete": True, "saved": whole.sizes["time"]}
    for variable in whole.variables:
        np.testing.assert_array_equal(shown[variable].values.astype(whole[variable].dtype), whole[variable])
    assert ov.initial_state(shown).batch == ov.initial_state(whole).batch


PROGRAM = """
import os, signal, sys
import overlaps as ov
from overlaps.learning import _log, _store, _view
from tests.test_store import CASES
path, name, moment = sys.argv[1], sys.argv[2], int(sys.argv[3])
count, whole = iter(range(10**6)), _log.write
def write(*given, **named):
    whole(*given, **named)
    if next(count) == moment:
        os.kill(os.getpid(), signal.SIGKILL)
_log.write = _store.write = _view.write = write
_store.SHARE = 1e9
ov.learn(*CASES[name], saves=41, key=3, store=path)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("overlaps under momentum", 1),
        ("a network under Adam", 1),
        ("a flow", 1),
        ("phases with label noise", 1),
        ("a batch", 2),
    ],
)
def test_a_process_killed_by_the_system_goes_on(name, kills, tmp_path):
    path = tmp_path / "run.zarr"
    generator = np.random.default_rng(len(name))
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    for moment in generator.integers(0, 8, 2)[:kills]:
        command = [sys.executable, "-c", PROGRAM, str(path), name, str(moment)]
        assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    xr.testing.assert_identical(ov.learn(*CASES[name], saves=41, key=3, store=path), ov.learn(*CASES[name], saves=41, key=3))


def test_records_that_wait_are_lost_by_a_kill_and_computed_again(tmp_path, monkeypatch):
    protocol = CASES["phases with label noise"]
    whole = ov.learn(*protocol, saves=21, key=3)
    monkeypatch.setattr(_store, "SHARE", 0.0)  # all records wait for the end
    path = tmp_path / "run.zarr"
    for moment, how in ((1, "before"), (4, "middle"), (7, "after")):
        with monkeypatch.context() as patch:
            killed_at(patch, moment, how)
            with pytest.raises(Killed):
                ov.learn(*protocol, saves=21, key=3, store=path)
    xr.testing.assert_identical(ov.learn(*protocol, saves=21, key=3, store=path), whole)
    xr.testing.assert_identical(ov.resume(path), whole)


def test_a_half_finished_run_can_be_opened(tmp_path, monkeypatch):
    whole = ov.learn(NET, A, RNN, MOMENTUM, saves=11)
    path = tmp_path / "run.zarr"
    seen = []
    append = _store.Store.append

    def look(self, *arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing of the log disturbs a reader
            dataset = xr.open_zarr(path).load()
        seen.append(json.loads(dataset.attrs["progress"])["saved"])
        if "sigma" in dataset:
            assert dataset.sizes["time"] == 11
            np.testing.assert_array_equal(dataset["sigma"][: seen[-1] - 1], whole["sigma"][: seen[-1] - 1])
            assert np.all(np.isnan(dataset["sigma"][seen[-1] :]))
            assert dataset.attrs["rule"] == whole.attrs["rule"]
        append(self, *arguments)

    monkeypatch.setattr(_store.Store, "append", look)
    ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    assert seen[0] == 0
    assert np.all(np.diff(seen) > 0)


def test_an_interrupt_and_a_divergence_leave_a_store(tmp_path):
    rule = ov.GradientDescent(0.9, 100)
    for _ in range(2):  # the second call says so again
        with pytest.raises(ov.DivergenceError) as caught:
            ov.learn(NET, A, RNN, rule, saves=101, store=tmp_path / "run.zarr")
    shown = xr.open_zarr(tmp_path / "run.zarr").load()
    saved = json.loads(shown.attrs["progress"])["saved"]
    np.testing.assert_array_equal(shown["sigma"][:saved], caught.value.dataset["sigma"])


def test_an_early_stop_makes_the_store_shorter(tmp_path):
    run = functools.partial(ov.learn, NET, A, RNN, ov.GradientDescent(1e-2, 3000, stop_loss=1e-2), saves=301)
    kept = run(store=tmp_path / "run.zarr")
    xr.testing.assert_identical(kept, run())
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "run.zarr")["sigma"], kept["sigma"])
    assert kept.sizes["time"] < 301


def begun(path, monkeypatch, moment=10):
    killed_at(monkeypatch, moment, "after")
    with pytest.raises(Killed):
        ov.learn(NET, A, RNN, MOMENTUM, saves=11, store=path)
    monkeypatch.undo()


def test_what_cannot_be_written_down_goes_on_with_the_same_call(tmp_path, monkeypatch):
    rule = ov.GradientDescent(1e-2, 30, lambda rate: optax.sgd(rate, momentum=0.5))
    run = functools.partial(ov.learn, NET, A, RNN, rule, saves=5)
    killed_at(monkeypatch, 5, "after")
    with pytest.raises(Killed):
        run(store=tmp_path / "run.zarr")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="hold only what can be written down"):
        ov.resume(tmp_path / "run.zarr")
    xr.testing.assert_identical(run(store=tmp_path / "run.zarr"), run())


@pytest.mark.slow
def test_a_stiff_solver_goes_on(tmp_path, monkeypatch):
    run = functools.partial(ov.learn, NET, A, RNN, ov.GradientFlow(3.0, solver=diffrax.Kvaerno5()), saves=5)
    killed_at(monkeypatch, 6, "middle")
    with pytest.raises(Killed):
        run(store=tmp_path / "run.zarr")
    monkeypatch.undo()
    xr.testing.assert_identical(run(store=tmp_path / "run.zarr"), run())


def float32(state):
    return jax.tree.map(np.float32, state)


def noisy(learning_rate):
    return optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(0)), optax.sgd(learning_rate))


STOPS = ov.GradientDescent(1e-2, 3000, stop_loss=1e-2)
MORE = {
    "float32": (float32(NET.sample(5, 0)), A, RNN, ov.GradientDescent(1e-2, 30, optax.adam)),
    "keys as an array": (NET, NOISY, RNN, DESCENT),
    "learning rates as an array": (NET, A, RNN, ov.GradientDescent([1e-2, 2e-2], 30)),
    "early stops": (BATCH, A, RNN, STOPS),
    "an early stop in the second phase": (BATCH, [ov.Phase("A", A, DESCENT), ov.Phase("B", B, STOPS)], RNN, None),
    "a flow that stops after descent": (NET.sample(5, 0), [ov.Phase("A", A, DESCENT), ov.Phase("B", B, FLOW)], RNN, None),
    "a reduction": (ov.DenseNetwork.random(0, 8, 0.1).krylov(0), A, RNN, DESCENT),
    "random keys in the memory": (NET.sample(5, 0), A, RNN, ov.GradientDescent(1e-2, 30, noisy)),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.slow
def test_more_kinds_of_runs_go_on(name, tmp_path, monkeypatch):
    extra = {"saves": 21, "key": jax.random.split(jax.random.key(0), 2) if name == "keys as an array" else 3}
    run = functools.partial(ov.learn, *MORE[name], precision=name if name == "float32" else "float64", **extra)
    whole, path = run(), tmp_path / "run.zarr"
    deaths = 0
    for moment in (3, 4, 5):
        with monkeypatch.context() as patch:
            killed_at(patch, moment, "after")
            try:
                run(store=path)
            except Killed:
                deaths += 1
    assert deaths >= 2
    xr.testing.assert_identical(run(store=path) if name == "random keys in the memory" else ov.resume(path), whole)
    for _ in range(2):  # of a complete store nothing is written again
        before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
        xr.testing.assert_identical(run(store=path), whole)
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    shown = xr.open_zarr(path).load()
    assert set(shown.variables) == set(whole.variables)
    for variable in whole.variables:
        np.testing.assert_array_equal(shown[variable].values.astype(whole[variable].dtype), whole[variable])


def test_an_interrupt_leaves_what_is_there(tmp_path, monkeypatch):
    from overlaps.learning import _learn

    class Impatient(_learn.tqdm):
        def update(self, n=1):
            super().update(n)
            if self.n >= 30:
                raise KeyboardInterrupt

    run = functools.partial(ov.learn, NET, A, RNN, MOMENTUM, saves=11, store=tmp_path / "run.zarr")
    monkeypatch.setattr(_store, "SHARE", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_learn, "tqdm", Impatient)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(progress=True)
    shown = xr.open_zarr(tmp_path / "run.zarr")
    saved = json.loads(shown.attrs["progress"])["saved"]
    assert saved == caught.value.dataset.sizes["time"] > 1
    xr.testing.assert_identical(run(), ov.learn(NET, A, RNN, MOMENTUM, saves=11))


def test_the_view_has_a_share_of_its_own(tmp_path, monkeypatch):
    clock = iter(np.arange(0.0, 1e6, 0.04))  # each look at the clock takes 40 ms, so that all files seem slow
    monkeypatch.setattr(_store.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(_store, "SHARE", 0.2)
    shown = []
    write = _view.View.write
    monkeypatch.setattr(_view.View, "write", lambda *given, **named: shown.append(1) or write(*given, **named))
    ov.learn(NET.sample(5, 0), A, RNN, ov.GradientDescent(1e-2, 200), saves=101, store=tmp_path / "run.zarr")
    assert len(shown) >= 3  # the first, the last, and at least one between
