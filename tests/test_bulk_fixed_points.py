"""Stationary states of networks with a random bulk at N -> infinity, against equations, SciPy, and networks in NumPy."""

import numpy as np
import pytest
import scipy

import overlaps as ov

BISTABLE = np.array([[1.0, 0.3, 0.2, 0.0], [0.3, 1.0, 1.6, 0.5], [0.2, 1.6, 4.0, 0.3], [0.0, 0.5, 0.3, 1.0]])


@pytest.mark.slow
@pytest.mark.parametrize("phi", ["erf", "tanh"])
def test_without_a_bulk_fixed_points_are_those_of_the_gaussian_closure(phi):
    net, rnn = ov.Overlaps(BISTABLE, c=[0.3]), ov.RNN(phi, tau=2.0, dt=0.5)
    found, expected = ov.bulk.fixed_points(net, 0.0, rnn, 0.3), rnn.fixed_points(net, 0.3)
    assert found.sizes["fixed_point"] == 3
    np.testing.assert_allclose(found["position"], expected["position"], atol=1e-12)
    np.testing.assert_allclose(found["output"], expected["output"], atol=1e-12)
    np.testing.assert_allclose(found["eigenvalue_real"].values[:, 0], expected["eigenvalue_real"].values[:, 0], atol=1e-10)
    np.testing.assert_array_equal(found["stable"], expected["stable"])
    assert np.all(found["bulk_variance"] == 0.0)
    assert np.all(found["bulk_radius"] == 0.0)


def test_fixed_points_of_erf_against_the_equations():
    """Two equations in closed form, solved by SciPy, and eigenvalues by finite differences of them."""
    net, rnn, g, x = ov.Overlaps(BISTABLE, c=[0.3]), ov.RNN("erf", tau=2.0, dt=0.5), 0.6, 0.3
    found = ov.bulk.fixed_points(net, g, rnn, x)

    def ahead(place):
        k, q = place
        variance = x**2 + 0.6 * x * k + k**2 + q
        scaled = np.pi / 2 * variance / (1 + np.pi / 2 * variance)
        return np.array([(0.2 * x + 1.6 * k) / np.sqrt(1 + np.pi / 2 * variance), g**2 * 2 / np.pi * np.arcsin(scaled)])

    assert found["kind"].values.tolist() == ["stable", "saddle", "stable"]
    for point in (found.isel(fixed_point=index) for index in range(3)):
        place = np.array([float(point["position"][0]), float(point["bulk_variance"])])
        solved = scipy.optimize.root(lambda place: ahead(place) - place, place + 0.01, tol=1e-13).x
        np.testing.assert_allclose(place, solved, atol=1e-10)
        slopes = [(ahead(place + step) - ahead(place - step)) / 2e-6 for step in 1e-6 * np.eye(2)]
        outside = np.linalg.eigvals(np.transpose(slopes)).max()
        np.testing.assert_allclose(point["eigenvalue_real"][0], (outside - 1) / 2, atol=1e-7)
        assert outside > float(point["bulk_radius"])
    rest = ov.bulk.fixed_points(net, 0.9, rnn)
    middle = rest.sel(fixed_point=1)  # at rest W itself: the eigenvalue of u v^T / N is vu = 1.6
    np.testing.assert_allclose([middle["eigenvalue_real"][0], middle["bulk_radius"]], [0.3, 0.9], atol=1e-10)
    assert np.isnan(middle["eigenvalue_real"].values[1])


def test_stable_fixed_points_are_where_activity_ends():
    net, rnn, g = ov.Overlaps(BISTABLE, c=[0.3]), ov.RNN("erf", tau=2.0, dt=0.5), 0.6
    found = ov.bulk.fixed_points(net, g, rnn, 0.3)
    for sign in (-1.0, 1.0):
        inputs = np.where(np.arange(400) < 60, 3 * sign, 0.3)
        end = ov.bulk.activity(net, g, inputs, rnn).isel(time=-1)
        reached = found.isel(fixed_point=0 if sign < 0 else 2)
        for name in ("output", "variance", "bulk_variance"):
            np.testing.assert_allclose(end[name], reached[name], atol=1e-9)
    assert ov.bulk.fixed_points(ov.Overlaps(np.eye(4), c=[0.0]), 1.5, rnn)["kind"].values.tolist() == ["chaotic", "chaotic"]


@pytest.mark.slow
def test_fixed_points_and_outliers_against_networks():
    # The networks have exactly these overlaps. The outlier without the change of the variance by J would be 0.546.
    g, x, n, draws = 0.5, 0.5, 1000, 16
    theory = ov.bulk.fixed_points(ov.Overlaps(BISTABLE), g, ov.RNN("tanh"), x).isel(fixed_point=2)
    root, results = np.linalg.cholesky(BISTABLE), []
    for seed in range(draws):
        random = np.random.default_rng(seed)
        bulk = g / np.sqrt(n) * random.standard_normal((n, n))
        m, u, v, z = root @ np.linalg.qr(random.standard_normal((n, 4)))[0].T * np.sqrt(n)
        h = m * x + u
        for _ in range(100):
            rates = np.tanh(h)
            h = h + 0.6 * (-h + bulk @ rates + u * (v @ rates) / n + m * x)
        rates, mode = np.tanh(h), u
        for _ in range(50):  # the power method: the outlier is 1.6 times as large as all other eigenvalues
            pushed = (1 - rates**2) * mode
            ahead = bulk @ pushed + u * (v @ pushed) / n
            outlier, mode = mode @ ahead / (mode @ mode), ahead / np.linalg.norm(ahead)
        radius = g * np.sqrt(np.mean((1 - rates**2) ** 2))
        results.append([v @ rates / n, z @ rates / n, np.mean(h**2), radius, outlier])
    names = ("position", "output", "variance", "bulk_radius")
    expected = [*(float(theory[name].squeeze()) for name in names), 1 + float(theory["eigenvalue_real"][0])]
    # Standard deviations of single networks, times sqrt(N), are 1, 0.3, 2, 0.2 and 0.7.
    tolerance = 3.5 * np.array([1.0, 0.3, 2.0, 0.2, 0.7]) / np.sqrt(n * draws)
    assert np.all(np.abs(np.mean(results, axis=0) - expected) < tolerance)
    assert tolerance[-1] < 0.546 - expected[-1]


def test_arguments_of_fixed_points_that_do_not_fit():
    net, rnn = ov.Overlaps(BISTABLE), ov.RNN("erf")
    for change, message in (
        ({"input": [1.0, 2.0]}, "`input` must"),
        ({"starts": 0}, "`starts`"),
        ({"extent": 0.0}, "`extent`"),
    ):
        with pytest.raises(ValueError, match=message):
            ov.bulk.fixed_points(net, 0.5, rnn, **change)
