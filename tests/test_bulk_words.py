"""Which overlaps of words matter in a linear network with a bulk: plain NumPy, independent of the library (docs/bulk.md)."""

import itertools

import numpy as np
import pytest

from tests.systems import bulk

SIZES, DT = (2, 1, 2), 0.2
D = SIZES[0] + 2 * SIZES[1] + SIZES[2]
TARGET = np.stack([np.exp(-0.2 * DT * np.arange(8)), np.cos(DT * np.arange(8))], axis=1)[:, :, None] * np.array([1.0, 0.5])


def network(n=120, radius=0.6, correlation=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return bulk.elliptic(n, radius, correlation, rng), bulk.vectors(np.eye(D) + 0.3, n, rng)


def word(J, letters, right):
    for letter in reversed(letters):
        right = (J if letter == 1 else J.T) @ right
    return right


def test_the_response_is_a_function_of_visible_words():
    J, P = network()
    chains = np.asarray(bulk.response_of_words(bulk.visible_words(J, P, SIZES, 8), SIZES, 8, DT))
    np.testing.assert_allclose(chains, bulk.response(J, P, SIZES, 8, DT), atol=1e-13)
    loss, gradient = bulk.loss_and_gradient(J, P, SIZES, TARGET, DT)
    assert loss == pytest.approx(DT * np.sum((chains - TARGET) ** 2), rel=1e-12)
    change = np.random.default_rng(1).standard_normal(P.shape)
    ends = [bulk.loss_and_gradient(J, P + step * change, SIZES, TARGET, DT)[0] for step in (1e-5, -1e-5)]
    assert np.sum(gradient * change) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-8)


def test_a_change_of_basis_moves_every_other_word_and_no_output():
    J, P = network()
    m, u, v, z = bulk.split(P, SIZES)
    rng = np.random.default_rng(2)
    S = np.eye(len(P)) + 0.3 * rng.standard_normal(J.shape) / np.sqrt(len(P))
    inverse = np.linalg.inv(S)
    changed_J, changed = S @ J @ inverse, np.concatenate([S @ m, S @ u, inverse.T @ v, inverse.T @ z], axis=1)
    np.testing.assert_allclose(bulk.response(changed_J, changed, SIZES, 8, DT), bulk.response(J, P, SIZES, 8, DT), atol=1e-12)
    inputs, rank, _ = SIZES
    read = inputs + rank  # the columns of P before it are m and u, the others v and z
    for length in range(3):
        for letters in itertools.product((1, 2), repeat=length):
            before = P.T @ word(J, letters, P) / len(P)
            after = changed.T @ word(changed_J, letters, changed) / len(P)
            moved = np.abs(after - before) > 1e-9
            visible = np.zeros((D, D), bool)
            if 2 not in letters:  # y J^a x
                visible[read:, :read] = True
            if 1 not in letters:  # the same numbers, read backwards: x (J^T)^a y
                visible[:read, read:] = True
            assert np.array_equal(moved, ~visible), letters


def test_the_gradient_consists_of_gradients_of_visible_words_and_needs_each():
    J, P = network(n=60)
    m, u, v, z = bulk.split(P, SIZES)
    X, Y, powers = np.concatenate([m, u], axis=1), np.concatenate([z, v], axis=1), len(TARGET)
    slopes = bulk.slopes_of_words(bulk.visible_words(J, P, SIZES, powers), SIZES, TARGET, DT)
    # z J^a m reaches the output after a steps. A word with u needs one step more, and so does a word with v.
    detour = np.add.outer([0, 0, 1], [0, 0, 1])
    reached = np.arange(powers)[:, None, None] + detour < len(TARGET)
    assert np.array_equal(slopes != 0, reached)  # each word that reaches the output in time has an effect ...
    directions = []
    for power, row, column in np.ndindex(slopes.shape):
        gradient_X, gradient_Y = np.zeros_like(X), np.zeros_like(Y)
        gradient_X[:, column] = np.linalg.matrix_power(J.T, power) @ Y[:, row] / len(P)
        gradient_Y[:, row] = np.linalg.matrix_power(J, power) @ X[:, column] / len(P)
        directions.append(np.concatenate([gradient_X[:, :2], gradient_X[:, 2:], gradient_Y[:, 2:], gradient_Y[:, :2]], axis=1))
    flat = np.array(directions).reshape(slopes.size, -1)
    scaled = (flat / np.linalg.norm(flat, axis=1, keepdims=True))[reached.ravel()]
    assert np.linalg.matrix_rank(scaled, tol=1e-8) == reached.sum()  # ... and none is a combination of the others
    gradient = bulk.loss_and_gradient(J, P, SIZES, TARGET, DT)[1]
    np.testing.assert_allclose(slopes.ravel() @ flat, gradient.ravel(), atol=1e-13)


