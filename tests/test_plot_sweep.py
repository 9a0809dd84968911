"""Figures of sweeps, asserted on what they draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import overlaps as ov

RATE = xr.Variable("learning_rate", [0.001, 0.01, 0.1], {"long_name": "learning rate", "units": "1"})


@pytest.fixture
def dataset():
    loss = np.arange(1.0, 49.0).reshape(2, 4, 3, 2)  # task, seed, learning_rate, time
    loss[1, 0, 2, 1] = np.nan
    coordinates = {"task": ["A", "B"], "seed": [0, 1, 2, 5], "learning_rate": RATE}
    return xr.Dataset(
        {"loss": (("task", "seed", "learning_rate", "time"), loss, {"long_name": "loss", "units": "1"})}, coordinates
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_a_heat_map_shows_the_last_row(dataset):
    ax = ov.plots.plot_sweep(dataset.isel(task=1))
    (mesh,) = ax.collections
    shown = np.ma.filled(mesh.get_array(), np.nan)
    np.testing.assert_array_equal(shown, dataset["loss"].values[1, :, :, -1])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()) == ("learning rate", "seed", "log", "linear")
    assert ax.figure.axes[1].get_ylabel() == "loss"


def test_a_mean_over_other_dimensions_leaves_out_what_diverged(dataset):
    ax = ov.plots.plot_sweep(dataset, x="task", y="learning_rate")
    shown = np.asarray(ax.collections[0].get_array())
    np.testing.assert_allclose(shown, np.nanmean(dataset["loss"].values[..., -1], axis=1).T)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["A", "B"]


def test_one_dimension_is_a_line(dataset):
    given = plt.figure().subplots()
    ax = ov.plots.plot_sweep(dataset.isel(task=0, seed=1), ax=given)
    assert ax is given
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), RATE.values)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), dataset["loss"].values[0, 1, :, -1])


def test_a_list_of_points_is_drawn_over_one_of_its_coordinates():
    dataset = xr.Dataset({"loss": ("point", [3.0, 1.0, 2.0])}, {"seed": ("point", [5, 1, 2]), "rate": ("point", [1, 2, 3])})
    ax = ov.plots.plot_sweep(dataset, x="seed")
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 5]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 2.0, 3.0]
    assert ax.get_xlabel() == "seed"
    with pytest.raises(ValueError, match="`y` must be one of the dimensions"):
        ov.plots.plot_sweep(dataset, x="seed", y="lost")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variable": "lost"}, "`variable` must be one of loss"),
        ({"x": "time"}, "`x` must be one of the dimensions task, seed, learning_rate"),
        ({"x": "seed", "y": "seed"}, "other than y"),
        ({"variable": "error"}, "`variable` must have numbers, but the values of 'error' are of the type"),
        ({"variable": "task"}, "`variable` must have numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message, dataset):
    dataset["error"] = xr.full_like(dataset["loss"].isel(time=0), "", dtype=object)
    with pytest.raises(ValueError, match=message):
        ov.plots.plot_sweep(dataset, **arguments)
    with pytest.raises(ValueError, match="must hold one overlap"):
        ov.plots.plot_sweep(dataset.rename(time="overlap"))
