"""That all points of a store come from one `build`: in what was computed before, and in each process that computes."""

import concurrent.futures
import dataclasses
import pickle

import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning import describe
from overlaps.sweeps._fingerprint import Fingerprint
from tests.test_sweep import OVER, A, assert_same, build


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.zarr"


def faster(seed, learning_rate):
    return build(seed, 2 * learning_rate)


class Elsewhere:
    """An executor whose processes differ from this one in what `changes` of a block says."""

    def __init__(self, **changes):
        self.changes, self.refused = changes, []

    def submit(self, job, block):
        future = concurrent.futures.Future()
        try:
            future.set_result(job(dataclasses.replace(pickle.loads(pickle.dumps(block)), **self.changes)))
        except ValueError as error:
            self.refused.append(block)
            future.set_exception(error)
        return future


def test_a_worker_with_an_old_build_writes_nothing(path, tmp_path):
    executor = Elsewhere(build=faster)
    with pytest.raises(
        ValueError, match=r"`executor` must run the `build` of the caller, but at \{'seed': 0, .*another network"
    ):
        ov.sweep(build, OVER, path, executor, block=3, saves=3)
    assert len(executor.refused) == 5
    with xr.open_zarr(path) as seen:
        assert (seen["status"] == 0).all()
    assert_same(
        ov.sweep(build, OVER, tmp_path / "here", block=3, saves=3), ov.sweep(build, OVER, path, Elsewhere(), 3, saves=3)
    )


def test_a_worker_with_another_version_writes_nothing(path):
    with pytest.raises(ValueError, match="`executor` must have the version of overlaps that the caller has, but this process"):
        ov.sweep(build, OVER, path, Elsewhere(version="99"), saves=3)
    with xr.open_zarr(path) as seen:
        assert (seen["status"] == 0).all()


def fingerprint(network=None, key=3, rule=None):
    network = ov.Overlaps.random(0).sample(400, 1) if network is None else network
    rule = rule or ov.GradientDescent(0.01, 12)
    return Fingerprint.of(describe({"state": network, "task": A, "rnn": ov.RNN(), "rule": rule, "key": key}))


def test_a_fingerprint_sees_networks_and_not_rounding():
    network = ov.Overlaps.random(0).sample(400, 1)
    rounded, permuted, negative = (
        dataclasses.replace(network, u=change(network.u))
        for change in (lambda u: u * (1 + 1e-13), lambda u: u[::-1], lambda u: -u)
    )
    assert fingerprint(rounded).fits(fingerprint())
    for other in (
        fingerprint(permuted),
        fingerprint(negative),
        fingerprint(ov.Overlaps.random(0).sample(400, 2)),
        fingerprint(ov.Overlaps.random(0).sample(401, 1)),
        fingerprint(key=4),
        fingerprint(rule=ov.GradientDescent(0.0101, 12)),
        fingerprint(rule=ov.GradientDescent(0.01, 13)),
        fingerprint(rule=ov.GradientFlow(0.01)),
    ):
        assert not other.fits(fingerprint())


@pytest.mark.parametrize("first", [0, 1])
def test_a_changed_build_is_refused_where_the_first_points_of_blocks_failed(first, path):
    def rates(rate, broken):
        def made(seed, x):
            if broken and x in (0, first):
                raise LookupError("no")
            return build(seed, rate)

        return made

    over = {"seed": range(2), "x": [0, 1, 2]}
    with pytest.warns(RuntimeWarning, match="failed"):
        before = ov.sweep(rates(0.01, True), over, path, block=3, saves=3).load()
    with pytest.raises(ValueError, match=r"at \{'seed': 0, 'x': .\}, `rule.learning_rate` is 0.01 there and 0.05 here"):
        ov.sweep(rates(0.05, False), over, path, block=3, saves=3)
    after = ov.sweep(rates(0.01, False), over, path, block=3, saves=3)
    assert (after["status"] == 1).all()
    assert_same(before.isel(x=[2]), after.isel(x=[2]))
    with pytest.raises(ValueError, match=r"is 0.01 there and 0.05 here"):
        ov.sweep(rates(0.05, False), over, path, block=3, saves=3)


def test_a_point_that_failed_may_be_mended(path):
    def made(steps_of_last):
        def inner(x):
            return build(0, 0.01) | {"rule": ov.GradientDescent(0.01, steps_of_last if x == 2 else 5)}

        return inner

    with pytest.warns(RuntimeWarning, match="1 failed"):
        ov.sweep(made(50), {"x": [0, 1, 2]}, path)
    assert (ov.sweep(made(5), {"x": [0, 1, 2]}, path)["status"] == 1).all()


def test_blocks_that_an_executor_drops_are_an_error_of_their_own(path):
    class Dropping:
        def submit(self, job, block):
            future = concurrent.futures.Future()
            if block.region[0].start == 2:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                future.set_result(job(block))
            return future

    with pytest.raises(RuntimeError, match="The executor cancelled blocks: 12 of 15 points are in the store"):
        ov.sweep(build, OVER, path, Dropping(), block=3, saves=3)
    assert (ov.sweep(build, OVER, path, block=3, saves=3)["status"] == 1).all()


def test_an_executor_that_was_shut_down_is_named(path):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ValueError, match="`executor` must take tasks, but it says: cannot schedule new futures after shutdown"):
        ov.sweep(build, OVER, path, executor, saves=3)


def test_a_function_that_processes_cannot_import_is_refused(path):
    message = "`build` must be a function that other processes can import"
    with concurrent.futures.ProcessPoolExecutor(1) as executor, pytest.raises(ValueError, match=message):
        ov.sweep(lambda **point: build(**point), OVER, path, executor)
    assert not path.exists()
