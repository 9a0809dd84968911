"""Sweeps in one process: each point is the single run of `learn`, and the store survives what can happen to it."""

import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
import zarr

import overlaps as ov
from overlaps.sweeps import _sweep
from overlaps.sweeps._points import chunks_of, regions_of

A, B = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.tasks.exponential_filter(0.4, horizon=4.0)
RNN = ov.RNN(dt=0.1)
OVER = {"seed": range(5), "learning_rate": [0.01, 0.02, 0.03]}


def build(seed, learning_rate):
    return {"state": ov.Overlaps.random(seed), "task": A, "rnn": RNN, "rule": ov.GradientDescent(learning_rate, 12)}


def noisy(seed, rate):
    phases = [
        ov.Phase("A", ov.tasks.label_noise(ov.tasks.exponential_filter(rate, horizon=4.0), 0.3), ov.GradientDescent(0.01, 8)),
        ov.Phase("B", B, ov.GradientDescent(0.02, 6, functools.partial(optax.sgd, momentum=0.5))),
    ]
    return {"state": ov.Overlaps.random(seed), "task": phases, "rnn": RNN, "key": seed}


def flows(seed, size):
    state = ov.Overlaps.random(seed, rank=2).sample(size, seed)
    return {"state": state, "task": A, "rnn": ov.RNN(), "rule": ov.GradientFlow(0.3)}


def fresh(seed, learning_rate):
    task = ov.tasks.flip_flop(None, trials=2, duration=4.0, dt=0.2)
    rule = ov.GradientDescent(learning_rate, 5)
    return {"state": ov.Overlaps.random(seed), "task": task, "rnn": ov.RNN("erf", dt=0.2), "rule": rule, "key": seed}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.zarr"


def digits(dataset):
    """All numbers of a sweep, by name."""
    return {name: dataset[name].values for name in ("loss", "sigma", "learning_time", "status") if name in dataset.variables}


def assert_same(one, two):
    for name, values in digits(one).items():
        np.testing.assert_array_equal(values, two[name].values, err_msg=name)


