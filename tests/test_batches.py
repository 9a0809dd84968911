"""Batches (networks trained side by side): each network gives the same result as alone, whatever happens to the others."""

import json

import jax
import numpy as np
import pytest
import xarray as xr

import overlaps as ov

pytestmark = pytest.mark.slow

RNN = ov.RNN(dt=0.1)
A, B = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.tasks.exponential_filter(0.5, horizon=4.0)
DESCENT = ov.GradientDescent(1e-2, 40)
STATES = [ov.Overlaps.random(seed) for seed in range(3)]


def stack(states):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


BATCH = stack(STATES)


def reached(dataset):
    return json.loads(dataset.attrs["reached"])


def test_label_noise_on_a_batch_of_tasks_and_of_its_own(tmp_path):
    decays, stds = [0.1, 0.3], [0.2, 0.5]
    cases = [
        (ov.tasks.label_noise(ov.tasks.exponential_filter(decays, horizon=4.0), 0.2), zip(decays, [0.2, 0.2], strict=True)),
        (ov.tasks.label_noise(ov.tasks.exponential_filter(decays, horizon=4.0), stds), zip(decays, stds, strict=True)),
        (ov.tasks.label_noise(A, stds), zip([0.2, 0.2], stds, strict=True)),
    ]
    for task, pairs in cases:
        together = ov.learn(STATES[0], task, RNN, DESCENT, saves=5, key=3)
        for index, (decay, std) in enumerate(pairs):
            single = ov.tasks.label_noise(ov.tasks.exponential_filter(decay, horizon=4.0), std)
            alone = ov.learn(STATES[0], single, RNN, DESCENT, saves=5, key=3)
            np.testing.assert_allclose(together["sigma"][index], alone["sigma"], rtol=0, atol=1e-13)
        xr.testing.assert_identical(ov.rerun(together), together)
    for act, message in (
        (lambda: ov.tasks.label_noise(ov.tasks.exponential_filter(decays), [0.1, 0.2, 0.3]), "`std` must be one number, or 2"),
        (lambda: ov.tasks.label_noise(A, [0.1, -0.2]), "`std` must be a number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            act()


def test_legacy_keys_are_single_keys():
    noisy = ov.tasks.label_noise(A, 0.2)
    expected = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=3, key=jax.random.key(3))
    legacy = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=3, key=jax.random.PRNGKey(3))
    xr.testing.assert_identical(legacy, expected)
    several = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=3, key=jax.random.split(jax.random.PRNGKey(1), 4))
    typed = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=3, key=jax.random.split(jax.random.key(1), 4))
    xr.testing.assert_identical(several, typed)
    assert several.sizes["batch"] == 4
    np.testing.assert_array_equal(ov.Overlaps.random(jax.random.PRNGKey(5)).gram, ov.Overlaps.random(5).gram)
    with pytest.raises(ValueError, match=r"`key` must be a jax\.random key or an integer seed, but array\(\[1, 2, 3\]"):
        ov.learn(STATES[0], noisy, RNN, DESCENT, key=np.array([1, 2, 3], np.uint32))


@pytest.mark.filterwarnings("default:1 of 2 networks diverged")
@pytest.mark.parametrize(
    ("dt", "rate", "full", "later"),
    [
        (0.1, 0.225, False, [ov.Phase("B", B, ov.GradientFlow(0.2))]),
        # What is frozen in a lost network is lost as well.
        (None, 0.6, True, [ov.Phase("B", B, DESCENT), ov.Phase("C", A, ov.GradientDescent(1e-2, 20, rates={"m": 0.0}))]),
    ],
)
def test_a_network_that_diverged_stays_so_in_later_phases(dt, rate, full, later):
    rnn = ov.RNN(dt=dt)
    start = STATES[0].sample(9, 0) if full else STATES[0]
    first = ov.GradientDescent(1e-2, 200)
    risky = ov.GradientDescent(np.array([rate, 1e-2]), 200)
    with pytest.warns(RuntimeWarning, match="1 of 2 networks diverged .* first network 0") as warned:
        dataset = ov.learn(start, [ov.Phase("A", A, risky), *later], rnn, saves=5, key=0)
    assert sum("diverged" in str(one.message) for one in warned) == 1
    alone = ov.learn(start, [ov.Phase("A", A, first), *later], rnn, saves=5)
    np.testing.assert_allclose(dataset["sigma"][1], alone["sigma"], rtol=0, atol=1e-10)
    afterwards = dataset["phase"].values != "A"
    for name in ("sigma", "loss", "gradient_norm"):
        assert np.all(np.isnan(dataset[name][0, afterwards]))
    phases = 1 + len(later)
    assert json.loads(dataset.attrs["endings"]) == [["failed", "complete"]] * phases
    assert [one["loss"][0] for one in reached(dataset)] == [None] * phases
    if full:
        assert np.all(np.isnan(dataset["final_vectors"][0]))
    for broken in (dataset, dataset.isel(batch=0)):
        with pytest.raises(ValueError, match="reached"):
            ov.final_state(broken)
    end = ov.final_state(dataset.isel(batch=1)).overlaps().gram
    np.testing.assert_allclose(end, ov.final_state(alone).overlaps().gram, rtol=0, atol=1e-10)


