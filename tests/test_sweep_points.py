"""The coordinates of a sweep: which are refused, and that the others are in the store as they were given."""

import numpy as np
import pytest
import xarray as xr
import zarr

import overlaps as ov
from tests.test_sweep import OVER, build


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.zarr"


def same(seed, x=0.0):
    del x
    return build(seed % 5, 0.01)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (np.array([1, 2], np.int8), [1, 2, 300]),
        (np.array([1, 2], np.uint16), [1, 2, 10**12]),
        (np.array([0.5, 1.5], np.float32), [0.5, 1.5, 0.1]),
        (["a"], ["a", "bcd"]),
        (np.array(["a"], np.dtypes.StringDType()), ["a", "bcd"]),
    ],
    ids=["int8", "uint16", "float32", "texts", "texts of NumPy"],
)
def test_later_values_fit_whatever_the_first_ones_were(first, later, path):
    def made(x):
        return same(0) | {"rule": ov.GradientDescent(0.01, 3)}

    ov.sweep(made, {"x": first}, path, saves=2)
    dataset = ov.sweep(made, {"x": later}, path, saves=2)
    assert dataset["x"].values.tolist() == later


def test_blocks_of_a_store_that_began_small_are_warned_of(path):
    ov.sweep(same, {"seed": [0]}, path, saves=2)
    with pytest.warns(RuntimeWarning, match=r"The blocks of .* have 1 points, as it began with few.* would have 4"):
        dataset = ov.sweep(same, {"seed": range(4)}, path, saves=2)
    assert dataset["seed"].values.tolist() == [0, 1, 2, 3]
    assert len(list((path / "seed/c").iterdir())) == 1  # the coordinate is one file all the same


@pytest.mark.parametrize(
    "attributes",
    [
        {"scale_factor": 10.0, "add_offset": 1.0},
        {"missing_value": 1},
        {"_FillValue": 1},
        {"units": "days since 2000-01-01"},
        {"units": "seconds"},
        {"calendar": object()},
    ],
)
def test_attributes_do_not_change_coordinates(attributes, path):
    seed = xr.DataArray([0, 1, 3], dims="seed", attrs={"long_name": "random seed"} | attributes)
    dataset = ov.sweep(same, {"seed": seed}, path, saves=2)
    assert dataset["seed"].dtype == np.int64
    assert dataset["seed"].values.tolist() == [0, 1, 3]
    assert dataset["seed"].attrs == {"long_name": "random seed"} | {k: v for k, v in attributes.items() if k == "units"}
    assert zarr.open_group(path, mode="r")["seed"][:].tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({1: [1, 2]}, "must name the arguments of `build`, but the name 1 came"),
        ({"": [1]}, "the name '' came"),
        ({"zarr.json": [1]}, "the name 'zarr.json' came"),
        ({"log/description": [1]}, "the name 'log/description' came"),
        ({"..": [1]}, "the name '..' came"),
        ({"x": [[1, 2], [3]]}, "lists of different lengths came"),
        ({"x": [1, "a"]}, "be numbers or texts, but both came"),
        ({"x": [1, 2, 1]}, "have each value once, but a value comes twice"),
        ({"x": np.ma.masked_array([1, 2], [False, True])}, "it has NaN, or masked values"),
        ({"x": xr.DataArray([1, 2], dims="y")}, "have the dimension 'x', but it has 'y'"),
        (xr.Dataset({"a/b": ("point", [1, 2])}), "the name 'a/b' came"),
    ],
)
def test_points_that_cannot_be_kept_are_refused(over, message, path):
    with pytest.raises(ValueError, match=message):
        ov.sweep(lambda **point: same(0), over, path)
    assert not path.exists()


@pytest.mark.parametrize("keep", [None, 3, ["loss", 3]])
def test_what_to_keep_is_named(keep, path):
    with pytest.raises(ValueError, match="`keep` must be a name, or a list of names"):
        ov.sweep(build, OVER, path, keep=keep)


def test_points_whose_labels_differ_fail(path):
    sizes = {"wide": {"inputs": 2, "outputs": 1}, "long": {"inputs": 1, "outputs": 2}}

    def named(kind):
        task = ov.tasks.Trials(np.ones((2, 5, sizes[kind]["inputs"])), np.ones((2, 5, sizes[kind]["outputs"])), dt=0.1)
        return build(0, 0.01) | {"state": ov.Overlaps.random(0, **sizes[kind]), "task": task}

    first, other = (ov.learn(**named(kind), saves=2) for kind in sizes)
    assert first["sigma"].shape == other["sigma"].shape
    assert first["overlap"].values.tolist() != other["overlap"].values.tolist()
    with pytest.warns(RuntimeWarning, match="1 failed"):
        dataset = ov.sweep(named, {"kind": list(sizes)}, path, saves=2)
    assert dataset["status"].values.tolist() == [1, 3]
    assert "the labels `overlap` of its numbers are others at this point" in str(dataset["error"].values[1])
    assert np.isnan(dataset["sigma"][1]).all()
    alone = ov.sweep(named, {"kind": list(sizes)}, path.with_name("loss"), keep="loss", saves=2)
    np.testing.assert_allclose(alone["loss"][1], other["loss"], rtol=1e-12)


def test_points_with_more_saved_rows_than_the_first_say_what_to_pass(path):
    def made(steps):
        return build(0, 0.01) | {"rule": ov.GradientDescent(0.01, steps)}

    with pytest.warns(RuntimeWarning, match="1 failed"):
        dataset = ov.sweep(made, {"steps": [10, 20, 5]}, path)
    assert dataset["status"].values.tolist() == [1, 3, 1]
    assert str(dataset["error"].values[1]).endswith("Pass saves=11.")
    assert (ov.sweep(made, {"steps": [10, 20, 5]}, path.with_name("fewer"), saves=11)["status"] == 1).all()


def test_an_error_ends_with_one_full_stop(path):
    def refused(seed):
        return build(seed, -0.01)

    with pytest.raises(ValueError, match=r"the first one at .* came[^.]*\.$"):
        ov.sweep(refused, {"seed": [0]}, path)
