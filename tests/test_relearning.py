"""Savings and transfer: against plain NumPy descent, networks, perfect twins, tasks that share nothing, and limits."""

import jax
import numpy as np
import pytest
import scipy.optimize
import xarray as xr

import overlaps as ov
from overlaps import plots, studies
from overlaps.studies import _relearning
from tests.figure_checks import faults

NET = ov.Overlaps.random(0, scale=1.5)
RNN = ov.RNN(dt=0.1)
RATES = (0.3, 0.8)
A, B = (ov.tasks.exponential_filter(rate, horizon=4.0) for rate in RATES)
RATE, STEPS, DURATIONS = 0.02, 80, (0.0, 0.2, 1.0)  # 80 steps: each is saved in the last, longest window of 40 steps
RULE = ov.GradientDescent(RATE, STEPS)
SEEN = np.zeros((4, 4), bool)  # zm, zu, vm, vu in the order m, u, v, z
SEEN[2:, :2] = SEEN[:2, 2:] = True


def response(zm, zu, vm, vu, samples=40, dt=0.1):
    """Impulse response of a linear rank-1 network under Euler steps, with time constant 1."""
    km, k, values = 1.0, 0.0, []
    for _ in range(samples):
        values.append(zm * km + zu * k)
        km, k = (1 - dt) * km, k + dt * (-k + vm * km + vu * k)
    return np.array(values)


def loss_and_slopes(gram, rate):
    """The loss of an exponential filter and S = Gamma + Gamma^T, by complex steps in the four visible overlaps."""
    visible = np.array([gram[3, 0], gram[3, 1], gram[2, 0], gram[2, 1]])
    target = np.exp(-rate * 0.1 * np.arange(40))

    def loss(values):
        return 0.1 * np.sum((response(*values) - target) ** 2)

    slopes = np.zeros((4, 4))
    for place, (row, column) in enumerate(((3, 0), (3, 1), (2, 0), (2, 1))):
        shifted = visible.astype(complex)
        shifted[place] += 1e-30j
        slopes[row, column] = slopes[column, row] = loss(shifted).imag / 1e-30
    return loss(visible), slopes


def descend(gram, rate, steps):
    """The loss before each step and at the end of plain descent G <- (1 - eta S) G (1 - eta S), and the last matrix."""
    losses = []
    for _ in range(steps):
        loss, slopes = loss_and_slopes(gram, rate)
        losses.append(loss)
        step = np.eye(4) - RATE * slopes
        gram = step @ gram @ step
    return np.array([*losses, loss_and_slopes(gram, rate)[0]]), gram


def learning_time(losses, level):
    """Where the logarithm of the loss crosses the level, between two steps."""
    if losses[0] <= level:
        return 0.0
    after = int(np.argmax(losses <= level))
    return RATE * float(np.interp(-np.log(level), -np.log(losses[after - 1 : after + 1]), [after - 1, after]))


@pytest.fixture(scope="module")
def dataset():
    return studies.savings(NET, [A, B], RNN, RULE, DURATIONS, criterion=0.2, n=8, draws=1)


@pytest.fixture(scope="module")
def matrix():
    return studies.transfer(NET, {"A": A, "B": B}, RNN, RULE, criterion=0.2, n=8, draws=1)


def test_learning_times_between_saved_points():
    time = np.array([0.0, 1.0, 1.5, 4.0])
    loss = np.exp(-2.0 * time)
    levels = np.array([2.0, 1.0, 0.3, np.exp(-3.0), 1e-3])
    found = _relearning.time_to(levels, time, np.broadcast_to(loss, (5, 4)))
    # A loss that decays as an exponential is met exactly, however far apart the saved points are.
    np.testing.assert_allclose(found, np.maximum(-np.log(levels) / 2, 0.0), rtol=1e-14, atol=1e-14)
    assert _relearning.time_to(1e-4, time, loss) == np.inf
    assert _relearning.time_to(0.5, time, np.array([1.0, 0.6, 0.0, 0.0])) == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(_relearning.time_to(1e-4, time, np.array([1.0, 2.0, np.nan, np.nan])))
    assert _relearning.time_to(0.7, time, np.array([1.0, 0.5, np.nan, np.nan])) < 1.0
    assert _relearning.time_to(0.7, time, np.array([1.0, 0.5, 2.0, 2.0])) < 1.0  # the first time, not the last one


