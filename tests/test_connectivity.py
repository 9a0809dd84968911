"""Overlaps and networks: construction, names, round trips, sampling."""

import contextlib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

import overlaps as ov

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))


def random_vectors(sizes, n, seed):
    inputs, rank, outputs = sizes
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((n, k)) for k in (inputs, rank, rank, outputs)]


def test_gram_is_the_matrix_of_scalar_products():
    m, u, v, z = random_vectors((2, 3, 1), 40, 0)
    net = ov.Overlaps.from_vectors(m, u, v, z)
    assert net.labels == ["m1", "m2", "u1", "u2", "u3", "v1", "v2", "v3", "z"]
    for name, left, right in (("zu", z, u), ("vm", v, m), ("uu", u, u), ("mz", m, z), ("vv", v, v)):
        np.testing.assert_allclose(net[name], left.T @ right / 40, atol=1e-14)
    assert net["v2u3"] == pytest.approx(v[:, 1] @ u[:, 2] / 40, abs=1e-14)
    assert net["u3v2"] == net["v2u3"]
    np.testing.assert_array_equal(net["uz"], net["zu"].T)


def test_one_dimensional_vectors_stand_for_single_ones():
    m, u, v, z = random_vectors((1, 1, 1), 10, 1)
    flat = ov.Overlaps.from_vectors(m[:, 0], u[:, 0], v[:, 0], z[:, 0])
    np.testing.assert_array_equal(flat.gram, ov.Overlaps.from_vectors(m, u, v, z).gram)
    assert flat.labels == ["m", "u", "v", "z"]
    assert flat["zu"].shape == (1, 1)


def test_pair_labels_of_the_contract():
    def labels(net):
        return [*net.visible(ov.RNN()), *net.invisible(ov.RNN())]

    assert labels(ov.Overlaps.random(0)) == ["zm", "zu", "vm", "vu", "mu", "zv", "mm", "uu", "vv", "zz"]
    two = labels(ov.Overlaps.random(0, rank=2, inputs=2))
    assert two[:10] == ["zm1", "zm2", "zu1", "zu2", "v1m1", "v1m2", "v2m1", "v2m2", "v1u1", "v1u2"]
    assert {"m1m2", "m2u1", "zv2", "u1u2", "u2u2", "zz"} <= set(two)
    assert len(set(two)) == 7 * 8 // 2


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 2)])
def test_overlaps_are_listed_in_the_order_of_their_labels(sizes):
    inputs, rank, outputs = sizes
    nets = [ov.Overlaps.random(seed, rank=rank, inputs=inputs, outputs=outputs) for seed in range(2)]
    layout, grams = nets[0].layout, np.stack([net.gram for net in nets])
    expected = [[np.squeeze(net[pair.label]) for pair in layout.pairs] for net in nets]
    for array in (np.asarray, jnp.asarray):
        np.testing.assert_array_equal(layout.listed(array(grams)), expected)
        np.testing.assert_array_equal(layout.matrix(array(expected)), grams)
    assert layout.matrix(np.zeros(len(layout.pairs), bool)).dtype == bool


@pytest.mark.slow
@given(sizes=SIZES, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_exact_sample_and_factor_return_the_gram(sizes, seed):
    inputs, rank, outputs = sizes
    net = ov.Overlaps.random(seed, rank=rank, inputs=inputs, outputs=outputs, n=7)  # n < D for some: singular
    assert np.allclose(net.factor.T @ net.factor, net.gram, atol=1e-13)
    back = net.sample(net.layout.size, seed + 1).overlaps()
    np.testing.assert_allclose(back.gram, net.gram, atol=1e-13)
    assert (back.inputs, back.rank, back.outputs) == sizes


def test_rotating_neurons_changes_no_overlap():
    network = ov.Overlaps.random(0, rank=2).sample(30, 1)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((30, 30)))
    rotated = ov.Network(*(rotation @ x for x in (network.m, network.u, network.v, network.z)))
    np.testing.assert_allclose(rotated.overlaps().gram, network.overlaps().gram, atol=1e-13)


