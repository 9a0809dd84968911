"""Training of twins and decoding of their history, against single runs, plain NumPy and the best possible decoder."""

import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps import studies
from tests.figure_checks import faults

LINEAR = ov.RNN(dt=0.1)
FILTERS = {name: ov.tasks.exponential_filter(rate, horizon=4.0) for name, rate in (("A", 0.2), ("B", 0.6), ("C", 0.4))}
SHORT = {"tasks": FILTERS, "rnn": LINEAR, "learning_rate": 4.0, "steps": 90}
FEW = SHORT | {"learning_rate": 0.5, "steps": 30}  # beyond the edge of stability, rounding grows with the number of steps


@pytest.fixture(scope="module")
def starts():
    return studies.twin_starts(4, key=1)


@pytest.fixture(scope="module")
def twins(starts):
    return studies.train_twins(starts, **SHORT)


@pytest.fixture(scope="module")
def few(starts):
    return studies.train_twins(starts, **FEW)


def synthetic(twins, shifts, key=0, shared=0.0):
    """A Dataset like that of `train_twins`, with standard normal overlaps. At "C", those of history B are shifted by `shifts`.

    `shared`: the part of the variance at "C" that the twins of a start have in common.
    """
    generator = np.random.default_rng(key)
    common = generator.standard_normal((twins, 1, 1, len(shifts)))
    own = generator.standard_normal((twins, 2, 1, len(shifts)))
    at_end = np.sqrt(shared) * common + np.sqrt(1 - shared) * own + np.array([0.0, 1.0])[:, None, None] * np.asarray(shifts)
    sigma = np.concatenate([np.broadcast_to(common, own.shape), at_end], axis=2)
    names = [f"x{index}" for index in range(len(shifts))]
    return xr.Dataset(
        {"sigma": (("twin", "history", "stage", "overlap"), sigma)},
        {
            "history": ["A", "B"],
            "stage": ("stage", ["Initial", "C"], {"long_name": "stage of training", "units": "1"}),
            "overlap": names,
            "visible": ("overlap", [True] + [False] * (len(shifts) - 1)),
        },
    )


def test_starts_are_positive_semidefinite_draws_of_what_they_say():
    grams = studies.twin_starts(4000, key=3).gram
    assert np.linalg.eigvalsh(grams).min() >= -1e-12
    between, diagonal = grams[:, *np.triu_indices(4, 1)], np.diagonal(grams, axis1=1, axis2=2)
    assert between.min() >= 0
    assert diagonal.min() >= 0.5
    assert diagonal.max() <= 2.0
    generator = np.random.default_rng(0)
    drawn = np.zeros((40_000, 4, 4))
    for row in range(4):
        drawn[:, row, row] = generator.uniform(0.5, 2.0, len(drawn))
        for column in range(row):
            drawn[:, row, column] = drawn[:, column, row] = abs(generator.normal(0, 0.4, len(drawn)))
    kept = drawn[[np.linalg.eigvalsh(one)[0] >= 0 for one in drawn]]
    assert len(kept) / len(drawn) == pytest.approx(0.865, abs=0.006)  # 3.5 standard deviations
    for column, (row_of, column_of) in enumerate(zip(*np.triu_indices(4, 1), strict=True)):
        assert scipy.stats.ks_2samp(between[:, column], kept[:, row_of, column_of]).pvalue > 1e-3
    for index in range(4):
        assert scipy.stats.ks_2samp(diagonal[:, index], kept[:, index, index]).pvalue > 1e-3
    assert kept[:, 1, 0].mean() == pytest.approx(0.304, abs=0.005)
    assert kept[:, 0, 0].mean() == pytest.approx(1.279, abs=0.01)
    np.testing.assert_array_equal(studies.twin_starts(5, key=7).gram, studies.twin_starts(5, key=7).gram)


def test_the_teacher_does_not_depend_on_what_was_added_to_it():
    task = studies.twin_tasks(4, trials=2)["C"]
    published = {"zm": 0.5, "zu": 2.3, "vm": 2.0, "vu": 1.5, "mu": 1.6, "mm": 1.8, "uu": 2.2}
    plain = np.zeros((2, 200))
    for trial, inputs in enumerate(task.inputs[..., 0]):
        drive = latent = 0.0
        for sample, value in enumerate(inputs):
            variance = published["mm"] * drive**2 + 2 * published["mu"] * drive * latent + published["uu"] * latent**2
            rate = (published["vm"] * drive + published["vu"] * latent) / np.sqrt(1 + np.pi / 2 * variance)
            drive, latent = drive + 0.1 * (value - drive), latent + 0.1 * (rate - latent)
            variance = published["mm"] * drive**2 + 2 * published["mu"] * drive * latent + published["uu"] * latent**2
            plain[trial, sample] = (published["zm"] * drive + published["zu"] * latent) / np.sqrt(1 + np.pi / 2 * variance)
    np.testing.assert_allclose(task.targets[..., 0], plain, rtol=0, atol=1e-12)


