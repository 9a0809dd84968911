"""What networks remember of B after tasks A, B, A, and how strongly learning rules change what gradient flow conserves."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import xarray as xr

import overlaps as ov
from overlaps import plots, studies
from overlaps.studies import _memory_rules
from tests.figure_checks import faults

NET = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)
RNN = ov.RNN(dt=0.1)
A, B = (ov.tasks.exponential_filter(rate, horizon=4.0) for rate in (0.2, 0.4))
ERF = ov.RNN("erf", dt=0.5)
TEACHER = ov.tasks.teacher(ov.Overlaps(np.eye(4)).replace(zm=0.5, vu=0.5), ERF, 0, trials=2, duration=2.0, noise=1.0)
GAUGE = np.diag([0.0, 1.0, -1.0, 0.0])  # uu - vv = tr(GAUGE G)


def gauge(dataset):
    return (dataset["sigma"].sel(overlap="uu") - dataset["sigma"].sel(overlap="vv")).values


def slopes(grams, task, rnn):
    """S = Gamma + Gamma^T of many overlap matrices, by automatic differentiation of the loss."""
    gamma = jax.jit(jax.vmap(jax.grad(lambda gram: task.objective(NET, rnn)(ov.Overlaps(gram)))))(jnp.asarray(grams))
    return np.asarray(gamma + gamma.swapaxes(-1, -2))


@pytest.mark.parametrize(("task", "rnn"), [(A, RNN), (TEACHER, ERF)])
def test_one_step_changes_the_gauge_charge_at_second_order_alone(task, rnn):
    eta = 0.02
    S = slopes(NET.gram[None], task, rnn)[0]
    assert abs(np.trace(GAUGE @ S @ NET.gram)) < 1e-14  # first order: the symmetry of the loss
    steps = ov.learn(NET, task, rnn, ov.GradientDescent(eta, 1), saves=2)
    change = np.diff(gauge(steps)).item()
    assert change == pytest.approx(eta**2 * np.trace(GAUGE @ S @ NET.gram @ S), rel=1e-10)
    # With weight decay the old charge is besides multiplied by (1 - eta decay)^2, whatever the gradient is.
    rule = ov.GradientDescent(eta, 1, functools.partial(_memory_rules._decayed, decay=0.5))
    decayed = gauge(ov.learn(NET, task, rnn, rule, saves=2))
    assert decayed[1] == pytest.approx((1 - 0.5 * eta) ** 2 * decayed[0] + change, rel=1e-13)


@pytest.mark.slow
def test_inertia_changes_the_charge_by_what_the_flow_predicts():
    # (1 + beta) / (1 - beta) times the effective learning rate times the integral of tr(E S G S) along gradient flow.
    duration, effective = 1.0, np.array([4e-4, 2e-4])
    flow = ov.learn(NET, A, RNN, ov.GradientFlow(duration, rtol=1e-10, atol=1e-12), saves=2001)
    assert np.ptp(gauge(flow)) < 1e-9
    grams = np.zeros((2001, 4, 4))
    for index, pair in enumerate(NET.layout.pairs):
        grams[:, pair.row, pair.column] = grams[:, pair.column, pair.row] = flow["sigma"].values[:, index]
    S = slopes(grams, A, RNN)
    rates = np.trace(GAUGE @ S @ grams @ S, axis1=1, axis2=2)
    predicted = scipy.integrate.simpson(rates, x=flow["time"].values)
    for beta in (0.0, 0.8):
        changes = []
        for rate in effective:
            rule = ov.GradientDescent(rate * (1 - beta), round(duration / rate), functools.partial(optax.sgd, momentum=beta))
            changes.append(np.diff(gauge(ov.learn(NET, A, RNN, rule, saves=2))).item() * (1 - beta) / (1 + beta) / rate)
        # What is left after the first order in the learning rate is taken out is of the second, (194 * 1.8e-3)^2 at most.
        assert 2 * changes[1] - changes[0] == pytest.approx(predicted, rel=1e-3), beta
        assert abs(changes[1] - predicted) < 0.6 * abs(changes[0] - predicted)


@pytest.mark.slow
def test_flow_returns_the_function_keeps_the_charges_and_writes_a_little():
    rule = ov.GradientFlow(20.0, rtol=1e-9, atol=1e-11)
    dataset = studies.memory(NET, rule=rule, saves=11)
    assert np.all(dataset["function_distance"] < 1e-8)
    for name in ("gauge", "balance", "spectrum"):
        assert float(np.abs(dataset[name] - dataset[name].isel(time=0)).max()) < 1e-7, name
    # The known solution of docs/theory.md under Euler, on both sides.
    end = dataset["sigma"].isel(time=-1)
    leak = 1 + np.expm1(-0.2 * 0.1) / 0.1
    np.testing.assert_allclose(end.sel(overlap="zm"), 1.0, atol=1e-8)
    np.testing.assert_allclose(end.sel(overlap="zu") * end.sel(overlap="vm").values, leak, atol=1e-8)
    np.testing.assert_allclose(end.sel(overlap="vu"), leak, atol=1e-8)
    # Invisible overlaps do not return: the holonomy is thousands of times what learning has left to do, and it stays.
    assert dataset["invisible_distance"][-1] > 1e4 * dataset["function_distance"].max()
    assert abs(dataset["decay_rate"]) * 20.0 < 1e-2
    assert float(dataset["invisible_return"].sel(protocol="A-A-A")) < 1e-7
    apart = end.sel(protocol="A-B-A") - end.sel(protocol="A-A-A")
    assert float(dataset["invisible_distance"][-1]) == pytest.approx(
        np.linalg.norm([apart.sel(overlap=name) for name in ("mu", "zv", "mm", "uu", "vv", "zz")]), rel=1e-12
    )


@pytest.mark.slow
def test_protocols_share_the_first_phase_and_the_noise(tmp_path):
    tasks = [ov.tasks.label_noise(task, 0.5) for task in (A, B)]
    rule = ov.GradientDescent(2e-3, 60)
    dataset = studies.memory(NET, tasks, RNN, rule, saves=7, key=3)
    np.testing.assert_array_equal(dataset["visible_distance"][:8], 0.0)
    assert np.all(dataset["invisible_distance"][9:] > 0)
    # B that is A: nothing at all sets the protocols apart, so that their noise is the same.
    same = studies.memory(NET, [tasks[0], tasks[0]], RNN, rule, saves=7, key=3)
    np.testing.assert_array_equal(same["invisible_distance"], 0.0)
    np.testing.assert_array_equal(same["function_distance"][0], 0.0)
    np.testing.assert_array_equal(same["sigma"].sel(protocol="A-B-A"), dataset["sigma"].sel(protocol="A-A-A"))
    # Outputs by hand: impulse responses of k_m and k under Euler steps.
    responses = []
    for protocol in ("A-B-A", "A-A-A"):
        zm, zu, vm, vu = dataset["sigma"].sel(protocol=protocol).isel(time=-1).values[:4]
        km, k, response = 1.0, 0.0, []
        for _ in range(40):
            response.append(zm * km + zu * k)
            km, k = 0.9 * km, k + 0.1 * (-k + vm * km + vu * k)
        responses.append(response)
    distance = np.sqrt(0.1 * np.sum(np.square(np.subtract(*responses))))
    assert float(dataset["function_distance"][0]) == pytest.approx(distance, rel=1e-9)
    dataset.to_netcdf(tmp_path / "memory.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "memory.nc"), dataset)
    assert json.loads(dataset.attrs["memory"])["rule"]["steps"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: NET, lambda: NET.sample(9, 0), lambda: NET.mean_field(81)])
def test_trials_and_every_kind_of_state(make):
    tasks = [TEACHER, ov.tasks.Trials(TEACHER.inputs, 0.5 * TEACHER.targets, dt=0.5)]
    state = make()
    dataset = studies.memory(state, tasks, ERF, ov.GradientDescent(0.05, 20), saves=3)
    end = dataset["sigma"].isel(time=-1)
    assert float(dataset["invisible_distance"][-1]) > 0
    if isinstance(state, ov.Overlaps):  # the loss of outputs under the outputs of the other one
        states = []
        for protocol in ("A-B-A", "A-A-A"):
            gram = np.zeros((4, 4))
            for value, pair in zip(end.sel(protocol=protocol).values, state.layout.pairs, strict=True):
                gram[pair.row, pair.column] = gram[pair.column, pair.row] = value
            states.append(ov.Overlaps(gram))
        targets = ERF.output(states[1], np.asarray(TEACHER.inputs)).values
        loss = ov.tasks.Trials(TEACHER.inputs, targets, dt=0.5).loss(states[0], ERF)
        assert float(dataset["function_distance"][0]) == pytest.approx(np.sqrt(loss), rel=1e-10)


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        quick = _memory_rules._linear()._replace(first=A, second=B, learning_rate=2e-3, duration=12.0, early=0.5, decay=0.02)
        patch.setitem(_memory_rules.SYSTEMS, "linear", lambda: quick)
        patch.setattr(_memory_rules, "REPEATS", 3)
        return studies.memory_table(["small steps", "label noise (std)", "weight decay"], "linear")


@pytest.mark.slow
def test_the_table_finds_the_laws(table, tmp_path):
    cell = table.sel(system="linear")
    # Deterministic laws deviate at the next order in the learning rate, of at most 5e-4 here; noisy ones by their own error.
    assert float(cell["exponent"].sel(rule="small steps")) == pytest.approx(1.0, abs=5e-3)
    noise = cell.sel(rule="label noise (std)")
    assert abs(noise["exponent"] - 2.0) < 3 * noise["exponent_error"] < 0.1
    decay = cell.sel(rule="weight decay")
    np.testing.assert_allclose(decay["results"], 2 * decay["values"], rtol=1e-3)  # exp(-2 decay s), up to the step
    assert float(decay["forgetting_rate"]) == pytest.approx(2 * float(decay["values"][0]), rel=1e-3)
    assert decay["charge_end"].item() == pytest.approx(decay["charge_start"].item() * np.exp(-2 * 0.02 * 36), rel=0.02)
    steps = cell.sel(rule="small steps")
    assert steps["written"] > 10 * steps["function_distance"]
    assert abs(float(steps["forgetting_rate"])) < 1e-3 * abs(float(decay["forgetting_rate"]))
    table.to_netcdf(tmp_path / "table.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "table.nc"), table)


@pytest.mark.slow
def test_steps_beyond_the_edge_write_until_they_are_stable():
    system = _memory_rules._linear()
    law = _memory_rules._edge(system)
    np.testing.assert_allclose(law.results, 2 / law.values, rtol=1e-3)
    # The Hessian against finite differences of the gradient in the factor, dL/dF = F S.
    factor = system.start.factor

    def gradient(F):
        return F @ slopes((F.T @ F)[None], system.first, system.rnn)[0]

    columns = []
    for index in range(16):
        shift = np.zeros(16)
        shift[index] = 1e-5
        up, down = (gradient(factor + sign * shift.reshape(4, 4)) for sign in (1, -1))
        columns.append((up - down).ravel() / 2e-5)
    largest = np.linalg.eigvalsh((np.array(columns) + np.array(columns).T) / 2)[-1]
    batch = jax.tree.map(lambda leaf: leaf[None], system.start)
    assert _memory_rules._sharpness(batch, system).item() == pytest.approx(largest, rel=1e-6)


@pytest.mark.slow
def test_pictures(table):
    figure = plots.plot_memory_table(table)
    assert sum("exponent" in ax.get_title() for ax in figure.axes) == 3
    assert faults(figure) == []
    dataset = studies.memory(NET, [A, B], RNN, ov.GradientDescent(1e-2, 20), saves=5)
    figure = plots.plot_memory(dataset)
    assert faults(figure) == []
    left, middle, right = figure.axes
    assert len(left.lines) == 2
    assert len(middle.lines) == 12
    np.testing.assert_array_equal(right.lines[1].get_ydata()[-1], dataset["invisible_distance"][-1])
    for plot in (plots.plot_memory, plots.plot_memory_table):
        with pytest.raises(ValueError, match="`dataset` must be a result of studies"):
            plot(xr.Dataset())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: studies.memory(NET, [A]), "`tasks` must be two tasks, A and B"),
        (lambda: studies.memory(NET, [A, B], RNN, ov.GradientFlow(1.0, stop_loss=0.1)), "`rule` must run for a given time"),
        (lambda: studies.memory(NET, [A, B], RNN, ov.GradientDescent([0.01, 0.02], 1)), "`rule` must have a single learning"),
        (lambda: studies.memory_table("Eve"), "`rules` must be out of gradient flow, small steps, .*'Eve' came"),
        (lambda: studies.memory_table(systems=["tanh"]), "`systems` must be out of linear, erf, erf mean field"),
    ],
)
def test_bad_input_gets_one_clear_error(act, message):
    with pytest.raises(ValueError, match=message):
        act()
