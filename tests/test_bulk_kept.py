"""What a Dataset keeps of a random bulk, and what JAX may do with networks that have one."""

import dataclasses
import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import overlaps as ov

N = 12
NET = ov.Overlaps.random(0)
PAIR = ov.Overlaps(np.stack([NET.gram, ov.Overlaps.random(1).gram]))
LINEAR, TANH = ov.RNN(dt=0.1), ov.RNN("tanh", dt=0.1)
TASK, RULE = ov.tasks.exponential_filter(0.2, horizon=1.0), ov.GradientDescent(1e-2, 4)
KEYS = jax.random.split(jax.random.key(3), 2)
J = np.random.default_rng(0).standard_normal((N, N)) / 6
DRAWN = NET.sample(N, 1, bulk=0.5)


def stacked(*states):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def run(state, **settings):
    return ov.learn(state, TASK, LINEAR, RULE, saves=2, **settings)


@pytest.mark.parametrize(
    "state",
    [
        eqx.tree_at(lambda network: network.bulk, DRAWN, J),
        dataclasses.replace(DRAWN, bulk=J),
        eqx.tree_at(lambda network: network.bulk, DRAWN, DRAWN.bulk * (np.arange(N) > 0)),
        jax.tree.map(lambda leaf: 0.5 * leaf, DRAWN),
        jax.tree.map(lambda leaf: -leaf, DRAWN),
        jax.tree.map(lambda leaf: np.float64(np.float32(leaf)), DRAWN),
        stacked(*(NET.sample(N, 1, bulk=ov.RandomBulk(0.5, 3, correlation)) for correlation in (0.2, -0.4))),
    ],
    ids=["another bulk", "replaced", "a dead neuron", "halves", "signs", "rounded", "two correlations"],
)
def test_a_recipe_that_does_not_draw_the_bulk_is_not_kept(state):
    assert state.recipe is not None
    found = run(state)
    assert "bulk_recipe" not in found
    np.testing.assert_array_equal(ov.initial_state(found).bulk, state.bulk)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_store_without_the_recipe_goes_on(precision, tmp_path):
    """In float32 the numbers of the recipe are rounded, and a file holds the matrix."""
    state = DRAWN if precision == "float32" else eqx.tree_at(lambda network: network.bulk, DRAWN, J)
    found = run(state, precision=precision, store=tmp_path / "run.zarr")
    assert "bulk" in found
    xr.testing.assert_identical(ov.resume(tmp_path / "run.zarr"), found)


def test_a_recipe_that_draws_another_bulk_now_is_refused():
    found = run(DRAWN)
    assert "bulk_recipe" in found
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="the random key of its bulk gives other random nu"):
        ov.final_state(found)
    with pytest.raises(ValueError, match="must have the variable `bulk` or `bulk_recipe`, but it was dropped"):
        ov.final_state(found.drop_vars("bulk_recipe"))


@pytest.mark.parametrize(
    ("state", "recipe"),
    [
        (PAIR.sample(N, 1, bulk=[0.5, 0.2]), True),
        (PAIR.sample(N, KEYS, bulk=0.5), True),
        (PAIR.sample(N, 1, bulk=ov.RandomBulk([0.5, 0.2], KEYS, correlation=0.3)), True),
        (stacked(*(NET.sample(N, 1, bulk=ov.RandomBulk(0.5, seed)) for seed in (1, 2))), True),
        (PAIR.sample(N, 1, bulk=ov.RandomBulk(0.5, jax.random.key(0, impl="rbg"))), False),
        (PAIR.sample(N, 1, bulk=J), False),
        (PAIR.sample(N, 1, bulk=np.stack([J, 2 * J])), False),
    ],
    ids=["radii", "keys", "radii and keys", "seeds", "another kind of key", "one matrix", "matrices"],
)
def test_a_network_of_a_batch_comes_out_of_a_file_with_its_own_bulk(state, recipe, tmp_path):
    run(state).to_netcdf(tmp_path / "run.nc")
    loaded = xr.load_dataset(tmp_path / "run.nc")
    assert ("bulk_recipe" in loaded) is recipe
    np.testing.assert_array_equal(ov.final_state(loaded).bulk, state.bulk)
    for index in range(2):
        np.testing.assert_array_equal(ov.initial_state(loaded.isel(batch=index)).bulk, state.bulk[index])