def test_gaussian_sample_deviates_as_one_over_root_n():
    net = ov.Overlaps.random(0, rank=2)
    n, draws = 400, 200
    keys = jax.random.split(jax.random.key(1), draws)
    grams = np.asarray(jax.vmap(lambda key: net.sample(n, key, exact=False).overlaps().gram)(keys))
    variances = np.outer(np.diag(net.gram), np.diag(net.gram)) + net.gram**2  # Wick: n var(sigma_ab) = aa bb + ab^2
    np.testing.assert_allclose(np.var(grams, axis=0) * n, variances, rtol=5 * np.sqrt(2 / draws))
    np.testing.assert_allclose(grams.mean(0), net.gram, atol=5 * np.sqrt(variances.max() / n / draws))


def test_random_is_reproducible_and_scales():
    np.testing.assert_array_equal(ov.Overlaps.random(3).gram, ov.Overlaps.random(jax.random.key(3)).gram)
    np.testing.assert_allclose(ov.Overlaps.random(3, scale=2.0).gram, 4 * ov.Overlaps.random(3).gram, rtol=1e-14)
    np.testing.assert_array_equal(ov.Overlaps.random(3, rank=2, n=None, scale=0.5).gram, 0.25 * np.eye(6))
    # Entries of n = 500 neurons deviate by about sqrt(2 / 500) on the diagonal.
    assert np.abs(ov.Overlaps.random(3).gram - np.eye(4)).max() < 5 * np.sqrt(2 / 500)


def test_replace_sets_blocks_and_entries():
    net = ov.Overlaps.random(0, rank=2, n=None).replace(u1u2=0.3, mu=[[0.1, -0.2]], vv=[[2.0, 0.5], [0.5, 3.0]])
    assert net["u2u1"] == net["u1u2"] == 0.3
    np.testing.assert_array_equal(net["um"], [[0.1], [-0.2]])
    np.testing.assert_array_equal(net["vv"], [[2.0, 0.5], [0.5, 3.0]])
    assert ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)["uu"] == 2.0
    np.testing.assert_array_equal(net.gram, net.gram.T)


def test_states_are_pytrees_under_vmap():
    keys = jax.random.split(jax.random.key(0), 5)
    batch = jax.vmap(lambda key: ov.Overlaps.random(key, rank=2))(keys)
    assert batch.gram.shape == (5, 6, 6)
    assert batch["zu"].shape == (5, 1, 2)
    one = jax.tree.map(lambda leaf: leaf[3], batch)
    np.testing.assert_allclose(one.gram, ov.Overlaps.random(keys[3], rank=2).gram, atol=1e-14)
    networks = jax.vmap(lambda net, key: net.sample(20, key))(batch, keys)
    assert networks.n == 20
    np.testing.assert_allclose(jax.vmap(lambda network: network.overlaps().gram)(networks), batch.gram, atol=1e-13)
    changed = jax.vmap(lambda net: net.replace(mu=[[0.0, 0.0]]))(batch)
    assert np.all(changed["mu"] == 0)
    assert eqx.tree_equal(jax.tree.map(np.asarray, one), jax.tree.map(np.asarray, one))


def test_reprs_tell_what_matters():
    net = ov.Overlaps.random(0, rank=2)
    assert "rank=2" in repr(net)
    assert f"{net['v1u2']:.3f}" in repr(net)
    assert repr(net.sample(20, 0)) == "Network(n=20, inputs=1, rank=2, outputs=1, float64)"
    assert "poles=[-0.2]" in repr(ov.tasks.exponential_filter(0.2))
    assert repr(jax.vmap(lambda key: ov.Overlaps.random(key))(jax.random.split(jax.random.key(0), 2))).count("\n") == 0