@pytest.mark.parametrize("phi", ["linear", "erf"])
def test_the_control_keeps_the_function_and_takes_the_invisible_overlaps_of_the_start(phi):
    rnn = ov.RNN(phi, dt=0.1)
    start = ov.Overlaps(np.diag([1.0, 1.0, 5.0, 5.0]) if phi == "erf" else np.eye(4))
    change = np.array([[1, 0.5, 0.3, 0.4], [0.2, 1, 0.6, -0.5], [0, 0.3, 1.1, 0.2], [0.4, 0, 0.1, 0.9]])
    gram = change.T @ start.gram @ change
    start = ov.Overlaps(start.gram if phi == "erf" else 5 * np.eye(4))
    tight = np.diag([0.4, 0.4, 0.1, 0.2])  # leaves no room for the new visible overlaps
    after = ov.Overlaps(np.stack([gram, gram]))
    control, shift = _relearning.without_history(after, np.stack([start.gram, tight]), rnn)
    seen = NET.layout.matrix(np.array(rnn.visible(NET.layout))).astype(bool)
    free = np.diag(np.diagonal(~seen).astype(float))
    assert shift[0] == 0
    np.testing.assert_allclose(control.gram[0], np.where(seen, gram, start.gram), atol=1e-13)
    wanted = np.where(seen, gram, tight)
    found = scipy.optimize.brentq(lambda t: np.linalg.eigvalsh(wanted + t * free)[0], 0.01, 50.0, xtol=1e-13)
    assert shift[1] == pytest.approx(found, abs=1e-10)
    np.testing.assert_allclose(control.gram[1], wanted + shift[1] * free, atol=1e-12)
    for one in control.gram:
        assert studies.functionally_equal(ov.Overlaps(gram), ov.Overlaps((one + one.T) / 2), rnn)
    network = after.sample(30, jax.random.split(jax.random.key(0), 2))
    moved, same = _relearning.without_history(network, np.stack([start.gram, tight]), rnn)
    np.testing.assert_allclose(moved.overlaps().gram, control.gram, atol=1e-12)
    np.testing.assert_allclose(same, shift, atol=1e-12)
    if phi == "erf":  # m and u drive the neurons: they stay, so that the activity of a finite network stays, too
        np.testing.assert_allclose(moved.u, network.u, atol=1e-12)
        np.testing.assert_allclose(moved.m, network.m, atol=1e-12)


@pytest.mark.slow
def test_savings_against_plain_descent(dataset):
    first, trained = descend(np.asarray(NET.gram), RATES[0], STEPS)
    level = 0.2 * first[0]
    reference = learning_time(first, level)
    theory = dataset.isel(source=0, noise=0, draw=0)
    assert float(theory["first_time"]) == pytest.approx(reference, rel=1e-10)
    for index, duration in enumerate(DURATIONS):
        steps = round(duration / RATE)
        for interlude, rate in (("B", RATES[1]), ("rest", RATES[0])):
            after = descend(trained, rate, steps)[1]
            control = np.where(SEEN, after, NET.gram)
            assert np.linalg.eigvalsh(control)[0] > 0
            alone = descend(np.asarray(NET.gram), rate, steps)[1]
            times = [learning_time(descend(gram, RATES[0], STEPS)[0], level) for gram in (after, control, alone)]
            found = theory.isel(duration=index).sel(interlude=interlude)
            np.testing.assert_allclose(found["learning_time"].values[:2], times[:2], rtol=1e-10)
            np.testing.assert_allclose(found["savings"].values[:2], 1 - np.array(times[:2]) / reference, rtol=1e-9)
            assert float(found["invisible_part"]) == pytest.approx((times[1] - times[0]) / reference, abs=1e-10)
            assert float(found["control_shift"]) == 0
            if interlude == "B":
                assert float(found["learning_time"][2]) == pytest.approx(times[2], rel=1e-10)
                assert float(found["memory_of_first"]) == pytest.approx((times[2] - times[0]) / reference, rel=1e-9)
            else:
                assert np.isnan(found["learning_time"][2])
    # The effect that the study is about is there, and it is invisible at the beginning of relearning.
    last = theory.isel(duration=-1).sel(interlude="B")
    assert float(last["speed_up"]) > 1.02
    assert float(last["loss"][0, 0]) == pytest.approx(float(last["loss"][1, 0]), rel=1e-12)


