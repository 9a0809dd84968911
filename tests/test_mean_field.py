"""The limit of infinitely many neurons, against an independent quadrature, and how far learning makes it non-Gaussian."""

import itertools

import jax
import numpy as np
import optax
import pytest
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps.connectivity._quadrature import _sobol
from tests.systems import nonlinear
from tests.test_activity import PHI
from tests.test_transfer import SLOPES

CORRELATED = 0.7 * np.eye(4) + 0.3


def short_task(outputs=1, inputs=1):
    """Two trials of 30 samples, 0.2 apart, with a constant target."""
    rng = np.random.default_rng(0)
    return ov.tasks.Trials(0.4 * rng.standard_normal((2, 30, inputs)), 0.5 * np.ones((2, 30, outputs)), None, 0.2)


@pytest.mark.parametrize(
    ("net", "nodes"),
    [
        (ov.Overlaps.random(0, n=20), None),
        (ov.Overlaps.random(0, n=20), 100),
        (ov.Overlaps.random(0, rank=2, inputs=2, n=20), None),
        (ov.Overlaps(np.ones((4, 4))), None),  # singular
        (ov.Overlaps(np.diag([1.0, 0, 2, 0])), 64),  # scattered
        (ov.Overlaps.random(0, rank=3, inputs=2), 1000),
        (ov.Overlaps(np.stack([np.eye(4), CORRELATED])), 256),  # a batch
    ],
)
def test_nodes_have_the_initial_overlaps_exactly_and_mean_zero(net, nodes):
    field = net.mean_field(nodes)
    np.testing.assert_allclose(field.overlaps().gram, net.gram, atol=1e-13)
    np.testing.assert_allclose(np.einsum("...n,...nd->...d", field.weights, field.vectors), 0.0, atol=1e-13)
    np.testing.assert_allclose(field.weights.sum(-1), 1.0, atol=1e-13)


def test_at_the_start_the_limit_is_the_closure():
    net, pulse = ov.Overlaps(CORRELATED), np.ones((20, 1))
    softplus = ov.RNN("softplus", dt=0.2)
    np.testing.assert_allclose(softplus.output(net.mean_field(), pulse), softplus.output(net, pulse), atol=1e-12)
    rnn = ov.RNN("tanh", dt=0.2)
    errors = [np.abs(rnn.output(net.mean_field(q**4), pulse) - rnn.output(net, pulse)).max().item() for q in (5, 8, 11)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 1e-4


@pytest.mark.slow
def test_learning_against_an_independent_tensor_quadrature():
    phi = "erf"
    task, rule = short_task(), ov.GradientDescent(0.8, 30)
    x, weights = np.polynomial.hermite_e.hermegauss(9)
    nodes = np.array(list(itertools.product(x, repeat=4))) @ np.linalg.cholesky(CORRELATED).T
    weights = np.prod(list(itertools.product(weights / weights.sum(), repeat=4)), axis=1)
    expected = nonlinear.train_nodes(nodes, weights, (1, 1, 1), PHI[phi], SLOPES[phi], task.inputs, task.targets, 0.2, 0.8, 30)
    net, rnn = ov.Overlaps(CORRELATED), ov.RNN(phi, dt=0.2)
    errors = []
    for per_axis in (5, 6, 7):
        dataset = ov.learn(net.mean_field(per_axis**4), task, rnn, rule, saves=2)
        errors.append(np.abs(ov.final_state(dataset).overlaps().gram - expected).max())
    assert errors[1] < 1e-4  # the default
    assert errors[2] < errors[0] / 4  # spectral: a constant factor per node and axis
    closure = ov.final_state(ov.learn(net, task, rnn, rule, saves=2)).gram
    assert np.abs(closure - expected).max() > 10 * errors[1]


@pytest.mark.slow
def test_rank_two_by_tensor_and_by_scattered_points():
    net = ov.Overlaps(0.8 * np.eye(6) + 0.2, rank=2)
    task, rnn, rule = short_task(), ov.RNN("erf", dt=0.2), ov.GradientDescent(1.0, 18)

    def trained(state):
        return ov.final_state(ov.learn(state, task, rnn, rule, saves=2)).overlaps().gram

    reference = trained(net.mean_field(5**6))
    tensor = np.abs(trained(net.mean_field()) - reference).max()  # 4^6
    scattered = []
    for nodes in (512, 4096):
        positions, weights = _sobol(6, nodes, jax.random.key(0))
        blocks = net.layout.split(positions @ net.factor)
        scattered.append(np.abs(trained(ov.MeanField(*blocks, weights=weights)) - reference).max())
    assert tensor < scattered[1] / 4  # at equal cost
    assert scattered[1] < scattered[0] / 2.5
    closure = np.abs(trained(net) - reference).max()
    assert 10 * tensor < closure
    assert scattered[1] < closure


@pytest.mark.slow
def test_large_networks_approach_it_under_every_rule_that_closes():
    net, task, rnn = ov.Overlaps(CORRELATED), short_task(), ov.RNN("erf", dt=0.2)

    def momentum(rate):
        return optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(rate, momentum=0.8))

    rule = ov.GradientDescent(0.3, 30, momentum, {"m": 0.0, "v": 0.5})
    start, limit = ov.learn(net.mean_field(), task, rnn, rule, saves=2)["sigma"]
    deviations = []
    for n in (50, 800):
        networks = [net.sample(n, seed, exact=False) for seed in range(8)]
        runs = ov.learn(jax.tree.map(lambda *blocks: np.stack(blocks), *networks), task, rnn, rule, saves=2)
        deviations.append(np.sqrt(((runs["sigma"][:, -1] - limit) ** 2).mean()).item())
    assert deviations[0] / deviations[1] == pytest.approx(4.0, rel=0.5)  # 1 / sqrt(N)
    assert np.abs(limit - start).max() > 0.05


