"""The perturbation assay: speeds against plain NumPy, learned runs and finite differences, and what speeds say of overlaps."""

import contextlib
import functools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import xarray as xr

import overlaps as ov
from overlaps import studies
from tests.figure_checks import faults

EULER = ov.RNN(dt=0.1)
FILTERS = {f"rate {rate}": ov.tasks.exponential_filter(rate, horizon=4.0) for rate in (0.1, 0.3, 1.0)}
INVISIBLE = ("mu", "zv", "mm", "uu", "vv", "zz")


def generic(rank=1, inputs=1, outputs=1, seed=0):
    """An overlap matrix without small or special entries."""
    size = inputs + 2 * rank + outputs
    vectors = np.random.default_rng(seed).standard_normal((2 * size, size)) / np.sqrt(2 * size)
    gram = vectors.T @ vectors + 0.3 * np.eye(size)
    split = inputs + rank
    block = 0.8 * np.random.default_rng(seed + 1).uniform(-1, 1, (size - split, split))
    gram[split:, :split], gram[:split, split:] = block, block.T
    gram += max(0.1 - np.linalg.eigvalsh(gram)[0], 0.0) * np.eye(size)
    return ov.Overlaps(gram, inputs, rank, outputs)


NET = generic()


def random_trials(net, count, seed=0, dt=0.5):
    """Tasks with an impulse on each input and random targets. They are probes with every possible gradient."""
    generator = np.random.default_rng(seed)
    samples = 2 * net.rank + 4
    inputs = np.eye(net.inputs)[:, None] * (np.arange(samples) == 0)[:, None] / dt
    shape = count, net.inputs, samples, net.outputs
    return [ov.tasks.Trials(inputs, targets, dt=dt) for targets in generator.standard_normal(shape)]


def slope_of_block(block, rate, dt=0.1, horizon=4.0):
    """dL/dB of an exponential filter at rank 1 in NumPy, by complex steps. B = [vm vu; zm zu]."""

    def loss(block):
        drive, latent, total = 1.0, 0.0, 0.0
        for wanted in np.exp(-rate * dt * np.arange(round(horizon / dt))):
            total += dt * (block[1, 0] * drive + block[1, 1] * latent - wanted) ** 2
            drive, latent = (1 - dt) * drive, (1 - dt) * latent + dt * (block[0, 0] * drive + block[0, 1] * latent)
        return total

    nudges = 1e-30j * np.eye(4).reshape(4, 2, 2)
    return np.array([loss(block + nudge).imag for nudge in nudges]).reshape(2, 2) / 1e-30


def test_the_formulas_at_rank_one_in_numpy():
    assay = studies.perturbation_assay(NET, FILTERS, EULER).isel(state=0)
    drive, block, read = NET.gram[:2, :2], NET.gram[2:, :2], NET.gram[2:, 2:]
    for name, rate in zip(FILTERS, (0.1, 0.3, 1.0), strict=True):
        one = assay.sel(probe=name)
        s = slope_of_block(block, rate)
        speed = np.trace(s.T @ s @ drive) + np.trace(s @ s.T @ read)
        assert one["speed"].item() == pytest.approx(speed, rel=1e-10)
        assert one["predicted_speed"].item() == pytest.approx(speed, rel=1e-10)
        first, second = s.T @ s, s @ s.T
        weights = {"mm": first[0, 0], "mu": 2 * first[0, 1], "uu": first[1, 1], "vv": second[0, 0], "zv": 2 * second[0, 1]}
        np.testing.assert_allclose(one["weight"].sel(overlap=list(weights)), list(weights.values()), rtol=1e-9)
        np.testing.assert_allclose(one["weight"].sel(overlap=["zm", "zu", "vm", "vu"]), 0, atol=1e-12 * speed)
        # d^2L/ds^2 = 2 D^2L[s A + C s, s A + C s] + 4 tr(s s^T s B^T)
        along = s @ drive + read @ s
        step = 1e-5 / np.linalg.norm(along)
        bend = (slope_of_block(block + step * along, rate) - slope_of_block(block - step * along, rate)) / (2 * step)
        expected = 2 * np.sum(bend * along) + 4 * np.trace(s @ s.T @ s @ block.T)
        assert one["curvature"].item() == pytest.approx(expected, rel=1e-7)