def test_which_invisible_words_steer_the_visible_ones():
    J, P = network(n=60)
    m, u, v, z = bulk.split(P, SIZES)
    X, Y, powers = np.concatenate([m, u], axis=1), np.concatenate([z, v], axis=1), len(TARGET)
    words = bulk.visible_words(J, P, SIZES, powers)
    slopes = bulk.slopes_of_words(words, SIZES, TARGET, DT)
    forward, backward = [X], [Y]
    for _ in range(powers - 1):
        forward, backward = [*forward, J @ forward[-1]], [*backward, J.T @ backward[-1]]
    derived = np.zeros_like(words)
    for a, b in np.ndindex(powers, powers):
        # dV_a/ds = - sum_b (Gamma_b X^T (J^T)^b J^a X + Y^T J^a (J^T)^b Y Gamma_b) / N
        derived[a] -= slopes[b] @ (forward[b].T @ forward[a]) / len(P) + (backward[a].T @ backward[b]) @ slopes[b] / len(P)
    step = 1e-4 * len(P) * bulk.loss_and_gradient(J, P, SIZES, TARGET, DT)[1]
    ends = [bulk.visible_words(J, moved, SIZES, powers) for moved in (P - step, P + step)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-4, derived, atol=1e-7 * np.abs(derived).max())


def flow(J, P, steps, learning_rate):
    """Runge-Kutta steps of order 4 of the gradient flow."""

    def velocity(P):
        return -len(P) * bulk.loss_and_gradient(J, P, SIZES, TARGET, DT)[1]

    for _ in range(steps):
        first = velocity(P)
        second = velocity(P + learning_rate / 2 * first)
        third = velocity(P + learning_rate / 2 * second)
        last = velocity(P + learning_rate * third)
        P = P + learning_rate / 6 * (first + 2 * second + 2 * third + last)
    return P


@pytest.mark.parametrize(("correlation", "kept"), [(0.3, 0), (1.0, 4), (-1.0, 4)])
def test_charges_of_powers_of_a_bulk(correlation, kept):
    """A general J leaves the gauge charge and the balance. Symmetric powers of J add charges, antisymmetric ones give 0."""
    J, P = network(n=40, correlation=correlation)
    ends = P, flow(J, P, 150, 0.004)
    inputs, rank, outputs = SIZES
    signs = np.repeat([1.0, -1.0], [inputs + rank, rank + outputs])

    def drift(charge):
        return np.max(np.abs(np.subtract(*(charge(end) for end in ends))))

    m, u, v, z = range(4)

    def gram(P, block):
        return bulk.split(P, SIZES)[block].T @ bulk.split(P, SIZES)[block] / len(P)

    assert drift(lambda P: gram(P, u) - gram(P, v)) < 1e-8
    assert drift(lambda P: np.trace(gram(P, m)) - np.trace(gram(P, z))) < 1e-8
    assert drift(lambda P: np.sort(np.linalg.eigvals(P.T @ P / len(P) * signs).real)) > 1e-3  # that of K at J = 0
    for power in range(1, 5):
        change = drift(
            lambda P, power=power: np.sum(signs * np.sum(P * (np.linalg.matrix_power(J, power) @ P), axis=0)) / len(P)
        )
        assert (change < 1e-8) if power <= kept else (change > 1e-4), power


