"""Words of networks with a bulk, and small networks that stand for words: what they are, and the way back to neurons."""

import numpy as np
import pytest

import overlaps as ov

N, DT = 40, 0.1
NET = ov.Overlaps.random(3, rank=2, inputs=2)
NETWORK = NET.sample(N, key=1, bulk=ov.RandomBulk(0.7, key=2, correlation=0.3))
LINEAR = ov.RNN(dt=DT)
INPUTS = np.random.default_rng(0).standard_normal((3, 30, 2))
TRIALS = ov.tasks.Trials(INPUTS, np.random.default_rng(1).standard_normal((3, 30, 1)), dt=DT)
FILTER = ov.tasks.linear_filter([[-0.2, 0.0], [0.0, -0.5]], np.eye(2), [[1.0, 0.3]], horizon=3.0)


def test_visible_words_are_those_that_a_change_of_basis_leaves_and_no_others():
    table = ov.bulk.words(NETWORK, letters=2)
    assert table.sizes["word"] == 7 * (2**3 - 1)
    J, P = NETWORK.bulk, NETWORK.vectors
    by_hand = (J.T @ J @ P[:, 5]) @ (J @ P[:, 0]) / N
    assert float(table.sel(word="TJv2", other_word="Jm1")) == pytest.approx(by_hand, abs=1e-14)
    S = np.eye(N) + 0.3 * np.random.default_rng(0).standard_normal((N, N)) / np.sqrt(N)
    back = np.linalg.inv(S)
    changed = ov.Network(S @ NETWORK.m, S @ NETWORK.u, back.T @ NETWORK.v, back.T @ NETWORK.z, bulk=S @ J @ back)
    np.testing.assert_allclose(LINEAR.output(changed, INPUTS), LINEAR.output(NETWORK, INPUTS), rtol=0, atol=1e-11)
    kept = np.abs(ov.bulk.words(changed, letters=2) - table) < 1e-10
    np.testing.assert_array_equal(kept, table["visible"])


@pytest.mark.parametrize("correlation", [1.0, -1.0])
def test_a_symmetric_bulk_makes_words_of_its_transpose_visible(correlation):
    for state in (NET.with_bulk(0.5, 1, correlation), NET.sample(N, 1, bulk=ov.RandomBulk(0.5, 2, correlation))):
        table = ov.bulk.words(state)
        assert bool(table["visible"].sel(word="z", other_word="Tm1"))
        assert not bool(table["visible"].sel(word="z", other_word="Tv1"))
        np.testing.assert_allclose(
            table.sel(word="z", other_word="Tm1"), correlation * table.sel(word="z", other_word="Jm1"), rtol=0, atol=1e-14
        )


def test_words_of_a_limit_and_of_a_reduction():
    net = NET.with_bulk(0.5, order=2)
    table = ov.bulk.words(net, letters=2)
    # J^T J and J J^T have the average g^2, and J J has 0.
    np.testing.assert_allclose(table.sel(word="Ju1", other_word="Ju2"), 0.25 * NET["u1u2"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(table.sel(word="Tz", other_word="Ju1"), 0.0, rtol=0, atol=1e-14)
    reduced = ov.bulk.words(NETWORK.krylov(1), letters=1)
    np.testing.assert_allclose(reduced, ov.bulk.words(NETWORK, letters=1), rtol=0, atol=1e-13)
    for call, message in [
        (lambda: ov.bulk.words(net, letters=3), "`letters` must be at most 2, the order of the state, but 3 came"),
        (lambda: ov.bulk.words(NET), "must be a single network with a bulk"),
        (lambda: ov.bulk.words(NETWORK, letters=9), "must make 2000 words or fewer, but 9 came, which makes 7161"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_trained_reduction_becomes_a_network_again():
    network = NET.sample(200, 1, bulk=0.1)
    rule = ov.GradientDescent(1e-2, 20)
    reduced = ov.final_state(ov.learn(network.krylov(1), FILTER, LINEAR, rule, saves=2))
    whole = ov.final_state(ov.learn(network, FILTER, LINEAR, rule, saves=2))
    lifted = network.lifted(reduced)
    np.testing.assert_allclose(lifted.gram, reduced.gram, rtol=0, atol=1e-13)
    # The reduction leaves words of two letters out of the vectors, which learning moves by less than the learning time.
    largest = 0.2 * 0.1**2 * np.max(np.abs(whole.vectors))
    assert np.sqrt(np.mean((lifted.vectors - whole.vectors) ** 2)) < largest
    np.testing.assert_array_equal(lifted.bulk, network.bulk)


def test_words_that_stand_for_several_units_act_as_the_whole_matrix():
    state = NET.with_bulk(0.5, order=2, correlation=0.4)
    whole = ov.BulkOverlaps(state.m, state.u, state.v, state.z, state.dense_bulk, 2, state.edge)
    np.testing.assert_array_equal(state.dense_bulk, np.kron(state.bulk, np.eye(7)))
    for task in (FILTER, TRIALS):
        run, other = (ov.learn(one, task, LINEAR, ov.GradientDescent(1e-2, 5), saves=2) for one in (state, whole))
        np.testing.assert_allclose(run["sigma_bulk"], other["sigma_bulk"], rtol=0, atol=1e-14)
        np.testing.assert_allclose(run["loss"], other["loss"], rtol=1e-13)
    np.testing.assert_allclose(state.W, state.dense_bulk + state.u @ state.v.T / state.n, rtol=0, atol=1e-15)
