"""Networks with the same output, under noise and while learning: closed forms against sums over neurons and against draws."""

import json

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning._describe import restore
from overlaps.plots._degeneracy import plot_degeneracy
from overlaps.studies import _noise
from overlaps.studies._degeneracy import _changes, _checked, _standard_error, alike, d_prime, degeneracy
from tests.figure_checks import faults

RNN = ov.RNN(dt=0.25)
TASK = ov.tasks.exponential_filter(0.2, horizon=5.0)
START = ov.Overlaps.random(3, n=20)
EQUAL_C, EQUAL_A = START.replace(uu=2.05, mu=0.8), START.replace(zz=2.05, zv=0.8)
SMALL = {"n": 8, "draws": 120, "learning_rate": 1e-4, "steps": 16, "saves": 5, "label_noise": 1.0, "weight_noise": 0.02}


@pytest.fixture(scope="module", params=[EQUAL_C, EQUAL_A], ids=["equal C", "equal A"])
def pair(request):
    return degeneracy(START, request.param, TASK, RNN, **SMALL)


def sizes(inputs, rank, outputs, tau):
    network = ov.Overlaps.random(5, rank, inputs, outputs, n=20).sample(11, key=2)
    return network, ov.RNN(tau=tau, dt=0.3)


def powers(network, rnn, samples):
    """M^k of the step h -> M h of all neurons."""
    M = np.eye(network.n) + rnn.dt / rnn.tau * (network.W - np.eye(network.n))
    return np.stack([np.linalg.matrix_power(M, k) for k in range(samples)])


@pytest.mark.parametrize("case", [(1, 1, 1, 1.0), (2, 3, 2, 1.7)])
def test_activity_noise_against_the_lyapunov_recursion_of_all_neurons(case):
    (network, rnn), samples = sizes(*case), 12
    M, readout = powers(network, rnn, samples), network.z.T / network.n
    covariances = [np.zeros((network.n, network.n))]
    for _ in range(samples - 1):
        covariances.append(M[1] @ covariances[-1] @ M[1].T + rnn.dt / rnn.tau**2 * np.eye(network.n))
    found = _noise.activity_noise_covariance(network.overlaps(), rnn, samples) / network.n
    inputs = network.layout.inputs
    for later in range(samples):
        for earlier in range(later + 1):
            expected = readout @ M[later - earlier] @ covariances[earlier] @ readout.T
            expected = np.kron(expected, np.eye(inputs))  # noise of its own for each input
            assert np.allclose(found[later, :, earlier], expected, rtol=0, atol=1e-13)
            assert np.allclose(found[earlier, :, later], expected.T, rtol=0, atol=1e-13)
    assert np.max(found) > 1e-3


@pytest.mark.parametrize("case", [(1, 1, 1, 1.0), (2, 3, 2, 1.7)])
def test_weight_noise_against_the_sum_over_all_weights(case):
    (network, rnn), samples = sizes(*case), 10
    M, readout = powers(network, rnn, samples), network.z.T / network.n
    activity = M @ network.m / rnn.tau
    # d f_k / d W_ab = sum over j < k of the answer to the kick (dt / tau) h_b at neuron a in the step after j
    slopes = np.zeros((samples, network.layout.outputs, network.layout.inputs, network.n, network.n))
    for k in range(samples):
        for j in range(k):
            slopes[k] += rnn.dt / rnn.tau * np.einsum("oa,bi->oiab", readout @ M[k - 1 - j], activity[j])
    slopes = slopes.reshape(samples, -1, network.n**2)
    expected = np.einsum("kow,lpw->kolp", slopes, slopes) / network.n
    found = _noise.weight_noise_covariance(network.overlaps(), rnn, samples) / network.n
    assert np.allclose(found, expected, rtol=0, atol=1e-13)
    assert np.max(found) > 1e-3


def test_the_simulation_with_noisy_weights_against_powers_of_the_noisy_matrix():
    (network, rnn), key = sizes(2, 3, 2, 1.7), jax.random.key(0)
    noisy = np.asarray(jax.random.normal(key, (network.n, network.n))) * 0.2 / np.sqrt(network.n)
    step = powers(network, rnn, 2)[1] + rnn.dt / rnn.tau * noisy
    readout, start = network.z.T / network.n, network.m / rnn.tau
    perturbed = np.stack([readout @ np.linalg.matrix_power(step, k) @ start for k in range(10)])
    found = _noise.weight_noise_answers(network, rnn, 10, 0.2, key[None])[0]
    assert np.allclose(found, perturbed - readout @ powers(network, rnn, 10) @ start, rtol=0, atol=1e-13)
    assert np.max(np.abs(found)) > 1e-3


