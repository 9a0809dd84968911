"""Which rules can train overlaps: accepted rules agree with networks up to rounding, refused rules say why."""

import functools

import jax
import numpy as np
import optax
import pytest

import overlaps as ov
from tests.systems import full_network
from tests.test_filters import oscillating_task

pytestmark = pytest.mark.slow

NETWORK = ov.Overlaps.random(6, rank=3, inputs=2, outputs=2).sample(57, 0)
TASK, RNN = oscillating_task(2, 2, 4.0), ov.RNN(dt=0.1)


def scheduled(rate):
    return optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 1.0, 20, 100)), optax.scale(rate)  # the first update is 0


RULES = {
    "nesterov": functools.partial(optax.sgd, momentum=0.9, nesterov=True),
    "decoupled decay": lambda rate: optax.chain(optax.sgd(rate, momentum=0.5), optax.add_decayed_weights(-1e-3)),
    "normalised schedule": lambda rate: optax.chain(optax.normalize_by_update_norm(), *scheduled(5 * rate)),
    "chain": lambda rate: optax.chain(
        optax.clip_by_global_norm(2.0),
        optax.trace(0.8),
        optax.add_decayed_weights(1e-3),
        optax.scale_by_schedule(optax.exponential_decay(1.0, 50, 0.5)),
        optax.scale(-rate),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_accepted_rules_train_overlaps_as_they_train_networks(name):
    task = ov.tasks.label_noise(TASK, 0.5)
    rule = ov.GradientDescent(2e-3, 120, optimizer=RULES[name], rates={"m1": 0.0, "v": 0.5, "u2": 2.0})
    theory, simulation = (ov.learn(state, task, RNN, rule, key=4) for state in (NETWORK.overlaps(), NETWORK))
    np.testing.assert_allclose(theory["sigma"], simulation["sigma"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(theory["loss"], simulation["loss"], rtol=1e-12)
    assert simulation.attrs["acts_on"] == '["factor F"]'
    np.testing.assert_allclose(theory["gradient_norm"], simulation["gradient_norm"], rtol=1e-11)
    moved = np.abs(theory["sigma"] - theory["sigma"].isel(time=0)).max("time")
    assert float(moved.sel(overlap="m1m1")) < 1e-15
    assert np.all(moved.drop_sel(overlap="m1m1") > 1e-6)
    vectors = simulation[["initial_vectors", "final_vectors"]].sel(vector="m1")
    np.testing.assert_allclose(vectors["final_vectors"], vectors["initial_vectors"], rtol=1e-15)
    if name == "chain":
        assert np.all(theory["gradient_norm"][:10] > 2.0)  # so that clipping does clip


def test_noise_decay_and_clipping_against_a_full_network_in_plain_numpy():
    std, steps, rate, decay, bound, dt = 0.5, 80, 5e-3, 0.05, 1.0, 0.1
    network, key = ov.Overlaps.random(3, rank=2, inputs=2, outputs=2).sample(31, 5), jax.random.key(11)
    task, rates = oscillating_task(2, 2, 4.0), {"m2": 0.0, "u": 0.5, "u2": 2.0}
    target = task.impulse_response(dt * np.arange(40))
    scale = np.array([1.0, 0.0, 0.5, 2.0, 1.0, 1.0, 1.0, 1.0])
    root = np.sqrt(network.n)
    F, grams, losses, norms, clipped = network.vectors / root, [], [], [], 0
    for step in range(steps + 1):
        vectors = np.split(root * F, [2, 4, 6], axis=1)
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, step), target.shape))
        losses.append(full_network.loss_and_gradients(vectors, target, dt, 1.0)[0])
        gradients = full_network.loss_and_gradients(vectors, target + std * noise, dt, 1.0)[1]
        gradient = root * np.concatenate(gradients, axis=1) * (scale > 0)
        grams.append(F.T @ F)
        norms.append(np.linalg.norm(gradient))
        direction = gradient + decay * F * (scale > 0)
        size = np.linalg.norm(direction)
        clipped += size > bound
        F = F - rate * scale * direction * min(1.0, bound / size)
    assert clipped > 60

    def optimizer(rate):
        return optax.chain(optax.add_decayed_weights(decay), optax.clip_by_global_norm(bound), optax.sgd(rate))

    rule = ov.GradientDescent(rate, steps, optimizer=optimizer, rates=rates)
    pairs = network.layout.pairs
    expected = np.array(grams)[:, [pair.row for pair in pairs], [pair.column for pair in pairs]]
    for state in (network.overlaps(), network):
        dataset = ov.learn(state, ov.tasks.label_noise(task, std), ov.RNN(dt=dt), rule, saves=steps + 1, key=key)
        np.testing.assert_allclose(dataset["sigma"], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(dataset["loss"], losses, rtol=1e-12)
        np.testing.assert_allclose(dataset["gradient_norm"], norms, rtol=1e-11)  # of the noisy gradient


def test_noise_differs_between_keys_and_steps_and_leaves_the_reported_loss_clean():
    start = NETWORK.overlaps()
    rule = ov.GradientDescent(2e-3, 50)
    noisy = {key: ov.learn(start, ov.tasks.label_noise(TASK, 0.5), RNN, rule, key=key) for key in (0, 1)}
    clean = ov.learn(start, TASK, RNN, rule)
    assert float(noisy[0]["loss"][0]) == pytest.approx(float(clean["loss"][0]), rel=1e-12)
    distances = [float(np.abs(noisy[0]["sigma"] - other["sigma"]).max()) for other in (noisy[1], clean)]
    assert min(distances) > 1e-4
    silent = ov.learn(start, ov.tasks.label_noise(TASK, 0.0), RNN, rule, key=0)
    np.testing.assert_allclose(silent["sigma"], clean["sigma"], atol=1e-12)


def test_label_noise_has_the_gradient_of_noisy_targets():
    # One step from the same state: the mean over keys of the first step is the clean step, and its variance that of
    # d sigma = 2 eta sum_k dt xi_k . d f_k, which is quadratic in std at second order in eta only.
    start, eta, std, draws = ov.Overlaps.random(0), 1e-3, 0.3, 400
    task = ov.tasks.exponential_filter(horizon=4.0)
    keys = jax.random.split(jax.random.key(0), draws)
    rule = ov.GradientDescent(eta, 1)
    steps = ov.learn(start, ov.tasks.label_noise(task, std), RNN, rule, saves=2, key=keys)["sigma"].diff("time").isel(time=0)
    clean = ov.learn(start, task, RNN, rule, saves=2)["sigma"].diff("time").isel(time=0)
    zm = steps.sel(overlap="zm")
    # f_k depends on zm as (1 - dt)^k; the metric couples zm to itself by mm + zz, and to others weakly.
    gain = 0.1 * np.sqrt(np.sum((1 - 0.1) ** (2 * np.arange(40))))
    expected = 2 * eta * std * gain * (start["mm"] + start["zz"]).item()
    assert float(zm.std()) == pytest.approx(expected, rel=0.2)
    assert float(zm.mean()) == pytest.approx(float(clean.sel(overlap="zm")), abs=4 * expected / np.sqrt(draws))


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (optax.adam, "adam looks at single neurons"),
        (optax.lion, "lion looks at single neurons"),
        (optax.rmsprop, "rmsprop looks at single neurons"),
        (optax.sign_sgd, "sign_sgd looks at single neurons"),
        (lambda rate: optax.chain(optax.clip(0.1), optax.sgd(rate)), "looks at single neurons"),
        (lambda rate: optax.chain(optax.clip(1e6), optax.sgd(rate)), "looks at single neurons"),
        (lambda rate: optax.chain(optax.clip_by_block_rms(0.1), optax.sgd(rate)), "depends on the number of neurons"),
    ],
)
def test_refused_rules_say_why(optimizer, reason):
    with pytest.raises(ValueError, match=reason):
        ov.learn(NETWORK.overlaps(), TASK, RNN, ov.GradientDescent(1e-3, 20, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", [optax.adam, lambda rate: optax.chain(optax.clip(1e6), optax.sgd(rate))])
def test_refused_rules_run_on_networks(optimizer):
    dataset = ov.learn(NETWORK, TASK, RNN, ov.GradientDescent(1e-3, 20, optimizer=optimizer))
    assert dataset.attrs["acts_on"] == '["vectors P"]'
    assert float(dataset["loss"][-1]) < float(dataset["loss"][0])


def test_a_small_deviation_is_told_in_digits():
    def accumulating(rate):
        return optax.MultiSteps(optax.sgd(rate), 2).gradient_transformation()

    with pytest.raises(ValueError, match=r"changes its updates by \d(\.\d)?e-\d+ of their size"):
        ov.learn(NETWORK.overlaps(), TASK, RNN, ov.GradientDescent(1e-3, 20, optimizer=accumulating))


def test_optimizers_with_arguments_that_cannot_be_hashed():
    weights = {"decay": 0.05}

    def decayed(rate, weights):
        return optax.chain(optax.add_decayed_weights(weights["decay"]), optax.sgd(rate))

    one, other = (
        ov.learn(NETWORK.overlaps(), TASK, RNN, ov.GradientDescent(1e-3, 20, optimizer=optimizer))
        for optimizer in (functools.partial(decayed, weights=weights), lambda rate: decayed(rate, weights))
    )
    np.testing.assert_array_equal(one["sigma"], other["sigma"])


def test_rules_compare_by_what_they_say():
    assert ov.GradientDescent(np.array([0.1, 0.2])) == ov.GradientDescent([0.1, 0.2]) != ov.GradientDescent([0.1, 0.3])
    momentum = [ov.GradientDescent(0.1, optimizer=functools.partial(optax.sgd, momentum=0.9)) for _ in range(2)]
    assert momentum[0] == momentum[1] != ov.GradientDescent(0.1)


def test_adam_does_not_close():
    # Two networks with the same overlaps, other vectors: descent cannot tell them apart, Adam does.
    net, task = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0)
    networks = [net.sample(30, seed) for seed in (1, 2)]

    def gap(optimizer):
        rule = ov.GradientDescent(1e-2, 100, optimizer=optimizer)
        one, other = (ov.learn(network, task, RNN, rule)["sigma"] for network in networks)
        return float(np.abs(one - other).max())

    assert gap(None) < 1e-12
    assert gap(optax.adam) > 1e-2


def test_stops_end_at_the_first_step_that_reaches_them():
    net, task = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0)
    whole = ov.learn(net, task, RNN, ov.GradientDescent(1e-2, 600), saves=601)
    for state in (net, net.sample(9, 0)):
        for name, variable, value in (("stop_loss", "loss", 1e-2), ("stop_gradient", "gradient_norm", 0.1)):
            stopped = ov.learn(state, task, RNN, ov.GradientDescent(1e-2, 600, **{name: value}), saves=11)
            first = int(np.argmax(whole[variable].values <= value))
            assert stopped["step"][-1] == first > 60
            np.testing.assert_allclose(stopped["sigma"][-1], whole["sigma"][first], atol=1e-12)
            assert stopped.attrs["endings"] == f'["{name}"]'
            zm = float(stopped["sigma"].sel(overlap="zm")[-1])
            assert ov.final_state(stopped).overlaps()["zm"].item() == pytest.approx(zm, abs=1e-14)
    assert whole.attrs["endings"] == '["complete"]'


