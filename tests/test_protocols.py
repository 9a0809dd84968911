"""Training in several phases one after the other, and of several networks side by side."""

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov

pytestmark = pytest.mark.slow

RNN = ov.RNN(dt=0.1)
A, B = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.tasks.exponential_filter(0.5, horizon=4.0)
DESCENT = ov.GradientDescent(1e-2, 40)
STATES = [ov.Overlaps.random(seed) for seed in range(5)]
BATCH = jax.tree.map(lambda *leaves: np.stack(leaves), *STATES)


def test_a_protocol_is_its_phases_one_after_the_other(tmp_path):
    noisy = ov.tasks.label_noise(B, 0.1)
    phases = [ov.Phase("A", A, DESCENT), ov.Phase("B", noisy, ov.GradientDescent(5e-3, 30)), ov.Phase("A again", A, DESCENT)]
    for start in (STATES[0], STATES[0].sample(9, 0)):
        whole = ov.learn(start, phases, RNN, saves=11, key=7)
        state, offset = start, 0.0
        for index, phase in enumerate(phases):
            key = jax.random.fold_in(jax.random.key(7), index)
            alone = ov.learn(state, phase.task, RNN, phase.rule, saves=11, key=key)
            part = whole.isel(time=whole["phase"].values == phase.name)
            np.testing.assert_allclose(part["sigma"], alone["sigma"], atol=1e-12)
            np.testing.assert_allclose(part["loss"], alone["loss"], atol=1e-12)
            np.testing.assert_allclose(part["time"], alone["time"] + offset, atol=1e-14)
            state, offset = ov.final_state(alone), offset + float(alone["time"][-1])
        np.testing.assert_array_equal(whole["step"][[0, 10, 11, 21, 22, 32]], [0, 40, 40, 70, 70, 110])
        np.testing.assert_allclose(ov.final_state(whole).overlaps().gram, state.overlaps().gram, atol=1e-12)
        whole.to_netcdf(tmp_path / "protocol.nc")
        loaded = xr.load_dataset(tmp_path / "protocol.nc")
        xr.testing.assert_identical(loaded, whole)
        xr.testing.assert_identical(ov.rerun(loaded), whole)


def test_flows_and_descents_mix_and_stops_shorten_the_time():
    phases = [
        ov.Phase("flow", A, ov.GradientFlow(50.0, stop_loss=1e-3)),
        ov.Phase("descent", B, ov.GradientDescent(1e-2, 5000, stop_loss=1e-3)),
    ]
    dataset = ov.learn(STATES[0], phases, RNN, saves=21)
    assert dataset.attrs["endings"] == '["stop_loss", "stop_loss"]'
    assert "step" not in dataset.coords
    assert np.all(np.diff(dataset["time"]) >= 0)
    boundary = dataset["time"].values[np.flatnonzero(dataset["phase"].values == "descent")[0]]
    assert boundary == dataset["time"].values[dataset["phase"].values == "flow"][-1] < 50.0
    assert dataset["loss"].values[-1] <= 1e-3


@pytest.mark.parametrize("rule", [DESCENT, ov.GradientDescent(1e-2, 900, stop_loss=1e-2)])
def test_a_batch_is_its_networks(rule, tmp_path):
    together = ov.learn(BATCH, A, RNN, rule, saves=31)
    assert together["sigma"].dims == ("batch", "time", "overlap")
    assert together["loss"].dims == ("batch", "time")
    for index, state in enumerate(STATES):
        alone = ov.learn(state, A, RNN, rule, saves=31)
        count = alone.sizes["time"] - 1
        np.testing.assert_allclose(together["sigma"][index, :count], alone["sigma"][:count], atol=1e-12)
        # A network that stopped early stays where it stopped.
        np.testing.assert_allclose(together["sigma"][index, -1], alone["sigma"][-1], atol=1e-12)
        np.testing.assert_allclose(together["loss"][index, -1], alone["loss"][-1], atol=1e-12)
        np.testing.assert_allclose(ov.final_state(together).gram[index], ov.final_state(alone).gram, atol=1e-12)
    together.to_netcdf(tmp_path / "batch.nc")
    loaded = xr.load_dataset(tmp_path / "batch.nc")
    xr.testing.assert_identical(ov.rerun(loaded), together)


