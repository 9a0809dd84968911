"""Learning to integrate and to oscillate: small systems against whole networks, closed forms against flows."""

import numpy as np
import pytest
import scipy.integrate

import overlaps as ov
from overlaps import integration

RNN, W_ONLY = ov.RNN(), {"m": 0, "z": 0}
TIGHT = {"rtol": 1e-11, "atol": 1e-13}


def planar(n, W, m, z, key=0):
    """A network of n neurons with these weights and vectors in a random subspace, and zeros outside of it."""
    basis = np.linalg.qr(np.random.default_rng(key).standard_normal((n, len(W))))[0]
    return ov.DenseNetwork(basis @ np.asarray(W) @ basis.T, np.sqrt(n) * basis @ m, np.sqrt(n) * basis @ z)


def assert_same(theory, simulation):
    for name in ("loss", "outlier_real", "outlier_imag"):
        assert np.allclose(theory[name], simulation[name], rtol=0, atol=2e-8), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "m", "z"), [({"W": 2.0, "m": 0, "z": 0}, 1.2, 0.8), ({"W": 1.0, "m": 0.8, "z": 0.5}, 0.3, 0.1)]
)
def test_one_outlier_is_the_whole_network(rates, m, z):
    net = planar(12, [[0.1]], [[m]], [[z]])
    task = ov.tasks.exponential_filter(0.2, horizon=None)
    simulation = ov.learn(net, task, RNN, ov.GradientFlow(1.0, rates=rates, **TIGHT), saves=5)
    imbalance = m**2 / rates["m"] - z**2 / rates["z"] if rates["m"] else 0.0
    theory = integration.outlier_flow(0.2, simulation["time"], rates, 0.1, m * z, imbalance)
    assert_same(theory, simulation)
    end = ov.final_state(simulation)
    assert theory["amplitude"].values[-1] == pytest.approx((end.m.T @ end.z).item() / 12, abs=2e-8)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [W_ONLY, {"W": 0.7, "m": 1.5, "z": 1.5}])
def test_orthogonal_vectors_are_the_whole_network(rates):
    net = planar(10, np.zeros((2, 2)), [[0.9], [0.0]], [[0.0], [0.9]])
    task = ov.tasks.damped_oscillation(0.3, 0.5, horizon=None)
    simulation = ov.learn(net, task, RNN, ov.GradientFlow(1.5, rates=rates, **TIGHT), saves=5)
    assert_same(integration.orthogonal_flow(0.3, simulation["time"], rates, 0.9, 0.5), simulation)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [W_ONLY, {"W": 0.7, "m": 1.5, "z": 1.5}])
def test_the_plateau_is_the_whole_network(rates):
    net = planar(10, [[0.0, -0.2], [0.2, 0.0]], [[1.0], [0.0]], [[1.0], [0.0]])
    task = ov.tasks.damped_oscillation(0.3, 0.5, horizon=None)
    simulation = ov.learn(net, task, RNN, ov.GradientFlow(4.0, rates=rates, **TIGHT), saves=5)
    theory = integration.plateau_flow(0.3, 0.5, simulation["time"], 0.2, rates)
    assert np.allclose(theory["loss"], simulation["loss"], rtol=0, atol=2e-8)
    assert np.allclose(theory["outlier_imag"][-1], simulation["outlier_imag"][-1], rtol=0, atol=2e-7)
    assert simulation["outlier_imag"].values[-1] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("rates", [W_ONLY, {"W": 1.0, "m": 0.5, "z": 2.0}])
def test_a_pair_with_two_channels_is_the_whole_network(rates):
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    net = planar(10, np.zeros((2, 2)), 0.8 * np.eye(2), 0.5 * turn)
    rotation = [[-0.3, -1.2], [1.2, -0.3]]
    task = ov.tasks.linear_filter(rotation, np.eye(2), np.eye(2), horizon=None)
    simulation = ov.learn(net, task, RNN, ov.GradientFlow(1.0, rates=rates, **TIGHT), saves=5)
    imbalance = 0.64 / rates["m"] - 0.25 / rates["z"] if rates["m"] else 0.0
    theory = integration.pair_flow(0.3, 1.2, simulation["time"], rates, 0.0, 0.4 * np.exp(0.4j), imbalance)
    assert np.allclose(theory["loss"], simulation["loss"], rtol=0, atol=2e-8)
    assert np.allclose(theory["outlier_real"], simulation["outlier_real"], rtol=0, atol=2e-8)
    assert np.allclose(theory["outlier_imag"], simulation["outlier_imag"], rtol=0, atol=2e-8)


