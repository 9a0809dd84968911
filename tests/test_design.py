import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.inference._search import order_of
from tests.figure_checks import faults

RNN = ov.RNN(dt=0.1)
NET = ov.Overlaps.random(0).replace(zm=0.5, zu=0.4, vm=0.3, vu=0.5)
TWINS = {"fresh": NET, "gauge copy": ov.studies.gauge(NET, 1.3)}
STD, POINTS = 0.05, 8
START = {"rate": 0.4, "amplitude": 1.0, "learning rate": 0.01}
BOUNDS = {"rate": (0.1, 1.0), "amplitude": (-1.0, 1.0), "learning rate": (0.002, 0.02)}


def task_of(numbers):
    return ov.tasks.exponential_filter(numbers["rate"], numbers["amplitude"], horizon=5.0)


def build(numbers):
    return ov.Phase("test", task_of(numbers), ov.GradientDescent(numbers["learning rate"], 40))


def frozen(numbers):
    rule = ov.GradientDescent(numbers["learning rate"], 40, rates={"u": 0})
    return ov.Phase("test", task_of(numbers), rule)


def of_flows(numbers):
    task = task_of(numbers)
    return [ov.Phase(name, task, ov.GradientFlow(numbers[name])) for name in ("first", "second")]


def designed(hypotheses=TWINS, builds=build, start=START, bounds=BOUNDS, **options):
    return ov.inference.design(hypotheses, builds, start, bounds, RNN, **{"noise": STD, "points": POINTS} | options)


@pytest.fixture(scope="module")
def dataset():
    return designed(starts=4)


def d_prime(protocol, hypotheses=TWINS):
    experiment = {"hypotheses": hypotheses, "protocols": {"test": protocol}, "rnn": RNN, "saves": POINTS, "draws": 1}
    return ov.inference.discriminate(**experiment, noise=STD)["d_prime"][0].values


@pytest.mark.slow
def test_it_beats_the_best_of_200_random_protocols(dataset):
    assert dataset.sizes["draw"] == 200
    assert dataset["gain"].item() == dataset["d_prime"].item() / dataset["random_d_prime"].max().item()
    assert dataset["gain"].item() > 1
    found, (lows, highs) = dataset["best"].values, np.array(list(BOUNDS.values())).T
    assert np.all((lows <= found) & (found <= highs))
    np.testing.assert_allclose(dataset["d_prime"], d_prime(ov.inference.best_protocol(dataset)), rtol=1e-9)
    assert dataset["d_prime_without_learning"].item() < 1e-10
    assert np.all(np.diff(dataset["search"]) >= 0)
    np.testing.assert_allclose(
        dataset["search"][0, 0, 0], d_prime(build(START)), rtol=1e-9
    )  # the first climb begins at `start`


@pytest.mark.slow
def test_the_best_protocol_is_a_maximum_within_the_bounds(dataset):
    """By finite differences: d' does not rise on the way into the box, nor across what is inside of it."""
    best = dict(zip(dataset["parameter"].values, dataset["best"].values.tolist(), strict=True))
    top = dataset["d_prime"].item()
    for name, (low, high) in BOUNDS.items():
        for step in (-1e-2, 1e-2):
            moved = best | {name: float(np.clip(best[name] + step * (high - low), low, high))}
            assert d_prime(build(moved)) <= top * (1 + 1e-6), (name, step)


@pytest.mark.slow
def test_the_chosen_points_are_the_best_ones(dataset):
    information = dataset["information"][0].values
    for number in range(1, POINTS + 1):
        best = np.sqrt(np.sort(information)[::-1][:number].sum())
        np.testing.assert_allclose(dataset["chosen_d_prime"][number - 1], best, rtol=1e-12)
    np.testing.assert_allclose(dataset["chosen_d_prime"][-1], dataset["d_prime"][0], rtol=1e-9)
    assert np.all(dataset["even_d_prime"] <= dataset["chosen_d_prime"] * (1 + 1e-12))


