"""The store of a sweep: kills, signals, extensions, damage, and what is refused."""

import concurrent.futures
import signal

import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.sweeps import _block, _store
from tests.test_sweep import OVER, RNN, A, B, assert_same, build, digits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.zarr"


class Killed(BaseException):
    """Ends a sweep as a kill does: nothing of the library catches it."""


@pytest.mark.slow
def test_a_sweep_killed_at_any_write_goes_on_to_the_same_digits(path, tmp_path, monkeypatch):
    whole = ov.sweep(build, OVER, path, block=4, saves=3)
    files = len([file for file in path.rglob("*") if file.is_file()])
    put = _local_put()
    for moment in range(0, files + 10, 3):
        count = iter(range(10**6))

        def writes(*args, count=count, moment=moment, **keywords):
            if next(count) == moment:
                raise Killed
            return put(*args, **keywords)

        monkeypatch.setattr("zarr.storage._local._put", writes)
        store = tmp_path / f"killed{moment}"
        try:
            ov.sweep(build, OVER, store, block=4, saves=3)
        except Killed:
            pass
        else:
            assert moment >= files
        monkeypatch.setattr("zarr.storage._local._put", put)
        assert_same(whole, ov.sweep(build, OVER, store, block=4, saves=3))


def _local_put():
    from zarr.storage import _local

    return _local._put


def test_what_is_done_is_not_done_again(path, monkeypatch):
    runs, run = [], _block.run
    monkeypatch.setattr(_block, "run", lambda setups, *rest: runs.append(len(setups)) or run(setups, *rest))
    first = ov.sweep(build, OVER, path, block=4, saves=3).load()
    assert runs == [3] * 5
    ov.sweep(build, OVER, path, block=4, saves=3)
    assert runs == [3] * 5
    more = ov.sweep(build, {"seed": range(6), "learning_rate": [0.01, 0.02, 0.03, 0.04]}, path, block=4, saves=3)
    assert runs == [3] * 5 + [1] * 5 + [3, 1]
    assert (more["status"] == 1).all()
    assert_same(first, more.isel(seed=slice(5), learning_rate=slice(3)))
    np.testing.assert_allclose(
        more["loss"].sel(seed=5, learning_rate=0.04), ov.learn(**build(5, 0.04), saves=3)["loss"], rtol=1e-12
    )


class Forgetful:
    """An executor whose answers get lost, as those of a worker that dies after its work: it does everything twice."""

    def submit(self, job, block):
        future = concurrent.futures.Future()
        job(block)
        future.set_result(job(block))
        return future


def test_a_block_that_is_handed_out_twice_is_done_once(path, tmp_path, monkeypatch):
    whole = ov.sweep(build, OVER, path, block=4, saves=3)
    runs, run = [], _block.run
    monkeypatch.setattr(_block, "run", lambda setups, *rest: runs.append(len(setups)) or run(setups, *rest))
    assert_same(whole, ov.sweep(build, OVER, tmp_path / "twice", Forgetful(), block=4, saves=3))
    assert runs == [3] * 5


def test_a_list_of_points_can_be_extended(path):
    points = xr.Dataset({"seed": ("point", [3, 1, 2]), "learning_rate": ("point", [0.01, 0.03, 0.02])})
    first = ov.sweep(build, points.isel(point=[0, 1]), path, saves=3).load()
    more = ov.sweep(build, points, path, saves=3)
    assert more["seed"].values.tolist() == [3, 1, 2]
    assert_same(first, more.isel(point=[0, 1]))


def test_an_extension_that_was_killed_goes_on(path, monkeypatch):
    ov.sweep(build, OVER, path, block=4, saves=3)
    longer = OVER | {"seed": range(7)}
    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "_finish", _killed)
        with pytest.raises(Killed):
            ov.sweep(build, longer, path, block=4, saves=3)
    assert_same(
        ov.sweep(build, OVER, path, block=4, saves=3), ov.sweep(build, longer, path, block=4, saves=3).isel(seed=slice(5))
    )