@pytest.mark.slow
def test_a_pair_emerges_with_one_channel_from_random_vectors():
    task = ov.tasks.damped_oscillation(0.3, 1.0, horizon=None)
    for seed in range(3):
        net = ov.DenseNetwork.random(seed, 100).reduced()
        end = ov.learn(net, task, RNN, ov.GradientDescent(0.05, 2000), saves=2).isel(time=-1)
        assert end["loss"] < 1e-8
        assert end["outlier_real"].item() == pytest.approx(0.7, abs=1e-3)
        assert end["outlier_imag"].item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_published_values():
    """Numbers from the derivation for [BCPZ25], with eta = 1 and rate 0.2 unless said otherwise."""
    flow = integration.outlier_flow(0.2, [1.0], {"W": 1, "m": 0.8, "z": 0.5}, 0.0, 0.03, 0.09 / 0.8 - 0.01 / 0.5)
    found = [flow[name].item() for name in ("outlier_real", "amplitude", "loss")]
    assert np.allclose(found, [0.177511027, 0.2797088401, 2.0004474894], rtol=0, atol=5e-10)
    flow = integration.orthogonal_flow(0.2, [1.0])
    assert np.allclose([flow["outlier_real"].item(), flow["loss"].item()], [0.75583926506, 0.016987761440], rtol=0, atol=5e-11)
    assert integration.outlier_time(0.2, 0.6) == pytest.approx(0.42912852636, abs=1e-11)
    assert integration.outlier_time(0.01, 0.98) == pytest.approx(0.23131813441, abs=1e-11)
    kernels = integration.lazy_kernels([1.0], 0.6, [2.0])
    assert kernels["vectors"].item() == pytest.approx(0.0926262651964, abs=1e-13)
    assert kernels["weights"].item() == pytest.approx(0.1399900431593, abs=1e-13)
    for rate, alpha in ((0.6, 1.7712437492), (0.4, 1.0), (0.1, 0.2287562508)):
        assert integration.lazy_exponent(rate, 0.6) == pytest.approx(alpha, abs=1e-10)
    assert integration.lazy_learning_curve(0.6, 0.6, [0.3])["loss"].item() == pytest.approx(0.16777870, abs=1e-8)
    net = ov.ReducedNetwork([[0.2, 0.3], [-0.2, -0.1]], np.sqrt(2) * np.array([1, 0.2]), np.sqrt(2) * np.array([0.4, 0.9]))
    loss = ov.tasks.damped_oscillation(0.2, 1.0, horizon=None).loss(net, RNN)
    assert loss == pytest.approx(0.873328283553025, abs=1e-13)


@pytest.mark.parametrize("rate", [0.2, 1.7])
def test_the_time_to_an_eigenvalue_against_quadrature(rate):
    target = 1 - rate
    for fraction in (0.3, 0.99):
        # ds = dc / (dc/ds), dc/ds = 1 / (2 c^2) - 2 / (c + rate)^2
        speed = scipy.integrate.quad(lambda c: 1 / (1 / (2 * c**2) - 2 / (c + rate) ** 2), 1, 1 - fraction * target)[0]
        assert integration.outlier_time(rate, fraction * target, {"W": 2.0}) == pytest.approx(speed / 2, rel=1e-10)
    assert integration.outlier_time(rate, target) == np.inf