def remainders(net, probe, rnn, rule, sizes, coefficient, rates=None):
    """What is left of the change of the loss after the terms of first and second order, for growing learning times."""
    one = studies.perturbation_assay(net, probe, rnn, rates=rates).isel(state=0, probe=0)
    speed, curvature = one["speed"].item(), one["curvature"].item()
    unit = speed / abs(curvature)
    rests = []
    for size in np.array(sizes) * unit:
        loss = ov.learn(net, probe, rnn, rule(size), saves=2)["loss"].values
        rests.append((loss[-1] - loss[0] + size * speed - coefficient * size**2 * curvature) / (unit * speed))
    return np.abs(rests)


@pytest.mark.slow
def test_flow_begins_with_this_speed_and_this_curvature():
    rule = functools.partial(ov.GradientFlow, rtol=1e-12, atol=1e-14)
    small, large = remainders(NET, FILTERS["rate 1.0"], EULER, rule, (0.005, 0.01), 1 / 2)
    assert large < 0.01**2  # while the term of second order is 0.01^2 / 2
    assert np.log2(large / small) == pytest.approx(3, abs=0.1)


@pytest.mark.slow
def test_flow_with_rates_of_its_own():
    rates = {"m": 0.5, "z": 2.0}
    rule = functools.partial(ov.GradientFlow, rtol=1e-12, atol=1e-14, rates=rates)
    small, large = remainders(NET, FILTERS["rate 1.0"], EULER, rule, (0.005, 0.01), 1 / 2, rates)
    assert np.log2(large / small) == pytest.approx(3, abs=0.1)


@pytest.mark.slow
def test_the_first_step_of_descent_falls_by_a_quarter_of_the_curvature():
    def rule(size):
        return ov.GradientDescent(size, 1)

    small, large = remainders(NET, FILTERS["rate 1.0"], EULER, rule, (0.005, 0.01), 1 / 4)
    assert np.log2(large / small) == pytest.approx(3, abs=0.1)


@pytest.mark.slow
def test_erf_flow_begins_with_this_speed_and_this_curvature():
    rule = functools.partial(ov.GradientFlow, rtol=1e-12, atol=1e-14)
    small, large = remainders(NET, random_trials(NET, 1)[0], ov.RNN("erf", dt=0.5), rule, (0.005, 0.01), 1 / 2)
    assert np.log2(large / small) == pytest.approx(3, abs=0.1)


