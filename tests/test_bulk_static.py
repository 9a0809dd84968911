"""The theory of a random bulk at N -> infinity, against integrals of SciPy, exact formulas, and networks in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

import overlaps as ov
from overlaps.bulk._averages import averages

TRANSFER = {"tanh": np.tanh, "erf": lambda x: scipy.special.erf(np.sqrt(np.pi) / 2 * x), "relu": lambda x: np.maximum(x, 0.0)}
N = 2000
RANK_1 = np.array([[1.0, 0.3, 0.2, 0.0], [0.3, 1.0, 0.8, 0.5], [0.2, 0.8, 2.0, 0.3], [0.0, 0.5, 0.3, 1.0]])
PULSE = np.concatenate([np.full(10, 2.0), np.zeros(30)])


def random_overlaps(seed, **sizes):
    """Overlaps of vectors of all kinds, with a readout bias."""
    layout = ov.Overlaps.random(0, **sizes).layout
    rows = np.random.default_rng(seed).standard_normal((2 * layout.size, layout.size)) / np.sqrt(2 * layout.size)
    return ov.Overlaps(rows.T @ rows, *layout, c=np.arange(1.0, layout.outputs + 1))


def network(gram, g, n, seed):
    """J and the Gaussian vectors (n, D) of a network."""
    random = np.random.default_rng(seed)
    root = np.linalg.cholesky(gram + 1e-14 * np.eye(len(gram)))
    return g / np.sqrt(n) * random.standard_normal((n, n)), random.standard_normal((n, len(gram))) @ root.T


def simulate(bulk, m, u, v, z, inputs, phi, step, b=0.0, h0=None):
    """Activity after each Euler step from the definition of the network, and the output without its bias."""
    h = np.zeros(len(bulk)) if h0 is None else h0
    activity = []
    for x in inputs:
        rates = phi(h)
        h = h + step * (-h + bulk @ rates + u @ (v.T @ rates) / len(bulk) + m @ x + b)
        activity.append(h)
    activity = np.array(activity)
    return activity, phi(activity) @ z / len(bulk)


@pytest.mark.parametrize("phi", ["tanh", "erf", "relu"])
@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (0.3, 4.0), (10.0, 6.0)])
def test_averages_of_products_against_integrals(phi, first, second):
    """Over polar coordinates of two normal numbers, which no quadrature of the library uses."""
    function, gauss = TRANSFER[phi], averages(phi)
    for correlation in (-1.0, -0.7, 0.0, 0.5, 0.99, 1.0):
        angle = np.arccos(correlation)

        def along(turn, angle=angle):
            # E[phi(a r) phi(b r)] over the radius r, for the density r exp(-r^2 / 2)
            a, b = np.sqrt(first) * np.cos(turn), np.sqrt(second) * np.cos(turn - angle)
            return scipy.integrate.quad(lambda r: function(a * r) * function(b * r) * r * np.exp(-r * r / 2), 0, 9)[0]

        # phi is not smooth in the turn where one of the two arguments changes its sign
        edges = sorted({x % np.pi for x in (np.pi / 2, np.pi / 2 + angle)} | {0.0, np.pi})
        edges = [*edges, *(x + np.pi for x in edges[1:])]
        expected = sum(scipy.integrate.quad(along, *pair, epsabs=1e-9)[0] for pair in itertools.pairwise(edges))
        variances = jnp.asarray([first, second])
        coefficients = gauss.coefficients(variances)
        covariance = jnp.asarray(correlation * np.sqrt(first * second))
        found = gauss.product(covariance, variances[0], variances[1], *coefficients)
        np.testing.assert_allclose(found, expected / (2 * np.pi), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("phi", ["tanh", "erf", "relu", "linear", "softplus"])
def test_averages_of_squares_against_integrals(phi):
    function, gauss = ov.RNN(phi).rate, averages(phi)

    def average(f, variance):
        x = np.linspace(-10, 10, 40_001)
        return scipy.integrate.simpson(f(np.sqrt(variance) * x) * np.exp(-(x**2) / 2), x=x) / np.sqrt(2 * np.pi)

    for variance in (0.2, 3.0, 20.0):
        np.testing.assert_allclose(gauss.square(variance), average(lambda h: function(h) ** 2, variance), rtol=1e-7)
        np.testing.assert_allclose(
            gauss.slope_square(jnp.asarray(variance)),
            average(lambda h: ((function(h + 1e-6) - function(h - 1e-6)) / 2e-6) ** 2, variance),
            rtol=1e-4,  # on this grid, with its step of 5e-4, a jump of phi' has an error of half a step times its density
        )


@pytest.mark.parametrize("phi", ["tanh", "erf"])
def test_without_a_bulk_it_is_the_gaussian_closure(phi):
    net = random_overlaps(1, inputs=2, rank=2, outputs=2, bias=True, initial=True)
    inputs, rnn = np.random.default_rng(0).standard_normal((3, 20, 2)), ov.RNN(phi, tau=2.0, dt=0.3)
    found = ov.bulk.activity(net, 0.0, inputs, rnn)
    np.testing.assert_allclose(found["output"], rnn.output(net, inputs), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["latents"], rnn.latents(net, inputs), rtol=1e-12, atol=1e-12)
    assert np.all(found["bulk_variance"] == 0.0)
    assert found["output"].dims == ("trial", "time", "readout")


def test_linear_networks_have_the_variance_that_powers_of_the_bulk_make():
    # h(t) = sum over n and earlier s of step (n from t - 1 - s) (1 - step)^(t - 1 - s - n) (step J)^n [m b u] drive(s).
    # J^n x and J^k y have the overlap g^(2n) x.y if n = k, and 0 otherwise.
    net, g, step, times = random_overlaps(2, bias=True, initial=True), 1.2, 0.3 / 2.0, 25
    inputs, rnn = np.random.default_rng(0).standard_normal(times), ov.RNN("linear", tau=2.0, dt=0.3)
    found = ov.bulk.activity(net, g, inputs, rnn)
    np.testing.assert_allclose(found["output"], rnn.output(net, inputs), rtol=1e-12)  # J has no part in the output
    m, b, h0, u, v = range(5)
    kappa = np.zeros((times + 1, 4))
    kappa[0, h0] = 1.0
    for t in range(times):
        kappa[t + 1] = kappa[t] + step * (-kappa[t] + [inputs[t], 1.0, 0.0, net.gram[v, [m, b, h0, u]] @ kappa[t]])
    drive = np.column_stack([inputs, np.ones(times), np.zeros(times), kappa[:-1] @ net.gram[v, [m, b, h0, u]]]) * step
    drive = np.concatenate([[[0.0, 0.0, 1.0, 0.0]], drive])  # h0 acts as an impulse one step earlier
    expected = []
    for t in range(1, times + 1):
        gaps = t - np.arange(t + 1)
        total = 0.0
        for n in range(t + 1):
            weights = scipy.special.comb(gaps, n) * (1 - step) ** np.maximum(gaps - n, 0) * step**n
            vector = weights @ drive[: t + 1]
            total += g ** (2 * n) * vector @ net.gram[:4, :4] @ vector
        expected.append(total)
    np.testing.assert_allclose(found["variance"], expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "g"), [("tanh", 1.0), ("tanh", 1.5), ("relu", 1.0)])
def test_networks_approach_the_theory(phi, g):
    # Sums over N neurons fluctuate by their standard deviation over neurons / sqrt(N). That of h^2 is sqrt(2) variance.
    # The bulk multiplies fluctuations, at these g by less than 4.
    draws, rnn = 3, ov.RNN(phi, dt=0.1)
    net = ov.Overlaps(RANK_1)
    theory = ov.bulk.activity(net, g, PULSE, rnn, covariance=True)
    outputs, covariances = [], []
    for seed in range(draws):
        bulk, vectors = network(RANK_1, g, N, seed)
        m, u, v, z = vectors.T[:, :, None]
        activity, output = simulate(bulk, m, u, v, z, PULSE[:, None], TRANSFER[phi], 0.1)
        outputs.append(output)
        covariances.append(activity @ activity.T / N)
    covariance = theory["covariance"].values
    np.testing.assert_allclose(covariance, covariance.T)
    np.testing.assert_allclose(np.diagonal(covariance), theory["variance"], rtol=1e-12)
    scale = 1 / np.sqrt(N * draws)
    largest = np.sqrt(2) * theory["variance"].values.max()
    assert np.abs(np.mean(outputs, axis=0) - theory["output"].values).max() < 4 * scale
    assert np.abs(np.mean(covariances, axis=0) - covariance).max() < 4 * largest * scale
    without = ov.bulk.activity(net, 0.0, PULSE, rnn, covariance=True)["covariance"].values
    assert np.abs(without - covariance).max() > 6 * largest * scale  # the test would see the bulk missing


@pytest.mark.slow
def test_networks_with_biases_and_initial_activity_approach_the_theory():
    net = random_overlaps(3, inputs=2, outputs=2, bias=True, initial=True)
    net = ov.Overlaps(2 * net.gram, *net.layout, c=net.c)
    inputs = np.random.default_rng(0).standard_normal((25, 2))
    theory = ov.bulk.activity(net, 1.0, inputs, ov.RNN("erf", tau=2.0, dt=0.4))
    outputs, variances = [], []
    for seed in range(3):
        bulk, vectors = network(net.gram, 1.0, N, seed)
        parts = net.layout.vectors(vectors)
        activity, output = simulate(bulk, **parts, inputs=inputs, phi=TRANSFER["erf"], step=0.2)
        outputs.append(output + net.c)
        variances.append(np.mean(activity**2, axis=1))
    scale = 1 / np.sqrt(3 * N)
    assert np.abs(np.mean(outputs, axis=0) - theory["output"].values).max() < 4 * scale
    largest = np.sqrt(2) * theory["variance"].values.max()
    assert np.abs(np.mean(variances, axis=0) - theory["variance"].values).max() < 4 * largest * scale


def stationary_variance(g):
    """That of the chaotic state in continuous time, for erf: the potential has equal values at Delta(0) and at 0.

    The potential is V(D) = -D^2 / 2 + g^2 E[F(x) F(y)] for x and y of variance Delta(0) and covariance D, with F' = phi
    (Sompolinsky, Crisanti and Sommers 1988).
    """

    def primitive(x):
        return x * TRANSFER["erf"](x) + 2 / np.pi * np.exp(-np.pi * x**2 / 4)

    def difference(variance):
        x, weights = np.polynomial.hermite_e.hermegauss(100)
        values, weights = primitive(np.sqrt(variance) * x), weights / weights.sum()
        return -(variance**2) / 2 + g**2 * (weights @ values**2 - (weights @ values) ** 2)

    return scipy.optimize.brentq(difference, 1e-3, 10.0, xtol=1e-13)


SILENT = ov.Overlaps(np.diag([0.0, 0.1, 0.0, 0.0, 0.0]), initial=True)  # an initial activity, and no low rank


@pytest.mark.parametrize("phi", ["erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_without_low_rank_activity_dies_out_below_one_and_lasts_above(phi):
    silence, rnn = np.zeros(240), ov.RNN(phi, dt=0.5)
    below, above = (ov.bulk.activity(SILENT, g, silence, rnn)["variance"].values for g in (0.9, 1.3))
    # J^n h0 has the variance g^(2n), and a slope below 1 can only make less of it: h decays at least as exp(-(1 - g) t).
    assert below[-1] < 0.1 * np.exp(-2 * 0.1 * 120)
    assert above[-1] > 0.3


def test_the_variance_of_chaos_is_that_of_its_potential():
    # For Euler steps of length a, the covariance at lags 0, 1, 2, ... solves the equation of the potential, with steps of
    # length a / sqrt(1 - a) and an error of second order in it. What is left of the start decays faster than exp(-0.1 t).
    errors, orders = [], []
    for dt, steps in ((0.4, 300), (0.2, 600)):
        found = ov.bulk.activity(SILENT, 2.5, np.zeros(steps), ov.RNN("erf", dt=dt))["variance"].values[-1]
        errors.append(found - stationary_variance(2.5))
        orders.append(dt**2 / (1 - dt))
    ratio = orders[0] / orders[1]
    assert abs(errors[0]) < 1e-2
    np.testing.assert_allclose(errors[0] / errors[1], ratio, rtol=0.1)
    assert abs(ratio * errors[1] - errors[0]) / (ratio - 1) < 1e-5


def test_a_second_call_with_other_numbers_does_not_compile_again():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    rnn, numbers = ov.RNN("erf", tau=2.0, dt=0.5), []
    for scale in (1.0, 2.0):
        net = ov.Overlaps(scale * RANK_1, c=[scale])
        ov.bulk.activity(net, 0.3 * scale, scale * PULSE[:17], rnn)  # no other test has 17 samples
        ov.bulk.fixed_points(net, 0.3 * scale, rnn, scale)
        numbers.append(len(compiled))
    assert numbers[0] == numbers[1] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": ov.Overlaps(RANK_1).sample(20, 0)}, "`net` must be an Overlaps"),
        ({"net": ov.Overlaps(np.stack([RANK_1] * 2))}, "`net` must be a single network"),
        ({"radius": -1.0}, "`radius` must be a number of at least 0"),
        ({"radius": ov.RandomBulk(0.5, 0, correlation=0.3)}, "a bulk of independent entries"),
        ({"rnn": ov.RNN("tanh")}, "`rnn` must have a step dt"),
        ({"radius": ov.RandomBulk([0.5, 0.6], 0)}, "`radius` must be a number"),
        ({"rnn": "tanh"}, "`rnn` must be an overlaps.RNN"),
        ({"inputs": np.ones((3, 2))}, "`inputs` must have shape"),
        ({"inputs": []}, "`inputs` must have shape"),
        ({"covariance": 1}, "`covariance` must be True or False"),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    arguments = {"net": ov.Overlaps(RANK_1), "radius": 0.5, "inputs": PULSE, "rnn": ov.RNN("erf", dt=0.1)}
    with pytest.raises(ValueError, match=message):
        ov.bulk.activity(**(arguments | change))


def test_an_expansion_that_is_too_short_is_said():
    with pytest.warns(RuntimeWarning, match="errors of up to"):
        found = ov.bulk.activity(ov.Overlaps(RANK_1), 1.0, np.full(10, 300.0), ov.RNN("tanh", dt=0.5))
    assert 1e-4 < found.attrs["covariance_error"] < 0.1


def test_no_activity_has_no_error():
    assert ov.bulk.activity(ov.Overlaps(RANK_1), 1.0, np.zeros(10), ov.RNN("tanh", dt=0.5)).attrs["covariance_error"] < 1e-6


@pytest.mark.slow
def test_the_bound_of_the_expansion_is_what_256_hermite_polynomials_leave_of_the_square():
    """Relative to E[phi^2], for tanh at the variance 10: 9.3e-8 in docs/bulk_nonlinear.md."""
    variance = 10.0
    x, weights = np.polynomial.legendre.leggauss(3000)
    x = 12 * x
    weights, phi = 12 * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), np.tanh(np.sqrt(variance) * x)
    last, now, squares = np.ones_like(x), x, (weights @ phi) ** 2 + (weights @ (phi * x)) ** 2
    for n in range(2, 256):
        last, now = now, (x * now - np.sqrt(n - 1) * last) / np.sqrt(n)
        squares += (weights @ (phi * now)) ** 2
    start = ov.Overlaps(np.diag([0.0, variance, 0.0, 0.0, 0.0]), initial=True)
    found = ov.bulk.activity(start, 0.5, np.zeros(1), ov.RNN("tanh", dt=0.5)).attrs["covariance_error"]
    assert found == pytest.approx(1 - squares / (weights @ phi**2), rel=1e-3, abs=1e-12)