@pytest.mark.slow
def test_slow_integrators_are_learned_in_a_finite_time():
    rate = 1e-3
    times = np.array([0.9, 1.0, 1.1]) * integration.outlier_time(rate, 0.998)
    flow = integration.outlier_flow(rate, times, W_ONLY)
    assert flow["outlier_real"].values[1] == pytest.approx(0.998, abs=1e-6)
    assert flow["loss"].values[0] > 0.9 * 0.5 / rate  # flat to the end
    assert flow["loss"].values[2] < 1e-6
    # The next term of the primitive is of the order of the rate: 56/27 rate^2 + 8/9 rate.
    assert integration.outlier_time(rate, 0.998) == pytest.approx(2 / 9, abs=rate)
    assert integration.outlier_time(1e-5, 1 - 2e-5) == pytest.approx(2 / 9, abs=1e-5)
    for small, rates in ((1e-3, None), (1e-4, W_ONLY), (1e-5, W_ONLY)):
        end = integration.outlier_flow(small, [0.1, 0.2, 1.0], rates).isel(time=-1)
        assert end["outlier_real"].item() == pytest.approx(1 - small, rel=1e-2 * small)


@pytest.mark.parametrize("amplitude", [0.3, 1.0, 2.5])
def test_limits_of_frozen_vectors(amplitude):
    limit = integration.outlier_limit(0.4, amplitude)
    end = integration.outlier_flow(0.4, [400.0], W_ONLY, 0.0, amplitude).isel(time=-1)
    assert end["outlier_real"].item() == pytest.approx(limit.eigenvalue, abs=1e-8)
    assert end["loss"].item() == pytest.approx(limit.loss, abs=1e-8)
    assert integration.outlier_limit(0.4, 4.5) == (-np.inf, 1 / 0.8)
    assert integration.outlier_limit(0.4, 0.0) == (0.0, 1 / 0.8)


def test_balanced_vectors_do_not_cross_the_saddle():
    end = integration.outlier_flow(0.4, [1.0, 100.0, 1e4], amplitude=-0.5).isel(time=-1)
    assert abs(end["amplitude"].item()) < 1e-8
    assert end["loss"].item() == pytest.approx(1 / 0.8, abs=1e-8)


def test_the_plateau_ends_at_the_escape_rate():
    times = np.array([0.0, 20.0, 30.0])
    flow = integration.plateau_flow(0.3, 0.5, times, 1e-7, {"W": 2.0, "m": 0, "z": 0})
    rotation = np.log(flow["rotation"].values[1:])
    # by then the plateau is reached to exp(-20), and the rotation is 1e-7 exp(13) at most
    assert np.diff(rotation).item() / 10 == pytest.approx(integration.escape_rate(0.3, 0.5, {"W": 2.0}), rel=1e-3)
    decay = integration.plateau_rate(0.3, 0.5)
    assert 1 - flow["outlier_real"].values[1] == pytest.approx(decay, abs=1e-3)
    losses = [1 / (2 * a) - 2 * (1 / (a + 0.3 + 0.5j)).real for a in np.linspace(0.05, 20, 4000)]
    assert 1 / (2 * decay) - 2 * (1 / (decay + 0.3 + 0.5j)).real <= min(losses)


@pytest.mark.slow
def test_small_starts_escape_after_the_logarithm_of_their_size():
    amplitudes = (1e-3, 1e-5)
    times = np.linspace(0, 8, 2001)
    rates = {"W": 1.0, "m": 2.0, "z": 0.5}
    halves = []
    for amplitude in amplitudes:
        loss = integration.outlier_flow(0.2, times, rates, 0.0, amplitude)["loss"].values
        halves.append(times[np.argmax(loss < loss[0] / 2)])
    predicted = [integration.small_start_time(0.2, amplitude, rates) for amplitude in amplitudes]
    assert np.diff(halves).item() == pytest.approx(np.diff(predicted).item(), abs=0.01)  # the constant drops out