def test_the_weight_of_an_invisible_overlap_is_the_derivative_of_the_speed():
    networks = {name: studies.equivalent(NET, EULER, set={name: NET[name].item() + 0.05}) for name in INVISIBLE}
    assay = studies.perturbation_assay({"net": NET, **networks}, FILTERS, EULER)
    slopes = (assay["speed"] - assay["speed"].sel(state="net")).sel(state=list(INVISIBLE)) / 0.05
    np.testing.assert_allclose(slopes.T, assay["weight"].sel(state="net", overlap=list(INVISIBLE)), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(assay["weight"] - assay["weight"].sel(state="net"), 0, atol=1e-10)


@pytest.mark.slow
def test_perfect_twins_have_the_same_speed_and_curvature_and_partial_learning_tells_them_apart():
    net = generic(2, seed=3)
    signs = np.diag([1.0] * 3 + [-1.0] * 3)
    twin = ov.Overlaps(net.gram + 0.09 * signs, 1, 2, 1)
    probes = random_trials(net, 3)
    same = studies.perturbation_assay([net, twin], probes, ov.RNN(dt=0.5))
    for name in ("speed", "curvature"):
        np.testing.assert_allclose(same[name][1], same[name][0], rtol=1e-11)
    layout = net.layout
    np.testing.assert_allclose(same["weight"].values @ layout.listed(signs), 0, atol=1e-12 * same["weight"].max().item())
    part = studies.perturbation_assay([net, twin], probes, ov.RNN(dt=0.5), rates={"m": 0, "u": 0})
    assert np.all(np.abs(part["ratio"][1] - 1) > 0.01)


@pytest.mark.parametrize(
    ("rank", "inputs", "outputs"),
    [(1, 1, 1), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in [(2, 1, 1), (3, 1, 1), (1, 2, 2)])],
)
def test_all_combinations_of_invisible_overlaps_but_one_are_readable(rank, inputs, outputs):
    net = generic(rank, inputs, outputs)
    size, driving = net.layout.size, net.layout.driving
    invisible = (driving * (driving + 1) + (size - driving) * (size - driving + 1)) // 2
    assay = studies.perturbation_assay(net, random_trials(net, invisible + 10), ov.RNN(dt=0.5)).isel(state=0)
    assert assay["readable"].size == invisible
    assert assay["readable"].values.tolist() == [True] * (invisible - 1) + [False]
    signs = np.diag([1.0] * driving + [-1.0] * (size - driving))
    lost = assay["direction"].values[-1] * np.sqrt(size)
    np.testing.assert_allclose(lost * np.sign(lost @ net.layout.listed(signs)), net.layout.listed(signs), atol=1e-6)
    few = studies.perturbation_assay(net, random_trials(net, 3), ov.RNN(dt=0.5))
    assert few["readable"].sum() == 3


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_network_that_equals_its_transposition_shows_half_of_the_combinations(rank):
    net = generic(rank)
    gram, driving = np.array(net.gram), net.layout.driving
    block = gram[driving:, :driving]
    block[:rank, 1:] = (block[:rank, 1:] + block[:rank, 1:].T) / 2
    block[rank:, 1:] = block[:rank, :1].T
    gram[:driving, driving:] = block.T
    assay = studies.perturbation_assay(
        ov.Overlaps(gram + 0.5 * np.eye(len(gram)), 1, rank, 1), random_trials(net, 30), ov.RNN(dt=0.5)
    )
    assert assay["readable"].sum() == (rank + 1) * (rank + 2) // 2


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "readable"), [(1, 5), (2, 13)])
def test_what_speeds_tell_if_the_gauge_is_unknown(rank, readable):
    net, rnn = generic(rank), ov.RNN(dt=0.5)
    layout, probes = net.layout, random_trials(net, 40)
    visible = np.array(rnn.visible(layout))
    gauges = [np.zeros((rank, rank)) for _ in range(rank**2)]
    for index, mixing in enumerate(gauges):
        mixing.flat[index] = 1e-4

    def speeds(net):
        return studies.perturbation_assay(net, probes, rnn)["speed"].values[0]

    at_rest = studies.perturbation_assay(net, probes, rnn).isel(state=0)
    moved = [
        (speeds(studies.gauge(net, np.eye(rank) + a)) - speeds(studies.gauge(net, np.eye(rank) - a))) / 2e-4 for a in gauges
    ]
    slopes = np.concatenate([at_rest["weight"].values[:, ~visible], np.transpose(moved)], axis=1)
    assert slopes.shape[1] == rank**2 + (rank + 1) * (rank + 2)
    sizes = np.linalg.svd(slopes / np.linalg.norm(slopes, axis=1, keepdims=True), compute_uv=False)
    assert np.sum(sizes > 1e-8 * sizes[0]) == readable  # differences over steps of 1e-4 are good to about 1e-8


@pytest.mark.slow
def test_all_invisible_overlaps_of_an_erf_network_are_readable():
    assay = studies.perturbation_assay(NET, random_trials(NET, 6), ov.RNN("erf", dt=0.5)).isel(state=0)
    assert assay["overlap"].values[~assay["visible"].values].tolist() == ["zv", "vv", "zz"]
    assert assay["readable"].values.tolist() == [True] * 3
    np.testing.assert_allclose(assay["predicted_speed"], assay["speed"], rtol=1e-10)
    estimate = studies.invisible_from_speeds(assay, assay["speed"].values)
    np.testing.assert_allclose(estimate["sigma"], assay["sigma"], atol=1e-8)