def test_twins_are_single_runs(starts, few):
    rule = studies.annealed_descent(FEW["learning_rate"], FEW["steps"])
    for history in "AB":
        for twin in (0, 3):
            start = jax.tree.map(lambda leaf, twin=twin: leaf[twin], starts)
            first = ov.learn(start, FILTERS[history], LINEAR, rule, saves=31)
            then = ov.learn(ov.final_state(first), FILTERS["C"], LINEAR, rule, saves=31)
            one = few.sel(history=history, twin=twin)
            expected = [first["sigma"][0], first["sigma"][-1], then["sigma"][-1]]
            np.testing.assert_allclose(one["sigma"], expected, rtol=0, atol=1e-10)
            expected = [first["loss"][0], first["loss"][-1], then["loss"][-1]]
            np.testing.assert_allclose(one["loss"], expected, rtol=0, atol=1e-10)
            np.testing.assert_array_equal(one["step"], then["step"])
            np.testing.assert_allclose(one["course"], then["sigma"], rtol=0, atol=1e-10)
            np.testing.assert_allclose(one["course_loss"], then["loss"], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(
        few["sigma"].sel(stage="Initial", history="A"), few["sigma"].sel(stage="Initial", history="B")
    )
    assert np.abs(few["sigma"].sel(history="A") - few["sigma"].sel(history="B")).sel(stage="A/B").max() > 1e-2
    assert few["overlap"].values[few["visible"]].tolist() == ["zm", "zu", "vm", "vu"]


def test_the_rule_is_what_it_says(twins):
    """Descent in plain NumPy. The loss is a polynomial in F, so complex steps give its gradient up to rounding."""
    rate, learning_rate, steps = 0.2, SHORT["learning_rate"], SHORT["steps"]
    target = np.exp(-rate * 0.1 * np.arange(40))

    def loss(factor):
        gram = factor.T @ factor
        drive, latent, total = 1.0, 0.0, 0.0
        for wanted in target:
            total += 0.1 * (gram[3, 0] * drive + gram[3, 1] * latent - wanted) ** 2
            drive, latent = 0.9 * drive, 0.9 * latent + 0.1 * (gram[2, 0] * drive + gram[2, 1] * latent)
        return total

    one = twins.sel(history="A", twin=0)
    factor, memory, cuts = np.array(studies.twin_states(twins, "A", "Initial").factor[0]), np.zeros((4, 4)), []
    assert loss(factor) == pytest.approx(one["loss"][0].item(), rel=1e-12)
    for step in range(steps):
        nudges = 1e-30j * np.eye(16).reshape(16, 4, 4)
        slope = np.array([loss(factor + nudge).imag for nudge in nudges]).reshape(4, 4) / 1e-30
        size = np.linalg.norm(slope)
        cuts.append(size > 0.005)
        memory = 0.9 * memory + slope * min(1.0, 0.005 / size)
        factor = factor - learning_rate * (1 + np.cos(np.pi * step / steps)) / 2 * memory
    assert any(cuts)
    assert not all(cuts)
    states = studies.twin_states(twins, "A", "A/B")
    np.testing.assert_allclose(states.gram[0], factor.T @ factor, rtol=0, atol=1e-11)


def test_twins_go_on_from_where_they_are(starts, few):
    np.testing.assert_allclose(studies.twin_states(few, "B", "Initial").gram, starts.gram, rtol=0, atol=1e-14)
    rule = studies.annealed_descent(FEW["learning_rate"], FEW["steps"])
    again = ov.learn(studies.twin_states(few, "B", "A/B"), FILTERS["C"], LINEAR, rule, saves=31)
    np.testing.assert_allclose(again["sigma"][:, -1], few["sigma"].sel(history="B", stage="C"), rtol=0, atol=1e-10)


def test_saved_work_is_loaded_and_other_work_is_kept(starts, twins, tmp_path, monkeypatch):
    path = tmp_path / "twins.nc"
    xr.testing.assert_identical(studies.train_twins(starts, **SHORT, path=path), twins)
    with monkeypatch.context() as context:
        context.setattr("overlaps.studies._twins.learn", None)  # nothing is trained
        xr.testing.assert_identical(studies.train_twins(starts, **SHORT, path=str(path)), twins)
    before = path.read_bytes()
    changes = {"steps": 91, "rnn": ov.RNN(dt=0.2), "tasks": FILTERS | {"C": FILTERS["B"]}, "starts": studies.twin_starts(4, 2)}
    told = {"steps": "annealed_descent", "starts": "state"}
    for name, value in changes.items():
        arguments: dict = {"starts": starts, **SHORT, name: value}
        with pytest.raises(
            ValueError, match=rf"`path` must name a file of the same work.* differs in {told.get(name, name)}\."
        ):
            studies.train_twins(**arguments, path=path)
    assert path.read_bytes() == before
    (tmp_path / "notes.txt").write_text("not a netCDF file")
    with pytest.raises(ValueError, match="is no netCDF file"):
        studies.train_twins(starts, **SHORT, path=tmp_path / "notes.txt")
    assert list(tmp_path.glob("*.part")) == []


def test_accuracy_is_that_of_the_best_decoder_of_gaussian_overlaps():
    shifts = np.array([1.0, 1.5, 0.8])
    noise = [0.0, 1.0, 3.0]
    found = studies.decode_history(synthetic(400, shifts).sel(stage=["C"]), noise, draws=1)
    for name, chosen in (("visible", [0]), ("invisible", [1, 2]), ("all", [0, 1, 2]), ("x1", [1])):
        best = scipy.stats.norm.cdf(np.linalg.norm(shifts[chosen]) / np.sqrt(1 + np.square(noise)) / 2)
        accuracy = found["accuracy"].sel(stage="C", features=name)
        # 4 standard deviations of 800 networks, and what a fit to 640 of them loses
        assert np.all(np.abs(accuracy - best) < 4 * np.sqrt(best * (1 - best) / 800) + 0.01)
        width = (found["accuracy_upper"] - found["accuracy_lower"]).sel(stage="C", features=name)
        # Percentiles of 2,000 resamples are uncertain by some percent, the variance over 400 starts by more.
        np.testing.assert_allclose(width, 2 * 1.96 * np.sqrt(best * (1 - best) / 800), rtol=0.2)
    np.testing.assert_allclose(found["separation"].sel(stage="C"), shifts, rtol=0, atol=4 * np.sqrt(2 / 400))
    np.testing.assert_allclose(found["difference_mean"].sel(stage="C"), -shifts, rtol=0, atol=4 * np.sqrt(2 / 400))
    np.testing.assert_allclose(found["difference_std"].sel(stage="C"), np.sqrt(2), rtol=0.15)
    difference = found["accuracy"].sel(features="invisible") - found["accuracy"].sel(features="visible")
    np.testing.assert_allclose(found["advantage"], difference, rtol=0, atol=1e-12)


def test_identical_twins_are_decoded_at_chance_exactly():
    found = studies.decode_history(synthetic(40, [2.0, 1.0]).sel(stage=["Initial"]), [0.0, 0.5], draws=2)
    for name in ("accuracy", "accuracy_lower", "accuracy_upper"):
        np.testing.assert_allclose(found[name].sel(noise=0.0), 0.5, rtol=0, atol=1e-12)
    assert np.all(found["separation"] == 0)
    assert np.all(found["accuracy_upper"].sel(noise=0.5) > found["accuracy_lower"].sel(noise=0.5))


def test_interval_is_over_starts_not_over_networks():
    """The interval comes from resampling starts (pairs of twins), not single networks.

    Here twins differ only by a shift, x and x + d. So the results of the two twins of a start are correlated, and an interval
    over single networks would have another width.
    """
    dataset = synthetic(300, [1.0, 1.0], shared=0.999999)
    found = studies.decode_history(dataset.sel(stage=["C"]), [0.0], draws=1).sel(noise=0.0, features="visible")
    cut = np.median(dataset["sigma"].sel(stage="C", overlap="x0"))
    values = dataset["sigma"].sel(stage="C", overlap="x0").values
    per_start = ((values[:, 0] < cut) * 1.0 + (values[:, 1] > cut)) / 2
    assert found["accuracy"].item() == pytest.approx(per_start.mean(), abs=0.02)  # the cut of the fit is not the median
    width = (found["accuracy_upper"] - found["accuracy_lower"]).item()
    assert width == pytest.approx(2 * 1.96 * per_start.std() / np.sqrt(300), rel=0.1)


def test_twins_are_never_on_both_sides_of_a_fit(monkeypatch):
    import sklearn.model_selection as selection

    original, seen = selection.cross_val_predict, []

    def spy(decoder, values, labels, *, groups, cv):
        seen.extend((groups[fitted], groups[left], labels[left]) for fitted, left in cv.split(values, labels, groups))
        return original(decoder, values, labels, groups=groups, cv=cv)

    monkeypatch.setattr(selection, "cross_val_predict", spy)
    studies.decode_history(synthetic(11, [1.0, 1.0]), [0.5], draws=2, folds=3)
    assert len(seen) == 2 * 2 * 5 * 3
    for fitted, left, labels in seen:
        assert not set(fitted) & set(left)
        assert np.all(np.unique(left, return_counts=True)[1] == 2)
        assert labels.mean() == 0.5


def test_networks_that_diverged_are_left_out():
    dataset = synthetic(30, [1.0, 1.0])
    broken = dataset.copy(deep=True)
    broken["sigma"][7, 1, 1] = np.nan
    expected = studies.decode_history(dataset.isel(twin=np.delete(np.arange(30), 7)), [0.3], draws=1)
    found = studies.decode_history(broken, [0.3], draws=1)
    xr.testing.assert_equal(found, expected)
    assert '"left_out": 1' in found.attrs["decode_history"]


def test_results_are_saved_as_they_are_and_drawn(twins, tmp_path):
    found = studies.decode_history(twins, [0.0, 0.3], draws=1, folds=2)
    found.to_netcdf(tmp_path / "decoding.nc")
    loaded = xr.load_dataset(tmp_path / "decoding.nc")
    xr.testing.assert_identical(loaded, found)
    assert all({"long_name", "units"} <= set(found[name].attrs) for name in found.variables)
    assert all({"long_name", "units"} <= set(twins[name].attrs) for name in twins.variables)
    figure = ov.plots.plot_decoding(loaded, noise=[0.3])
    assert faults(figure) == []
    bars, curve = figure.axes
    for name, drawn in zip(("visible", "invisible"), bars.containers[1::2], strict=True):
        expected = found["accuracy"].sel(noise=0.3, features=name)
        np.testing.assert_allclose([bar.get_height() for bar in drawn], expected)
    np.testing.assert_array_equal(curve.lines[1].get_ydata(), found["accuracy"].sel(stage="C", features="invisible"))
    plt.close(figure)
    for dataset, noise, message in (
        (twins, [0.3], "studies.decode_history"),
        (found, [0.2], "`noise` must be levels out of 0, 0.3"),
    ):
        with pytest.raises(ValueError, match=message):
            ov.plots.plot_decoding(dataset, noise)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install 'overlaps\[studies\]'"):
        studies.decode_history(synthetic(8, [1.0, 1.0]), [0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: studies.twin_starts(0), "`twins` must be a whole number of at least 1"),
        (lambda: studies.annealed_descent(steps=0), "`steps` must be a whole number of at least 1"),
        (lambda: studies.train_twins(ov.Overlaps(np.eye(4))), "`starts` must be a batch of Overlaps"),
        (lambda: studies.train_twins(tasks={"A": FILTERS["A"]}), '`tasks` must be a mapping with the keys "A", "B" and "C"'),
        (lambda: studies.train_twins(learning_rate=0.0), "`learning_rate` must be a number greater than 0"),
        (lambda: studies.train_twins(path="nowhere/at/all.nc"), "`path` must be in a folder that exists"),
        (lambda: studies.decode_history(xr.Dataset()), "`dataset` must be a result of studies.train_twins"),
        (lambda: studies.decode_history(synthetic(9, [1.0]), [-0.1]), "`noise` must be a number of at least 0"),
        (
            lambda: studies.decode_history(synthetic(4, [1.0])),
            "`dataset` must have at least 5 starts, one per fold, but it has 4",
        ),
        (lambda: studies.decode_history(synthetic(9, [1.0]), draws=0), "`draws` must be a whole number of at least 1"),
        (lambda: studies.twin_states(synthetic(9, [1.0]), "D"), "`history` must be one of 'A', 'B'"),
    ],
)
def test_bad_input_gets_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