def _killed(*_):
    raise Killed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saves": 4}, "differs in `saves`: it is 3 there and 4 here"),
        ({"keep": ["loss"]}, r"differs in `keep`: it is \['loss', 'sigma'\] there and \['loss'\] here"),
        ({"over": {"seed": range(5)}}, "differs in `over`"),
        ({"over": OVER | {"seed": [0, 1, 3, 4, 5]}}, "`seed` is 2 there and 3 here at place 2"),
        ({"over": OVER | {"seed": range(4)}}, "`seed` has 5 values there and 4 here"),
        ({"over": OVER | {"seed": [0.0, 1.0, 2.0, 3.0, 4.0]}}, "`seed` has the type int64 there and float64 here"),
        (
            {"build": lambda **point: build(**point) | {"task": B}},
            r"'learning_rate': 0.01\}, `task.A\[0\]\[0\]` is -0.2 there and",
        ),
        (
            {"build": lambda **point: build(**point) | {"rule": ov.GradientDescent(point["learning_rate"], 13)}},
            "`rule.steps` is 12 there and 13 here",
        ),
    ],
)
def test_another_sweep_is_refused_and_the_store_stays(change, message, path):
    before = ov.sweep(build, OVER, path, block=4, saves=3).load()
    with pytest.raises(ValueError, match=message):
        ov.sweep(**({"build": build, "over": OVER, "store": path, "block": 4, "saves": 3} | change))
    assert_same(before, ov.sweep(build, OVER, path, block=4, saves=3))


