"""Networks with the same function: equal outputs, closed forms for ranges of overlaps, known distributions of random draws."""

import numpy as np
import pytest
import scipy.linalg

import overlaps as ov
from overlaps import studies

LINEAR, ERF = ov.RNN(), ov.RNN("erf")
PAIR = ov.Overlaps.random(0).replace(uu=2.0, mu=0.8)


def wide(key=1):
    return ov.Overlaps.random(key, rank=3, inputs=2, outputs=2, n=40)


@pytest.mark.parametrize("phi", ["linear", "erf", "relu"])
def test_the_gauge_keeps_the_function_and_other_changes_of_visible_overlaps_do_not(phi):
    net, rnn = wide(), ov.RNN(phi)
    copy = studies.gauge(net, np.random.default_rng(0).normal(size=(3, 3)))
    assert np.abs(copy.gram - net.gram).max() > 0.1
    assert studies.function_distance(net, copy, rnn) < 1e-12
    for label in net.visible(rnn):
        assert studies.function_distance(net, net.replace(**{label: net[label] + 1e-3}), rnn) > 1e-8, label
    for label in net.invisible(rnn):
        assert studies.function_distance(net, net.replace(**{label: net[label] + 1e-3}), rnn) < 1e-12, label


def test_the_gauge_keeps_the_weights_and_the_activity_of_a_network():
    network = wide().sample(30, key=0)
    copy = studies.gauge(network, [[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -1.0]])
    np.testing.assert_allclose(copy.W, network.W, atol=1e-12)
    inputs = np.random.default_rng(1).normal(size=(20, 2))
    for phi in ("linear", "tanh"):
        rnn = ov.RNN(phi, dt=0.5)
        np.testing.assert_allclose(rnn.activity(copy, inputs), rnn.activity(network, inputs), atol=1e-12)
        assert studies.functionally_equal(network, copy, rnn)


def test_functions_are_equal_across_ranks():
    # A second latent that nothing reads changes the rank and not the function; one that something reads changes it.
    one = ov.Overlaps.random(2)
    gram = scipy.linalg.block_diag(one.gram, np.eye(2))[np.ix_([0, 1, 4, 2, 5, 3], [0, 1, 4, 2, 5, 3])]
    two = ov.Overlaps(gram, rank=2)
    assert studies.function_distance(one, two, LINEAR) < 1e-12
    assert studies.function_distance(one, two.replace(v2m=0.5), LINEAR) < 1e-12
    assert studies.function_distance(one, two.replace(v2m=0.5, zu2=0.1), LINEAR) > 1e-3
    # Seen by the variance of the activity alone:
    assert studies.function_distance(one, two.replace(v2m=0.5), ERF) > 1e-4


