"""Networks near a solution: rates, flat directions, the holonomy of gradient flow, and the drift that label noise causes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps import studies
from overlaps.studies._answers import answers

RNN = ov.RNN(dt=0.2)


def task(rate=0.2):
    return ov.tasks.exponential_filter(rate, horizon=10.0)


@pytest.fixture(scope="module")
def solution():
    """A solution of the exponential filter, zm = 1 and zu vm = vu (docs/theory.md); invisible overlaps as after training."""
    vu = 1 + np.expm1(-0.2 * RNN.dt) / RNN.dt
    net = ov.Overlaps([[1.5, 1.1, 0, 0], [1.1, 2.4, 0, 0], [0, 0, 1.4, 0.4], [0, 0, 0.4, 1.4]])
    return net.replace(zm=1.0, vu=vu, zu=0.9, vm=vu / 0.9)


def test_answers_have_double_precision_where_jax_is_in_float32(solution):
    with jax.enable_x64(False):
        roots = answers(solution, task(), RNN).roots
    np.testing.assert_array_equal(roots, np.full(50, np.sqrt(RNN.dt)), strict=True)


def test_solutions_of_the_exponential_filter_have_seven_dimensions(solution):
    found = studies.solution_manifold(solution, task(), RNN)
    # Ten overlaps, of which the function fixes zm, zu vm and vu: six invisible ones and the gauge are free.
    assert [found[name].item() for name in ("dimension", "invisible", "gauge", "free")] == [7, 6, 1, 0]
    tangent = found["direction_overlaps"].values[found["flat"].values]
    labels = list(found["overlap"].values)
    normals = np.zeros((3, 10))
    normals[0, labels.index("zm")] = normals[1, labels.index("vu")] = 1
    normals[2, labels.index("zu")], normals[2, labels.index("vm")] = solution["vm"].item(), solution["zu"].item()
    np.testing.assert_allclose(normals @ tangent.T, 0, atol=1e-6)
    assert np.linalg.matrix_rank(tangent, tol=1e-6) == 7


@pytest.mark.slow
def test_rates_are_the_curvature_of_the_loss_of_the_factor(solution):
    found = studies.solution_manifold(solution, task(), RNN)
    objective = task().objective(solution, RNN)

    slope = jax.jit(jax.grad(lambda entries: objective(solution.with_factor(entries.reshape(4, 4)))))
    start, step = jnp.ravel(solution.factor), 1e-5
    hessian = np.array([slope(start + step * e) - slope(start - step * e) for e in np.eye(16)]) / (2 * step)
    curvatures = np.linalg.eigvalsh((hessian + hessian.T) / 2)[::-1]
    np.testing.assert_allclose(found["rate"][:3], curvatures[:3], rtol=1e-6)
    assert np.all(found["rate"][3:] == 0)


def test_the_flow_closes_each_direction_at_its_rate(solution):
    found = studies.solution_manifold(solution, task(), RNN)
    pairs = solution.layout.pairs
    for index in (1, 2):
        direction = found["direction_overlaps"].values[index]
        gram = solution.gram.copy()
        for pair, value in zip(pairs, direction, strict=True):
            gram[pair.row, pair.column] = gram[pair.column, pair.row] = gram[pair.row, pair.column] + 1e-6 * value
        time = 1 / found["rate"].values[index]
        rule = ov.GradientFlow(duration=time, rtol=1e-10, atol=1e-13)
        run = ov.learn(ov.Overlaps(gram, 1, 1, 1), task(), RNN, rule, saves=2)
        moved = run["sigma"].values[1] - run["sigma"].values[0]
        np.testing.assert_allclose(moved / 1e-6, direction * (np.exp(-1) - 1), atol=1e-3)


def test_a_state_that_is_no_solution_is_refused(solution):
    other = solution.replace(zm=0.5)
    for call in (
        lambda: studies.solution_manifold(other, task(), RNN),
        lambda: studies.label_noise_drift(other, ov.tasks.label_noise(task(), 1.0), RNN),
    ):
        with pytest.raises(ValueError, match="`net` must be a solution of the task"):
            call()
    with pytest.raises(ValueError, match="one task with label noise"):
        studies.label_noise_drift(solution, task(), RNN)
    with pytest.raises(ValueError, match="compare the same samples"):
        studies.predicted_holonomy(solution, task(), ov.tasks.exponential_filter(0.2, horizon=20.0), RNN)
    with pytest.raises(ValueError, match="filter task, or fixed trials"):
        studies.predicted_holonomy(solution, task(), ov.tasks.label_noise(task(), 1.0), RNN)
    with pytest.raises(ValueError, match="be a single Overlaps, but Network came"):
        studies.holonomy(solution.sample(9, 0), task(), task(0.3), RNN)


def test_pictures_show_the_numbers(solution):
    ranges, around = studies.admissible(solution, RNN), studies.solution_manifold(solution, task(), RNN)
    np.testing.assert_array_equal(ov.plots.plot_admissible(ranges).lines[0].get_xdata(), ranges["value"])
    np.testing.assert_array_equal(ov.plots.plot_directions(around).images[0].get_array(), around["direction_overlaps"])
    for plot in (ov.plots.plot_admissible, ov.plots.plot_directions, ov.plots.plot_holonomy):
        with pytest.raises(ValueError, match="`dataset` must be a result of studies"):
            plot(xr.Dataset())


@pytest.mark.slow
def test_the_holonomy_is_curvature_times_area(solution):
    distances, sizes, errors = (0.01, 0.02, 0.04), [], []
    for distance in distances:
        found = studies.holonomy(solution, task(), task(0.2 + distance), RNN)
        change, predicted = found["change"].values[0], found["predicted"].values[0]
        sizes.append(np.linalg.norm(change))
        errors.append(np.linalg.norm(change - predicted) / sizes[-1])
        assert found["function_change"].max() < 1e-7
    # The law is of second order, and evaluated half-way between the tasks it misses the fourth order on.
    assert errors[0] < 0.02
    assert np.log(errors[2] / errors[1]) / np.log(2) > 1.5, errors
    assert np.log(sizes[1] / sizes[0]) / np.log(2) == pytest.approx(2, abs=0.1)


def test_the_predicted_holonomy_conserves_charges_and_function(solution):
    predicted = studies.predicted_holonomy(solution, task(), task(0.21), RNN)
    change = {name: predicted.sel(overlap=name).item() for name in predicted["overlap"].values}
    size = np.abs(predicted).max()
    assert size > 1e-7
    assert abs(change["uu"] - change["vv"]) < 1e-9 * size
    assert abs(change["mm"] - change["zz"]) < 1e-9 * size
    assert abs(change["zm"]) + abs(change["vu"]) < 1e-9 * size


def test_the_drift_of_charges_is_that_of_one_step(solution):
    # One step on targets with noise changes tr(E G) by eta^2 tr(E S G S), S being linear in the noise, and E in the algebra.
    noisy, std = ov.tasks.label_noise(task(), 0.7), 0.7
    drift = studies.label_noise_drift(solution, noisy, RNN)
    loss = task().sampled_objective(solution, RNN)
    slopes = np.asarray(jax.jit(jax.jacfwd(lambda gram: loss.response(ov.Overlaps(gram, 1, 1, 1)).ravel()))(solution.gram))
    S = slopes + np.swapaxes(slopes, 1, 2)
    weights = 4 * std**2 * np.asarray(loss.weights) ** 2
    for signs, (plus, minus) in (([0, 1, -1, 0], ("uu", "vv")), ([1, 0, 0, -1], ("mm", "zz"))):
        expected = np.einsum("k,ab,kbc,cd,kda->", weights, np.diag(signs), S, solution.gram, S)
        found = (drift.sel(overlap=plus) - drift.sel(overlap=minus)).item()
        assert found == pytest.approx(expected, rel=1e-8)
    assert np.abs(drift.sel(overlap=["zm", "vu"])).max() < 1e-8 * np.abs(drift).max()
    product = drift.sel(overlap="zu") * solution["vm"].item() + drift.sel(overlap="vm") * solution["zu"].item()
    assert abs(product.item()) < 1e-8 * np.abs(drift).max()


@pytest.mark.slow
def test_descent_under_label_noise_drifts_as_predicted(solution):
    std, slow_time, number = 0.5, 0.02, 16
    noisy = ov.tasks.label_noise(task(), std)
    flow = studies.label_noise_flow(solution, noisy, RNN, slow_time, saves=5)
    rate = 0.001
    rule = ov.GradientDescent(rate, steps=round(slow_time / rate**2))
    run = ov.learn(solution, noisy, RNN, rule, saves=5, key=jax.random.split(jax.random.key(0), number))
    found, error = run["sigma"].mean("batch").values[-1], run["sigma"].std("batch").values[-1] / np.sqrt(number)
    moved = flow.values[-1] - flow.values[0]
    assert np.abs(moved).max() > 0.1
    # Corrections are of relative order rate x curvature, and each overlap fluctuates about the path.
    allowed = 4 * error + 0.1 * np.abs(moved).max()
    assert np.all(np.abs(found - flow.values[-1]) < allowed), (found - flow.values[-1], moved, error)
