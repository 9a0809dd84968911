"""The low-rank part of a trained W: against matrices whose singular vectors are known, and what the output loses."""

import numpy as np
import pytest

import overlaps as ov
from overlaps.interop._low_rank import THRESHOLD

N, RNN = 60, ov.RNN("tanh", dt=0.2)
INPUTS = np.random.default_rng(3).standard_normal((2, 30, 1))


def matrix(values, bulk=0.0, seed=0):
    """sum_r s_r a_r b_r^T with known orthonormal a, b, and a random bulk whose singular values reach up to 2 `bulk`."""
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.standard_normal((N, N)))[0][:, : len(values)] for _ in range(2))
    return left * values @ right.T, bulk * generator.standard_normal((N, N)) / np.sqrt(N), left, right


def network(W, seed=1):
    m, z = np.random.default_rng(seed).standard_normal((2, N, 1))
    return ov.DenseNetwork(W, m, z)


@pytest.mark.parametrize("values", [[3.0], [2.0, 1.5], [2.0, 1e-3], [5.0, 4.0, 3.0, 2.0]])
def test_an_exact_rank_is_found_and_kept(values):
    W, _, left, right = matrix(np.array(values))
    dense = network(W)
    found, report = ov.interop.low_rank(dense, rnn=RNN, inputs=INPUTS)
    assert found.layout.rank == report.attrs["rank"] == len(values)
    np.testing.assert_allclose(found.W, W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(report.singular_value[: len(values)], values, rtol=0, atol=1e-13)
    assert report.left_over[len(values) - 1] < 1e-13
    assert report.output_error < 1e-12
    # Up to sign u is sqrt(N s) a and v is sqrt(N s) b.
    scale = np.sqrt(N * np.array(values))
    np.testing.assert_allclose(np.abs(np.sum(found.u * left, 0)), scale, rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(found.v * right, 0)), scale, rtol=1e-10)
    np.testing.assert_array_equal([found.m, found.z], [dense.m, dense.z])


def test_outliers_of_a_random_bulk_are_counted():
    for rank in (1, 2, 3):
        W, bulk, *_ = matrix(np.full(rank, 4.0), bulk=0.6, seed=rank)
        found, report = ov.interop.low_rank(W + bulk)
        assert found.layout.rank == rank
        squares = np.linalg.svd(W + bulk, compute_uv=False) ** 2
        assert float(report.left_over[rank - 1]) == pytest.approx(np.sqrt(squares[rank:].sum() / squares.sum()), rel=1e-12)
        assert np.linalg.norm(W + bulk - found.W) ** 2 == pytest.approx(squares[rank:].sum(), rel=1e-12)


def test_the_threshold_is_that_of_a_random_matrix():
    """2.858 is 4 / sqrt(3) over the median of the quarter circle law, which singular values of random matrices follow."""
    x = np.linspace(0, 2, 400_001)
    distribution = np.cumsum(np.sqrt(4 - x**2)) / np.sum(np.sqrt(4 - x**2))
    median = x[np.searchsorted(distribution, 0.5)]
    assert pytest.approx(4 / np.sqrt(3) / median, abs=1e-3) == THRESHOLD


def test_the_part_that_training_changed():
    """W0 is large and random; training added rank one."""
    change, bulk, *_ = matrix(np.array([2.0]), bulk=0.9)
    dense = network(bulk + change)
    found, report = ov.interop.low_rank(dense, initial=bulk, rnn=RNN, inputs=INPUTS)
    np.testing.assert_allclose(found.W, change, rtol=0, atol=1e-13)
    assert report.output_error_with_initial < 1e-12
    exact, alone = (RNN.output(state, INPUTS).values for state in (dense, found))
    error = np.sqrt(np.mean((alone - exact) ** 2) / np.mean(exact**2))
    assert float(report.output_error) == pytest.approx(error, rel=1e-12)
    assert error > 0.05  # the bulk matters here


def test_a_rank_that_is_asked_for():
    W, *_ = matrix(np.array([3.0, 2.0, 1.0]))
    found, report = ov.interop.low_rank(W, rank=2)
    assert np.linalg.norm(W - found.W, 2) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(report.left_over[:3], [np.sqrt(5 / 14), np.sqrt(1 / 14), 0], rtol=0, atol=1e-13)
    assert report.kept.values.sum() == 2
    assert not np.any(found.m)
    assert not np.any(found.z)


def test_the_error_of_an_output_that_is_zero_everywhere_is_not_a_number():
    W, *_ = matrix(np.array([3.0, 2.0]))
    _, report = ov.interop.low_rank(ov.DenseNetwork(W, np.ones(N), np.zeros(N)), 1, rnn=RNN, inputs=INPUTS)
    assert np.isnan(report.output_error)


def test_signs_do_not_depend_on_the_library_of_linear_algebra():
    W, *_ = matrix(np.array([3.0, 2.0]))
    found, _ = ov.interop.low_rank(W)
    assert np.all(found.u[np.argmax(np.abs(found.u), 0), [0, 1]] > 0)