@pytest.mark.parametrize("inputs", [1, 2])
def test_gauge_copies_have_one_canonical_form(inputs):
    net = ov.Overlaps.random(3, rank=3, inputs=inputs, outputs=2, n=20)
    form = studies.canonical(net)
    for seed in range(3):
        copy = studies.gauge(net, np.random.default_rng(seed).normal(size=(3, 3)))
        np.testing.assert_allclose(studies.canonical(copy).gram, form.gram, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(form["vm"][:, 0], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(form["zu"] @ form["vu"] @ form["vm"], net["zu"] @ net["vu"] @ net["vm"], atol=1e-9)


@pytest.mark.parametrize("rank", [1, 3])
def test_poles_and_residues_are_the_impulse_response(rank):
    net, rnn = ov.Overlaps.random(4, rank=rank, inputs=2, outputs=2, n=20), ov.RNN(tau=2.0)
    modes = studies.poles(net, rnn)
    pole = (modes["pole_real"] + 1j * modes["pole_imag"]).values
    residue = (modes["residue_real"] + 1j * modes["residue_imag"]).values
    A, B, C = rnn.system(net)
    for time in (0.0, 0.7, 3.0):
        response = np.einsum("n,noi->oi", np.exp(pole * time), residue)
        np.testing.assert_allclose(response, C @ scipy.linalg.expm(A * time) @ B, atol=1e-10)
    copy = studies.poles(studies.gauge(net, np.random.default_rng(0).normal(size=(rank, rank))), rnn)
    for name in modes:
        np.testing.assert_allclose(copy[name], modes[name], atol=1e-8)


@pytest.mark.parametrize("rnn", [LINEAR, ERF])
def test_admissible_overlaps_reach_to_where_the_matrix_becomes_singular(rnn):
    net = ov.Overlaps.random(5, rank=2, n=12)
    found = studies.admissible(net, rnn)
    assert list(found["overlap"].values) == list(net.invisible(rnn))
    for label in found["overlap"].values:
        one = found.sel(overlap=label)
        for bound in (one["lower"].item(), one["upper"].item()):
            if np.isfinite(bound):
                gram = net.gram.copy()
                row, column = net.layout.entry(label)
                gram[row, column] = gram[column, row] = bound
                assert abs(np.linalg.eigvalsh(gram)[0]) < 1e-12, label
        assert one["lower"] < one["value"] < one["upper"]
        assert one["least"] <= one["lower"] + 1e-12


def test_the_least_self_overlap_is_reached_as_the_others_grow():
    found = studies.admissible(PAIR, ERF).sel(overlap="vv")
    gram = PAIR.gram.copy()
    gram[3, 3] = 1e9
    gram[2, 3] = gram[3, 2] = gram[2, :2] @ np.linalg.solve(gram[:2, :2], gram[:2, 3])
    gram[2, 2] = found["least"] + 1e-6
    assert np.linalg.eigvalsh(gram)[0] > 0
    gram[2, 2] = found["least"] - 1e-6
    assert np.linalg.eigvalsh(gram[:3, :3])[0] < 0


def test_draws_of_readout_overlaps_are_even():
    # [v z]^T [v z] = C0 + X with X >= 0, diagonals up to a and c: b^2 <= x y leaves x a density of sqrt(x) on (0, a).
    draws = studies.sample_equivalent(PAIR, ERF, 500, key=0)
    least, most = studies.admissible(PAIR, ERF).set_index(overlap="overlap")["least"], 2 * np.diagonal(PAIR.gram)
    for label, index in (("vv", 2), ("zz", 3)):
        low, high = least.sel(overlap=label).item(), most[index]
        scaled = (draws.gram[:, index, index] - low) / (high - low)
        assert scaled.mean() == pytest.approx(3 / 5, abs=4 * np.sqrt(12 / 175 / 500))
        assert (scaled**2).mean() == pytest.approx(3 / 7, abs=4 * np.sqrt((3 / 11 - 9 / 49) / 500))
    for row, column in [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]:
        np.testing.assert_array_equal(draws.gram[:, row, column], PAIR.gram[row, column])


@pytest.mark.slow
def test_draws_of_all_invisible_overlaps_are_as_those_that_rejection_leaves():
    draws = studies.sample_equivalent(PAIR, LINEAR, 500, key=0).gram
    random, most = np.random.default_rng(0), 2 * np.diagonal(PAIR.gram)
    box = np.repeat(PAIR.gram[None], 200_000, axis=0)
    box[:, range(4), range(4)] = random.uniform(0, most, (len(box), 4))
    for row, column in ((0, 1), (2, 3)):
        reach = np.sqrt(most[row] * most[column])
        box[:, row, column] = box[:, column, row] = random.uniform(-reach, reach, len(box))
    box = box[np.linalg.eigvalsh(box)[:, 0] >= 0]
    assert len(box) > 10_000
    for row, column in ((0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3)):
        for power in (1, 2):
            one, other = draws[:, row, column] ** power, box[:, row, column] ** power
            error = np.hypot(one.std() / np.sqrt(len(one)), other.std() / np.sqrt(len(other)))
            assert abs(one.mean() - other.mean()) < 4.5 * error, (row, column, power)


def test_equivalent_sets_invisible_overlaps_alone():
    copy = studies.equivalent(PAIR, LINEAR, set={"uu": 2.05, "mu": 0.7})
    assert copy["uu"] == 2.05
    assert studies.functionally_equal(PAIR, copy, LINEAR)
    assert studies.equivalent(PAIR, ERF, set={"zv": 0.1})["zv"] == 0.1
    for name in ("zu", "uz"):
        with pytest.raises(ValueError, match="must name invisible overlaps"):
            studies.equivalent(PAIR, LINEAR, set={name: 0.1})
    with pytest.raises(ValueError, match="must name invisible overlaps"):
        studies.equivalent(PAIR, ERF, set={"uu": 2.05})
    upper = studies.admissible(PAIR, LINEAR).sel(overlap="mu")["upper"].item()
    with pytest.raises(ValueError, match=f"`mu` must lie between .* and {upper:.6g}"):
        studies.equivalent(PAIR, LINEAR, set={"mu": upper + 0.01})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: studies.gauge(PAIR, 0.0), "`mixing` must be invertible"),
        (lambda: studies.gauge(PAIR, np.eye(2)), r"`mixing` must have shape \(1, 1\)"),
        (lambda: studies.gauge(ov.DenseNetwork.random(0, 5), 2.0), "DenseNetwork came"),
        (lambda: studies.canonical(ov.Overlaps.random(0, rank=2, n=None)), "2 latents that input reaches, but it reaches 0"),
        (lambda: studies.poles(ov.Overlaps.random(0, n=None), LINEAR), "modes that are distinct"),
        (lambda: studies.poles(PAIR, ERF), "linear phi"),
        (lambda: studies.function_distance(PAIR, wide(), LINEAR), "inputs and outputs, as `one` has"),
        (lambda: studies.sample_equivalent(PAIR, LINEAR, 3, 0, scale=1.0), "`scale` must be a number greater than 1"),
        (lambda: studies.sample_equivalent(ov.Overlaps.random(0, n=3), LINEAR, 3, 0), "positive definite"),
        (lambda: studies.admissible(PAIR.sample(9, 0), LINEAR), "be a single Overlaps, but Network came"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