@pytest.mark.slow
def test_transfer_against_plain_descent(matrix):
    theory = matrix.isel(source=0, draw=0)
    start = np.asarray(NET.gram)
    curves = [descend(start, rate, STEPS) for rate in RATES]
    levels = [0.2 * losses[0] for losses, _ in curves]
    from_start = np.array([learning_time(losses, level) for (losses, _), level in zip(curves, levels, strict=True)])
    np.testing.assert_allclose(theory["start_time"], from_start, rtol=1e-10)
    for history, change in (("after the first task", lambda gram: gram), ("visible", lambda gram: np.where(SEEN, gram, start))):
        found = theory.isel(history=0 if history.startswith("after") else 1)
        logarithms = []
        for first, second in ((0, 1), (1, 0)):
            time = learning_time(descend(change(curves[first][1]), RATES[second], STEPS)[0], levels[second])
            assert float(found["learning_time"][first, second]) == pytest.approx(time, rel=1e-10)
            assert float(found["speed"][first, second]) == pytest.approx(from_start[second] / time, rel=1e-10)
            logarithms.append(np.log(from_start[second] / time))
        np.testing.assert_allclose(found["asymmetry"], (logarithms[0] - logarithms[1]) * np.array([[0, 1], [-1, 0]]), atol=1e-9)
        np.testing.assert_array_equal(np.diagonal(found["learning_time"]), 0.0)
    parts = theory["asymmetry"][0] - theory["asymmetry"][1]
    np.testing.assert_allclose(theory["invisible_asymmetry"], parts, atol=1e-12)
    assert abs(float(parts[0, 1])) > 0.01


