"""The loss in closed form, the visible/invisible split, and the Gramians behind them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import overlaps as ov
from overlaps.dynamics import _gramians
from overlaps.dynamics._gramians import infinite_integral, infinite_sum
from tests.systems import exponential

HORIZONS = [20.0, None]
STEPS = [None, 0.05]


def finite_sum(*arguments, **options):
    """The Gramian of a system that nothing drives."""
    return _gramians.finite_sum(*arguments, **options)[0]


def finite_integral(*arguments, **options):
    """The same in continuous time."""
    return _gramians.finite_integral(*arguments, **options)[0]


def oscillating_task(inputs, outputs, horizon, seed=0):
    """A two-pole target with the given numbers of channels."""
    generator = np.random.default_rng(seed)
    B, C = generator.normal(1.0, 0.5, (2, inputs)), generator.normal(1.0, 0.5, (outputs, 2))
    return ov.tasks.linear_filter([[-0.3, -2.0], [2.0, -0.4]], B, C, horizon=horizon)


def stable_matrix(size, seed):
    matrix = np.random.default_rng(seed).standard_normal((size, size))
    return matrix - (0.2 + np.linalg.eigvals(matrix).real.max()) * np.eye(size)


@pytest.mark.parametrize("size", [3, 40])
def test_infinite_gramians_against_scipy(size):
    A = stable_matrix(size, 0)
    source = np.cov(np.random.default_rng(1).standard_normal((size, 2 * size)))
    expected = scipy.linalg.solve_continuous_lyapunov(A, -source)
    np.testing.assert_allclose(infinite_integral(A, source), expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
    phi = scipy.linalg.expm(0.3 * A)
    expected = scipy.linalg.solve_discrete_lyapunov(phi, source)
    np.testing.assert_allclose(infinite_sum(phi, source), expected, rtol=1e-10, atol=1e-10 * abs(expected).max())


def test_infinite_gramians_of_unstable_systems_are_infinite():
    for eigenvalue in (0.0, 0.3):
        A = np.diag([-1.0, eigenvalue])
        assert np.all(np.isinf(infinite_integral(A, np.eye(2))))
        assert np.all(np.isinf(infinite_sum(scipy.linalg.expm(A), np.eye(2))))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_finite_integral_against_van_loan(scale):
    # Van Loan: the right blocks of expm([[-A, Q], [0, A^T]] T) are exp(-A T) X and exp(A T)^T.
    A, horizon = scale * stable_matrix(4, 2), 0.7
    source = np.eye(4)
    block = scipy.linalg.expm(horizon * np.block([[-A, source], [np.zeros((4, 4)), A.T]]))
    expected = block[4:, 4:].T @ block[:4, 4:]
    # The oracle itself loses digits to exp(-A T), which the library's way does not contain.
    lost = 1e-13 * np.linalg.cond(block)
    np.testing.assert_allclose(finite_integral(A, source, 12, horizon), expected, atol=lost * abs(expected).max())


def test_finite_integral_refuses_rates_beyond_its_series():
    assert np.all(np.isnan(finite_integral(-1e6 * np.eye(2), np.eye(2), 10, 1.0)))


@pytest.mark.parametrize("samples", [1, 2, 7, 64, 401])
def test_finite_sum_against_adding_up(samples):
    phi = np.eye(3) + 0.05 * stable_matrix(3, 3)
    source = np.diag([1.0, 2.0, 0.0])
    powers = [np.linalg.matrix_power(phi, k) for k in range(samples)]
    expected = sum(power @ source @ power.T for power in powers)
    np.testing.assert_allclose(finite_sum(phi, source, samples), expected, rtol=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 3, 400, 401])
@pytest.mark.slow
def test_scanned_sum_against_adding_up_and_the_unrolled_one(samples):
    phi = np.eye(3) + 0.05 * stable_matrix(3, 3)
    powers = [np.linalg.matrix_power(phi, k) for k in range(samples)]
    source = np.diag([1.0, 2.0, 0.0])
    expected = sum(power @ source @ power.T for power in powers)
    np.testing.assert_allclose(finite_sum(phi, source, samples, scanned=True), expected, rtol=1e-12)
    assert_same_function(lambda phi, scanned: finite_sum(phi, source + phi @ phi.T, samples, scanned), phi)


@pytest.mark.parametrize("doublings", [5, 12])
@pytest.mark.slow
def test_scanned_integral_against_quadrature_and_the_unrolled_one(doublings):
    A, source, horizon = stable_matrix(3, 2), np.diag([1.0, 2.0, 0.0]), 0.7

    def integrand(time):
        propagator = scipy.linalg.expm(A * time)
        return propagator @ source @ propagator.T

    expected = scipy.integrate.quad_vec(integrand, 0, horizon, epsabs=1e-13)[0]
    np.testing.assert_allclose(finite_integral(A, source, doublings, horizon, scanned=True), expected, rtol=1e-12)
    assert_same_function(lambda A, scanned: finite_integral(A, source + A @ A.T, doublings, horizon, scanned), A)


def test_scanned_integral_refuses_rates_beyond_its_series():
    assert np.all(np.isnan(finite_integral(-1e6 * np.eye(2), np.eye(2), 10, 1.0, scanned=True)))


def assert_same_function(gramian, matrix):
    """Scanned and unrolled: values, gradients in both modes, and second derivatives in both orders."""
    weights, direction = np.random.default_rng(5).standard_normal((2, *matrix.shape))

    def derivatives(scanned):
        def value(matrix):
            return jnp.sum(weights * gramian(matrix, scanned))

        def along(matrix):
            return jax.jvp(value, (matrix,), (direction,))[1]

        reverse = jax.grad(value)

        @jax.jit
        def together(matrix):
            seconds = jax.jvp(reverse, (matrix,), (direction,))[1], jax.grad(along)(matrix)
            return gramian(matrix, scanned), reverse(matrix), along(matrix), *seconds

        return together(matrix)

    for one, other in zip(derivatives(True), derivatives(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14 * np.abs(other).max())


@pytest.mark.slow
@pytest.mark.parametrize("infinite", [infinite_integral, infinite_sum])
def test_gramian_derivatives_against_finite_differences(infinite):
    A = stable_matrix(4, 4) if infinite is infinite_integral else 0.4 * scipy.linalg.expm(stable_matrix(4, 4))
    weights, direction = np.random.default_rng(5).standard_normal((2, 4, 4))

    def value(matrix):
        return jnp.sum(weights * infinite(matrix, matrix @ matrix.T))

    step = 1e-5
    slope = (value(A + step * direction) - value(A - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(jax.grad(value)(A) * direction), slope, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(value, (A,), (direction,))[1], slope, rtol=1e-7)
    curvature = (value(A + 1e-4 * direction) - 2 * value(A) + value(A - 1e-4 * direction)) / 1e-8
    second = jax.jvp(lambda x: jax.grad(value)(x), (A,), (direction,))[1]
    np.testing.assert_allclose(jnp.sum(second * direction), curvature, rtol=1e-4)


@pytest.mark.parametrize(("rate", "horizon"), [(0.0, 3.0), (0.0, 20.0), (0.2, 20.0), (0.2, None), (1.5, None)])
def test_loss_against_the_analytic_sum_of_exponentials(rate, horizon):
    net = ov.Overlaps.random(0).replace(zm=0.7, zu=0.4, vm=-0.3, vu=0.5)
    loss = ov.tasks.exponential_filter(rate, 1.3, horizon).loss(net, ov.RNN())
    np.testing.assert_allclose(loss, exponential.loss(net.visible(ov.RNN()), 1.3, rate, horizon), rtol=1e-12)


def brute_force_loss(net, task, rnn):
    """The squared distance of impulse responses, summed over samples of matrix exponentials or powers of the reduced system."""
    inputs, rank = net.inputs, net.rank
    A = np.block([[-np.eye(inputs), np.zeros((inputs, rank))], [net["vm"], net["vu"] - np.eye(rank)]]) / rnn.tau
    B, C = np.eye(inputs + rank, inputs) / rnn.tau, np.hstack([net["zm"], net["zu"]])
    horizon = 400.0 if task.horizon is None else task.horizon

    def squared_error(response, time):
        return np.sum((C @ response @ B - task.C @ scipy.linalg.expm(task.A * time) @ task.B) ** 2)

    if rnn.dt is None:
        pieces = np.linspace(0, min(horizon, 100.0), 101)
        return sum(
            scipy.integrate.fixed_quad(
                lambda times: np.array([squared_error(scipy.linalg.expm(A * t), t) for t in times]), first, last, n=20
            )[0]
            for first, last in itertools.pairwise(pieces)
        )
    phi, response, total = np.eye(len(A)) + rnn.dt * A, np.eye(len(A)), 0.0
    for k in range(round(horizon / rnn.dt)):
        total += rnn.dt * squared_error(response, k * rnn.dt)
        response = phi @ response
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("dt", "horizon", "tau"), [(None, 20.0, 1.0), (None, None, 1.7), (0.05, 20.0, 1.7), (0.05, None, 1.0)])
def test_loss_against_brute_force_impulse_responses(dt, horizon, tau):
    net = ov.Overlaps.random(1, rank=2, inputs=2, outputs=2)
    task, rnn = oscillating_task(2, 2, horizon), ov.RNN(tau=tau, dt=dt)
    np.testing.assert_allclose(task.loss(net, rnn), brute_force_loss(net, task, rnn), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("dt", STEPS)
def test_network_and_overlaps_have_the_same_loss(dt, horizon):
    network = ov.Overlaps.random(2, rank=2, inputs=2).sample(60, 0)
    task, rnn = oscillating_task(2, 1, horizon), ov.RNN(tau=1.3, dt=dt)
    np.testing.assert_allclose(task.loss(network, rnn), task.loss(network.overlaps(), rnn), rtol=1e-12)


@pytest.mark.slow
def test_fast_targets_are_resolved_in_continuous_time():
    net = ov.Overlaps.random(2).replace(zm=0.7, zu=0.4, vm=-0.3, vu=0.5)
    for rate in (50.0, 1000.0):
        expected = exponential.loss(net.visible(ov.RNN()), 1.0, rate, 20.0)
        np.testing.assert_allclose(ov.tasks.exponential_filter(rate).loss(net, ov.RNN()), expected, rtol=1e-11)
    network = net.sample(20, 0)
    task = ov.tasks.damped_oscillation(rate=0.5, frequency=100.0, horizon=4.0)
    expected = task.loss(net, ov.RNN())
    np.testing.assert_allclose(task.loss(network, ov.RNN()), expected, rtol=1e-11)
    np.testing.assert_allclose(jax.jit(lambda network: task.loss(network, ov.RNN()))(network), expected, rtol=1e-11)

    def traced(frequency):
        return ov.tasks.damped_oscillation(0.5, frequency, horizon=4.0).loss(network, ov.RNN())

    assert np.isnan(jax.jit(traced)(100.0))  # not resolved: never a wrong number
    slow = ov.tasks.damped_oscillation(0.5, 2.0, horizon=4.0).loss(network, ov.RNN())
    np.testing.assert_allclose(jax.jit(traced)(2.0), slow, rtol=1e-12)


def test_an_unstable_network_has_an_infinite_loss_where_it_is_traced():
    task, rnn = ov.tasks.exponential_filter(horizon=None), ov.RNN()
    unstable = ov.Overlaps.random(0).replace(uu=9.0, vv=9.0, vu=1.5)
    assert np.isinf(jax.jit(lambda gram: task.loss(ov.Overlaps(gram), rnn))(unstable.gram))


def test_single_precision_targets_count_as_double():
    task = ov.tasks.linear_filter(np.float32([[-0.2]]), np.float32([[1]]), np.float32([[1]]))
    net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.05)
    exact = ov.tasks.linear_filter(np.float32([[-0.2]]).astype(float), [[1]], [[1]])
    np.testing.assert_allclose(task.loss(net, rnn), exact.loss(net, rnn), rtol=1e-14)


@pytest.mark.parametrize(("dt", "horizon"), [(None, 20.0), (0.05, None)])
def test_gradient_against_finite_differences(dt, horizon):
    net, task, rnn = ov.Overlaps.random(3, rank=2), oscillating_task(1, 1, horizon), ov.RNN(tau=0.6, dt=dt)

    def loss(gram):
        return task.loss(ov.Overlaps(gram, rank=2), rnn)

    direction = np.random.default_rng(0).standard_normal(net.gram.shape)
    step = 1e-5
    # Entries are independent for the gradient, so that the direction need not be symmetric.
    traced = jax.jit(loss)
    slope = (traced(net.gram + step * direction) - traced(net.gram - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(jax.jit(jax.grad(loss))(net.gram) * direction), slope, rtol=1e-8)


@pytest.mark.parametrize(
    ("sizes", "dt"),
    [(tuple(int(size) for size in np.random.default_rng(seed).integers(1, 4, 3)), dt) for seed, dt in ((0, None), (3, 0.1))],
)
def test_gradient_vanishes_exactly_on_the_invisible_and_only_there(sizes, dt):
    inputs, rank, outputs = sizes
    rnn = ov.RNN(dt=dt)
    net = ov.Overlaps.random(4, rank=rank, inputs=inputs, outputs=outputs)
    task = oscillating_task(inputs, outputs, 5.0)
    gradient = jax.jit(jax.grad(lambda gram: task.loss(ov.Overlaps(gram, *sizes), rnn)))(net.gram)
    slopes = {pair.label: abs(gradient[pair.row, pair.column] + gradient[pair.column, pair.row]) for pair in net.layout.pairs}
    assert all(slopes[label] == 0.0 for label in net.invisible(rnn))
    assert all(slopes[label] > 1e-8 for label in net.visible(rnn))
    assert len(net.visible(rnn)) == (outputs + rank) * (inputs + rank)


def test_target_responses_are_the_functions_they_are_named_after():
    times = np.linspace(0, 5, 11)
    np.testing.assert_allclose(ov.tasks.exponential_filter(0.3, 2.0).impulse_response(times)[:, 0, 0], 2 * np.exp(-0.3 * times))
    oscillation = ov.tasks.damped_oscillation(0.3, 2.0, 1.5).impulse_response(times)
    np.testing.assert_allclose(oscillation[:, 0, 0], 1.5 * np.exp(-0.3 * times) * np.cos(2 * times), atol=1e-14)


def test_known_solutions_have_no_loss():
    solution = ov.Overlaps.random(0, n=None, scale=2.0).replace(zm=1.0, zu=1.0, vm=0.8, vu=0.8)
    assert ov.tasks.exponential_filter(0.2).loss(solution, ov.RNN()) == pytest.approx(0.0, abs=1e-13)
    euler = 1 + (np.exp(-0.2 * 0.05) - 1) / 0.05
    solution = solution.replace(vm=euler, vu=euler)
    assert ov.tasks.exponential_filter(0.2).loss(solution, ov.RNN(dt=0.05)) == pytest.approx(0.0, abs=1e-13)


def test_euler_approaches_continuous_time_at_first_order():
    net, task = ov.Overlaps.random(5), ov.tasks.exponential_filter()
    exact = task.loss(net, ov.RNN())
    errors = [abs(task.loss(net, ov.RNN(dt=dt)) - exact) for dt in (0.01, 0.005)]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.05)


def test_task_parameters_can_be_traced():
    net, rnn = ov.Overlaps.random(0), ov.RNN(dt=0.1)
    rates = np.array([0.1, 0.2, 0.4])
    losses = jax.vmap(lambda rate: ov.tasks.exponential_filter(rate).loss(net, rnn))(rates)
    np.testing.assert_allclose(losses, [ov.tasks.exponential_filter(rate).loss(net, rnn) for rate in rates], rtol=1e-12)