def test_stores_of_others_are_refused(path, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        ov.sweep(build, OVER, tmp_path)
    ov.learn(**build(0, 0.01), store=path)
    with pytest.raises(ValueError, match="is another Zarr group"):
        ov.sweep(build, OVER, path)
    ov.sweep(build, OVER, tmp_path / "new", saves=3)
    monkeypatch.setattr("overlaps.sweeps._again.VERSION", "99")
    with pytest.raises(ValueError, match="differs in `version`"):
        ov.sweep(build, OVER, tmp_path / "new", saves=3)


def test_a_full_disk_ends_the_sweep_and_it_goes_on_later(path, monkeypatch):
    with monkeypatch.context() as patch:
        put, count = _local_put(), iter(range(10**6))

        def full(*args, **keywords):
            if next(count) > 40:
                raise OSError(28, "No space left on device")
            return put(*args, **keywords)

        patch.setattr("zarr.storage._local._put", full)
        with pytest.raises(OSError, match=r"cannot be written.*No space left.*call `sweep` again"):
            ov.sweep(build, OVER, path, block=1, saves=3)
    assert (ov.sweep(build, OVER, path, block=1, saves=3)["status"] == 1).all()


def test_a_damaged_block_is_computed_again(path):
    whole = ov.sweep(build, OVER, path, block=4, saves=3).load()
    damaged = path / "loss/c/3/0/0"
    damaged.write_bytes(damaged.read_bytes()[:20])
    (path / "status/c/3/0").unlink()
    assert_same(whole, ov.sweep(build, OVER, path, block=4, saves=3))
    (path / "status/c/2/0").write_bytes(b"torn")
    with pytest.raises(OSError, match="is damaged: `status` cannot be read"):
        ov.sweep(build, OVER, path, block=4, saves=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"build": 3}, "`build` must be a function"),
        ({"over": {}}, "`over` must be a dict of 1-D coordinates"),
        ({"over": {"seed": [[1]]}}, r"`over\['seed'\]` must be a 1-D coordinate"),
        ({"over": {"seed": [object()]}}, r"`over\['seed'\]` must be a 1-D coordinate"),
        ({"over": xr.Dataset({"a": (("x", "y"), [[1]])})}, "must have one dimension"),
        ({"keep": ["loss", "lost"]}, "`keep` must name variables of `learn`, which are .*'lost' came"),
        ({"executor": 2}, "`executor` must be a concurrent.futures.Executor or None, but int came"),
        ({"block": 0}, "`block` must be a whole number"),
        (
            {"over": {"seed": [0], "learning_rate": [0.1], "time": [1]}, "build": lambda time, **point: build(**point)},
            "'time' came",
        ),
        ({"build": lambda **point: None}, "all points that were tried failed, the first one at .*NoneType came"),
        ({"build": lambda **point: {"state": 3, "task": A, "rnn": RNN}}, "return a State as `state`"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(arguments, message, path):
    with pytest.raises(ValueError, match=message):
        ov.sweep(**({"build": build, "over": OVER, "store": path} | arguments))
    assert not path.exists()


def test_object_storage_behind_fsspec(path):
    pytest.importorskip("fsspec")
    url = "memory://sweeps/one.zarr"
    there = ov.sweep(build, OVER, url, block=4, saves=3)
    assert_same(ov.sweep(build, OVER, path, block=4, saves=3), there)
    more = ov.sweep(build, OVER | {"seed": range(6)}, url, block=4, saves=3)
    assert more.sizes["seed"] == 6
    with pytest.raises(ValueError, match="differs in `saves`"):
        ov.sweep(build, OVER, url, block=4, saves=4)


@pytest.mark.parametrize("url", ["memory://taken", "file"])
def test_what_lies_behind_a_url_is_not_touched(url, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    url = f"file://{tmp_path}" if url == "file" else url
    with fsspec.open(f"{url}/thesis.txt", "w") as file:
        file.write("important")
    with pytest.raises(ValueError, match="holds other files"):
        ov.sweep(build, OVER, url, saves=3)
    with fsspec.open(f"{url}/thesis.txt") as file:
        assert file.read() == b"important"


def test_the_order_of_dimensions_counts(path):
    over = {"seed": [0, 1], "learning_rate": [0.01, 0.02]}
    before = digits(ov.sweep(build, over, path, block=2, saves=3).load())
    with pytest.raises(ValueError, match="`over` must have the dimensions of the store, in their order"):
        ov.sweep(build, dict(reversed(over.items())), path, block=2, saves=3)
    for name, values in digits(ov.sweep(build, over, path, block=2, saves=3)).items():
        np.testing.assert_array_equal(values, before[name])


def test_points_that_would_be_lost_are_refused(path):
    points = xr.Dataset({"seed": ("point", [0, 1]), "learning_rate": 0.01})
    with pytest.raises(ValueError, match="`over` must have variables along its dimension alone, but 'learning_rate' is not"):
        ov.sweep(build, points, path)
    with pytest.raises(ValueError, match="must have a value at each point, but it has NaN"):
        ov.sweep(build, {"seed": [0], "learning_rate": [0.01, np.nan]}, path)


def test_phases_must_have_names_of_their_own_and_be_the_same(path, tmp_path):
    rule = ov.GradientDescent(0.01, 4)

    def twice(seed):
        task = [ov.Phase("A", A, rule), ov.Phase("B", B, rule), ov.Phase("A", A, rule)]
        return {"state": ov.Overlaps.random(seed), "task": task, "rnn": RNN}

    def fewer(seed):
        task = [ov.Phase("A", A, rule), ov.Phase("B", B, rule)][: 2 - seed % 2]
        return {"state": ov.Overlaps.random(seed), "task": task, "rnn": RNN}

    with pytest.raises(ValueError, match="`build` must return phases with names of their own, but 'A' comes twice"):
        ov.sweep(twice, {"seed": [0, 1]}, path, saves=3)
    with pytest.warns(RuntimeWarning, match="0 of 2 points diverged and 1 failed"):
        dataset = ov.sweep(fewer, {"seed": [0, 1]}, tmp_path / "fewer.zarr", saves=3)
    assert dataset["status"].values.tolist() == [1, 3]
    assert "the phases are ['A'] at this point" in str(dataset["error"].values[1])


def test_a_signal_in_the_last_block_is_passed_on(path):
    def signalling(seed, learning_rate):
        if (seed, learning_rate) == (4, 0.03):
            signal.raise_signal(signal.SIGINT)
        return build(seed, learning_rate)

    with pytest.raises(KeyboardInterrupt) as caught:
        ov.sweep(signalling, OVER, path, block=3, saves=3)
    assert "15 of 15 points are in the store" in caught.value.__notes__[0]
    assert (ov.sweep(build, OVER, path, block=3, saves=3)["status"] == 1).all()


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_sweep_after_the_block_in_hand(number, stop, path):
    def signalling(seed, learning_rate):
        if (seed, learning_rate) == (2, 0.01):
            signal.raise_signal(number)
        return build(seed, learning_rate)

    handler = signal.getsignal(number)
    with pytest.raises(stop) as caught:
        ov.sweep(signalling, OVER, path, block=3, saves=3)
    assert signal.getsignal(number) is handler
    assert "9 of 15 points are in the store" in caught.value.__notes__[0]
    with xr.open_zarr(path) as seen:
        assert seen["status"].values.tolist() == [[1] * 3] * 3 + [[0] * 3] * 2
        assert np.isnan(seen["loss"][3:]).all()
    assert (ov.sweep(build, OVER, path, block=3, saves=3)["status"] == 1).all()
