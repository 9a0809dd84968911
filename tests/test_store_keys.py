"""Stores and files of runs with random keys of any kind."""

import functools

import jax
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning import _store
from tests.test_store import DESCENT, NET, NOISY, RNN, Killed, killed_at


@pytest.fixture(autouse=True)
def _write_each_record_at_once(monkeypatch):
    monkeypatch.setattr(_store, "SHARE", 1e9)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg", "threefry2x32"])
def test_a_run_with_any_kind_of_keys_is_resumed_and_repeated(tmp_path, monkeypatch, kind, split):
    key = jax.random.key(3, impl=kind)
    run = functools.partial(ov.learn, NET, NOISY, RNN, DESCENT, saves=5, key=jax.random.split(key, 2) if split else key)
    killed_at(monkeypatch, 6, "after")
    with pytest.raises(Killed):
        run(store=tmp_path / "run.zarr")
    monkeypatch.undo()
    dataset = run()
    xr.testing.assert_identical(ov.resume(tmp_path / "run.zarr"), dataset)
    xr.testing.assert_identical(ov.rerun(dataset), dataset)
    if split and kind == "threefry2x32":  # the numbers that JAX draws from keys of another kind depend on the whole batch
        one = dataset.isel(batch=[1])
        np.testing.assert_allclose(ov.rerun(one)["sigma"], one["sigma"], rtol=1e-10)  # a batch of another size rounds otherwise


def test_a_key_keeps_its_kind_when_the_default_of_jax_changes(tmp_path):
    run = functools.partial(ov.learn, NET, NOISY, RNN, DESCENT, saves=5, key=3)
    dataset = run(store=tmp_path / "run.zarr")
    jax.config.update("jax_default_prng_impl", "rbg")
    try:
        xr.testing.assert_identical(ov.resume(tmp_path / "run.zarr"), dataset)
        xr.testing.assert_identical(ov.rerun(dataset), dataset)
        with pytest.raises(ValueError, match="differs in `key`"):
            run(store=tmp_path / "run.zarr")
    finally:
        jax.config.update("jax_default_prng_impl", "threefry2x32")


def test_more_than_five_hundred_keys_are_read_again():
    keys = jax.random.split(jax.random.key(0), 501)
    dataset = ov.learn(NET, NOISY, RNN, ov.GradientDescent(1e-2, 2), saves=2, key=keys)
    xr.testing.assert_identical(ov.rerun(dataset), dataset)


def test_other_random_numbers_are_refused(tmp_path):
    run = functools.partial(ov.learn, NET, NOISY, RNN, DESCENT, saves=5, store=tmp_path / "run.zarr")
    run(key=jax.random.key(3, impl="rbg"))
    with pytest.raises(ValueError, match=r'differs in `key\.random_key`: it is "rbg" there and "unsafe_rbg" here'):
        run(key=jax.random.key(3, impl="unsafe_rbg"))
    other = jax.threefry_partitionable(False)
    with other, pytest.raises(ValueError, match="differs in `jax_threefry_partitionable`"):
        run(key=jax.random.key(3, impl="rbg"))