def test_a_limit_of_equal_weights_is_a_network():
    net, rnn, task = ov.Overlaps.random(0, n=30), ov.RNN("tanh", dt=0.2), short_task()
    network = net.sample(16, 0)
    nodes = ov.MeanField(network.m, network.u, network.v, network.z, np.full(16, 1 / 16))
    rule = ov.GradientDescent(0.2, 10)
    one, other = ov.learn(network, task, rnn, rule, saves=3), ov.learn(nodes, task, rnn, rule, saves=3)
    np.testing.assert_allclose(one["final_vectors"], other["final_vectors"], atol=1e-13)


def test_linear_filters_and_files(tmp_path):
    net, task, rnn = ov.Overlaps.random(0, n=30), ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1)
    rule = ov.GradientDescent(0.01, 50)
    limit = ov.learn(net.mean_field(100), task, rnn, rule, saves=3, observe=["moments"])
    np.testing.assert_allclose(limit["sigma"], ov.learn(net, task, rnn, rule, saves=3)["sigma"], atol=1e-12)
    limit.to_netcdf(tmp_path / "limit.nc")
    stored = xr.load_dataset(tmp_path / "limit.nc")
    assert isinstance(ov.final_state(stored), ov.MeanField)
    again = ov.rerun(stored)
    np.testing.assert_array_equal(again["kurtosis"], limit["kurtosis"])
    phases = [ov.Phase("A", task, rule), ov.Phase("B", short_task(), ov.GradientDescent(0.1, 3))]
    protocol = ov.learn(net.mean_field(100), phases, ov.RNN(dt=0.2), saves=3)
    assert np.all(np.isfinite(protocol["sigma"]))


def test_moments_against_scipy():
    rng = np.random.default_rng(0)
    network = ov.Network(*(rng.standard_normal((500, 1)) ** power for power in (1, 2, 3, 1)))
    dataset = ov.learn(network, short_task(), ov.RNN(dt=0.2), ov.GradientDescent(1e-12, 1), saves=2, observe="moments")
    entries = network.vectors
    np.testing.assert_allclose(dataset["skewness"][0], scipy.stats.skew(entries), atol=1e-9)
    np.testing.assert_allclose(dataset["kurtosis"][0], scipy.stats.kurtosis(entries), atol=1e-9)


@pytest.mark.slow
def test_the_distance_from_joint_normality():
    task, rnn, rule = short_task(), ov.RNN(dt=0.2), ov.GradientDescent(1e-12, 1)

    def distance(state):
        return ov.learn(state, task, rnn, rule, saves=2, observe="moments")["non_gaussianity"].isel(time=0).values

    net = ov.Overlaps(CORRELATED)
    assert distance(net.mean_field()) < 1e-20
    # By chance alone: (4 * 5 * 6 / 12 + 4 * 5 * 6 * 7 / 48) / N = 27.5 / N, here the mean of twenty networks.
    networks = [net.sample(2000, seed, exact=False) for seed in range(20)]
    assert distance(jax.tree.map(lambda *blocks: np.stack(blocks), *networks)).mean() == pytest.approx(27.5 / 2000, rel=0.15)
    # Each vector is normal, and they are uncorrelated, but not independent: kappa_4 sees it.
    x, sign = np.random.default_rng(0).standard_normal((2, 4000))
    joined = ov.Network(x, x * np.sign(sign), *np.random.default_rng(1).standard_normal((2, 4000)))
    assert distance(joined) > 20 * 27.5 / 4000
    # The divergence of a Gamma distribution of shape 50 from the normal one of its mean and variance.
    gamma = np.random.default_rng(2).gamma(50.0, size=100_000)
    exact = scipy.stats.norm(50, np.sqrt(50)).entropy() - scipy.stats.gamma(50.0).entropy()
    alone = ov.Network(gamma, *np.random.default_rng(3).standard_normal((3, 100_000)))
    assert distance(alone) == pytest.approx(exact, rel=0.15)


def test_what_does_not_fit_is_named():
    net, task, rnn, rule = ov.Overlaps.random(0), short_task(), ov.RNN(dt=0.2), ov.GradientDescent(0.1, 2)
    one = np.ones((3, 1))
    cases = [
        (lambda: net.mean_field(0), "`nodes` must be a whole number of at least 1"),
        (lambda: ov.MeanField(one, one, one, one, np.ones(3)), "`weights` must be positive, with the sum 1, but"),
        (lambda: ov.MeanField(one, one, one, one, np.ones(2) / 2), r"`weights` must have shape \(3,\), one per node"),
        (lambda: ov.learn(net, task, rnn, rule, observe=["moments"]), "`observe` must ask for moments of a network or a mean"),
        (lambda: ov.learn(net, task, rnn, rule, observe=["vectors"]), "`observe` must hold names out of moments, output"),
        (
            lambda: ov.learn(net, ov.tasks.exponential_filter(), ov.RNN(), rule, observe=["output"]),
            "`observe` must ask for the output on tasks of fixed trials alone",
        ),
        (
            lambda: ov.learn(net.mean_field(64), task, rnn, ov.GradientDescent(0.1, 2, optax.adam)),
            "`optimizer` must commute with rotations .* to train anything but a network",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