def test_each_loss_of_a_network_is_told_once_and_the_last_one_ends_the_run():
    rule, wild = ov.GradientDescent(np.array([0.9, 1e-2]), 100), ov.GradientDescent(0.9, 100)
    with (
        pytest.warns(RuntimeWarning, match="1 of 2 networks diverged"),
        pytest.raises(ov.DivergenceError, match="Learning stopped: at step") as caught,
    ):
        ov.learn(STATES[0], [ov.Phase("A", A, rule), ov.Phase("B", B, wild)], RNN, saves=3)
    assert caught.value.dataset.sizes["batch"] == 2
    rule = ov.GradientDescent(np.array([1e-2, 0.9, 0.3]), 300)
    with pytest.warns(RuntimeWarning) as warned:
        ov.learn(STATES[0], A, RNN, rule, saves=301)
    told = [str(one.message) for one in warned]
    assert sum(message.count("of 3 networks") for message in told) == len(told)
    assert sum(int(message.split(" of ")[0]) for message in told) == 2


@pytest.mark.parametrize(
    "rule", [ov.GradientDescent(1e-2, 3000, stop_loss=1e-2), ov.GradientFlow(9.0, stop_loss=1e-2), DESCENT]
)
def test_networks_of_a_batch_keep_the_times_at_which_they_stopped(rule, tmp_path):
    phases = [ov.Phase("A", A, rule), ov.Phase("B", B, DESCENT)]
    together = ov.learn(BATCH, phases, RNN, saves=5)
    times = together["time" if rule is DESCENT else "learning_time"]
    switch = int(np.argmax(together["phase"].values == "B"))
    for index, state in enumerate(STATES):
        alone = ov.learn(state, phases, RNN, saves=5)
        np.testing.assert_allclose(together["sigma"][index, -1], alone["sigma"][-1], rtol=0, atol=1e-12)
        for one, other in zip(reached(together), reached(alone), strict=True):
            for name, value in other.items():
                assert one[name][index] == pytest.approx(value, abs=1e-12)
        own = times if rule is DESCENT else times[index]
        np.testing.assert_allclose(own[[switch - 1, switch]], alone["time"][alone["phase"] == "B"][0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(own[-1], alone["time"][-1], rtol=0, atol=1e-12)
        assert np.all(np.diff(own) >= 0)
        if "step" in alone.coords:
            steps = together["step"] if rule is DESCENT else together["step"][index]
            assert steps[-1] == alone["step"][-1]
    assert rule is DESCENT or np.ptp(times.values[:, -1]) > 0.1
    together.to_netcdf(tmp_path / "stops.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "stops.nc"), together)


def test_what_was_reached_is_written_down():
    dataset = ov.learn(STATES[0], A, RNN, ov.GradientDescent(1e-2, 3000, stop_loss=1e-2))
    assert reached(dataset) == [
        {name: pytest.approx(float(dataset[name][-1])) for name in ("gradient_norm", "loss", "step", "time")}
    ]
    assert 0.0 < reached(dataset)[0]["loss"] <= 1e-2


def test_networks_and_targets_of_all_speeds_share_a_batch_in_continuous_time():
    networks = [ov.Overlaps.random(seed, n=20, scale=scale).sample(6, seed) for seed, scale in ((0, 0.5), (1, 4.0))]
    slow_and_fast, fast = (ov.tasks.exponential_filter(decay, horizon=4.0) for decay in ([0.1, 200.0], 200.0))
    for states, task, one, its_task in ((stack(networks), A, networks[1], A), (STATES[0], slow_and_fast, STATES[0], fast)):
        together = ov.learn(states, task, ov.RNN(), ov.GradientDescent(1e-3, 3), saves=2)
        assert np.all(np.isfinite(together["sigma"]))
        alone = ov.learn(one, its_task, ov.RNN(), ov.GradientDescent(1e-3, 3), saves=2)  # the fast one
        np.testing.assert_allclose(together["sigma"][1], alone["sigma"], rtol=0, atol=1e-12)


def test_parts_of_a_batch_start_and_run_again():
    tasks, rates = ov.tasks.exponential_filter([0.1, 0.2, 0.4], horizon=4.0), ov.GradientDescent([1e-2, 2e-2, 5e-3], 20)
    keys = jax.random.split(jax.random.key(0), 3)
    noisy = [ov.Phase("A", ov.tasks.label_noise(tasks, 0.3), rates), ov.Phase("B", A, DESCENT)]
    whole = ov.learn(BATCH, noisy, RNN, saves=3, key=keys)
    for chosen in (1, [2, 0], slice(1, None)):
        part = whole.isel(batch=chosen)
        np.testing.assert_array_equal(ov.initial_state(part).gram, BATCH.gram[chosen])
        again = ov.rerun(part)
        np.testing.assert_allclose(again["sigma"], part["sigma"], rtol=0, atol=1e-13)
        np.testing.assert_allclose(ov.final_state(again).gram, ov.final_state(part).gram, rtol=0, atol=1e-13)
    networks = stack([state.sample(7, 0) for state in STATES])
    part = ov.learn(networks, A, RNN, DESCENT, saves=3).isel(batch=2)
    np.testing.assert_array_equal(ov.initial_state(part).m, networks.m[2])
    np.testing.assert_allclose(ov.rerun(part)["sigma"], part["sigma"], rtol=0, atol=1e-13)
    for act in (ov.initial_state, ov.rerun):
        with pytest.raises(ValueError, match="`dataset` must have the coordinate `batch`"):
            act(whole.isel(batch=0, drop=True))


def test_a_single_loss_is_not_asked_of_a_batch():
    several = ov.tasks.exponential_filter([0.1, 0.2])
    for act, message in (
        (lambda: A.loss(BATCH, RNN), "`state` must be a single one to have a loss, but a batch of 3 came"),
        (lambda: A.loss(BATCH, ov.RNN()), "`state` must be a single one"),
        (lambda: several.loss(STATES[0], RNN), "`task` must be a single one to have a loss, but a batch of 2 came"),
        (lambda: ov.tasks.label_noise(several, 0.1).loss(STATES[0], RNN), "`task` must be a single one"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
    mapped = jax.vmap(lambda state: A.loss(state, RNN))(BATCH)
    np.testing.assert_allclose(mapped, [A.loss(state, RNN) for state in STATES], rtol=1e-13)


def test_a_batch_is_prepared_as_a_whole(monkeypatch):
    calls = []
    objective = ov.tasks.LinearFilter.objective
    monkeypatch.setattr(ov.tasks.LinearFilter, "objective", lambda *given: calls.append(1) or objective(*given))
    for number in (2, 20):
        calls.clear()
        ov.learn(stack(STATES[:1] * number), A, RNN, ov.GradientDescent(1e-3, 2), saves=2)
        assert len(calls) == 2  # one for shapes, one for numbers, however many networks there are


@pytest.mark.parametrize("full", [False, True])
def test_a_network_that_is_unstable_at_a_phase_boundary_leaves_the_others_alone(full):
    rnn = ov.RNN()
    finite, infinite = ov.tasks.exponential_filter(-0.0, 1.0, horizon=3.0), ov.tasks.exponential_filter(0.2, horizon=None)
    stable = ov.Overlaps(np.eye(4)).replace(zm=0.5, vu=0.2)
    unstable = ov.Overlaps(2 * np.eye(4)).replace(zm=0.5, vu=1.5)  # activity grows: fine over a finite horizon alone
    states = [state.sample(6, 0) if full else state for state in (stable, unstable, stable.replace(vu=0.3))]
    phases = [ov.Phase("A", finite, ov.GradientDescent(1e-4, 5)), ov.Phase("B", infinite, ov.GradientDescent(1e-3, 5))]
    with pytest.warns(RuntimeWarning, match=r"1 of 3 networks cannot start phase 'B' .* networks \[1\] are unstable"):
        together = ov.learn(stack(states), phases, rnn, saves=3)
    in_b = together["phase"].values == "B"
    assert np.all(np.isnan(together["sigma"][1, in_b]))
    assert np.all(np.isfinite(together["sigma"][1, ~in_b]))
    for index in (0, 2):
        alone = ov.learn(states[index], phases, rnn, saves=3)
        np.testing.assert_allclose(together["sigma"][index], alone["sigma"], rtol=0, atol=1e-12)
    assert json.loads(together.attrs["endings"])[1] == ["complete", "failed", "complete"]
    with pytest.raises(ValueError, match=r"networks \[1\] diverged"):
        ov.final_state(together)
    # Without any network left, and at the very start, it is an error that names them.
    for batch, protocol in ((stack(states[1:2] * 2), phases), (stack(states), phases[1:])):
        with pytest.raises(ValueError, match=r"`state` must be a stable network .* networks .* of the batch"):
            ov.learn(batch, protocol, rnn, saves=3)


def test_a_network_too_fast_for_a_phase_leaves_the_others_alone():
    slow, fast = ov.Overlaps(np.eye(4)), ov.Overlaps(np.diag([1.0, 1e4, 1e4, 1.0]))
    task, rule = ov.tasks.exponential_filter(0.2, horizon=20.0), ov.GradientDescent(1e-9, 2)
    phases = [ov.Phase("short", ov.tasks.exponential_filter(0.2, horizon=1.0), rule), ov.Phase("long", task, rule)]
    with pytest.warns(RuntimeWarning, match=r"networks \[1\] are unstable, or too fast"):
        dataset = ov.learn(stack([slow.sample(4, 0), fast.sample(4, 0)]), phases, ov.RNN(), saves=2)
    assert np.isfinite(dataset["loss"][0]).all()