def test_networks_among_sixty_four_in_one_batch_are_single_calls():
    keys = jax.random.split(jax.random.key(0), 64)
    batch = jax.vmap(lambda key: ov.Overlaps.random(key, rank=2))(keys)
    together = ov.learn(batch, A, RNN, DESCENT, saves=5)
    for index in range(0, 64, 9):
        alone = ov.learn(ov.Overlaps.random(keys[index], rank=2), A, RNN, DESCENT, saves=5)
        np.testing.assert_allclose(together["sigma"][index], alone["sigma"], rtol=0, atol=1e-12)


def test_networks_in_a_batch():
    networks = [state.sample(7, 0) for state in STATES]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    theory, simulation = ov.learn(BATCH, A, RNN, DESCENT), ov.learn(batch, A, RNN, DESCENT)
    np.testing.assert_allclose(theory["sigma"], simulation["sigma"], atol=1e-12)
    assert simulation["final_vectors"].dims == ("batch", "neuron", "vector")
    assert ov.final_state(simulation).m.shape == (5, 7, 1)


def test_batches_of_tasks_rates_and_keys():
    decays, rates = np.array([0.1, 0.2, 0.4]), np.array([1e-2, 2e-2, 5e-3])
    together = ov.learn(
        STATES[0], ov.tasks.exponential_filter(decays, horizon=4.0), RNN, ov.GradientDescent(rates, 40), saves=5
    )
    assert together["learning_time"].dims == ("batch", "time")
    for index, (decay, rate) in enumerate(zip(decays, rates, strict=True)):
        task = ov.tasks.exponential_filter(decay, horizon=4.0)
        alone = ov.learn(STATES[0], task, RNN, ov.GradientDescent(rate, 40), saves=5)
        np.testing.assert_allclose(together["sigma"][index], alone["sigma"], atol=1e-12)
        np.testing.assert_allclose(together["learning_time"][index], alone["time"], atol=1e-14)
    noisy = ov.tasks.label_noise(A, 0.2)
    keys = jax.random.split(jax.random.key(1), 3)
    together = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=5, key=keys)
    for index, key in enumerate(keys):
        alone = ov.learn(STATES[0], noisy, RNN, DESCENT, saves=5, key=key)
        np.testing.assert_allclose(together["sigma"][index], alone["sigma"], atol=1e-12)
    protocol = ov.learn(BATCH, [ov.Phase("A", A, DESCENT), ov.Phase("B", B, DESCENT)], RNN, saves=5)
    assert protocol["sigma"].shape == (5, 10, 10)
    single = ov.learn(STATES[2], [ov.Phase("A", A, DESCENT), ov.Phase("B", B, DESCENT)], RNN, saves=5)
    np.testing.assert_allclose(protocol["sigma"][2], single["sigma"], atol=1e-12)


def test_a_network_that_diverges_does_not_take_the_batch_with_it():
    rule = ov.GradientDescent(np.array([1e-2, 0.9, 2e-2]), 200)
    with pytest.warns(RuntimeWarning, match=r"1 of 3 networks diverged .* first network 1, at step \d+"):
        dataset = ov.learn(STATES[0], A, RNN, rule, saves=21)
    assert np.all(np.isfinite(dataset["sigma"][[0, 2]]))
    assert np.isnan(dataset["loss"][1, -1])
    assert dataset.attrs["endings"] == '[["complete", "failed", "complete"]]'
    alone = ov.learn(STATES[0], A, RNN, ov.GradientDescent(2e-2, 200), saves=21)
    np.testing.assert_allclose(dataset["sigma"][2], alone["sigma"], atol=1e-12)
    with pytest.raises(ValueError, match=r"networks \[1\] diverged"):
        ov.final_state(dataset)
    assert ov.final_state(dataset.isel(batch=[0, 2])).gram.shape == (2, 4, 4)
    with pytest.raises(ov.DivergenceError) as caught:
        ov.learn(BATCH, A, RNN, ov.GradientDescent(0.9, 200), saves=21)
    assert caught.value.dataset.sizes["batch"] == 5