@pytest.mark.parametrize(
    ("build", "over", "block"),
    [
        (build, OVER, 4),
        (noisy, {"seed": range(3), "rate": [0.1, 0.2]}, 6),
        (flows, {"size": [8, 9], "seed": range(3)}, 4),
        (fresh, {"seed": range(2), "learning_rate": [0.1, 0.2]}, 64),
    ],
    ids=["descent", "phases with label noise", "flows of networks of two sizes", "fresh trials"],
)
@pytest.mark.slow
def test_each_point_is_the_single_run(build, over, block, path):
    dataset = ov.sweep(build, over, path, block=block, saves=5)
    assert dataset["loss"].dims == (*over, "time")
    assert dataset["sigma"].dims == (*over, "time", "overlap")
    assert (dataset["status"] == 1).all()
    for values in itertools.product(*over.values()):
        point = dict(zip(over, values, strict=True))
        alone, here = ov.learn(**build(**point), saves=5), dataset.sel(point)
        np.testing.assert_allclose(here["loss"], alone["loss"], rtol=1e-12)
        np.testing.assert_allclose(here["sigma"], alone["sigma"], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(here["learning_time"], alone["time"], rtol=1e-14)
    for name in ("overlap", "visible", *(["phase"] if "phase" in alone.coords else [])):
        assert dataset[name].values.tolist() == alone[name].values.tolist()


def test_a_block_is_one_chunk_of_each_variable(path):
    dataset = ov.sweep(build, OVER, path, block=4, saves=3)
    group = zarr.open_group(path, mode="r")
    for name in ("loss", "sigma", "learning_time", "status", "error"):
        assert group[name].chunks[:2] == (1, 3)
        assert group[name].chunks[2:] == group[name].shape[2:]
    assert dataset["seed"].values.tolist() == list(range(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(path) as seen:  # anybody can open it, without a word
            assert_same(dataset, seen)


@pytest.mark.parametrize(
    ("sizes", "block", "chunks"), [((5,), 64, (5,)), ((100,), 64, (50,)), ((7, 20), 64, (3, 20)), ((3, 1000), 64, (1, 63))]
)
def test_blocks_cover_the_grid_once(sizes, block, chunks):
    assert chunks_of(sizes, block) == chunks
    counts = np.zeros(sizes, int)
    for region in regions_of(sizes, chunks):
        counts[region] += 1
        assert counts[region].size <= block
    assert (counts == 1).all()


def test_the_size_of_blocks_changes_rounding_alone(path, tmp_path):
    whole = ov.sweep(build, OVER, path, saves=4)
    parts = ov.sweep(build, OVER, tmp_path / "parts", block=1, saves=4)
    np.testing.assert_allclose(whole["sigma"], parts["sigma"], rtol=1e-12, atol=1e-13)


def test_a_dataset_of_points_is_a_sweep_along_its_dimension(path):
    points = xr.Dataset({"seed": ("point", [3, 1, 2]), "learning_rate": ("point", [0.01, 0.03, 0.02])})
    dataset = ov.sweep(build, points, path, saves=3)
    assert dataset["loss"].dims == ("point", "time")
    assert dataset["seed"].dims == ("point",)
    one = ov.learn(**build(1, 0.03), saves=3)
    np.testing.assert_allclose(dataset["loss"].where(dataset["seed"] == 1, drop=True)[0], one["loss"], rtol=1e-12)


def test_texts_and_attributes_of_coordinates_are_kept(path):
    def named(task, rate):
        return build(0, rate) | {"task": {"A": A, "B": B}[task]}

    rate = xr.DataArray([0.01, 0.02], dims="rate", attrs={"long_name": "learning rate", "units": "1"})
    dataset = ov.sweep(named, {"task": ["A", "B"], "rate": rate}, path, keep="loss", saves=3)
    assert dataset["rate"].attrs["long_name"] == "learning rate"
    assert "sigma" not in dataset
    alone = ov.learn(**named("B", 0.02), saves=3)
    np.testing.assert_allclose(dataset["loss"].sel(task="B", rate=0.02), alone["loss"], rtol=1e-12)


@pytest.mark.slow
def test_other_variables_of_learn_can_be_kept(path):
    dataset = ov.sweep(flows, {"seed": [0, 1], "size": [8]}, path, keep=["final_vectors", "gradient_norm"], saves=3)
    alone = ov.learn(**flows(1, 8), saves=3)
    found = dataset.sel(seed=1, size=8)
    np.testing.assert_allclose(found["final_vectors"], alone["final_vectors"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found["gradient_norm"], alone["gradient_norm"], rtol=1e-9)
    assert found["vector"].values.tolist() == alone["vector"].values.tolist()


def test_a_point_that_diverges_is_nan_and_listed(path):
    over = {"seed": range(2), "learning_rate": [0.01, 30.0]}
    with pytest.warns(RuntimeWarning, match="2 of 4 points diverged and 0 failed"):
        dataset = ov.sweep(build, over, path, saves=13)
    assert dataset["status"].values.tolist() == [[1, 2], [1, 2]]
    lost = dataset.sel(learning_rate=30.0)
    with pytest.raises(ov.DivergenceError) as stop:
        ov.learn(**build(0, 30.0), saves=13)
    before = stop.value.dataset["loss"].values
    found = lost["loss"].values[0]
    assert np.isnan(found[-1])
    np.testing.assert_allclose(found[np.isfinite(found)], before[np.isfinite(before)], rtol=1e-12)
    assert (np.isnan(lost["learning_time"]) == np.isnan(lost["loss"])).all()
    assert "diverged after learning time" in str(lost["error"].values[0])


def test_a_block_in_which_all_diverge_is_as_a_network_among_others(path, tmp_path):
    over = {"seed": range(2), "learning_rate": [0.01, 30.0]}
    with pytest.warns(RuntimeWarning, match="2 of 4"):
        together = ov.sweep(build, over, path, saves=13)
    with pytest.warns(RuntimeWarning, match="2 of 4"):
        alone = ov.sweep(build, over, tmp_path / "alone", block=1, saves=13)
    for name, values in digits(together).items():
        np.testing.assert_allclose(values, alone[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_run_that_stops_early_repeats_its_last_row(path):
    def stopping(seed, limit):
        return build(seed, 0.02) | {"rule": ov.GradientDescent(0.02, 40, stop_loss=limit)}

    dataset = ov.sweep(stopping, {"seed": [0, 1, 2], "limit": [1.0, 1e-9]}, path, keep=["loss", "step"], saves=9)
    assert (dataset["status"] == 1).all()
    for seed, limit in itertools.product([0, 1, 2], [1.0, 1e-9]):
        found, alone = dataset.sel(seed=seed, limit=limit), ov.learn(**stopping(seed, limit), saves=9)
        rows = alone.sizes["time"]
        assert (rows < 9) == (limit == 1.0)
        np.testing.assert_array_equal(found["step"].values[-1], alone["step"].values[-1])
        np.testing.assert_allclose(found["loss"].values[rows - 1 :], alone["loss"].values[-1], rtol=1e-12)


def test_points_that_raise_are_listed_and_computed_again(path):
    broken = [True]

    def sometimes(seed, learning_rate):
        if seed == 2 and broken[0]:
            raise OSError("no such\nfile")
        return build(seed, learning_rate)

    with pytest.warns(RuntimeWarning, match="0 of 15 points diverged and 3 failed"):
        dataset = ov.sweep(sometimes, OVER, path, block=15, saves=3)
    assert dataset["error"].sel(seed=2).values.tolist() == ["OSError: no such file"] * 3
    assert np.isnan(dataset["loss"].sel(seed=2)).all()
    assert (dataset["status"].sel(seed=[0, 1, 3, 4]) == 1).all()
    broken[0] = False
    dataset = ov.sweep(sometimes, OVER, path, block=15, saves=3)
    assert (dataset["status"] == 1).all()
    assert set(dataset["error"].values.ravel()) == {""}


def test_a_point_that_learn_refuses_does_not_take_others_with_it(path):
    def unstable(scale):
        state = ov.Overlaps.random(0, scale=scale)
        rule, task = ov.GradientDescent(0.01, 5), ov.tasks.exponential_filter(0.2, horizon=None)
        return {"state": state, "task": task, "rnn": RNN, "rule": rule}

    with pytest.warns(RuntimeWarning, match="1 failed"):
        dataset = ov.sweep(unstable, {"scale": [0.5, 0.7, 100.0]}, path, saves=3)
    assert dataset["status"].values.tolist() == [1, 1, 3]
    assert "must be a stable network" in str(dataset["error"].values[2])
    np.testing.assert_allclose(dataset["loss"][1], ov.learn(**unstable(0.7), saves=3)["loss"], rtol=1e-12)


def test_points_of_another_shape_are_listed(path):
    def ranks(rank):
        return build(0, 0.01) | {"state": ov.Overlaps.random(0, rank=rank)}

    with pytest.warns(RuntimeWarning, match="1 failed"):
        dataset = ov.sweep(ranks, {"rank": [1, 2]}, path, saves=3)
    assert "`sigma` has the shape" in str(dataset["error"].values[1])
    assert (ov.sweep(ranks, {"rank": [1, 2]}, path.with_name("loss"), keep="loss", saves=3)["status"] == 1).all()


def test_the_size_is_said_before_it_starts(path, monkeypatch, capsys):
    ov.sweep(build, OVER, path, block=4, saves=3, progress=True)
    out = capsys.readouterr().out
    size = 15 * (1 + 8 * 3 * (1 + 10 + 1))
    assert f"15 points in 5 blocks take up to {size / 1e6:,.6g} MB in 25 files" in out
    monkeypatch.setattr(_sweep, "MUCH", 1000)
    with pytest.warns(RuntimeWarning, match=r"take up to .* are free. Fewer `saves`"):
        ov.sweep(build, OVER, path, block=4, saves=3)


def test_build_computes_in_float64_whatever_the_flag_says(path):
    def halves(seed):
        return build(seed, 0.01) | {"state": ov.Overlaps(jnp.eye(4) / (seed + 3))}

    with jax.enable_x64(False):
        dataset = ov.sweep(halves, {"seed": [0, 4]}, path, saves=2)
    np.testing.assert_allclose(dataset["sigma"].sel(overlap="zz").isel(time=0), [1 / 3, 1 / 7], rtol=1e-14)
