"""The function `trajectory` gives the numbers of `learn`, for every state and rule, inside jit and vmap; and its errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import overlaps as ov
from overlaps.tasks._trials import TrialGenerator

RANDOM = np.random.default_rng(0)
N, DT = 12, 0.2
M, Z, U, V = RANDOM.standard_normal((4, N, 1))
B, H0, C = RANDOM.standard_normal(N), RANDOM.standard_normal(N), RANDOM.standard_normal(1)
NETWORK = ov.Network(M, U, V, Z, B, H0, C)
INPUTS, TARGETS = RANDOM.standard_normal((2, 2, 8, 1))
TRIALS = ov.tasks.Trials(INPUTS, TARGETS, dt=DT)
SINGLE, FILTER, EULER = ov.Overlaps.random(0), ov.tasks.exponential_filter(0.2, horizon=4.0), ov.RNN(dt=DT)
DESCENT = ov.GradientDescent(5e-3, 40)
TANH, CONTINUOUS = ov.RNN("tanh", tau=0.8, dt=DT), ov.RNN()
momentum = functools.partial(optax.sgd, momentum=0.9)


class Draws(TrialGenerator):
    def trials(self, key):
        return ov.tasks.Trials(jax.random.normal(key, (2, 5, 1)), jnp.ones((2, 5, 1)), None, DT)


def decay(rate):
    return optax.chain(optax.add_decayed_weights(0.05), optax.sgd(rate))


def two_populations():
    roots = 0.3 * np.random.default_rng(1).standard_normal((2, 6, 6))
    means = 0.4 * np.random.default_rng(2).standard_normal((2, 6))
    return ov.Populations([0.4, 0.6], means, roots @ roots.swapaxes(1, 2), bias=True, initial=True, c=C)


NOISY = ov.tasks.label_noise(FILTER, 0.3)
CASES = {
    "overlaps": (SINGLE, NOISY, EULER, ov.GradientDescent(5e-3, 40, momentum, rates={"m": 0, "u": 0.5, "v": 2.0})),
    "overlaps with biases": (
        ov.Overlaps(NETWORK.gram, *NETWORK.layout, c=C),
        TRIALS,
        EULER,
        ov.GradientFlow(0.5, rates={"c": 0}),
    ),
    "populations": (two_populations(), TRIALS, ov.RNN("erf", dt=DT), ov.GradientDescent(5e-3, 20, decay)),
    "mean field": (
        ov.MeanField(M, U, V, Z, np.full(N, 1 / N), B, H0, C),
        TRIALS,
        TANH,
        ov.GradientDescent(5e-3, 20, rates={"c": 0}),
    ),
    "adam": (
        NETWORK,
        ov.tasks.label_noise(Draws().task(None), 0.2),
        TANH,
        ov.GradientDescent(1e-2, 20, optax.adam, rates={"c": 0, "b": 0}),
    ),
    "dense": (ov.DenseNetwork(U @ V.T / N, M, Z, B, H0, C), TRIALS, TANH, ov.GradientDescent(1e-2, 20, optax.adam)),
    "dense filter": (ov.DenseNetwork(0.3 * np.eye(N), M, Z), FILTER, EULER, ov.GradientDescent(5e-3, 20, rates={"W": 0})),
    "reduced": (ov.DenseNetwork(0.3 * np.eye(N), M, Z).reduced(), FILTER, CONTINUOUS, ov.GradientFlow(0.5)),
    "infinite horizon": (SINGLE, ov.tasks.exponential_filter(0.2, horizon=None), CONTINUOUS, DESCENT),
    "network in continuous time": (SINGLE.sample(9, 0), FILTER, CONTINUOUS, DESCENT),
}


def largest_difference(tree, other):
    return max(np.abs(one - two).max() for one, two in zip(*map(jax.tree.leaves, (tree, other)), strict=True))


def assert_equal_runs(course, dataset, layout=None, tolerance=1e-12):
    learning_time = dataset["learning_time" if "learning_time" in dataset else "time"]
    np.testing.assert_allclose(course.time, learning_time, rtol=1e-14)
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose(getattr(course, name), dataset[name], rtol=tolerance)
    if "step" in dataset.coords and course.step is not None:
        np.testing.assert_array_equal(course.step, dataset["step"])
    if layout is not None:
        pairs = [pair.row for pair in layout.pairs], [pair.column for pair in layout.pairs]
        np.testing.assert_allclose(course.gram[:, *pairs], dataset["sigma"], rtol=0, atol=tolerance)
    assert largest_difference(course.final, ov.final_state(dataset)) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_state_and_rule_as_in_learn(name):
    state, task, rnn, rule = CASES[name]
    course, dataset = (run(state, task, rnn, rule, saves=4, key=3) for run in (ov.trajectory, ov.learn))
    assert_equal_runs(course, dataset, None if course.gram is None else state.layout)
    assert (course.gram is None) == (name == "reduced" or name.startswith("dense"))
    assert course.output is None
    assert course.impulse_response is None
    assert np.abs(course.loss[-1] - course.loss[0]) > 1e-4


def test_phases_and_impulse_responses_as_in_learn():
    phases = [ov.Phase("A", FILTER, DESCENT), ov.Phase("B", ov.tasks.exponential_filter(0.5, horizon=4.0), DESCENT)]
    dataset = ov.learn(SINGLE, phases, EULER, saves=3, observe="impulse_response")
    course = ov.trajectory(SINGLE, phases, EULER, saves=3, observe=("loss", "impulse_response"))
    assert_equal_runs(course, dataset, SINGLE.layout)
    np.testing.assert_allclose(course.impulse_response, dataset["impulse_response"], atol=1e-13)
    seen = dataset["impulse_response"]
    assert seen.dims == ("time", "lag", "readout", "input")
    np.testing.assert_allclose(seen["lag"], DT * np.arange(20), atol=1e-15)


@pytest.mark.slow
def test_phases_with_a_flow_and_saves_of_their_own():
    rules = [DESCENT, ov.GradientFlow(0.3), ov.GradientDescent(5e-3, 40, momentum)]
    phases = [ov.Phase(name, task, rule) for name, task, rule in zip("ABC", (FILTER, FILTER, NOISY), rules, strict=True)]
    dataset = ov.learn(SINGLE, phases, EULER, saves=4, key=1)
    saves = [4, np.array([0.0, 0.1, 0.2, 0.3]), 4]
    course = ov.trajectory(SINGLE, phases, EULER, saves=saves, key=1)
    assert course.step is None
    np.testing.assert_allclose(course.time, dataset["time"], rtol=1e-14)
    # `learn` solves a flow in several pieces, and for an array of times it is solved in one: other steps, the same tolerance.
    assert_equal_runs(course, dataset, SINGLE.layout, 1e-7)
    few = ov.trajectory(SINGLE, phases[0].task, EULER, DESCENT, saves=[0.05, 0.0512])
    np.testing.assert_array_equal(few.step, [10, 10])
    whole = ov.learn(SINGLE, FILTER, EULER, DESCENT, saves=41)
    assert few.loss[0] == pytest.approx(float(whole["loss"][10]), rel=1e-13)
    assert largest_difference(few.final, ov.final_state(whole)) < 1e-13  # although it was saved for the last time before


@pytest.mark.slow
def test_runs_that_stop_early_repeat_their_last_row():
    for rule, tolerance in (
        (ov.GradientDescent(5e-3, 200, stop_loss=1.3), 1e-12),
        (ov.GradientFlow(1.0, stop_loss=1.3), 1e-6),  # the time of a step of the solver depends on rounding
    ):
        course, dataset = ov.trajectory(SINGLE, FILTER, EULER, rule, saves=5), ov.learn(SINGLE, FILTER, EULER, rule, saves=5)
        rows = dataset.sizes["time"]
        assert 1 < rows < 5
        assert course.loss[-1] < 1.3 < course.loss[rows - 2]
        for name in ("time", "loss", "gradient_norm"):
            np.testing.assert_allclose(getattr(course, name)[:rows], dataset[name], rtol=tolerance)
            np.testing.assert_array_equal(getattr(course, name)[rows:], getattr(course, name)[rows - 1])
        assert largest_difference(course.final, ov.final_state(dataset)) < tolerance


@pytest.mark.slow
def test_networks_that_diverge_are_nan_and_raise_nothing():
    exploding = ov.GradientDescent(3.0, 40)
    with pytest.raises(ov.DivergenceError) as caught:
        ov.learn(SINGLE, FILTER, EULER, exploding, saves=41)
    known = caught.value.dataset
    phases = [ov.Phase("A", FILTER, exploding), ov.Phase("B", FILTER, exploding)]
    course = ov.trajectory(SINGLE, phases, EULER, saves=41, reverse=True)
    np.testing.assert_allclose(course.loss[: known.sizes["time"]], known["loss"], rtol=1e-9)
    assert np.all(np.isnan(course.loss[known.sizes["time"] :]))
    assert np.all(np.isnan(course.final.gram))
    short = ov.trajectory(SINGLE, FILTER, EULER, ov.GradientFlow(5.0, max_steps=5), saves=4)
    assert np.isfinite(short.loss[0])
    assert np.all(np.isnan(short.loss[1:]))


@pytest.mark.slow
def test_a_map_over_networks_is_a_batch_of_learn_and_other_numbers_do_not_compile_again():
    compiled = []

    @jax.jit
    @jax.vmap
    def losses(gram, rate, learning_rate, key):
        compiled.append(1)
        task = ov.tasks.label_noise(ov.tasks.exponential_filter(rate, horizon=4.0), 0.2)
        course = ov.trajectory(ov.Overlaps(gram), task, EULER, ov.GradientDescent(learning_rate, 40), saves=5, key=key)
        return course.loss, course.gram

    grams, rates = np.stack([SINGLE.gram, ov.Overlaps.random(1).gram]), np.array([0.2, 0.4])
    keys = jax.random.split(jax.random.key(0), 2)
    loss, gram = losses(grams, rates, np.array([5e-3, 2e-3]), keys)
    task = ov.tasks.label_noise(ov.tasks.exponential_filter(rates, horizon=4.0), 0.2)
    batch = ov.learn(ov.Overlaps(grams), task, EULER, ov.GradientDescent([5e-3, 2e-3], 40), saves=5, key=keys)
    np.testing.assert_allclose(loss, batch["loss"], rtol=1e-12)
    pairs = [pair.row for pair in SINGLE.layout.pairs], [pair.column for pair in SINGLE.layout.pairs]
    np.testing.assert_allclose(gram[:, :, *pairs], batch["sigma"], atol=1e-12)
    losses(2 * grams, 3 * rates, np.array([1e-3, 2e-3]), keys)
    assert len(compiled) == 1


@pytest.mark.slow
def test_outside_of_jit_other_numbers_do_not_compile_again():
    compiled = []  # programs of a horizon that no other test has
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    try:
        for rule in (
            lambda rate: ov.GradientDescent(rate, 9, momentum),
            lambda rate: ov.GradientFlow(100 * rate, rtol=rate * 1e-4),
        ):
            ov.trajectory(SINGLE, ov.tasks.exponential_filter(0.2, 1.0, 4.6), EULER, rule(1e-3), saves=3)
            before = len(compiled)
            assert before > 0
            other = SINGLE.replace(zm=0.3)
            ov.trajectory(other, ov.tasks.exponential_filter(0.3, 1.5, 4.6), EULER, rule(2e-3), saves=3)
            assert len(compiled) == before
    finally:
        jax.monitoring.clear_event_listeners()


@pytest.mark.slow
@pytest.mark.parametrize("dt", [0.1, None])
def test_impulse_responses_of_thirty_neurons(dt):
    random = np.random.default_rng(3)
    n, tau, lags = 30, 0.8, np.array([0.0, 0.3, 1.2, 2.5])
    network = ov.Network(*random.standard_normal((4, n, 2)))
    task = ov.tasks.linear_filter(-np.eye(2), np.eye(2), np.eye(2), horizon=4.0)
    course = ov.trajectory(
        network, task, ov.RNN(tau=tau, dt=dt), ov.GradientDescent(0.05, 1), saves=2, observe="impulse_response", times=lags
    )
    assert course.impulse_response.shape == (2, 4, 2, 2)
    for one, found in zip((network, course.final), course.impulse_response, strict=True):
        W = one.u @ one.v.T / n
        for lag, response in zip(lags, found, strict=True):
            if dt is None:
                activity = scipy.linalg.expm(lag * (W - np.eye(n)) / tau) @ one.m / tau
            else:
                activity = one.m / tau  # after the unit impulse 1 / dt in one Euler step
                for _ in range(round(lag / dt)):
                    activity = activity + dt / tau * (-activity + W @ activity)
            np.testing.assert_allclose(response, one.z.T @ activity / n, atol=1e-12)


@pytest.mark.slow
def test_outputs_as_in_learn():
    course, dataset = (run(NETWORK, TRIALS, TANH, DESCENT, saves=2, observe="output") for run in (ov.trajectory, ov.learn))
    np.testing.assert_allclose(course.output, dataset["output"], atol=1e-13)
    np.testing.assert_allclose(np.mean((course.output - TARGETS) ** 2, axis=(1, 2, 3)), course.loss, rtol=1e-12)


def run(state=SINGLE, task=FILTER, rnn=EULER, rule=DESCENT, **more):
    return ov.trajectory(state, task, rnn, rule, **more)


ERRORS = {
    "`state` must be an Overlaps": lambda: run(state=3),
    "`rnn` must be an RNN": lambda: run(rnn=3),
    "`rule` must be a GradientFlow or": lambda: run(rule=None),
    "single network, with one task, rate and key, but a batch of 2 came. Map": lambda: run(ov.Overlaps([SINGLE.gram] * 2)),
    "and key, but a batch of 3 came": lambda: run(rule=ov.GradientDescent([1e-3] * 3, 5)),
    "hold float64 arrays, but it holds float32": lambda: run(jax.tree.map(np.float32, SINGLE)),
    "`saves` must be a whole number of at least 2, but 1 came": lambda: run(saves=1),
    "`saves` must have one entry for each of the 1 phases, but 3 came": lambda: run(saves=[3, 3, 3]),
    "`times` must be known when the program is compiled": lambda: jax.jit(
        lambda lags: run(observe="impulse_response", times=lags).loss
    )(np.array([0.0, 0.2])),
    "hold float64 arrays, but it holds float32. Convert": lambda: jax.jit(lambda gram: run(ov.Overlaps(gram)).loss)(
        np.float32(SINGLE.gram)
    ),
    "between 0 and the duration 0.2, but [0.3] came": lambda: run(saves=np.array([0.3])),
    "between 0 and the duration 0.2, but [0.1, 0.05] came": lambda: run(saves=np.array([0.1, 0.05])),
    "between 0 and the duration 0.5, but [-1.0] came": lambda: run(rule=ov.GradientFlow(0.5), saves=np.array([-1.0])),
    "`saves` must hold a learning time": lambda: run(saves=np.array([])),
    "`observe` must hold names out of": lambda: run(observe="activity"),
    "'moments' came. Use `learn`": lambda: run(observe=("output", "moments")),
    "`observe` must ask for the output on tasks of fixed trials": lambda: run(observe="output"),
    "have a linear phi to have an impulse response": lambda: run(NETWORK, TRIALS, TANH, observe="impulse_response"),
    "be a network without biases": lambda: run(NETWORK, TRIALS, EULER, observe="impulse_response"),
    "`times` must be whole multiples of dt = 0.2, but 0.3 came": lambda: run(observe="impulse_response", times=[0, 0.3]),
    "`times` must be increasing lags of at least 0": lambda: run(observe="impulse_response", times=[0.4, 0.2]),
    "`reverse` must be True or False": lambda: run(reverse="yes"),
    "`rates` must leave something to learn": lambda: run(rule=ov.GradientDescent(rates=dict.fromkeys("muvz", 0))),
    "adam looks at single neurons": lambda: run(rule=ov.GradientDescent(optimizer=optax.adam)),
    "`key` must be a jax.random key": lambda: run(task=NOISY),
    "a GradientFlow came": lambda: run(task=NOISY, rule=ov.GradientFlow(1.0), key=0),
    "number where the learning rate is traced": lambda: jax.jit(
        lambda rate: run(rule=ov.GradientDescent(rate, 5), saves=np.array([0.0]))
    )(1e-3),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ERRORS[message]()


def test_inside_a_trace_it_needs_double_precision():
    message = "`trajectory` was called inside jit, vmap or grad while JAX computes in float32"
    with jax.enable_x64(False), pytest.raises(RuntimeError, match=message):
        jax.jit(lambda rate: run(rule=ov.GradientDescent(rate, 5)).loss)(1e-3)