def test_one_seed_for_overlaps_and_neurons_draws_them_independently():
    net = ov.Overlaps.random(0, n=400)
    deviation = net.sample(400, 0, exact=False).overlaps().gram - net.gram
    assert np.abs(deviation - (net.gram @ net.gram - net.gram)).max() > 0.01
    assert np.abs(deviation).max() < 5 * np.sqrt(2 / 400)


def test_one_matrix_of_a_batch_does_not_excuse_another():
    with pytest.raises(ValueError, match=r"positive semi-definite, but its smallest eigenvalue is -0\.001"):
        ov.Overlaps(np.stack([1e8 * np.eye(4), np.diag([1, 1, 1, -1e-3])]))
    with pytest.raises(ValueError, match="positive semi-definite"):
        ov.Overlaps(np.diag([1e12, 1, 1, -5.0]))


def test_networks_and_limits_have_the_visible_overlaps_of_theirs():
    net, rnn = ov.Overlaps.random(0), ov.RNN("erf")
    for state in (net.sample(20, 1), net.mean_field(81)):
        for name in ("visible", "invisible"):
            expected, found = (getattr(one, name)(rnn) for one in (net, state))
            assert found.keys() == expected.keys()
            np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=0, atol=1e-12)


def test_transposed_vectors_are_refused():
    m, u, v, z = random_vectors((1, 1, 1), 500, 0)
    with pytest.raises(
        ValueError, match=r"`m` must have at least as many rows .* 2000, but its shape is \(1, 500\): is it transposed\?"
    ):
        ov.Overlaps.from_vectors(m.T, u.T, v.T, z.T)
    few = random_vectors((1, 1, 1), 3, 0)
    with pytest.raises(ValueError, match=r"its shape is \(3, 1\)\. Pass arrays .* few_neurons=True"):
        ov.Overlaps.from_vectors(*few)
    with pytest.raises(ValueError, match=r"`u` must have 1 rows.*are they transposed\?"):
        ov.Network(*(block.T for block in random_vectors((1, 2, 1), 9, 0)))
    P = np.concatenate(few, axis=1)
    np.testing.assert_allclose(ov.Overlaps.from_vectors(*few, few_neurons=True).gram, P.T @ P / 3, atol=1e-14)
    assert ov.Overlaps.from_vectors(*random_vectors((1, 1, 1), 4, 0)).rank == 1
    assert ov.Overlaps(np.eye(40), inputs=20, rank=5, outputs=10).labels[0] == "m1"  # a Gram matrix is free


def test_means_far_from_zero_are_named_once():
    m, u, v, z = random_vectors((1, 2, 1), 400, 0)
    u[:, 1] += 1.0
    message = r"far from zero for u2 \(0\.7\d? of its root mean square\)"
    for act in (lambda: ov.Overlaps.from_vectors(m, u, v, z), lambda: ov.Network(m, u, v, z).overlaps()):
        with pytest.warns(RuntimeWarning, match=message) as warned:
            act()
        assert len(warned) == 1
        assert Path(warned[0].filename).name == "test_connectivity.py"  # the line of the user
    network = ov.Network(m, u, v, z)  # exact whatever its means are
    network.visible(ov.RNN("erf"))
    ov.learn(network, ov.tasks.exponential_filter(horizon=2.0), ov.RNN(dt=0.1), ov.GradientDescent(1e-3, 2), saves=2)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_means_by_chance_are_not_named(n):
    for seed in range(200):  # of each size 800 vectors, of which one in a million is named by chance
        ov.Overlaps.from_vectors(*random_vectors((1, 1, 1), n, seed))