@pytest.mark.slow
def test_learning_at_many_radii_is_a_function_that_jax_maps_and_differentiates():
    def loss(radius):
        return ov.trajectory(NET.with_bulk(radius, order=2), TASK, LINEAR, RULE, saves=2, reverse=True).loss[-1]

    radii, step = np.array([0.2, 0.5]), 1e-5
    with jax.enable_x64(True):
        mapped = jax.jit(jax.vmap(jax.value_and_grad(loss)))
        values, slopes = np.reshape(mapped(np.concatenate([radii, radii + step, radii - step])), (2, 3, 2))
    np.testing.assert_allclose(values[0], run(NET.with_bulk(radii, order=2))["loss"][:, -1], rtol=1e-12)
    np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / (2 * step), rtol=1e-7)


def test_a_loss_of_a_traced_bulk():
    parts = {name: getattr(DRAWN, name) for name in "muvz"}
    with jax.enable_x64(True):
        for horizon in (1.0, None):
            task = ov.tasks.exponential_filter(0.2, horizon=horizon)
            found = jax.jit(lambda J, task=task: task.loss(ov.Network(**parts, bulk=J), LINEAR))(jnp.asarray(J))
            assert float(found) == pytest.approx(float(task.loss(ov.Network(**parts, bulk=J), LINEAR)), rel=1e-12)


def compiled(call):
    """The names of what JAX compiles during a call."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            call()
    finally:
        logger.removeHandler(handler)
    return [message for message in messages if message.startswith("Compiling")]


@pytest.mark.parametrize(
    "call",
    [
        lambda seed: run(ov.Overlaps.random(seed).sample(N, seed, bulk=0.1 * seed)),
        lambda seed: run(ov.Overlaps.random(seed).with_bulk(0.1 * seed, 2, correlation=0.2 * seed)),
        lambda seed: TANH.fixed_points(ov.Overlaps.random(seed).sample(N, seed, bulk=0.1 * seed), starts=2),
    ],
    ids=["network", "words", "fixed points"],
)
def test_a_second_network_with_a_bulk_does_not_compile_again(call):
    call(1)
    assert compiled(lambda: call(2)) == []
    assert compiled(lambda: jax.jit(lambda x: x + 1)(1.0))  # it would be seen


def test_fixed_points_of_words_are_those_of_the_whole_matrix():
    words = NET.with_bulk(0.4, order=1)
    found = LINEAR.fixed_points(words, input=0.3, starts=2)
    activity = np.linalg.solve(np.eye(words.n) - words.W, 0.3 * words.m[:, 0])
    np.testing.assert_allclose(found["output"][0], words.z.T @ activity / words.n, rtol=0, atol=1e-13)


def test_exported_words_are_a_network_of_their_units():
    words = NET.with_bulk(0.4, order=1)
    back, rnn = ov.interop.from_state_dict(ov.interop.to_state_dict(words), alpha=0.1, phi="linear")
    np.testing.assert_array_equal(back.W, words.W)
    assert rnn.phi == "linear"


def test_bulks_that_do_not_fit_are_refused():
    cases = [
        (lambda: ov.RandomBulk([0.1, 0.2, 0.3], KEYS), "`key` must be one key, or 3, one per radius, but 2 came"),
        (lambda: NET.sample(N, 0, bulk=True), "`radius` must be a number of at least 0, but True came"),
        (lambda: NET.sample(N, 0, bulk=np.full((N, N), np.nan)), "`bulk` must be finite"),
        (lambda: ov.Network(*(np.zeros(N),) * 4, bulk=J).krylov(1), "but all vectors are 0"),
        (
            lambda: ov.bulk.speed(NET, TASK, LINEAR, ov.GradientDescent([0.1, 0.2]), [0.1, 0.2]),
            "`rule` must have one learning ra",
        ),
        (lambda: ov.bulk.speed(NET, TASK, LINEAR, ov.GradientFlow(1.0, stop_loss=0.1)), "`rule` must have no early stop"),
        (lambda: ov.interop.low_rank(J, 1, J, keep_initial="yes"), "`keep_initial` must be True or False"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_words_that_span_all_neurons_learn_as_the_network_does():
    reduced = DRAWN.krylov(7)
    assert reduced.n == N
    np.testing.assert_allclose(run(reduced)["sigma"], run(DRAWN)["sigma"], rtol=0, atol=1e-13)


def test_the_loss_of_one_neuron():
    """W = 0.3 + 1 x 0.5 / 1, so that each Euler step multiplies the activity by 1 + 0.1 (0.8 - 1)."""
    samples = np.arange(10)
    expected = 0.1 * np.sum((0.98**samples - np.exp(-0.02 * samples)) ** 2)
    assert float(TASK.loss(ov.Network([1.0], [1.0], [0.5], [1.0], bulk=[[0.3]]), LINEAR)) == pytest.approx(expected, rel=1e-10)
