"""`validate` finds which error is there, finite size or the Gaussian closure, and names it."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.__main__ import main
from overlaps.studies._validate import _scaling
from tests.test_mean_field import CORRELATED, short_task

FILTER, EULER = ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1)


@pytest.mark.slow
def test_gaussian_draws_of_linear_networks_fall_with_the_root_of_their_size():
    dataset = ov.validate(ov.Overlaps(CORRELATED), FILTER, EULER, ov.GradientDescent(0.05, 20), (40, 240, 1440), 10, saves=5)
    end = dataset.isel(time=-1)
    for reference in ("theory", "mean_field"):
        assert end["exponent"].sel(reference=reference) == pytest.approx(-0.5, abs=0.1)
    assert "The overlap theory has no bias here" in dataset.attrs["verdict"]


@pytest.mark.slow
def test_networks_that_diverge_are_nan_and_do_not_stop_the_others():
    net = ov.Overlaps(np.diag([4.0, 4.0, 4.0, 4.0]))
    with pytest.warns(RuntimeWarning, match="diverged"):
        dataset = ov.validate(net, FILTER, EULER, ov.GradientDescent(0.05, 60), (4, 240), 10, saves=5, key=1)
    lost = np.isnan(dataset["loss"].isel(time=-1)).sum("seed")
    assert lost.sel(size=4) > 0
    assert lost.sel(size=240) == 0
    assert "networks diverged and are left out" in dataset.attrs["verdict"]


@pytest.mark.slow
def test_nonlinear_networks_approach_the_limit_and_not_the_closure():
    net, task, rule = ov.Overlaps(CORRELATED), short_task(), ov.GradientDescent(4.0, 50)
    rnn = ov.RNN("erf", dt=0.2)
    dataset = ov.validate(net, task, rnn, rule, (50, 200, 800), 8, saves=5)
    end = dataset.isel(time=-1)
    assert end["exponent"].sel(reference="mean_field") == pytest.approx(-0.5, abs=0.1)
    # Deviations from both references are what they are called, from runs of their own.
    theory = ov.learn(net, task, rnn, rule, saves=5)
    limit = ov.learn(net.mean_field(dataset.attrs["nodes"]), task, rnn, rule, saves=5)
    bias = np.sqrt(((theory["sigma"] - limit["sigma"]) ** 2).mean("overlap"))
    np.testing.assert_allclose(dataset["bias"], bias, atol=1e-12)
    found = np.sqrt(((dataset["sigma"] - theory["sigma"]) ** 2).mean("overlap"))
    np.testing.assert_allclose(dataset["deviation"].sel(reference="theory").transpose(*found.dims), found, atol=1e-12)
    # Beyond the crossover more neurons help against the limit, and not against the closure.
    assert end["crossover"] < 800
    last = np.sqrt((end["deviation"].sel(size=800) ** 2).mean("seed"))
    assert last.sel(reference="theory") == pytest.approx(end["bias"].item(), rel=0.3)
    assert last.sel(reference="mean_field") < 0.7 * end["bias"]
    assert (
        f"beyond about {float(f'{end.crossover.item():.1e}'):,.0f} neurons it is the larger error" in dataset.attrs["verdict"]
    )


def test_the_interval_of_an_exponent_covers_what_it_says():
    rng = np.random.default_rng(0)
    sizes, covered = np.array([100, 400, 1600]), 0
    for _ in range(400):
        noise = np.exp(0.4 * rng.standard_normal((3, 2, 8, 1)))
        values = noise / np.sqrt(sizes)[:, None, None, None]
        dataset = xr.Dataset(
            {"deviation": (("size", "reference", "seed", "time"), values), "bias": ("time", [0.01])}, {"size": sizes}
        )
        (_, low, _), (_, high, _) = (_scaling(dataset)[name] for name in ("exponent_low", "exponent_high"))
        covered += low[1, 0] < -0.5 < high[1, 0]
    assert covered / 400 == pytest.approx(0.95, abs=0.035)  # three standard deviations of a count of 400


@pytest.mark.slow
def test_the_mean_field_is_refined_until_it_is_right():
    net, task, rule = ov.Overlaps(CORRELATED), short_task(), ov.GradientDescent(1.0, 12)
    rnn = ov.RNN("erf", dt=0.2)
    limit = ov.learn_mean_field(net, task, rnn, rule, tolerance=1e-4, saves=3)
    best = ov.learn(net.mean_field(9**4), task, rnn, rule, saves=3)
    assert np.abs(limit["sigma"] - best["sigma"]).max() < limit.attrs["mean_field_error"] < 1e-4
    assert limit.attrs["nodes"] < 9**4
    with pytest.warns(RuntimeWarning, match="The mean field misses `tolerance` = 1e-17"):
        ov.learn_mean_field(net, task, rnn, ov.GradientDescent(0.2, 1), tolerance=1e-17, saves=2)


@pytest.mark.slow
def test_fresh_trials_and_noise_are_the_same_for_all():
    net, rnn = ov.Overlaps.random(0, n=20), ov.RNN(dt=0.5)
    task = ov.tasks.label_noise(ov.tasks.decision_making(trials=2, dt=0.5), 0.1)
    dataset = ov.validate(net, task, rnn, ov.GradientDescent(0.05, 10), (20, 40), 2, exact=True, saves=3)
    assert dataset["deviation"].max() < 1e-12  # linear: exact draws follow the theory sample by sample


@pytest.mark.slow
def test_the_command_line_and_exact_draws_of_linear_networks(tmp_path, capsys):
    main(["validate", "--preset", "filter", "--sizes", "20", "40", "--seeds", "2", "--exact", "--output", str(tmp_path)])
    dataset = xr.load_dataset(tmp_path / "validation.nc")
    assert dataset.attrs["verdict"] in capsys.readouterr().out
    assert dataset.attrs["verdict"].startswith("Networks of every size agree with the theory to rounding")
    assert json.loads(dataset.attrs["exact"]) is True
    assert (tmp_path / "validation.png").stat().st_size > 10_000
    assert dataset["deviation"].dims == ("size", "reference", "seed", "time")
    assert dataset["deviation"].shape[:3] == (2, 2, 2)
    assert dataset["deviation"].max() < 1e-12
    assert dataset["bias"].max() < 1e-12
    with pytest.raises(SystemExit):
        main(["validate", "--sizes", "20", "--output", str(tmp_path)])
    assert "`sizes` must hold at least two numbers of neurons" in capsys.readouterr().err


def test_figures_of_neurons():
    net = ov.Overlaps.random(0)
    dataset = ov.learn(net.mean_field(), short_task(), ov.RNN("erf", dt=0.2), ov.GradientDescent(0.1, 3), saves=2)
    axes = ov.plots.plot_quantiles(dataset, name="initial_vectors")
    x, y = axes[0].lines[0].get_data()
    inner = np.abs(x) < 1.5  # steps of a discrete distribution, on the diagonal on average
    assert np.polyfit(x[inner], y[inner], 1)[0] == pytest.approx(1.0, abs=0.1)
    for ax in ov.plots.plot_histograms(dataset):
        assert sum(patch.get_height() * patch.get_width() for patch in ax.patches) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="`dataset` must come from `learn` on one network or mean field"):
        ov.plots.plot_quantiles(ov.learn(net, short_task(), ov.RNN("erf", dt=0.2), ov.GradientDescent(0.1, 3), saves=2))


@pytest.mark.parametrize("plot", [ov.plots.plot_quantiles, ov.plots.plot_histograms])
def test_figures_of_neurons_make_their_own_axes_or_take_one_for_each_vector(plot):
    rule = ov.GradientDescent(0.1, 2)
    for rank, number in ((1, 4), (2, 6)):
        network = ov.Overlaps.random(0, rank=rank).sample(20, 0)
        dataset = ov.learn(network, short_task(), ov.RNN(dt=0.2), rule, saves=2)
        own = plot(dataset)
        assert [ax.get_title() for ax in own] == network.overlaps().labels
        assert own[0].figure.axes == list(own)  # and no empty ones
        assert own[0].figure.get_figwidth() < 13
        given = plt.subplots(2, number // 2)[1]
        assert list(plot(dataset, given)) == list(given.ravel())
        assert list(plot(dataset, list(given.ravel()))) == list(given.ravel())
        for ours, theirs in zip(own, given.ravel(), strict=True):
            assert [len(ax.lines) + len(ax.patches) > 0 for ax in (ours, theirs)] == [True, True]
        for wrong, came in ((given[0, 0], 1), (given[0], number // 2)):
            with pytest.raises(ValueError, match=rf"`axes` must hold {number} Axes, one for each vector, but {came} came"):
                plot(dataset, wrong)
    plt.close("all")


def test_what_does_not_fit_is_named():
    net, task, rnn, rule = ov.Overlaps.random(0), short_task(), ov.RNN(dt=0.2), ov.GradientDescent(0.1, 3)
    cases = [
        (lambda: ov.validate(net.sample(20, 0), task, rnn, rule), "`net` must be a single Overlaps"),
        (lambda: ov.validate(net, task, rnn, rule, sizes=(100, 100)), "`sizes` must hold at least two numbers of neurons"),
        (lambda: ov.validate(net, task, rnn, rule, sizes=100), "`sizes` must hold at least two numbers of neurons"),
        (lambda: ov.validate(net, task, rnn, rule, sizes=(3, 20), exact=True), "`sizes` must be a whole number of at least 4"),
        (lambda: ov.validate(net, task, rnn, rule, exact="no"), "`exact` must be True or False"),
        (lambda: ov.validate(net, task, rnn, ov.GradientDescent(0.1, 3, stop_loss=0.1)), "`rule` must have no early stop"),
        (lambda: ov.validate(net, task, rnn, ov.GradientDescent([0.1, 0.2], 3)), "`rule` must be one of a single network"),
        (lambda: ov.validate(net, task, rnn, rule, seeds=1), "`seeds` must be a whole number of at least 2"),
        (lambda: ov.validate(net, task, rnn, rule, tolerance=0.0), "`tolerance` must be a number greater than 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