@pytest.mark.slow
def test_its_figure_draws_climbs_information_and_points(dataset):
    figure = ov.plots.plot_design(dataset)
    assert faults(figure) == []
    left, middle, right = figure.axes
    assert len(left.lines) == 4 + 1  # the climbs, and the random protocols
    np.testing.assert_array_equal(middle.lines[0].get_ydata(), dataset["information"][0])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), dataset["chosen_d_prime"])
    plt.close("all")
    with pytest.raises(ValueError, match=r"a result of inference\.design"):
        ov.plots.plot_design(xr.Dataset())


def test_points_for_several_pairs_raise_the_smallest_sum():
    information = np.array([[5.0, 0.0, 1.0, 0.1], [0.0, 4.0, 1.0, 0.2]])
    # The sums are (1, 1), then (1.1, 1.2), whose smallest is larger than that of (6, 1) and (1, 5), then (6.1, 1.2).
    assert order_of(information).tolist() == [2, 3, 0, 1]


@pytest.mark.slow
def test_random_protocols_may_all_diverge_but_noise_must_fit():
    fast = {"start": START | {"learning rate": 0.01}, "bounds": BOUNDS | {"learning rate": (0.01, 1e4)}}
    found = designed(**fast, starts=1, steps=2, draws=3)
    assert found["random_d_prime"].values.tolist() == [[0.0, 0.0, 0.0]]
    assert found["gain"].item() == np.inf
    with pytest.raises(ValueError, match=r"`noise` must broadcast to what is observed, with the shape \(8, 20, 1, 1\)"):
        designed(noise=np.full(7, STD))  # it would make seven measurements of one


@pytest.mark.slow
def test_choices_are_enumerated_and_the_budget_of_flows_is_kept():
    start = {"rate": 0.4, "amplitude": 1.0, "first": 1.0, "second": 1.0}
    bounds = BOUNDS | {"first": (0.5, 2.0), "second": (0.5, 2.0)}
    bounds.pop("learning rate")
    found = designed(builds={"flows": of_flows}, start=start, bounds=bounds, duration=0.5, starts=2, steps=3, draws=3)
    assert found["time"][-1].item() == pytest.approx(0.5, rel=1e-9)
    assert sum(phase.rule.duration for phase in ov.inference.best_protocol(found)) == pytest.approx(0.5, rel=1e-12)
    assert found["phase"].values.tolist() == ["first"] * 4 + ["second"] * 4
    assert found.attrs["choice"] == "flows"


@pytest.mark.slow
def test_the_smallest_pair_of_three_counts():
    three = TWINS | {"closer copy": ov.studies.gauge(NET, 1.25)}
    found = designed(three, {"all learn": build, "u is frozen": frozen}, starts=2, steps=5, draws=4)
    np.testing.assert_allclose(found["found_d_prime"].max(), found["d_prime"].min(), rtol=1e-12)
    assert found["d_prime"].values.argmin() == 2  # of the two copies
    np.testing.assert_allclose(np.sort(d_prime(ov.inference.best_protocol(found), three)), np.sort(found["d_prime"]), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": {"rate": 0.4}}, "have the names rate, amplitude, learning rate"),
        ({"start": START | {"rate": 2.0}}, "lie within `bounds`"),
        ({"bounds": BOUNDS | {"rate": (1.0, 0.1)}}, "pairs \\(lowest, highest\\)"),
        ({"duration": 1.0}, "be None for descents"),
        ({"points": 1}, "at least 2 for each of the 1 phases"),
        ({"hypotheses": {"one": NET, "two": NET.sample(20, key=0)}}, "networks of one kind and size"),
        ({"builds": 3}, "functions from numbers to a protocol"),
        ({"builds": {"one": 3}}, "hold functions from numbers to a protocol"),
        ({"builds": task_of}, r"make a Phase\(name, task, rule\)"),
        ({"builds": lambda numbers: []}, r"make a Phase\(name, task, rule\)"),
        ({"builds": of_flows}, "read no other numbers than rate, amplitude, learning rate, but it reads 'first'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        designed(**options)


def test_only_a_design_has_a_best_protocol():
    with pytest.raises(ValueError, match="a result of `design`"):
        ov.inference.best_protocol(xr.Dataset())
