"""Networks with a bulk, W = J + u v^T / N: all that networks do, against plain NumPy and JAX programs that know only W."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy
import xarray as xr

import overlaps as ov

N, DT = 40, 0.1
NET = ov.Overlaps.random(3, rank=2, inputs=2)
NETWORK = NET.sample(N, key=1, bulk=ov.RandomBulk(0.7, key=2, correlation=0.3))
LINEAR, TANH = ov.RNN(dt=DT), ov.RNN("tanh", dt=DT)
INPUTS = np.random.default_rng(0).standard_normal((3, 30, 2))
TARGETS = np.random.default_rng(1).standard_normal((3, 30, 1))
TRIALS = ov.tasks.Trials(INPUTS, TARGETS, dt=DT)
FILTER = ov.tasks.linear_filter([[-0.2, 0.0], [0.0, -0.5]], np.eye(2), [[1.0, 0.3]], horizon=3.0)
BULK = ov.Network(NETWORK.m, NETWORK.u, NETWORK.v, NETWORK.z, bulk=NETWORK.bulk)


def simulated(W, m, z, phi, inputs):
    """Activity and output by Euler steps, one trial and one sample after the other."""
    h, activity = np.zeros((len(inputs), len(W))), []
    for sample in np.moveaxis(inputs, 1, 0):
        h = h + DT * (-h + phi(h) @ W.T + sample @ m.T)
        activity.append(h)
    activity = np.stack(activity, axis=1)
    return activity, phi(activity) @ z / len(W)


@pytest.mark.parametrize("correlation", [0.0, 0.6, -1.0, 1.0])
def test_a_drawn_bulk_has_its_radius_and_correlation(correlation):
    n, g = 400, 0.8
    J = ov.RandomBulk(g, 5, correlation).draw(n)
    np.testing.assert_array_equal(J, ov.RandomBulk(g, 5, correlation).draw(n))
    off = ~np.eye(n, dtype=bool)
    pairs, deviation = n * (n - 1) / 2, 5 / np.sqrt(n * (n - 1) / 2)  # five standard deviations
    assert np.sum(J[off] ** 2) / (n - 1) == pytest.approx(g**2, abs=2 * deviation)
    assert n * np.sum((J * J.T)[off]) / (2 * pairs * g**2) == pytest.approx(correlation, abs=2 * deviation)
    if abs(correlation) == 1:
        np.testing.assert_allclose(J[off], correlation * J.T[off], rtol=0, atol=1e-15)
    edge = np.abs(np.linalg.eigvals(J) / g)  # the ellipse has the half axes 1 + eta and 1 - eta
    assert np.max(edge) == pytest.approx(1 + abs(correlation), abs=0.15)


def test_a_bulk_is_independent_of_vectors_with_the_same_seed():
    network = NET.sample(300, 7, exact=False, bulk=0.5)
    overlap = np.linalg.norm(network.vectors.T @ network.bulk @ network.vectors) / 300
    sizes = np.sqrt(np.sum(np.outer(*[np.diag(network.gram)] * 2)))
    assert overlap < 3 * 0.5 * sizes / np.sqrt(300)
    batch = ov.Overlaps(np.stack([NET.gram] * 2), 2, 2, 1).sample(20, 7, bulk=[0.5, 1.0])
    np.testing.assert_allclose(batch.bulk[1], 2 * batch.bulk[0])
    keys = jax.random.split(jax.random.key(0), 2)
    two = ov.Overlaps(np.stack([NET.gram] * 2), 2, 2, 1).sample(20, keys, bulk=0.5).bulk
    assert np.abs(np.corrcoef(two[0].ravel(), two[1].ravel())[0, 1]) < 5 / 20


@pytest.mark.parametrize(("rnn", "phi"), [(LINEAR, lambda h: h), (TANH, np.tanh)])
def test_activity_is_that_of_a_plain_simulation(rnn, phi):
    activity, output = simulated(NETWORK.W, NETWORK.m, NETWORK.z, phi, INPUTS)
    np.testing.assert_allclose(rnn.activity(NETWORK, INPUTS), activity, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rnn.output(NETWORK, INPUTS), output, rtol=0, atol=1e-13)
    assert rnn.latents(NETWORK, INPUTS).sizes["latent"] == N + 2


def test_biases_and_initial_activity_with_a_bulk():
    b, h0, c = np.linspace(-1, 1, N), np.linspace(1, -2, N), np.array([0.4])
    network = ov.Network(NETWORK.m, NETWORK.u, NETWORK.v, NETWORK.z, b, h0, c, bulk=NETWORK.bulk)
    h = h0
    for sample in INPUTS[0]:
        h = h + DT * (-h + NETWORK.W @ np.tanh(h) + NETWORK.m @ sample + b)
    output = NETWORK.z.T @ np.tanh(h) / N + c
    np.testing.assert_allclose(TANH.output(network, INPUTS[0])[-1], output, rtol=0, atol=1e-13)
    run = ov.learn(network, TRIALS, TANH, ov.GradientDescent(1e-2, 5), saves=2)
    assert np.max(np.abs(ov.final_state(run).b - b)) > 1e-6
    np.testing.assert_array_equal(ov.final_state(run).bulk, NETWORK.bulk)


@pytest.mark.parametrize("task", [FILTER, ov.tasks.linear_filter([[-0.3]], [[1.0, 0.5]], [[1.0]], horizon=None)])
@pytest.mark.parametrize("rnn", [LINEAR, ov.RNN()])
def test_the_loss_is_that_of_a_dense_network(task, rnn):
    weak = ov.Network(NETWORK.m, 0.3 * NETWORK.u, NETWORK.v, NETWORK.z, bulk=0.8 * NETWORK.bulk)
    dense = ov.DenseNetwork(weak.W, weak.m, weak.z)
    assert task.loss(weak, rnn) == pytest.approx(float(task.loss(dense, rnn)), rel=1e-11)


def trained(rnn, inputs, targets, update, memory, steps):
    """Vectors and losses of a plain program: JAX differentiates a loop over Euler steps of all units."""
    phi = {"linear": lambda h: h, "tanh": jnp.tanh}[rnn.phi]

    def loss(factor):
        m, u, v, z = (np.sqrt(N) * factor[:, part] for part in (slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)))
        W = NETWORK.bulk + u @ v.T / N
        h, total = jnp.zeros((len(inputs), N)), 0.0
        for step in range(inputs.shape[1]):
            h = h + DT * (-h + phi(h) @ W.T + inputs[:, step] @ m.T)
            total = total + jnp.sum((phi(h) @ z / N - targets[:, step]) ** 2)
        return total / targets.size

    slope = jax.jit(jax.value_and_grad(loss))
    factor, losses = jnp.asarray(NETWORK.vectors / np.sqrt(N)), []
    for _ in range(steps):
        value, gradient = slope(factor)
        losses.append(float(value))
        factor, memory = update(factor, gradient, memory)
    return [*losses, float(slope(factor)[0])], np.sqrt(N) * np.asarray(factor)


@pytest.mark.parametrize("rnn", [LINEAR, TANH])
@pytest.mark.parametrize(("optimizer", "frozen"), [(None, None), ("momentum", None), (None, {"m": 0.0}), ("adam", None)])
def test_learning_is_that_of_a_plain_program(rnn, optimizer, frozen):
    rate, steps = 0.05, 12
    if optimizer == "adam":  # acts on P and dL/dP
        method = optax.adam(rate)

        def update(factor, gradient, memory):
            change, memory = method.update(gradient / np.sqrt(N), memory)
            return factor + change / np.sqrt(N), memory

        rule = ov.GradientDescent(rate, steps, optax.adam)
        memory = method.init(jnp.asarray(NETWORK.vectors))
    else:
        momentum = 0.9 if optimizer else 0.0
        kept = 1.0 - np.isin(np.arange(7), [0, 1] if frozen else [])

        def update(factor, gradient, memory):
            memory = momentum * memory + gradient * kept[None]
            return factor - rate * memory, memory

        chosen = functools.partial(optax.sgd, momentum=0.9) if optimizer else None
        rule, memory = ov.GradientDescent(rate, steps, chosen, rates=frozen), 0.0
    losses, vectors = trained(rnn, INPUTS[:, :10], TARGETS[:, :10], update, memory, steps)
    task = ov.tasks.Trials(INPUTS[:, :10], TARGETS[:, :10], dt=DT)
    run = ov.learn(NETWORK, task, rnn, rule, saves=steps + 1)
    np.testing.assert_allclose(run["loss"], losses, rtol=1e-10)
    np.testing.assert_allclose(ov.final_state(run).vectors, vectors, rtol=0, atol=1e-9)


def test_the_recorded_words_are_products_with_powers_of_the_bulk():
    run = ov.learn(NETWORK, FILTER, LINEAR, ov.GradientDescent(1e-2, 3), saves=2)
    end = ov.final_state(run)
    for power in run["power"].values:
        Jx = np.linalg.matrix_power(end.bulk, power) @ end.vectors
        words = run["sigma_bulk"].sel(power=power)[-1]
        assert float(words.sel(word="zm2")) == pytest.approx(float(end.z[:, 0] @ Jx[:, 1]) / N, abs=1e-14)
        assert float(words.sel(word="v2u1")) == pytest.approx(float(end.v[:, 1] @ Jx[:, 2]) / N, abs=1e-14)


@pytest.mark.parametrize("network", [NETWORK, BULK, NET.with_bulk([0.3, 0.6], order=1, correlation=0.5), NETWORK.krylov(1)])
def test_a_run_survives_a_file(network, tmp_path):
    run = ov.learn(network, FILTER, LINEAR, ov.GradientDescent(1e-2, 4), saves=3)
    run.to_netcdf(tmp_path / "run.nc")
    loaded = xr.load_dataset(tmp_path / "run.nc")
    assert ("bulk" in loaded) is (network is not NETWORK)  # a drawn bulk is saved as its seed
    for name in ("m", "bulk", "recipe", "edge", "basis"):
        np.testing.assert_array_equal(getattr(ov.initial_state(loaded), name, None), getattr(network, name, None))
    xr.testing.assert_identical(ov.rerun(loaded), run)
    further = ov.learn(ov.final_state(loaded), FILTER, LINEAR, ov.GradientDescent(1e-2, 2), saves=2)
    assert np.all(further["loss"][..., -1] < run["loss"][..., 0])
    if network.batch:
        one = ov.final_state(loaded.isel(batch=1))
        np.testing.assert_array_equal(one.bulk, network.bulk[1])


@pytest.mark.parametrize("network", [NET.sample(N, 1), NETWORK, NETWORK.krylov(1), NET.with_bulk(0.3, order=1)])
def test_a_network_with_another_vector(network):
    other = dataclasses.replace(network, u=2 * network.u)
    np.testing.assert_array_equal(other.u, 2 * network.u)
    np.testing.assert_array_equal(other.bulk, network.bulk)
    np.testing.assert_array_equal(other.recipe, network.recipe)


def test_single_precision():
    narrow = jax.tree.map(np.float32, NETWORK)
    run = ov.learn(narrow, FILTER, LINEAR, ov.GradientDescent(1e-2, 4), saves=2, precision="float32")
    exact = ov.learn(NETWORK, FILTER, LINEAR, ov.GradientDescent(1e-2, 4), saves=2)
    assert run["sigma"].dtype == np.float32
    np.testing.assert_allclose(run["sigma"], exact["sigma"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(ov.initial_state(run).bulk, narrow.bulk)  # a seed in single precision would not be the same


@pytest.mark.parametrize("rnn", [TANH, ov.RNN("tanh")])
def test_fixed_points_are_roots_with_the_eigenvalues_of_the_jacobian(rnn):
    net = ov.Overlaps(np.diag([1.0, 1.0, 4.0, 1.0])).replace(vu=1.8, zu=0.3)
    network = net.sample(60, 0, bulk=0.4)
    points = rnn.fixed_points(network, input=0.1, starts=8)
    W, drive = network.W, 0.1 * network.m[:, 0]
    assert (points.sizes["latent"], points.sizes["fixed_point"]) == (60, 3)
    for index in range(3):
        h = drive + points["position"].values[index]
        root = scipy.optimize.fsolve(lambda h: -h + W @ np.tanh(h) + drive, h, xtol=1e-13)
        np.testing.assert_allclose(h, root, rtol=0, atol=1e-9)
        np.testing.assert_allclose(points["output"][index], network.z.T @ np.tanh(h) / 60, rtol=0, atol=1e-12)
        growth = np.linalg.eigvals(W * (1 - np.tanh(h) ** 2) - np.eye(60)).real
        np.testing.assert_allclose(np.sort(points["eigenvalue_real"][index]), np.sort(growth), rtol=0, atol=1e-8)
    assert sorted(points["kind"].values.tolist()) == ["saddle", "stable", "stable"]


def test_conserved_charges_are_those_that_a_bulk_leaves():
    flow = ov.GradientFlow(0.5, rtol=1e-9, atol=1e-11)
    run = ov.learn(NETWORK, FILTER, LINEAR, flow, saves=3)
    start, end = (ov.conserved(state(run), LINEAR) for state in (ov.initial_state, ov.final_state))
    assert start.keys() == {"gauge", "balance"}
    for name, value in start.items():
        np.testing.assert_allclose(end[name], value, rtol=0, atol=1e-7)
        np.testing.assert_allclose(ov.conserved(run)[name][-1], value, rtol=0, atol=1e-7)
    plain = [ov.Network(one.m, one.u, one.v, one.z) for one in (ov.initial_state(run), ov.final_state(run))]
    drift = np.subtract(*(ov.conserved(one, LINEAR)["spectrum"] for one in plain))
    assert np.max(np.abs(drift)) > 1e-2  # what is conserved without a bulk is not with one


def test_what_a_bulk_does_not_go_with_is_refused():
    infinite = NET.with_bulk(0.3, order=1)
    cases = [
        (lambda: NETWORK.overlaps(), "must have no bulk to be described by its overlaps"),
        (lambda: ov.metric(NETWORK, LINEAR), "must have a loss that is a function of overlaps"),
        (lambda: infinite.mean_field(), "must have no bulk to have a mean field"),
        (lambda: infinite.krylov(2), "must be a network of neurons to be reduced"),
        (lambda: NET.sample(N, 0).krylov(2), "must have a bulk"),
        (lambda: infinite.with_bulk(0.2), "`bulk` must be given once, but the state has one already"),
        (lambda: infinite.sample(N, 0), r"Draw it from the Overlaps before learning: net.sample\(n, key, bulk=g\)"),
        (lambda: NETWORK.lifted(infinite), "be a single reduction of this network by `krylov`"),
        (lambda: NETWORK.lifted(NET.sample(N, 5, bulk=0.7).krylov(1)), "be a reduction of this network, but it is that of an"),
        (
            lambda: ov.Network(NETWORK.m, NETWORK.u, NETWORK.v, NETWORK.z, bulk=np.eye(3)),
            r"`bulk` must be a RandomBulk or have",
        ),
        (lambda: NET.with_bulk(-0.1), "`radius` must be a number of at least 0"),
        (lambda: NET.with_bulk(0.1, order=9), "`order` must be at most 8, but 9 came, which makes 1023 words"),
        (lambda: NET.with_bulk(ov.RandomBulk(0.1, 0)), r"a RandomBulk came. For a J of your own, use .*bulk=J\).krylov"),
        (lambda: NET.with_bulk(np.eye(3)), r"an array of shape \(3, 3\) came. For a J of your own"),
        (lambda: ov.Network(NETWORK.m, NETWORK.u, NETWORK.v, NETWORK.z, bulk=0.1), r"needs a key: RandomBulk\(radius, key\)"),
        (lambda: ov.learn_mean_field(infinite, TRIALS, TANH), "no mean field of independent neurons exists: train the Network"),
        (lambda: ov.learn_mean_field(NET.sample(N, 0), TRIALS, TANH), "be Overlaps or Populations, .* Pass network.overlaps"),
        (lambda: ov.bulk.activity(NETWORK, 0.1, [1.0], TANH), "Pass the Overlaps from which the network was drawn"),
        (lambda: NET.with_bulk(0.1, correlation=1.5), "`correlation` must be a number from -1 to 1"),
        (lambda: ov.learn(infinite, TRIALS, TANH, ov.GradientDescent()), "must be a whole network for phi 'tanh'"),
        (lambda: ov.learn(infinite, FILTER, LINEAR, ov.GradientDescent(1e-3, 5, optax.adam)), "must commute with rotations"),
        (lambda: TANH.phase_portrait(NETWORK), "must have no bulk for a portrait"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("correlation", [0.0, 0.5, -1.0])
def test_a_bulk_beyond_stability_and_an_infinite_horizon(correlation):
    task = ov.tasks.exponential_filter(0.2, horizon=None)
    net = ov.Overlaps.random(0).replace(vu=0.2)
    limit = 1 / (1 + correlation) if correlation > -1 else 50.0
    assert np.isfinite(task.loss(net.with_bulk(0.98 * limit, order=2, correlation=correlation), ov.RNN()))
    if correlation > -1:
        with pytest.raises(
            ValueError, match=r"(?s)for a task of infinite horizon, .* take a bulk of smaller radius, scale u or v"
        ):
            task.loss(net.with_bulk(1.02 * limit, order=2, correlation=correlation), ov.RNN())
        with pytest.raises(ValueError, match="be a stable network for a task of infinite horizon"):
            task.loss(net.sample(200, 0, bulk=ov.RandomBulk(1.3 * limit, 0, correlation)), ov.RNN())


def test_no_bulk_is_todays_library():
    net, rule = ov.Overlaps.random(4), ov.GradientDescent(1e-2, 50)
    task = ov.tasks.exponential_filter(0.2, horizon=3.0)
    expected = ov.learn(net, task, LINEAR, rule, saves=6)
    for state in (net.with_bulk(0.0, order=2), net.sample(30, 0, bulk=0.0), net.sample(30, 0, bulk=np.zeros((30, 30)))):
        run = ov.learn(state, task, LINEAR, rule, saves=6)
        np.testing.assert_allclose(run["sigma"], expected["sigma"], rtol=0, atol=1e-13)
        np.testing.assert_allclose(run["loss"], expected["loss"], rtol=0, atol=1e-13)
    assert "bulk" not in ov.learn(net.sample(30, 0), task, LINEAR, rule, saves=2).attrs["state"]