def test_the_linear_estimate_and_its_errors():
    probes = random_trials(NET, 12)
    twin = studies.equivalent(NET, ov.RNN(dt=0.5), set={"uu": NET["uu"].item() + 0.5, "zv": 0.1})
    assay = studies.perturbation_assay({"known": NET, "measured": twin}, probes, ov.RNN(dt=0.5), noise=1e-3)
    known, measured = assay.sel(state="known"), assay.sel(state="measured")
    exact = studies.invisible_from_speeds(known, measured["speed"].values)
    true = exact["direction"] @ measured["sigma"]
    np.testing.assert_allclose(exact["value"], true, atol=1e-8)
    alone = exact["overlap"].values[np.isfinite(exact["overlap_error"].values)].tolist()
    assert alone == ["mu", "zv"]
    np.testing.assert_allclose(exact["sigma"].sel(overlap=alone), measured["sigma"].sel(overlap=alone), atol=1e-8)
    assert exact["degrees"] == 7
    generator, deviations, misfits = np.random.default_rng(0), [], []
    for _ in range(200):
        speeds = measured["speed"].values * (1 + 1e-3 * generator.standard_normal(12))
        one = studies.invisible_from_speeds(known, speeds)
        deviations.append((one["direction"] @ measured["sigma"] - one["value"]) / one["error"])
        misfits.append(one["chi_square"].item())
    low, high = scipy.stats.chi2.ppf([5e-4, 1 - 5e-4], 200)
    assert np.all((np.sum(np.square(deviations), axis=0) > low) & (np.sum(np.square(deviations), axis=0) < high))
    assert scipy.stats.kstest(misfits, "chi2", (7,)).pvalue > 1e-3


@pytest.mark.parametrize("rank", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_speeds_of_another_rule_do_not_fit(rank):
    net, rnn = generic(rank), ov.RNN(dt=0.5)
    probes = random_trials(net, 20)
    assay = studies.perturbation_assay(net, probes, rnn, noise=0.02).isel(state=0)
    normalized = np.sqrt(assay["speed"].values)  # of dF/ds = -g / |g| with the gradient g, as after clipping
    estimate = studies.invisible_from_speeds(assay, normalized)
    assert scipy.stats.chi2.sf(estimate["chi_square"], estimate["degrees"]) < 1e-6
    # Gradient flow at unequal rates looks like other invisible overlaps: at rank 1 exactly, at rank 2 within this noise.
    unequal = studies.perturbation_assay(net, probes, rnn, rates={"m": 0.2, "v": 3.0})["speed"].values[0]
    estimate = studies.invisible_from_speeds(assay, unequal)
    assert estimate["chi_square"] < 1e-12 if rank == 1 else 1e-6 < estimate["chi_square"] < 1


@pytest.mark.slow
def test_no_network_with_this_function_is_slower_than_the_bound():
    s, block = slope_of_block(NET.gram[2:, :2], 0.3), NET.gram[2:, :2]
    drive, read = (scipy.linalg.sqrtm(matrix) for matrix in (s.T @ s, s @ s.T))
    left, sizes, right = np.linalg.svd(read @ block @ drive)
    inner, outer = np.linalg.inv(drive), np.linalg.inv(read)
    gram = np.block([[inner @ right.T * sizes @ right @ inner, block.T], [block, outer @ left * sizes @ left.T @ outer]])
    slowest = ov.Overlaps(gram + 1e-9 * np.eye(4))
    slowest = slowest.replace(**{name: NET[name] for name in ("zm", "zu", "vm", "vu")})
    draws = studies.sample_equivalent(NET, EULER, 20, key=0)
    networks = [slowest, *(ov.Overlaps(gram) for gram in draws.gram)]
    speeds = studies.perturbation_assay(networks, FILTERS["rate 0.3"], EULER)["speed"].values[:, 0]
    assert speeds[0] == pytest.approx(2 * sizes.sum(), rel=1e-6)
    assert np.all(speeds[1:] > 2 * sizes.sum())


@pytest.mark.slow
def test_networks_of_neurons():
    network = NET.sample(40, key=0)
    assay = studies.perturbation_assay({"overlaps": NET, "network": network}, FILTERS, EULER)
    for name in ("loss", "speed", "curvature", "weight"):
        np.testing.assert_allclose(assay[name][1], assay[name][0], rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_erf_networks_approach_the_mean_field_as_they_grow():
    rnn, probe, errors = ov.RNN("erf", dt=0.5), random_trials(NET, 1), {}
    limit = studies.perturbation_assay(NET.mean_field(5000), probe, rnn)["speed"].item()
    for neurons in (100, 6400):
        networks = {str(key): NET.sample(neurons, key=key) for key in range(12)}
        speeds = studies.perturbation_assay(networks, probe, rnn)["speed"].values[:, 0]
        errors[neurons] = np.sqrt(np.mean((speeds / limit - 1) ** 2))
    exponent = np.log(errors[6400] / errors[100]) / np.log(64)
    assert exponent == pytest.approx(-0.5, abs=0.2)  # each r.m.s. of 12 draws has a relative error of 0.2: 3 of 0.07


@pytest.mark.slow
def test_the_closure_gives_the_speed_of_erf_neurons_at_small_activity_and_a_lower_bound_elsewhere():
    rnn, excess = ov.RNN("erf", dt=0.5), []
    for size in (1.0, 0.3, 0.1, 0.05):
        probes = [ov.tasks.Trials(size * probe.inputs, probe.targets, dt=0.5) for probe in random_trials(NET, 2)]
        nets = [NET, *(studies.equivalent(NET, rnn, set={"vv": NET["vv"].item() + change}) for change in (0.2, 0.4))]
        assay = studies.perturbation_assay([net.mean_field(15**4) for net in nets], probes, rnn)
        excess.append((assay["speed"] / assay["predicted_speed"]).values[0] - 1)
        steps = np.diff(assay["speed"].values, axis=0)  # linear in invisible overlaps beyond the closure, too
        np.testing.assert_allclose(steps[1], steps[0], rtol=1e-5)
    assert np.all(np.array(excess) > 0)
    assert np.all((excess[0] > 0.05) & (excess[0] < 0.25))
    assert np.all(np.abs(np.log2(excess[2] / excess[3]) - 4) < 0.1)  # of fourth order in the input


@pytest.mark.slow
def test_the_closure_gives_biased_estimates_for_strongly_driven_erf_neurons_and_says_so():
    rnn, bias, net = ov.RNN("erf", dt=0.5), {}, NET.mean_field(5000)
    for size in (1.0, 0.1):
        probes = [ov.tasks.Trials(size * probe.inputs, probe.targets, dt=0.5) for probe in random_trials(NET, 5)]
        assay = studies.perturbation_assay(net, probes, rnn).isel(state=0)
        with contextlib.nullcontext() if size < 1 else pytest.warns(RuntimeWarning, match="the estimates are biased"):
            estimate = studies.invisible_from_speeds(assay, assay["speed"].values)
        bias[size] = np.abs((estimate["value"] - estimate["direction"] @ assay["sigma"]) / estimate["error"]).values.max()
        assert scipy.stats.chi2.sf(estimate["chi_square"], estimate["degrees"]) > 0.05  # the fit looks good all the same
    assert bias[1.0] > 20
    assert bias[0.1] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "inputs", "outputs"), [(1, 1, 1), (1, 2, 1)])
