"""Fixed points and phase portraits against known ones."""

import numpy as np
import pytest
import scipy.optimize

import overlaps as ov


def bistable(vu=3.0):
    """A rank-1 network with v.u = vu, input vector and readout orthogonal to the rest."""
    return ov.Overlaps(np.diag([1.0, 8.0, 4.0, 1.0])).replace(vu=vu)


def test_the_pitchfork_of_rank_one_is_where_the_theory_has_it():
    # At rest k = g(uu k^2) vu k: besides 0, g = 1 / vu; for erf 1 + pi uu k^2 / 2 = vu^2.
    found = ov.RNN("erf").fixed_points(bistable())
    expected = np.sqrt((9 - 1) * 2 / np.pi / 8)
    np.testing.assert_allclose(found["position"].values[:, 0], [-expected, 0.0, expected], atol=1e-10)
    assert found["kind"].values.tolist() == ["stable", "unstable", "stable"]
    # The slope of vu k (1 + pi uu k^2 / 2)^(-1/2) is vu at 0, and vu (1 + pi uu k^2 / 2)^(-3/2) = 1 / vu^2 outside.
    np.testing.assert_allclose(found["eigenvalue_real"].values[:, 0], [1 / 9 - 1, 2.0, 1 / 9 - 1], atol=1e-9)
    below = ov.RNN("erf", tau=2.0).fixed_points(bistable(0.9))
    assert below.sizes["fixed_point"] == 1
    np.testing.assert_allclose(below["eigenvalue_real"], [[-0.05]], atol=1e-12)
    assert ov.RNN("erf").fixed_points(bistable(1.0)).sel(latent="u")["kind"].values.tolist() == ["marginal"]


@pytest.mark.parametrize("phi", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("resolution", ["overlaps", "network"])
def test_fixed_points_are_where_activity_comes_to_rest(phi, resolution):
    net = ov.Overlaps.random(3, rank=2, scale=1.6, n=60)
    state = net if resolution == "overlaps" else net.sample(60, 0)
    rnn = ov.RNN(phi, dt=0.1)
    found = rnn.fixed_points(state, 0.4)
    stable = found.isel(fixed_point=np.flatnonzero(found["stable"]))
    if phi == "relu" and resolution == "network" and not stable.sizes["fixed_point"]:
        pytest.skip("this network grows without bound")
    held = 0.4 * np.ones((3000, 1))
    end = rnn.latents(state, held).sel(latent=["u1", "u2"])[-1].values
    distance = np.linalg.norm(stable["position"].values - end, axis=1)
    assert distance.min() < 1e-6
    nearest = stable.isel(fixed_point=int(distance.argmin()))
    np.testing.assert_allclose(nearest["output"], rnn.output(state, held)[-1], atol=1e-6)


def test_all_fixed_points_of_rank_two_against_a_search_by_scipy():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((40, 6)) * [1, 2, 2, 1, 1, 1]
    vectors[:, 3:5] += vectors[:, 1:3]
    net = ov.Overlaps(vectors.T @ vectors / 40, rank=2)
    found = ov.RNN("erf").fixed_points(net, 0.1)

    def velocity(k):
        kappa = np.array([0.1, *k])
        variance = kappa @ net.gram[:3, :3] @ kappa
        return net.gram[3:5, :3] @ kappa / np.sqrt(1 + np.pi * variance / 2) - k

    roots = []
    for start in np.random.default_rng(0).uniform(-3, 3, (400, 2)):
        root, _, status, _ = scipy.optimize.fsolve(velocity, start, full_output=True, xtol=1e-13)
        if (
            status == 1
            and np.linalg.norm(velocity(root)) < 1e-9
            and all(np.linalg.norm(root - other) > 1e-6 for other in roots)
        ):
            roots.append(root)
    positions = found["position"].values
    assert len(positions) == len(roots) > 1
    for root in roots:
        assert np.linalg.norm(positions - root, axis=1).min() < 1e-8
    for position, real, imaginary in zip(positions, found["eigenvalue_real"], found["eigenvalue_imag"], strict=True):
        jacobian = scipy.optimize.approx_fprime(position, velocity, 1e-7)
        expected = np.linalg.eigvals(jacobian)
        np.testing.assert_allclose(np.sort(real), np.sort(expected.real), atol=1e-5)
        np.testing.assert_allclose(np.sort(imaginary), np.sort(expected.imag), atol=1e-5)


def test_a_ring_of_fixed_points_is_marginal():
    net = ov.Overlaps(np.diag([1.0, 2, 2, 4, 4, 1]), rank=2).replace(vu=2 * np.eye(2))
    found = ov.RNN("erf").fixed_points(net)
    radius = np.linalg.norm(found["position"], axis=1)
    ring = radius > 1e-6
    assert ring.sum() > 20
    np.testing.assert_allclose(radius[ring], np.sqrt(3 * 2 / np.pi / 2), atol=1e-8)
    assert set(found["kind"].values[ring]) == {"marginal"}


def test_stability_is_that_of_the_euler_map_where_there_is_one():
    # vu = -3: the rate -4 overshoots with dt = 0.6.
    net = ov.Overlaps(np.diag([1.0, 4.0, 4.0, 1.0])).replace(vu=-3.0)
    assert ov.RNN().fixed_points(net)["kind"].item() == "stable"
    assert ov.RNN(dt=0.6).fixed_points(net)["kind"].item() == "unstable"


@pytest.mark.parametrize("rank", [1, 2])
def test_portraits_hold_the_flow(rank):
    net = ov.Overlaps.random(3, rank=rank, scale=1.6, n=60)
    rnn = ov.RNN("erf", tau=0.5)
    portrait = rnn.phase_portrait(net, 0.2, points=7, extent=1.5)
    names = ["u"] if rank == 1 else ["u1", "u2"]
    assert portrait["velocity"].dims == (*names, "latent")
    assert portrait[names[0]].values[[0, -1]].tolist() == [-1.5, 1.5]
    place = dict.fromkeys(names, 4)
    kappa = np.array([0.2, *[portrait[name][4].item() for name in names]])
    gram, split = net.gram, 1 + rank
    gain = 1 / np.sqrt(1 + np.pi / 2 * kappa @ gram[:split, :split] @ kappa)
    expected = (gain * gram[split : split + rank, :split] @ kappa - kappa[1:]) / 0.5
    np.testing.assert_allclose(portrait["velocity"].isel(place), expected, atol=1e-12)
    path = rnn.latents(net, np.ones((2, 30, 1)), dt=0.1)
    ax = ov.plots.plot_phase_portrait(portrait, path)
    assert names[0] in ax.get_xlabel()
    drawn = sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "o")
    assert drawn == portrait.sizes["fixed_point"]


def test_what_does_not_fit_is_named():
    net, rnn = ov.Overlaps.random(0, rank=3), ov.RNN("erf")
    cases = [
        (lambda: rnn.phase_portrait(net), "`state` must have rank 1 or 2 for a portrait, but its rank is 3"),
        (lambda: rnn.fixed_points(net, [1.0, 2.0]), r"`input` must be a number or of shape \(1,\), but its shape is \(2,\)"),
        (lambda: rnn.fixed_points(net, starts=0), "`starts` must be a whole number of at least 1"),
        (lambda: rnn.fixed_points(net, extent=-1.0), "`extent` must be a number greater than 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