@pytest.mark.slow
@pytest.mark.parametrize("frequency", [0.0, 0.8])
def test_infinitely_many_neurons_are_the_mean_of_large_networks(frequency):
    rule = ov.GradientDescent(0.02, 15)
    task = ov.tasks.damped_oscillation(0.3, 0.8, horizon=None) if frequency else ov.tasks.exponential_filter(0.3, horizon=None)
    limit = ov.learn(integration.infinite_network(0.3, 2), task, RNN, rule, saves=3)["loss"].values[-1]
    deviations = {}
    for n in (100, 400):
        nets = [ov.DenseNetwork.random(seed, n, 0.3).krylov(2) for seed in range(24)]
        losses = [ov.learn(net, task, RNN, rule, saves=3)["loss"].values[-1] for net in nets]
        deviations[n] = np.sqrt(np.mean((np.array(losses) - limit) ** 2))
    # 1 / sqrt(N): a factor of 2, which 24 networks on both sides know to sqrt(2 / (2 * 24)), a fifth
    assert 2 / 1.6 < deviations[100] / deviations[400] < 2 * 1.6


def test_the_infinite_network_has_the_moments_of_random_matrices():
    net = integration.infinite_network(0.7, 6)
    m, z, W = net.m[:, 0], net.z[:, 0], net.W
    assert m @ m / net.n == pytest.approx(1.0)
    assert m @ z == 0.0
    # m^T (W^T)^j W^k m / N = delta_jk sigma^2k, and of W W^T the Catalan numbers
    powers = np.stack([np.linalg.matrix_power(W, k) @ m for k in range(4)])
    assert np.allclose(powers @ powers.T / net.n, np.diag(0.49 ** np.arange(4)), rtol=0, atol=1e-14)
    moments = [m @ np.linalg.matrix_power(W @ W.T, k) @ m / net.n for k in range(4)]
    assert np.allclose(moments, np.array([1, 1, 2, 5]) * 0.49 ** np.arange(4), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integration.outlier_flow(0.0, [1.0]), "`rate` must be a number greater than 0"),
        (lambda: integration.outlier_flow(0.2, [1.0, 0.5]), "`times` must be increasing, from 0 or later"),
        (lambda: integration.outlier_flow(0.2, [1.0], {"u": 1}), "`rates` must name out of W, m, z, but 'u' came"),
        (lambda: integration.outlier_flow(0.2, [1.0], {"m": 0}), "`rates` must freeze both of m and z, or none"),
        (lambda: integration.outlier_flow(0.2, [1.0], None, 1.0), "`eigenvalue` must have a real part below 1"),
        (lambda: integration.orthogonal_flow(0.2, [1.0], {"m": 2.0}), "`rates` must be equal for m and z"),
        (lambda: integration.pair_flow(0.2, 1.0, [1.0], amplitude="x"), "`amplitude` must be a complex number"),
        (lambda: integration.pair_flow(0.2, -1.0, [1.0]), "`frequency` must be a number of at least 0"),
        (lambda: integration.outlier_time(0.2, 0.9), "`eigenvalue` must be between 0 and 0.8"),
        (lambda: integration.outlier_time(0.2, 0.5, {"W": 0}), "`rates` must let W learn"),
        (lambda: integration.small_start_time(0.2, 1.5), "`amplitude` must be below 1"),
        (lambda: integration.small_start_time(0.2, 0.1, {"m": 0}), "`rates` must let m and z learn"),
        (lambda: integration.lazy_exponent(0.2, 1.0), "`sigma` must be below 1"),
        (lambda: integration.lazy_kernels([-1.0], 0.5), "`times` must be at least 0"),
        (lambda: integration.lazy_learning_curve(0.2, 0.99999999, [1.0]), "`sigma` must be resolved by"),
        (lambda: integration.infinite_network(0.3, 12), "`order` must take 2000 units or fewer"),
        (lambda: integration.compare_regimes(key=None), "`key` must be an integer seed"),
    ],
)
def test_bad_input_gets_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_flow_that_cannot_be_solved_says_how_far_it_came(monkeypatch):
    monkeypatch.setattr(integration._systems, "MOST_STEPS", 60)
    with pytest.raises(RuntimeError, match=r"could not be solved between learning times 0\.01 and 0\.25: it is too stiff"):
        integration.outlier_flow(1e-3, [0.0, 0.005, 0.01, 0.25], W_ONLY)