@pytest.mark.parametrize("n", [8, 20, 400])
def test_the_limit_for_means_is_that_of_students_test(n):
    generator = np.random.default_rng(0)
    z = generator.standard_normal((n, 1))
    for chance, warns in ((1e-5, False), (1e-7, True)):
        vector = generator.standard_normal(n)
        vector = (vector - vector.mean()) / vector.std(ddof=1)
        vector += scipy.stats.t.isf(chance / 2, n - 1) / np.sqrt(n)  # the mean whose p-value is `chance`
        assert scipy.stats.ttest_1samp(vector, 0.0).pvalue == pytest.approx(chance, rel=1e-6)
        with pytest.warns(RuntimeWarning, match="for m ") if warns else contextlib.nullcontext():
            ov.Overlaps.from_vectors(vector, z, z, z)
    with pytest.warns(RuntimeWarning, match="for m .* u .* v .* z"):
        ov.Overlaps.from_vectors(*np.ones((4, n)))


@pytest.mark.slow
def test_what_means_do_not_matter_for_does_not_name_them(tmp_path):
    network = ov.Network(*(np.random.default_rng(0).standard_normal((4, 300)) + 1.0))
    erf = ov.RNN("erf", dt=0.1)
    erf.fixed_points(network, starts=4)  # of the network itself
    erf.phase_portrait(network, points=5, extent=1.0)
    ov.studies.poles(network, ov.RNN())
    ov.studies.canonical(network)
    ov.studies.function_distance(network, network, erf)
    ov.conserved(network, ov.RNN())
    ov.metric(network, ov.RNN())


def test_nodes_whose_mean_is_not_zero_are_named():
    m, u, v, z = random_vectors((1, 1, 1), 900, 0)
    weights = np.full(900, 1 / 900)
    ov.MeanField(m, u, v, z, weights).overlaps()
    with pytest.warns(RuntimeWarning, match="far from zero for z"):
        ov.MeanField(m, u, v, z + 1.0, weights).overlaps()


def test_an_overlap_is_not_set_twice():
    net = ov.Overlaps.random(0, rank=2)
    for twice in ({"zv": [[0.1, 0.1]], "vz": [[0.2], [0.2]]}, {"uu": np.eye(2), "u1u2": 0.1}, {"u1u2": 0.1, "u2u1": 0.1}):
        first, second = twice
        with pytest.raises(ValueError, match=f"`{second}` must set overlaps that no other name sets, but `{first}` sets"):
            net.replace(**twice)
    assert net.replace(u1u2=0.1, u1u1=2.0)["u2u1"] == 0.1


def test_a_batch_of_overlaps_is_sampled():
    nets = [ov.Overlaps.random(seed) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *nets)
    networks = batch.sample(50, 7)
    assert networks.batch == (3,)
    for index, net in enumerate(nets):  # with one key each is what it is alone
        np.testing.assert_allclose(networks.m[index], net.sample(50, 7).m, atol=1e-12)
    np.testing.assert_allclose(networks.overlaps().gram, batch.gram, atol=1e-13)
    keys = jax.random.split(jax.random.key(0), 3)
    for exact in (True, False):
        own = batch.sample(50, keys, exact=exact)
        for index, net in enumerate(nets):
            np.testing.assert_allclose(own.u[index], net.sample(50, keys[index], exact=exact).u, atol=1e-12)
    field = batch.mean_field()
    np.testing.assert_allclose(field.overlaps().gram, batch.gram, atol=1e-12)
    with pytest.raises(ValueError, match="`key` must be a single key, but an array of shape"):
        batch.mean_field(key=keys)
    for state, message in ((batch, "one for each of the 3 networks, but an array of shape"), (nets[0], "be a single key, but")):
        with pytest.raises(ValueError, match=message):
            state.sample(50, jax.random.split(jax.random.key(0), 2))


def test_eigenvalues_are_those_of_the_recurrent_weights():
    net = ov.Overlaps.random(0, rank=3, n=60)
    network = net.sample(60, 1)
    W = network.u @ network.v.T / 60
    full = np.linalg.eigvals(W)
    full = full[np.argsort(-np.abs(full))][:3]
    for state in (net, network):
        np.testing.assert_allclose(np.sort_complex(state.eigenvalues()), np.sort_complex(full), atol=1e-12)
    assert np.all(np.diff(np.abs(net.eigenvalues())) <= 1e-12)