def test_d_prime_of_chi_square_draws():
    samples, variances = 8, (1.0, 2.5)
    moments = [_noise.running_moments(variance * np.eye(samples).reshape(samples, 1, samples, 1)) for variance in variances]
    mean, variance = np.moveaxis(np.array(moments), 0, 1)
    counts = np.arange(1, samples + 1)
    expected = np.sqrt(counts) * (variances[1] - variances[0]) / np.hypot(*variances)
    assert np.allclose(d_prime(mean, np.sqrt(variance)), expected, rtol=1e-14)

    draws, repeats = 100, 300
    normal = np.random.default_rng(0).standard_normal((repeats, 2, draws, samples))
    answers = np.cumsum(np.array(variances)[:, None, None] * normal**2, axis=-1) / counts
    found = np.array([d_prime(one.mean(1), one.std(1, ddof=1)) for one in answers])
    spread = found.std(0, ddof=1)
    # The estimate from few draws has a bias, of the order of 1 / draws.
    assert np.allclose(found.mean(0), expected, rtol=0, atol=np.max(4 * spread / np.sqrt(repeats) + 3 / draws))
    errors = np.mean([_standard_error(one) for one in answers[:20]], axis=0)
    assert np.allclose(errors, spread, rtol=0.2)


def test_networks_are_alike_as_far_as_their_overlaps_are():
    nets = START, EQUAL_A, EQUAL_C
    first, equal_a, equal_c = (alike(net, 30, 4) for net in nets)
    for net, network in zip(nets, (first, equal_a, equal_c), strict=True):
        assert np.allclose(network.overlaps().gram, net.gram, rtol=0, atol=1e-13)
    assert np.allclose(first.drivers, equal_a.drivers, rtol=0, atol=1e-12)
    assert np.max(np.abs(first.z - equal_a.z)) > 0.1
    assert np.allclose(first.m, equal_c.m, rtol=0, atol=1e-12)
    assert np.max(np.abs(first.u - equal_c.u)) > 0.1
    singular = START.replace(mu=np.sqrt(START["mm"] * START["uu"]).item(), zu=0.0, vu=0.0, vm=0.0, zm=0.0)
    assert np.allclose(alike(singular, 9, 0).overlaps().gram, singular.gram, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_outputs_coincide_and_activity_where_a_does(pair):
    equal_a = restore(json.loads(pair.attrs["degeneracy"]))["second"]["uu"].item() == START["uu"].item()
    assert np.allclose(pair["output"], pair["output"][:1, :1], rtol=0, atol=1e-14)
    assert np.allclose(pair["activity_power"][:, 0], pair["activity_power"][:, 1], rtol=0, atol=1e-13)
    difference = np.max(np.abs(np.diff(pair["activity_power"], axis=0)))
    assert difference < 1e-13 if equal_a else difference > 1e-2


@pytest.mark.parametrize("kind", ["activity", "weight"])
def test_moments_of_the_answers_to_noise_against_many_draws(kind):
    std, draws, network = 0.02, 4000, alike(EQUAL_C, 8, 0)
    covariance = getattr(_noise, f"{kind}_noise_covariance")(EQUAL_C, RNN, 20)
    mean, variance = _noise.running_moments(std**2 / network.n * covariance)
    keys = jax.random.split(jax.random.key(1), draws)
    changes = getattr(_noise, f"{kind}_noise_answers")(network, RNN, 20, std, keys)
    answers = np.cumsum(changes[:, :, 0, 0] ** 2, axis=1) / np.arange(1, 21)
    spread = np.sqrt(variance)
    assert np.all(np.abs(answers.mean(0) - mean) <= 4 * spread / np.sqrt(draws))
    # The kurtosis of a sum of squares of Gaussians is at most 15, that of a single one.
    assert np.allclose(answers.std(0), spread, rtol=4 * np.sqrt(14 / (4 * draws)), atol=0)
    assert not np.any(changes[:, 0])
    assert spread[-1] > 1e-7


@pytest.mark.slow
def test_answers_to_noise_are_those_of_the_theory(pair):
    theory, simulation = pair.sel(source="theory"), pair.sel(source="simulation")
    error = theory["noise_std"] / np.sqrt(SMALL["draws"])
    assert (abs(theory["noise_mean"] - simulation["noise_mean"]) <= 4 * error).all()
    assert (abs(theory["noise_d_prime"] - simulation["noise_d_prime"]) <= 4 * pair["noise_d_prime_error"] + 1e-12).all()


@pytest.mark.slow
def test_noise_tells_apart_what_it_reads_and_within_bounds(pair):
    second = restore(json.loads(pair.attrs["degeneracy"]))["second"]
    theory = pair["noise_d_prime"].sel(source="theory")
    assert (abs(theory.sel(noise="weights")) < 2).all()  # four numbers are all that the answer depends on
    if second["zz"].item() == START["zz"].item():  # equal C
        assert (theory.sel(noise="activity") == 0).all()
        assert abs(theory.sel(noise="weights")[-1]) > 0.01
    else:
        assert (theory.sel(noise="activity")[2:] > 0.4).all()


@pytest.mark.slow
def test_theory_predicts_learning(pair):
    for name in ("loss", "learning_answer"):
        theory, simulation = (pair[name].sel(source=source) for source in ("theory", "simulation"))
        assert np.allclose(theory, simulation, rtol=0, atol=1e-12), name
    assert abs(pair["loss"].diff("network")).max() > 1e-4


@pytest.mark.slow
def test_early_learning_follows_its_law(pair):
    end = pair.isel(learning_time=slice(1, None)).sel(source="theory")
    distance = abs(end["learning_d_prime"] - end["learning_d_prime_early"])
    assert (distance < 4 * end["learning_d_prime_error"]).all()


@pytest.mark.slow
def test_learning_tells_apart_the_better_the_less_noise_there_is():
    found = {}
    for std in (0.1, 0.01):
        settings = SMALL | {"draws": 60, "learning_rate": 5e-3, "steps": 100, "saves": 6, "label_noise": std}
        dataset = degeneracy(START, EQUAL_C, TASK, RNN, **settings)
        for name in ("loss", "learning_answer"):
            assert np.allclose(*(dataset[name].sel(source=one) for one in dataset["source"]), rtol=0, atol=1e-10)
        found[std] = dataset["learning_d_prime"].sel(source="simulation").values[-1]
    assert abs(found[0.1]) > 3
    assert found[0.01] / found[0.1] == pytest.approx(10, rel=0.5)


@pytest.mark.slow
def test_several_inputs_outputs_and_ranks():
    net = ov.Overlaps.random(5, rank=2, inputs=2, outputs=2, n=20)
    task = ov.tasks.linear_filter(-np.diag([0.3, 0.5]), np.eye(2), np.eye(2), horizon=5.0)
    second = net.replace(u1u1=net["u1u1"] + 1.0)
    dataset = degeneracy(net, second, task, ov.RNN(dt=0.25, tau=1.5), **{**SMALL, "n": 12})
    theory, simulation = (dataset.sel(source=source) for source in ("theory", "simulation"))
    assert np.allclose(theory["learning_answer"], simulation["learning_answer"], rtol=0, atol=1e-12)
    error = theory["noise_std"] / np.sqrt(SMALL["draws"])
    assert (abs(theory["noise_mean"] - simulation["noise_mean"]) <= 4 * error).all()
    distance = abs(theory["learning_d_prime"] - theory["learning_d_prime_early"])
    assert (distance[1:] < 4 * theory["learning_d_prime_error"][1:]).all()
    assert dataset["output"].dims == ("network", "source", "input", "time", "readout")
    assert dataset["readout"].values.tolist() == ["z1", "z2"]


def test_answers_to_learning_are_changes_of_the_response_of_all_neurons():
    networks = [ov.Overlaps.random(seed, n=20).sample(7, key=seed) for seed in range(4)]
    responses = np.stack([(network.z.T / 7 @ powers(network, RNN, 20) @ network.m)[:, 0, 0] for network in networks])
    expected = np.mean((responses - responses[0]) ** 2, axis=1)
    gram = np.stack([network.overlaps().gram for network in networks])
    objective = _checked((START, START), TASK, RNN)
    assert np.allclose(_changes(objective, gram[None], START.layout), expected[None], rtol=0, atol=1e-13)


@pytest.mark.slow
def test_results_are_saved_described_and_drawn(pair, tmp_path):
    pair.to_netcdf(tmp_path / "pair.nc")
    again = xr.load_dataset(tmp_path / "pair.nc")
    xr.testing.assert_identical(again, pair)
    settings = restore(json.loads(again.attrs["degeneracy"]))
    assert settings["steps"] == SMALL["steps"]
    assert np.array_equal(settings["first"].gram, START.gram)
    assert all({"long_name", "units"} <= set(again[name].attrs) for name in [*again.data_vars, "time", "learning_time"])
    figure = plot_degeneracy(again)
    assert len(figure.axes) == 8
    assert faults(figure) == []
    plt.close(figure)
    with pytest.raises(ValueError, match="be a result of"):
        plot_degeneracy(again.drop_attrs())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": START.replace(zm=0.5)}, "must have the impulse response of `first`"),
        ({"second": START.sample(9, 0)}, "must be single Overlaps"),
        ({"task": ov.tasks.exponential_filter(horizon=None)}, "must have samples to carry noise"),
        ({"task": ov.tasks.label_noise(TASK, 0.1)}, "must be of type LinearFilter"),
        ({"rnn": ov.RNN()}, "must have samples to carry noise"),
        ({"rnn": ov.RNN("tanh", dt=0.25)}, "must have a linear phi"),
        ({"weight_noise": 0.0}, "`weight_noise` must be a number greater than 0"),
        ({"draws": 1}, "`draws` must be a whole number of at least 2"),
        ({"n": 3}, "`n` must be at least 4"),
    ],
)
def test_errors(change, message):
    arguments = {"first": START, "second": EQUAL_C, "task": TASK, "rnn": RNN} | change
    with pytest.raises(ValueError, match=message):
        degeneracy(**arguments)