def test_each_mode_of_a_symmetric_bulk_keeps_a_charge():
    J, P = network(n=40, correlation=1.0)
    modes = np.linalg.eigh(J)[1]
    inputs, rank, outputs = SIZES
    signs = np.repeat([1.0, -1.0], [inputs + rank, rank + outputs])
    first, last = (np.sum(signs * (modes.T @ end) ** 2, axis=1) for end in (P, flow(J, P, 150, 0.004)))
    np.testing.assert_allclose(last, first, atol=1e-7)
    assert np.abs(first).max() > 1.0


def test_words_of_a_large_bulk_against_free_words():
    """Averages over draws of x^T w(J, J^T) y / N deviate from the free words by 1 / N, and single draws by 1 / sqrt(N)."""
    gram, g = np.array([[1.0, 0.4], [0.4, 0.8]]), 0.8
    letters = [letters for length in range(1, 4) for letters in itertools.product((1, 2), repeat=length)]
    for correlation in (0.0, 0.5, -0.5, 1.0):
        free = bulk.free_words(g, correlation, 4)
        vacuum = np.eye(len(free))[:, 0]
        expected = np.array([word(free, w, vacuum)[0] for w in letters])
        spread = []
        for n, draws in ((50, 200), (200, 100)):
            rng = np.random.default_rng(n)
            found = []
            for _ in range(draws):
                J, P = bulk.elliptic(n, g, correlation, rng), bulk.vectors(gram, n, rng)
                found.append([P.T @ word(J, w, P) / n for w in letters])
            off = np.array(found) - expected[:, None, None] * gram
            error = np.std(off, axis=0) / np.sqrt(draws)
            assert np.all(np.abs(off.mean(0)) < 5 * error + 3 / n)
            spread.append(np.sqrt(np.mean(off**2)))
        assert np.log(spread[0] / spread[1]) / np.log(4) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("kind", ["signs", "sparse"])
def test_free_words_need_no_gaussian_entries(kind):
    """Independent entries of mean 0 and variance 1 / N: signs, and Gaussian ones of which nine tenths are 0."""
    letters = [letters for length in (2, 4) for letters in itertools.product((1, 2), repeat=length)]
    free = bulk.free_words(1.0, 0.0, 4)
    expected = np.array([word(free, w, np.eye(len(free))[:, 0])[0] for w in letters])
    spread = []
    for n in (400, 1600):
        rng = np.random.default_rng(0)
        signs = rng.choice([-1.0, 1.0], (n, n))
        J = (signs if kind == "signs" else (rng.random((n, n)) < 0.1) * rng.standard_normal((n, n)) / np.sqrt(0.1)) / np.sqrt(n)
        P = np.linalg.qr(rng.standard_normal((n, 20)))[0]
        spread.append(np.std([P.T @ word(J, w, P) - free * np.eye(20) for w, free in zip(letters, expected, strict=True)]))
    assert spread[1] < 0.1
    assert np.log(spread[0] / spread[1]) / np.log(4) == pytest.approx(0.5, abs=0.08)


def test_eigenvalues_outside_of_the_bulk_are_functions_of_visible_words():
    """det(1 - sum_a v^T J^a u / (N lambda^(a + 1))) = 0, at rank 2."""
    J = bulk.elliptic(200, 0.5, 0.3, np.random.default_rng(1))
    P = bulk.vectors(np.eye(4) + 0.8 * np.eye(4)[::-1], 200, np.random.default_rng(2))
    u, v = 1.2 * P[:, :2], 1.2 * P[:, 2:]
    values = np.linalg.eigvals(J + u @ v.T / 200)
    outside = values[np.abs(values) > 1.0]
    assert outside.size == 2
    words, reached = [], u
    for _ in range(60):
        words.append(v.T @ reached / 200)
        reached = J @ reached
    for value in outside:
        series = sum(one / value ** (a + 1) for a, one in enumerate(words))
        assert abs(np.linalg.det(np.eye(2) - series)) < 1e-10
        assert abs(np.linalg.det(np.eye(2) - words[0] / value)) > 1e-3  # the overlaps of u and v alone do not give it