@pytest.mark.slow
def test_flows_stop_after_the_solver_step_that_reaches_the_limit():
    net, task = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0)
    for name, variable, value in (("stop_loss", "loss", 1e-2), ("stop_gradient", "gradient_norm", 0.1)):
        stopped = ov.learn(net, task, RNN, ov.GradientFlow(6.0, **{name: value}), saves=11)
        end = float(stopped["time"][-1])
        assert 1.0 < end < 6.0
        assert stopped[variable][-1] <= value < stopped[variable][-2]
        assert stopped.attrs["endings"] == f'["{name}"]'
        earlier, there = (ov.learn(net, task, RNN, ov.GradientFlow(time), saves=11) for time in (end - 0.1, end))
        assert earlier[variable][-1] > value
        np.testing.assert_allclose(stopped["sigma"][-1], there["sigma"][-1], atol=1e-6)


def test_random_tasks_need_a_key_steps_and_samples():
    net, task = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0)
    noisy = ov.tasks.label_noise(task, 0.1)
    for act, message in (
        (lambda: ov.learn(net, noisy, RNN, ov.GradientDescent()), "`key` must be a jax.random key or an integer seed"),
        (lambda: ov.learn(net, noisy, RNN, ov.GradientFlow(), key=0), "`rule` must be a GradientDescent"),
        (lambda: ov.learn(net, noisy, ov.RNN(), ov.GradientDescent(), key=0), "must have samples .* time is continuous"),
        (
            lambda: ov.learn(
                net, ov.tasks.label_noise(ov.tasks.exponential_filter(horizon=None), 0.1), RNN, ov.GradientDescent(), key=0
            ),
            "must have samples .* horizon is infinite",
        ),
        (lambda: ov.tasks.label_noise(task, -0.1), "`std` must be a number of at least 0"),
        (lambda: ov.tasks.label_noise(noisy, 0.1), "`task` must be a filter task"),
        (lambda: ov.GradientFlow(stop_loss=np.nan), "`stop_loss` must be a finite number"),
        (lambda: ov.GradientDescent(stop_gradient=-1.0), "`stop_gradient` must be a number greater than 0"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