@pytest.mark.slow
def test_networks_do_what_the_theory_says(dataset, matrix):
    for study in (dataset, matrix):
        for name in ("loss", "learning_time"):
            theory, network = (study[name].sel(source=source).values for source in ("theory", "networks"))
            np.testing.assert_allclose(network, theory, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_label_noise_reaches_theory_and_network_alike_and_moves_what_rests():
    noisy = studies.savings(NET, [A, B], RNN, RULE, [0.4, 40.0], [0.0, 0.7], criterion=0.005, n=8, draws=2, key=4)
    theory, network = (noisy["loss"].isel(duration=0).sel(source=source).values for source in ("theory", "networks"))
    np.testing.assert_allclose(network, theory, rtol=1e-9, atol=1e-12)
    # Long noise moves the network to smaller invisible self-overlaps, and so takes the advantage away.
    long = noisy["speed_up"].isel(source=0).sel(interlude="B", duration=40.0)
    assert np.all(long.sel(noise=0.0) > 1.05)
    assert np.all(long.sel(noise=0.7) < 1.03)
    rest = noisy.isel(source=0, protocol=0, duration=0).sel(interlude="rest")["loss"].isel(time=0)
    assert np.all(rest.sel(noise=0.7) > 2 * rest.sel(noise=0.0))
    drawn = noisy["loss"].isel(source=0, protocol=0, time=0).sel(interlude="B", noise=0.7).values.ravel()
    assert drawn[0] != drawn[1]
    without = noisy["loss"].isel(source=0, protocol=0, time=0).sel(interlude="B", noise=0.0).values.ravel()
    assert without[0] == without[1]


@pytest.mark.slow
@pytest.mark.parametrize(("stronger", "faster"), [({}, True), ({"zm": 3.0, "zu": 1.5, "vm": 1.5, "vu": 0.5}, False)])
def test_the_effect_has_the_sign_of_the_change_of_invisible_self_overlaps(stronger, faster):
    # Visible overlaps B move as dB/ds = -(C Gamma + Gamma A), so invisible self-overlaps (traces of A and C) set the speed.
    start = ov.Overlaps.random(0, scale=2.0).replace(**stronger)
    found = studies.savings(start, [A, B], RNN, RULE, DURATIONS, criterion=0.02, draws=1)
    found = found.isel(source=0, noise=0, draw=0).sel(interlude="B")
    assert np.all(found["control_shift"] == 0)
    gram = descend(np.asarray(start.gram), RATES[0], STEPS)[1]
    for duration, speed_up in zip(DURATIONS[1:], found["speed_up"].values[1:], strict=True):
        after = descend(gram, RATES[1], round(duration / RATE))[1]
        assert (np.trace(after) > np.trace(start.gram)) == faster
        assert (speed_up > 1.01) == faster
        assert (speed_up < 0.65) == (not faster)


@pytest.mark.slow
def test_sizes_of_linear_effects_in_the_documents():
    savings = studies.savings(NET, durations=[10.0], draws=1).isel(source=0, duration=0, noise=0, draw=0).sel(interlude="B")
    np.testing.assert_allclose(savings["savings"], [0.856, 0.845, 0.761], atol=6e-4)
    assert float(savings["speed_up"]) == pytest.approx(1.080, abs=6e-4)
    transfer = studies.transfer(NET, draws=1).isel(source=0, draw=0)
    pairs = [transfer["asymmetry"].values[:, first, second] for first, second in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(pairs, [[0.927, 0.848], [-0.347, -0.560], [-0.334, -0.462]], atol=6e-4)
    speed_up = transfer["speed_up"].values[~np.eye(3, dtype=bool)]
    assert 1.06 < speed_up.min() < speed_up.max() < 1.32


@pytest.mark.slow
def test_sizes_of_effects_in_erf_networks_in_the_documents():
    rnn = ov.RNN("erf", dt=0.5)
    base = ov.Overlaps(4 * np.eye(4)).replace(zm=1.0, zu=1.0, vm=1.0, vu=0.8, mm=1.0, uu=1.0, mu=0.3)
    inputs = {"trials": 8, "duration": 6.0, "pulse": 2.0, "length": 2.0, "noise": 1.0}
    tasks = [ov.tasks.teacher(one, rnn, 0, **inputs) for one in (base, base.replace(zu=-0.5, vu=0.3))]
    net = ov.Overlaps.random(0).replace(vv=3.0, zz=3.0)
    found = studies.savings(net, tasks, rnn, ov.GradientDescent(0.1, 600), [30.0, 300.0], criterion=0.1, draws=1)
    found = found.isel(source=0, noise=0, draw=0).sel(interlude="B")
    assert np.all(found["control_shift"] == 0)
    np.testing.assert_allclose(found["savings"], [[0.584, 0.671], [0.513, 0.601], [-0.542, 0.646]], atol=6e-4)
    np.testing.assert_allclose(found["speed_up"], [1.171, 1.215], atol=6e-4)


@pytest.mark.slow
def test_perfect_twins_have_the_same_savings():
    # G + eps J has another history-free control, and other invisible overlaps for ever, but no flow tells the two apart.
    # J = diag(1 on m and u, -1 on v and z) (docs: what learning cannot reveal).
    twin = ov.Overlaps(NET.gram + 0.4 * np.diag([1.0, 1.0, -1.0, -1.0]))
    rule, names = ov.GradientFlow(4.0, rtol=1e-10, atol=1e-12), ("learning_time", "speed_up", "invisible_part")
    one, other = (studies.savings(net, [A, B], RNN, rule, [0.5], draws=1) for net in (NET, twin))
    for name in names:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-6)
    assert float(one["speed_up"].sel(interlude="B").item()) > 1.02
    # A start that is no twin: only invisible overlaps differ, and the learning times do.
    third = studies.savings(NET.replace(uu=4.0), [A, B], RNN, rule, [0.5], draws=1)
    assert abs(third["first_time"] / one["first_time"] - 1).item() > 0.05


def orthogonal(which):
    """A task on one of two inputs and outputs, which leaves the other output free."""
    inputs, mask = np.zeros((1, 10, 2)), np.zeros((1, 10, 2))
    inputs[:, :5, which], mask[..., which] = 1.0, 1.0
    return ov.tasks.Trials(inputs, np.full((1, 10, 2), 0.5), mask, dt=0.2)


@pytest.mark.slow
def test_tasks_that_share_nothing_leave_each_other_alone():
    # From uncorrelated vectors, one task moves z1 and m1 alone, and the other one z2 and m2.
    net, tasks = ov.Overlaps(2 * np.eye(6), 2, 1, 2), [orthogonal(0), orthogonal(1)]
    rule = ov.GradientDescent(0.1, 40)
    dataset = studies.savings(net, tasks, ov.RNN(dt=0.2), rule, [2.0], criterion=0.8, draws=1).isel(source=0, duration=0)
    kept, alone = dataset["savings"].sel(protocol=["A again", "B alone"], interlude="B").values.ravel()
    assert dataset["first_time"] > 0
    assert kept == 1
    assert alone == pytest.approx(0.0, abs=1e-12)
    matrix = studies.transfer(net, dict(zip("AB", tasks, strict=True)), ov.RNN(dt=0.2), rule, 0.8, draws=1).isel(draw=0)
    speed = matrix["speed"].isel(source=0).sel(history="after the first task").values
    np.testing.assert_allclose([speed[0, 1], speed[1, 0]], 1.0, rtol=1e-12)
    np.testing.assert_allclose(matrix["asymmetry"].isel(history=0), 0.0, atol=1e-12)


@pytest.mark.slow
def test_limits_of_the_interlude(dataset):
    first = dataset.isel(duration=0, noise=0, draw=0)
    assert np.all(first["learning_time"].sel(protocol="A again") == 0)
    assert np.all(first["savings"].sel(protocol="A again") == 1)
    assert np.all(first["speed_up"] == 1)
    np.testing.assert_allclose(first["savings"].sel(protocol="B alone", interlude="B"), 0.0, atol=1e-12)
    np.testing.assert_array_equal(dataset["savings"].sel(protocol="A again", interlude="rest"), 1.0)
    same = studies.savings(NET, [A, A], RNN, RULE, DURATIONS, criterion=0.2, n=8, draws=1)
    np.testing.assert_array_equal(same["savings"].sel(interlude="B", protocol="A again"), 1.0)
    np.testing.assert_array_equal(same["loss"].isel(interlude=0)[:, :2], same["loss"].isel(interlude=1)[:, :2])
    # After A for the time t, what A still takes is the first learning time less t.
    left = same["learning_time"].sel(interlude="B", protocol="B alone").isel(source=0).values.ravel()
    expected = np.maximum(same["first_time"].values[0, 0] - np.array(DURATIONS), 0.0)
    np.testing.assert_allclose(left, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_criterion_that_is_never_reached(dataset, matrix):
    # After the opposite of A, the few steps that were enough at first no longer are.
    opposite = ov.tasks.exponential_filter(0.8, -1.0, horizon=4.0)
    few = ov.GradientDescent(RATE, 6)
    worse = studies.savings(NET, [A, opposite], RNN, few, [1.6], criterion=0.8, draws=1).isel(source=0, noise=0, draw=0)
    assert np.isfinite(worse["first_time"])
    assert np.all(np.isposinf(worse["learning_time"].sel(protocol="A again", interlude="B")))
    assert np.all(np.isneginf(worse["savings"].sel(protocol="A again", interlude="B")))
    with pytest.warns(RuntimeWarning, match="1 of 1 networks do not bring A down to the criterion within 80 "):
        never = studies.savings(NET, [A, B], RNN, RULE, [0.2], criterion=1e-9, draws=1)
    assert np.all(np.isposinf(never["first_time"]))
    assert np.all(np.isnan(never["savings"]))
    plots.plot_savings(never)  # without savings to draw, and without a warning
    with pytest.warns(RuntimeWarning, match="do not bring task [AB] down"):
        never = studies.transfer(NET, {"A": A, "B": B}, RNN, RULE, criterion=1e-9, draws=1)
    assert np.all(np.isnan(never["speed"]))


@pytest.mark.slow
def test_both_studies_say_what_they_predict_and_run_again(dataset, matrix, tmp_path):
    for study, draw in ((dataset, plots.plot_savings), (matrix, plots.plot_transfer)):
        assert {"prediction", "assumption"} < set(study.attrs)
        study.to_netcdf(tmp_path / f"{draw.__name__}.nc")
        loaded = xr.load_dataset(tmp_path / f"{draw.__name__}.nc")
        xr.testing.assert_identical(loaded, study)
        xr.testing.assert_identical(ov.rerun(loaded), study)
        draw(loaded)
    figure = plots.plot_savings(dataset)
    assert faults(figure) == []
    left, middle, right = figure.axes
    np.testing.assert_array_equal(
        left.lines[0].get_ydata(), dataset["savings"].isel(source=0, protocol=0, interlude=0, noise=0, draw=0)
    )
    assert [line.get_label() for line in middle.lines if not line.get_label().startswith("_")] == [
        "A again",
        "visible overlaps alone",
    ]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), dataset["speed_up"].isel(source=0, interlude=0, noise=0, draw=0))
    figure = plots.plot_transfer(matrix)
    assert faults(figure) == []
    axes = figure.axes
    texts = [text.get_text() for text in axes[0].texts]
    assert texts[0] == "at once\nat once"
    assert texts[1].split("\n")[0] == f"{float(matrix['speed'][0, 0, 0, 1, 0]):.3g}"
    heights = [patch.get_height() for patch in axes[2].patches]
    np.testing.assert_allclose(heights, matrix["asymmetry"].isel(source=0)[:, 0, 1, 0])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: studies.savings(NET, [A]), "`tasks` must be two tasks, A and B"),
        (lambda: studies.savings(NET.sample(9, 0)), "`state` must be a single Overlaps, but Network came"),
        (lambda: studies.savings(ov.Overlaps(np.ones((4, 4)))), "`state` must have a positive definite overlap matrix"),
        (lambda: studies.savings(NET, [A, 3]), r"`tasks\['B'\]` must be a single task that draws no random samples.*but int"),
        (
            lambda: studies.savings(NET, [ov.tasks.label_noise(A, 0.1), B]),
            r"`tasks\['A'\]` must .* but LabelNoise draws samples",
        ),
        (lambda: studies.savings(NET, rnn=3), "`rnn` must be an RNN"),
        (lambda: studies.savings(NET, rule=3), "`rule` must be a GradientFlow or a GradientDescent"),
        (lambda: studies.savings(NET, rule=ov.GradientFlow(1.0, stop_loss=0.1)), "`rule` must run for a given time"),
        (lambda: studies.savings(NET, rule=ov.GradientDescent([0.1, 0.2])), "`rule` must have a single learning rate"),
        (
            lambda: studies.savings(NET, [A, B], RNN, RULE, durations=[0.02, 0.021]),
            "`durations` must be different numbers of at least 0.*Whole steps of 0.02 came from",
        ),
        (lambda: studies.savings(NET, durations=[1.0, -1.0]), "`durations` must be different numbers of at least 0"),
        (lambda: studies.savings(NET, noise=[1.0, 1.0]), "`noise` must be different numbers of at least 0"),
        (lambda: studies.savings(NET, noise=0.1), "`rule` must be a GradientDescent for an interlude with label noise"),
        (lambda: studies.savings(NET, criterion=1.0), "`criterion` must be a fraction of the initial loss, below 1"),
        (lambda: studies.savings(NET, key=jax.random.split(jax.random.key(0), 2)), "`key` must be a single key"),
        (lambda: studies.transfer(NET, {"A": A}), r"`tasks` must be a mapping from names \(strings\) to at least two tasks"),
        (lambda: studies.transfer(NET, [A, B]), r"`tasks` must be a mapping from names \(strings\) to at least two tasks"),
        (lambda: studies.transfer(NET, {1: A, 2: B}), r"`tasks` must be a mapping from names \(strings\)"),
        (lambda: plots.plot_savings(xr.Dataset()), "`dataset` must be a result of studies.savings"),
        (lambda: plots.plot_transfer(xr.Dataset()), "`dataset` must be a result of studies.transfer"),
    ],
)
def test_bad_input_gets_one_clear_error(act, message):
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.slow
def test_errors_that_only_learning_shows():
    with pytest.raises(ValueError, match="`criterion` must lie below the loss at the start"):
        studies.savings(NET, [A, B], RNN, RULE, [0.2], criterion=1e3, absolute=True, draws=1)