def test_all_phases_are_checked_before_the_first_one_runs(monkeypatch):
    def never(*_, **__):
        raise AssertionError("it ran")

    for module in ("descend", "integrate"):
        monkeypatch.setattr(f"overlaps.learning._phase.{module}", never)
    for task, rule, message in (
        (A, ov.GradientDescent(1e-2, 9, optimizer=optax.adam), "`optimizer` must commute with rotations"),
        (A, ov.GradientDescent(1e-2, 9, rates={"w": 1.0}), "`rates` must name letters or labels"),
        (ov.tasks.label_noise(A, 0.1), DESCENT, "`key` must be a jax.random key"),
        (ov.tasks.label_noise(A, 0.1), ov.GradientFlow(1.0), "`rule` must be a GradientDescent"),
        (ov.tasks.exponential_filter(horizon=4.05), DESCENT, "`horizon` must be a whole multiple of dt"),
        (ov.tasks.linear_filter([[-1.0]], [[1.0, 1.0]], [[1.0]]), DESCENT, "`state` must have 2 inputs"),
    ):
        for start in (STATES[0], BATCH, STATES[0].sample(9, 0)):
            if isinstance(start, ov.Network) and "rotations" in message:
                continue
            with pytest.raises(ValueError, match=message) as caught:
                ov.learn(start, [ov.Phase("A", A, DESCENT), ov.Phase("B", task, rule)], RNN)
            assert not hasattr(caught.value, "dataset")


def test_a_later_phase_may_need_what_an_earlier_one_makes():
    unstable = STATES[0].replace(uu=2.0, vv=2.0, vu=1.2)
    endless = ov.tasks.exponential_filter(0.5, horizon=None)
    with pytest.raises(ValueError, match="stable network"):
        endless.loss(unstable, RNN)
    phases = [ov.Phase("calm", B, ov.GradientDescent(1e-2, 200)), ov.Phase("endless", endless, DESCENT)]
    assert np.all(np.isfinite(ov.learn(unstable, phases, RNN)["loss"]))


def test_what_fails_between_phases_keeps_what_came_before():
    unstable = STATES[0].replace(uu=2.0, vv=2.0, vu=1.5)
    endless = ov.tasks.exponential_filter(0.5, horizon=None)
    brief = ov.GradientDescent(1e-4, 5)
    with pytest.raises(ValueError, match="stable network") as caught:
        ov.learn(unstable, [ov.Phase("brief", A, brief), ov.Phase("endless", endless, DESCENT)], RNN, saves=3)
    kept = caught.value.dataset
    xr.testing.assert_equal(kept, ov.learn(unstable, [ov.Phase("brief", A, brief)], RNN, saves=3))
    assert ov.final_state(kept)["vu"].item() == pytest.approx(1.5, abs=0.1)


def test_protocols_and_batches_that_do_not_fit():
    for act, message in (
        (lambda: ov.learn(STATES[0], [], RNN), "`task` must be a task or a list of Phase"),
        (lambda: ov.learn(STATES[0], [A, B], RNN), "`task` must be a task or a list of Phase"),
        (lambda: ov.learn(STATES[0], [ov.Phase("A", A, DESCENT)], RNN, DESCENT), "`rule` must be None for a list of phases"),
        (lambda: ov.learn(STATES[0], A, RNN), "`rule` must be a GradientFlow or a GradientDescent"),
        (lambda: ov.Phase("", A, DESCENT), "`name` must be a text"),
        (lambda: ov.Phase("A", A, 0.1), "`rule` must be a GradientFlow or a GradientDescent"),
        (lambda: ov.learn(BATCH, A, RNN, ov.GradientDescent([0.1, 0.2], 9)), "agree .* on one batch axis"),
        (lambda: ov.GradientDescent([0.1, -0.2]), "`learning_rate` must be a number greater than 0"),
        (lambda: ov.tasks.exponential_filter([0.1, -0.2]), "`rate` must be a number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
