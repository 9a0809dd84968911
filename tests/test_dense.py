"""Networks whose whole W learns: their loss, learning, activity and files."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import xarray as xr

import overlaps as ov
from overlaps.dynamics._gramians import infinite_integral
from tests.systems import dense

RNN, INTEGRATOR = ov.RNN(), ov.tasks.exponential_filter(0.2, horizon=None)
SHORT, EULER = ov.tasks.exponential_filter(0.2, horizon=4.0), ov.RNN(dt=0.1)
TARGET = ov.tasks.linear_filter([[-0.4, -1.0], [1.0, -0.5]], [[1.0, 0.2], [0.0, 1.0]], [[1.0, 0.0], [0.3, -1.0]], horizon=4.0)


def two_channels(n, key=0, rank=0, bulk=0.37):
    """A network with two inputs and two outputs, whose W is `bulk` plus a random matrix of rank `rank`."""
    generator = np.random.default_rng(key)
    left, right = generator.standard_normal((2, n, rank))
    return ov.DenseNetwork(bulk * np.eye(n) + 0.6 * left @ right.T / n, *generator.standard_normal((2, n, 2)))


def test_loss_and_gradient_against_bartels_and_stewart():
    net = ov.DenseNetwork.random(0, 60, 0.4)
    task = ov.tasks.damped_oscillation(0.3, 2.0, horizon=None)
    loss, gradients = dense.infinite_loss_and_gradients(net.W, net.m, net.z, task.A, task.B, task.C)
    found = jax.grad(lambda net: task.loss(net, RNN))(net)
    assert task.loss(net, RNN) == pytest.approx(loss, rel=1e-11)
    for expected, got in zip(gradients, (found.W, found.m, found.z), strict=True):
        assert np.allclose(got, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_lyapunov_equations_of_many_states_and_their_derivatives():
    generator = np.random.default_rng(0)
    A = 0.9 * generator.standard_normal((150, 150)) / np.sqrt(150) - np.eye(150)
    Q, weight, change = generator.standard_normal((3, 150, 150))
    exact = scipy.linalg.solve_continuous_lyapunov(A, -Q)
    assert np.allclose(infinite_integral(jnp.asarray(A), jnp.asarray(Q)), exact, rtol=0, atol=1e-11 * np.abs(exact).max())
    # The derivative of a solution along dA solves the equation with the source dA X + X dA^T.
    moved = scipy.linalg.solve_continuous_lyapunov(A, -(change @ exact + exact @ change.T))
    slope = jax.grad(lambda a: jnp.sum(weight * infinite_integral(a, jnp.asarray(Q))))(jnp.asarray(A))
    assert np.sum(slope * change) == pytest.approx(np.sum(weight * moved), rel=1e-10)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.8, 0.1)])
def test_descent_against_plain_numpy(momentum, decay):
    net = two_channels(31, rank=2)
    samples = np.stack([TARGET.C @ scipy.linalg.expm(TARGET.A * t) @ TARGET.B for t in 0.1 * np.arange(40)])
    rule = ov.GradientDescent(0.05, 30, functools.partial(momentum_and_decay, momentum=momentum, decay=decay))
    end = ov.final_state(ov.learn(net, TARGET, EULER, rule, saves=3))
    for got, expected in zip(
        (end.W, end.m, end.z), dense.descend((net.W, net.m, net.z), samples, 0.1, 0.05, 30, momentum, decay), strict=True
    ):
        assert np.allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def momentum_and_decay(learning_rate, momentum, decay):
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(learning_rate, momentum=momentum))


@pytest.mark.slow
def test_single_precision_on_request():
    net = jax.tree.map(np.float32, ov.DenseNetwork.random(0, 12, 0.3))
    rules = (ov.GradientDescent(0.02, 30), ov.GradientFlow(0.6, rtol=1e-4, atol=1e-5))
    expected = ov.learn(ov.DenseNetwork.random(0, 12, 0.3), SHORT, EULER, rules[1], saves=4)
    for rule in rules:
        dataset = ov.learn(net, SHORT, EULER, rule, saves=4, precision="float32")
        assert dataset["time"].values[-1] == pytest.approx(0.6, rel=1e-6)
        assert dataset["loss"].values[-1] == pytest.approx(expected["loss"].values[-1], rel=0.1)  # descent is not the flow
        assert ov.final_state(dataset).W.dtype == np.float32
    assert net.krylov(1).factor.dtype == np.float32


def test_adam_on_a_dense_network_is_adam_on_its_weights_and_vectors():
    net, steps = ov.DenseNetwork.random(0, 12, 0.3), 8
    end = ov.final_state(ov.learn(net, SHORT, EULER, ov.GradientDescent(0.02, steps, optax.adam), saves=2))
    samples = np.exp(-0.2 * 0.1 * np.arange(40))[:, None, None]
    parameters = [net.W, net.m, net.z]
    first, second = ([np.zeros_like(x) for x in parameters] for _ in range(2))
    for step in range(1, steps + 1):
        for place, gradient in enumerate(dense.euler_loss_and_gradients(*parameters, samples, 0.1)[1]):
            first[place] = 0.9 * first[place] + 0.1 * gradient
            second[place] = 0.999 * second[place] + 0.001 * gradient**2
        parameters = [
            x - 0.02 * (a / (1 - 0.9**step)) / (np.sqrt(b / (1 - 0.999**step)) + 1e-8)
            for x, a, b in zip(parameters, first, second, strict=True)
        ]
    for got, expected in zip((end.W, end.m, end.z), parameters, strict=True):
        assert np.allclose(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rnn", [ov.RNN("tanh", dt=0.1), ov.RNN(), ov.RNN("erf")])
def test_activity_is_that_of_the_low_rank_network_with_the_same_weights(rnn):
    low_rank = ov.Overlaps.random(0, rank=2).sample(30, 1)
    net = ov.DenseNetwork(low_rank.W, low_rank.m, low_rank.z)
    inputs = np.random.default_rng(0).standard_normal((3, 12, 1))
    dt = None if rnn.dt else 0.1
    assert np.allclose(rnn.output(net, inputs, dt), rnn.output(low_rank, inputs, dt), rtol=0, atol=1e-9)
    assert np.allclose(rnn.activity(net, inputs, dt), rnn.activity(low_rank, inputs, dt), rtol=0, atol=1e-9)


def test_trials_train_dense_networks_of_every_phi_but_no_reductions():
    net, tanh = ov.DenseNetwork.random(0, 20, 0.5), ov.RNN("tanh", dt=0.1)
    trials = ov.tasks.white_noise(SHORT, 0, trials=5, dt=0.1)
    dataset = ov.learn(net, trials, tanh, ov.GradientDescent(0.05, 20), saves=3, observe="output")
    assert dataset["loss"].values[-1] < 0.9 * dataset["loss"].values[0]
    step = 1e-6 * np.random.default_rng(0).standard_normal((20, 20))
    slope = np.sum(jax.grad(lambda net: trials.loss(net, tanh))(net).W * step)
    change = [trials.loss(ov.DenseNetwork(net.W + sign * step, net.m, net.z), tanh) for sign in (1, -1)]
    assert slope == pytest.approx((change[0] - change[1]) / 2, rel=1e-6)
    with pytest.raises(ValueError, match="`state` must be a whole network for phi 'tanh'"):
        ov.learn(net.krylov(1), trials, tanh, ov.GradientDescent(0.05, 2))


@pytest.mark.parametrize("rates", [{}, {"W": 0.5, "m": 2.0, "z1": 0.7, "z2": 1.5}])
def test_the_flow_conserves_a_matrix(rates):
    net = two_channels(14, rank=3, bulk=0.0)
    rule = ov.GradientFlow(1.0, rtol=1e-11, atol=1e-13, rates=rates)
    end = ov.final_state(ov.learn(net, TARGET, EULER, rule, saves=2))
    charges = [ov.conserved(state, EULER, rates)["K"] for state in (net, end)]
    assert np.allclose(*charges, rtol=0, atol=1e-9)
    assert np.abs(end.W - net.W).max() > 1e-2
    wrong = [ov.conserved(state, EULER, {"W": 3.0})["K"] for state in (net, end)]
    assert np.abs(wrong[0] - wrong[1]).max() > 1e-3
    assert ov.conserved(net, ov.RNN("tanh")) == {}
    assert ov.conserved(net, EULER, {"m": 0}) == {}


def test_batches_files_and_repeats(tmp_path):
    nets = [ov.DenseNetwork.random(seed, 10, 0.3) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *nets)
    rule = ov.GradientDescent([0.01, 0.02, 50.0], 20)
    with pytest.warns(RuntimeWarning, match="1 of 3 networks diverged"):
        dataset = ov.learn(batch, SHORT, EULER, rule, saves=5)
    single = ov.learn(nets[1], SHORT, EULER, ov.GradientDescent(0.02, 20), saves=5)
    for name in ("loss", "eigenvalue_real", "alignment_left", "weight_change", "final_W", "final_vectors"):
        assert np.allclose(dataset[name].isel(batch=1), single[name], rtol=0, atol=1e-12)
    for name in ("loss", "eigenvalue_imag", "alignment_right", "weight_change"):
        assert np.all(np.isnan(dataset[name].isel(batch=2, time=-1)))
    dataset.isel(batch=slice(2)).to_netcdf(tmp_path / "batch.nc")
    single.to_netcdf(tmp_path / "single.nc")
    with xr.open_dataset(tmp_path / "batch.nc") as loaded:
        assert np.array_equal(ov.rerun(loaded)["loss"], dataset["loss"].isel(batch=slice(2)))
    with xr.open_dataset(tmp_path / "single.nc") as loaded:
        assert np.array_equal(ov.rerun(loaded)["final_W"], single["final_W"])
        assert isinstance(ov.final_state(loaded), ov.DenseNetwork)


@pytest.mark.slow
def test_where_learning_leaves_the_stable_networks_it_stops_and_says_where():
    net = ov.DenseNetwork([[0.9]], [3.0], [3.0])
    with pytest.raises(ov.DivergenceError, match="Learning stopped: at step") as caught:
        ov.learn(net, ov.tasks.exponential_filter(0.02, horizon=None), RNN, ov.GradientDescent(0.5, 50))
    assert caught.value.dataset["loss"].size
    stiff = ov.GradientFlow(0.25, rates={"m": 0, "z": 0}, solver=diffrax.Kvaerno5(), rtol=1e-6, atol=1e-8)
    slow = ov.learn(
        ov.DenseNetwork([[0.0]], [1.0], [1.0]), ov.tasks.exponential_filter(0.01, horizon=None), RNN, stiff, saves=3
    )
    assert slow["outlier_real"].values[-1] == pytest.approx(0.99, abs=1e-4)


VECTOR, DESCENT = np.ones(4), ov.GradientDescent(0.01, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ov.DenseNetwork(np.ones((3, 4)), VECTOR, VECTOR), r"`W` must be a square matrix, but its shape is \(3, 4\)"),
        (lambda: ov.DenseNetwork(np.eye(3), VECTOR, VECTOR), r"`m` must have 3 rows, one per neuron, as `W` has"),
        (lambda: ov.DenseNetwork(np.eye(4), VECTOR, np.ones(3)), "`z` must have 4 rows"),
        (lambda: ov.DenseNetwork(np.nan * np.eye(4), VECTOR, VECTOR), "`W` must be finite"),
        (lambda: ov.DenseNetwork.random(0, 5, silent=True), "`n` must be even for a silent network"),
        (lambda: ov.DenseNetwork.random(0, 5, -1.0), "`sigma` must be a number of at least 0"),
        (lambda: ov.DenseNetwork.random(0, 5).krylov(-1), "`order` must be a whole number"),
        (lambda: ov.DenseNetwork.random(0, 5).overlaps(), "`state` must have an overlap matrix"),
        (lambda: ov.DenseNetwork.random(0, 5).visible(RNN), "`state` must have an overlap matrix"),
        (lambda: RNN.visible(ov.DenseNetwork.random(0, 5).layout), "`layout` must be that of vectors m, u, v, z"),
        (lambda: RNN.fixed_points(ov.DenseNetwork.random(0, 5), 0.0, None, 1.0), "`state` must have an overlap matrix"),
        (lambda: ov.validate(ov.DenseNetwork.random(0, 5), SHORT, EULER), "`net` must be"),
        (lambda: ov.DenseNetwork.random(0, 5).lifted(ov.DenseNetwork.random(0, 5)), "`reduced` must be a reduction of this"),
        (lambda: ov.DenseNetwork.random(0, 5).lifted(ov.DenseNetwork.random(0, 6).reduced()), "it is the reduction of 6"),
        (
            lambda: ov.DenseNetwork.random(0, 6).lifted(ov.DenseNetwork.random(1, 6).reduced()),
            "its basis is not made of W, m and z",
        ),
        (lambda: ov.ReducedNetwork(np.eye(4), VECTOR, VECTOR, np.ones((9, 3))), "`basis` must have 4 columns"),
        (lambda: ov.DenseNetwork(np.eye(4), 0 * VECTOR, 0 * VECTOR).reduced(), "`m` must be something to reduce to"),
        (
            lambda: ov.learn(ov.DenseNetwork.random(0, 5), SHORT, EULER, ov.GradientDescent(rates={"u": 0})),
            "`rates` must name out of W, m, z, but 'u' came",
        ),
        (lambda: ov.learn(ov.DenseNetwork.random(0, 5, 4.0), INTEGRATOR, RNN, DESCENT), "`state` must be a stable network"),
        (lambda: ov.learn(ov.DenseNetwork.random(0, 5, inputs=2), SHORT, EULER, DESCENT), "`state` must have 1 inputs"),
        (lambda: ov.learn(ov.DenseNetwork.random(0, 5), SHORT, EULER, DESCENT, observe="moments"), "ask for moments of"),
    ],
)
def test_bad_input_gets_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_representations():
    net = ov.DenseNetwork.random(0, 30, inputs=2)
    assert repr(net) == "DenseNetwork(n=30, inputs=2, outputs=1, float64)"
    assert repr(net.reduced()) == "ReducedNetwork(n=3, inputs=2, outputs=1, float64)"
    assert np.all(np.diff(np.abs(ov.DenseNetwork.random(0, 30, 0.5).eigenvalues())) <= 1e-12)
