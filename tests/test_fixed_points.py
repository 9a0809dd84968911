"""Fixed points and phase portraits against known ones."""

import jax.numpy as jnp
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


@pytest.mark.parametrize(("uu", "rank"), [(1e-4, 1), (1e4, 2)])
def test_close_to_the_pitchfork_there_are_as_many_fixed_points_as_the_theory_has(uu, rank):
    # Along u1 as at rank 1; along u2 with vu = 1/2 nothing rests but the origin.
    variances = [1.0, *[uu] * rank, *[4 / uu] * rank, 1.0]
    for vu in (0.99, 0.999999, 1.0, 1.000001, 1.0001):
        net = ov.Overlaps(np.diag(variances), rank=rank).replace(vu=np.diag([vu, 0.5][:rank]))
        found = ov.RNN("erf").fixed_points(net)
        expected = [0.0]
        if vu > 1:
            pair = np.sqrt((vu**2 - 1) * 2 / np.pi / uu)
            expected = [-pair, 0.0, pair]
        assert found.sizes["fixed_point"] == len(expected)
        np.testing.assert_allclose(found["position"][:, 0], expected, rtol=1e-6, atol=1e-12)
        middle = found.isel(fixed_point=len(expected) // 2)
        growth = middle["eigenvalue_real"].values.max()
        np.testing.assert_allclose(growth, vu - 1, atol=1e-9)
        assert middle["kind"] == (
            "marginal" if abs(growth) < 1e-6 else "stable" if vu < 1 else ("unstable", "saddle")[rank - 1]
        )


def test_where_a_fold_joins_two_fixed_points_there_is_one_and_beyond_it_none():
    # Held with x, k = g (x + 2 k); at the fold also the slope of the right hand side is 1.
    net = ov.Overlaps(np.diag([1.0, 2.0, 9.0, 1.0])).replace(vm=1.0, vu=2.0)

    def excess(k, x):
        return (x + 2 * k) / np.sqrt(1 + np.pi / 2 * (x**2 + 2 * k**2)) - k

    def both(place):
        k, x = place
        return [excess(k, x), (excess(k + 1e-5, x) - excess(k - 1e-5, x)) / 2e-5]

    fold, held = scipy.optimize.fsolve(both, [-0.515, 0.305], xtol=1e-13)
    counts = [ov.RNN("erf").fixed_points(net, held + shift).sizes["fixed_point"] for shift in (-1e-6, 0.0, 1e-6)]
    assert counts == [3, 2, 1]
    found = ov.RNN("erf").fixed_points(net, held)
    assert found["position"].values.min() == pytest.approx(fold, abs=1e-4)


@pytest.mark.parametrize(("strength", "grows"), [(6.0, True), (1.0, False)])
def test_at_a_kink_the_jacobian_does_not_decide(strength, grows):
    # Of two relu units one drives the latent for k > 0, with slope strength / 2, the other for k < 0.
    network = ov.Network(np.ones((2, 1)), np.array([[1.0], [-1.0]]), np.array([[strength], [1.0]]), np.ones((2, 1)))
    rnn = ov.RNN("relu", dt=0.1)
    found = rnn.fixed_points(network)
    (origin,) = np.flatnonzero(found["position"].values[:, 0] == 0)
    origin = found.isel(fixed_point=origin)
    assert origin["kind"] == "nonsmooth"
    assert not origin["stable"]
    assert np.all(np.isnan(origin["eigenvalue_real"]))
    k = np.array([1e-3, -1e-3])
    for _ in range(100):
        k = k + 0.1 * (np.maximum(k, 0) * strength / 2 + np.maximum(-k, 0) / 2 - k)
    assert (np.abs(k).max() > 1e-3) == grows
    smooth = ov.RNN(ov.Transfer(jnp.tanh)).fixed_points(network)
    assert "nonsmooth" not in smooth["kind"].values
    line = ov.plots.plot_phase_portrait(rnn.phase_portrait(network, points=5, extent=1.0)).lines[-1]
    assert (line.get_label(), line.get_marker()) == ("nonsmooth", "s")


@pytest.mark.parametrize(("phi", "resolution"), [("tanh", "overlaps"), ("erf", "network"), ("relu", "network")])
def test_fixed_points_are_where_activity_comes_to_rest(phi, resolution):
    net = ov.Overlaps.random(3, rank=2, scale=1.6, n=60)
    state = net if resolution == "overlaps" else net.sample(60, 0)
    rnn = ov.RNN(phi, dt=0.1)
    found = rnn.fixed_points(state, 0.4)
    stable = found.isel(fixed_point=np.flatnonzero(found["stable"]))
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


@pytest.mark.parametrize(("rank", "tau"), [(1, 1.0), (2, 0.5)])
def test_portraits_hold_the_flow(rank, tau):
    net = ov.Overlaps.random(3, rank=rank, scale=1.6, n=60)
    rnn = ov.RNN("erf", tau=tau)
    portrait = rnn.phase_portrait(net, 0.2, points=7, extent=1.5)
    names = ["u"] if rank == 1 else ["u1", "u2"]
    assert portrait["velocity"].dims == (*names, "latent")
    assert portrait[names[0]].values[[0, -1]].tolist() == [-1.5, 1.5]
    place = dict.fromkeys(names, 4)
    kappa = np.array([0.2, *[portrait[name][4].item() for name in names]])
    gram, split = net.gram, 1 + rank
    gain = 1 / np.sqrt(1 + np.pi / 2 * kappa @ gram[:split, :split] @ kappa)
    expected = (gain * gram[split : split + rank, :split] @ kappa - kappa[1:]) / tau
    np.testing.assert_allclose(portrait["velocity"].isel(place), expected, atol=1e-12)
    path = rnn.latents(net, np.ones((2, 30, 1)), dt=0.1)
    ax = ov.plots.plot_phase_portrait(portrait, path)
    assert names[0] in [ax, *ax.child_axes][-1].get_xlabel()  # below the panel of trajectories, if there is one
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
