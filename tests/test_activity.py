"""Activity, latents and outputs of overlaps and networks, against simulations that share no code with the library."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special

import overlaps as ov
from tests.systems import nonlinear
from tests.test_transfer import SLOPES, integral

PHI = {
    "erf": lambda x: scipy.special.erf(np.sqrt(np.pi) / 2 * x),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(x, 0),
}
GAINS = {
    "erf": lambda variance: 1 / np.sqrt(1 + np.pi * variance / 2),
    "tanh": lambda variance: integral(SLOPES["tanh"], variance),
    "relu": lambda variance: 0.5,
}
DT, TAU = 0.1, 0.8


def problem(rank, inputs, outputs, trials=2, samples=25):
    """A network with strong recurrence, its overlaps, and random inputs."""
    rng = np.random.default_rng(10 * rank + inputs)
    vectors = [1.5 * rng.standard_normal((9, columns)) for columns in (inputs, rank, rank, outputs)]
    return ov.Network(*vectors), rng.standard_normal((trials, samples, inputs))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("phi", GAINS)
def test_closure_against_an_independent_one(phi, rank):
    network, inputs = problem(rank, 2, 2)
    net = network.overlaps()
    expected = nonlinear.closure(net.gram, net.layout, GAINS[phi], inputs, DT, TAU)
    output = ov.RNN(phi, TAU, DT).output(net, inputs)
    assert output.dims == ("trial", "time", "readout")
    np.testing.assert_allclose(output, expected, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("phi", PHI)
def test_network_against_all_its_units(phi, rank):
    network, inputs = problem(rank, 2, 2)
    activity, expected = nonlinear.network((network.m, network.u, network.v, network.z), PHI[phi], inputs, DT, TAU)
    rnn = ov.RNN(phi, TAU, DT)
    np.testing.assert_allclose(rnn.output(network, inputs), expected, atol=1e-12)
    np.testing.assert_allclose(rnn.activity(network, inputs), activity, atol=1e-12)
    latents = rnn.latents(network, inputs)
    assert latents["latent"].values.tolist() == ["m1", "m2", *(["u"] if rank == 1 else ["u1", "u2"])]
    np.testing.assert_allclose(latents.values @ network.vectors[:, : 2 + rank].T, activity, atol=1e-12)


@pytest.mark.parametrize("resolution", ["overlaps", "network"])
def test_continuous_time_against_scipy(resolution):
    network, inputs = problem(2, 1, 1, trials=1, samples=6)
    m, u, v, z = network.m, network.u, network.v, network.z
    hold, state, times = 0.5, np.zeros(9), []
    gram = network.overlaps().gram
    for sample in inputs[0]:

        def field(_, h, sample=sample):
            return (-h + u @ (v.T @ np.tanh(h)) / 9 + m @ sample) / TAU

        def closed(_, k, sample=sample):
            drive = integral(SLOPES["tanh"], k @ gram[:3, :3] @ k) * gram[3:5, :3] @ k
            return (np.concatenate([sample, drive]) - k) / TAU

        if resolution == "network":
            state = scipy.integrate.solve_ivp(field, (0, hold), state, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
            times.append(np.tanh(state) @ z / 9)
        else:
            state = state[:3]
            state = scipy.integrate.solve_ivp(closed, (0, hold), state, method="RK45", rtol=1e-8, atol=1e-10).y[:, -1]
            times.append(integral(SLOPES["tanh"], state @ gram[:3, :3] @ state) * gram[5:, :3] @ state)
    output = ov.RNN("tanh", TAU).output(network if resolution == "network" else network.overlaps(), inputs, dt=hold)
    np.testing.assert_allclose(output[0], times, atol=1e-7)  # solver tolerances of 1e-8 over ten steps


def test_euler_converges_to_continuous_time():
    network, _ = problem(1, 1, 1)
    net = network.overlaps().replace(vu=0.8)
    pulse = np.ones((4, 1))
    exact = ov.RNN("erf").output(net, pulse, dt=0.5).values[-1]
    errors = [abs(ov.RNN("erf", dt=dt).output(net, np.ones(round(2 / dt))).values[-1] - exact).item() for dt in (0.02, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)  # first order in dt


@pytest.mark.slow
@pytest.mark.parametrize("phi", ["erf", "softplus"])
def test_large_gaussian_networks_approach_the_closure(phi):
    net = ov.Overlaps.random(0, rank=1, n=40).replace(vu=0.6)
    inputs = np.zeros((60, 1))
    inputs[:20] = 1.0
    rnn = ov.RNN(phi, dt=0.1)
    theory = rnn.output(net, inputs).values
    errors = []
    for n in (400, 25600):
        draws = [rnn.output(net.sample(n, seed, exact=False), inputs).values - theory for seed in range(40)]
        errors.append(np.sqrt(np.mean(np.square(draws))))
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.4)  # 1 / sqrt(N); a deviation from forty draws is known to 11 %


@pytest.mark.parametrize("phi", ["linear", "erf", "tanh", "relu", "softplus"])
def test_a_linear_output_is_the_only_one_that_doubles_with_its_input(phi):
    network, inputs = problem(1, 1, 1)
    rnn = ov.RNN(phi, dt=DT)
    once, twice = rnn.output(network.overlaps(), inputs), rnn.output(network.overlaps(), 2 * inputs)
    # Within the closure relu and softplus have the gain 1/2 whatever the variance, and are linear too.
    assert np.allclose(2 * once, twice, atol=1e-12) == (phi in ("linear", "relu", "softplus"))


@pytest.mark.parametrize(("phi", "invisible"), [("linear", 6), ("erf", 3), ("tanh", 3), ("relu", 6), ("softplus", 6)])
def test_visible_overlaps_are_derived_from_the_model(phi, invisible):
    net = ov.Overlaps.random(0)
    hidden = net.invisible(ov.RNN(phi))
    assert len(hidden) == invisible
    assert {"zv", "vv", "zz"} <= set(hidden)


def test_single_trials_and_inputs_may_leave_out_their_axes():
    network, inputs = problem(1, 1, 1)
    rnn = ov.RNN("erf", dt=DT)
    whole = rnn.output(network, inputs)
    np.testing.assert_allclose(rnn.output(network, inputs[1]), whole[1], atol=1e-15)
    np.testing.assert_allclose(rnn.output(network, inputs[1, :, 0]), whole[1], atol=1e-15)
    np.testing.assert_allclose(whole["time"], DT * np.arange(1, 26))


@pytest.mark.parametrize("dt", [DT, None])
def test_inputs_in_single_precision_count_as_the_same_numbers(dt):
    network, inputs = problem(2, 1, 1)
    inputs = inputs.astype(np.float32)
    for net in (network, network.overlaps()):
        output = ov.RNN("tanh", dt=dt).output(net, inputs, dt=DT)
        np.testing.assert_array_equal(output, ov.RNN("tanh", dt=dt).output(net, inputs.astype(float), dt=DT))


def test_what_does_not_fit_is_named():
    network, inputs = problem(1, 1, 1)
    rnn = ov.RNN("erf", dt=DT)
    cases = [
        (lambda: rnn.output(network, inputs[..., [0, 0]]), r"`inputs` must have shape \(time, 1\) or \(trials, time, 1\)"),
        (lambda: rnn.output(network, np.array([0.0, np.nan])), "`inputs` must be finite"),
        (lambda: rnn.output(network, inputs, dt=0.2), "`dt` must be the step 0.1 of the rnn, but 0.2 came"),
        (lambda: ov.RNN("erf").output(network, inputs), "`dt` must be given for continuous time"),
        (lambda: rnn.activity(network.overlaps(), inputs), "`network` must be a Network or a DenseNetwork, but Overlaps came"),
        (lambda: rnn.output(ov.Overlaps(np.eye(4)[None]), inputs), "`state` must be a single network"),
        (lambda: ov.tasks.exponential_filter().loss(network, rnn), "`rnn` must have a linear phi to have an impulse response"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_inputs_in_single_precision_drive_states_in_double_precision():
    rnn, inputs = ov.RNN("tanh", dt=0.1), np.linspace(0, 1, 5).astype(np.float32)
    net = ov.Overlaps.random(0)
    for state in (net, net.sample(20, 0), ov.DenseNetwork.random(0, 6, 0.3)):
        np.testing.assert_array_equal(rnn.output(state, inputs), rnn.output(state, inputs.astype(float)))