def test_probes_have_the_size_that_is_asked_and_tell_all_that_probes_can_tell(rank, inputs, outputs):
    net = generic(rank, inputs, outputs)
    probes = studies.assay_probes(net, EULER, size=0.05, horizon=4.0)
    changes = (rank + outputs) * (rank + inputs) - rank**2
    assert len(probes) == changes * (changes + 1) // 2
    impulse = np.eye(inputs)[:, None] * (np.arange(40) == 0)[:, None] / 0.1
    own = EULER.output(net, impulse).values
    assay = studies.perturbation_assay(net, probes, EULER, noise=0.01).isel(state=0)
    norm = 0.1 * np.sum(own[:, :40] ** 2)
    np.testing.assert_allclose(assay["loss"], 0.05**2 * norm, rtol=1e-6)
    assert assay["readable"].values.tolist() == [True] * (assay["readable"].size - 1) + [False]


@pytest.mark.slow
def test_gradients_of_probes_are_orthogonal_and_their_sums():
    probes = studies.assay_probes(NET, EULER, size=0.05, horizon=4.0)
    slopes = {}
    for name, probe in probes.items():  # dL/dB by plain finite differences of the loss
        slopes[name] = []
        for row, column in ((2, 0), (2, 1), (3, 0), (3, 1)):
            nudge = np.zeros((4, 4))
            nudge[row, column] = nudge[column, row] = 1e-5
            high, low = (probe.loss(ov.Overlaps(NET.gram + sign * nudge), EULER) for sign in (1, -1))
            slopes[name].append((high - low) / 2e-5)
    unit = {name: np.array(slope) / np.linalg.norm(slope) for name, slope in slopes.items()}
    singles = np.stack([unit[name] for name in "123"])
    np.testing.assert_allclose(singles @ singles.T, np.eye(3), atol=1e-5)
    for name in ("1+2", "1+3", "2+3"):
        both = unit[name[0]] + unit[name[2]]
        np.testing.assert_allclose(unit[name], both / np.linalg.norm(both), atol=1e-5)


@pytest.mark.slow
def test_the_assay_runs_again_from_its_file(tmp_path):
    assay = studies.perturbation_assay({"one": NET, "other": generic(seed=5)}, FILTERS, EULER, [0.1, 0.2, 0.3], {"m": 0.5})
    assay.to_netcdf(tmp_path / "assay.nc")
    loaded = xr.load_dataset(tmp_path / "assay.nc")
    xr.testing.assert_identical(loaded, assay)
    xr.testing.assert_identical(ov.rerun(loaded), assay)


def test_what_does_not_fit_is_refused():
    assay = studies.perturbation_assay([NET, NET], FILTERS, EULER)
    fresh = ov.tasks.label_noise(FILTERS["rate 0.3"], 0.1)
    dense = ov.DenseNetwork(np.eye(3), np.ones(3), np.ones(3))
    for arguments, message in [
        ((NET, FILTERS, "linear"), "`rnn` must be an RNN"),
        (({}, FILTERS, EULER), "`states` must be a State, or a list"),
        (({1: NET}, FILTERS, EULER), "under the name 1"),
        ((NET, [NET], EULER), "`probes` must be a Task, or a list"),
        ((NET, fresh, EULER), "`probes` must be single tasks whose loss is always the same"),
        ((dense, FILTERS, EULER), "`states` must be single networks that have overlaps"),
        ((ov.Overlaps(NET.gram, c=[0.1]), FILTERS, EULER), "no readout bias"),
        ((NET.populations(), random_trials(NET, 1), ov.RNN("erf", dt=0.5)), "a function of overlaps"),
        (([NET, generic(2)], FILTERS, EULER), "the same numbers of vectors"),
        ((NET, FILTERS, EULER, 0.0), "`noise` must be a number greater than 0"),
        ((NET, FILTERS, EULER, [0.1]), "`noise` must be a positive number, or 3 of them"),
        ((NET, FILTERS, EULER, 0.1, {"m": 0, "u": 0, "v": 0, "z": 0}), "`probes` must be tasks that the networks do not solve"),
    ]:
        with pytest.raises(ValueError, match=message):
            studies.perturbation_assay(*arguments)
    with pytest.raises(ValueError, match=r"`assay` must be a result of studies.perturbation_assay for one state"):
        studies.invisible_from_speeds(assay, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"`assay` must be a result of studies.perturbation_assay for one state, but list "):
        studies.invisible_from_speeds([1.0], [1.0])
    with pytest.raises(ValueError, match="`speeds` must be 3 positive numbers"):
        studies.invisible_from_speeds(assay.isel(state=0), [1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NET, "linear"), "`rnn` must be an RNN, but str came"),
        ((NET, ov.RNN("erf", dt=0.1)), "`rnn` must have a linear phi"),
        ((NET.sample(9, 0), EULER), "`net` must be a single Overlaps"),
        ((NET, EULER, 0.0), "`size` must be a number greater than 0"),
        ((NET, EULER, 0.1, 4.03), "`horizon` must be a whole multiple of dt"),
        ((ov.Overlaps(np.eye(4)), EULER), "`net` must have an output"),
        ((NET, ov.RNN(dt=1.0)), "`rnn` must have steps in which no mode of the network ends"),  # the input decays at once
        ((ov.Overlaps(np.eye(4)).replace(zm=0.5, vu=-0.8), ov.RNN(dt=0.8)), "`rnn` must have steps in which no mode of the"),
    ],
)
def test_probes_that_cannot_be_made_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        studies.assay_probes(*arguments)


def test_the_figure_draws_the_numbers():
    assay = studies.perturbation_assay({"one": NET, "other": generic(seed=5)}, FILTERS, EULER)
    figure = ov.plots.plot_perturbation_assay(assay)
    assert faults(figure) == []
    left, _, right = figure.axes[:3]
    np.testing.assert_allclose([bar.get_height() for bar in left.patches], assay["ratio"].values.ravel())
    heights = np.reshape([bar.get_height() for bar in right.patches], (2, 6))
    np.testing.assert_allclose(heights[:, :3], assay["error"][:, :3])
    assert np.all(heights[:, 3:] == right.get_ylim()[1])
    plt.close(figure)
    with pytest.raises(ValueError, match=r"`dataset` must be a result of studies.perturbation_assay"):
        ov.plots.plot_perturbation_assay(xr.Dataset())
