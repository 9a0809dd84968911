"""A network with a bulk in the rest of the library: each place takes all of W = J + u v^T / N, or refuses it and says so."""

import jax
import numpy as np
import pytest
import xarray as xr

import overlaps as ov
from overlaps.studies._noise import activity_noise_answers, weight_noise_answers

N, DT = 30, 0.1
NETWORK = ov.Overlaps.random(0).sample(N, key=1, bulk=0.6)
SMALL = NETWORK.krylov(1)
LINEAR, TANH = ov.RNN(dt=DT), ov.RNN("tanh", dt=0.2)
TASK = ov.tasks.exponential_filter(0.2, horizon=3.0)
INPUTS = np.random.default_rng(0).standard_normal((3, 20, 1))
PARTS = {"m": NETWORK.m, "u": NETWORK.u, "v": NETWORK.v, "z": NETWORK.z}
BIASES = {"b": np.linspace(-1, 1, N), "h0": np.linspace(0, 1, N), "c": [0.3]}


@pytest.mark.parametrize("network", [NETWORK, SMALL])
@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("have no bulk to be fixed by visible overlaps of its vectors", lambda one: one.visible(LINEAR)),
        ("have no bulk to be fixed by visible overlaps of its vectors", lambda one: one.invisible(LINEAR)),
        ("have no bulk to have a function of rank R", ov.studies.canonical),
        ("have no bulk to have a function of rank R", lambda one: ov.studies.poles(one, LINEAR)),
        ("have no bulk to have its visible", lambda one: ov.studies.memory(one, [TASK, TASK], LINEAR, ov.GradientFlow(0.1))),
        ("sums over overlaps, so no bulk", lambda one: ov.studies.perturbation_assay([one, one], TASK, LINEAR)),
        ("be single Overlaps", lambda one: ov.studies.degeneracy(one, one, TASK, LINEAR)),
        ("be a single Overlaps", lambda one: ov.studies.savings(one, [TASK, TASK], LINEAR)),
        ("be a single Overlaps", lambda one: ov.studies.solution_manifold(one, TASK, LINEAR)),
        ("be a single Overlaps", lambda one: ov.studies.holonomy(one, TASK, TASK, LINEAR)),
        ("be a single Overlaps", lambda one: ov.studies.predicted_holonomy(one, TASK, TASK, LINEAR)),
        ("be a single Overlaps", lambda one: ov.studies.label_noise_drift(one, ov.tasks.label_noise(TASK, 0.1), LINEAR)),
        ("be a batch of Overlaps", lambda one: ov.studies.train_twins(one, [TASK, TASK], LINEAR)),
        ("be a single Overlaps", lambda one: ov.validate(one, TASK, LINEAR, ov.GradientFlow(0.1))),
        ("be a single Overlaps", lambda one: ov.inference.identifiability(one, TASK, LINEAR, ov.GradientFlow(0.1))),
        ("have no bulk to be described by populations", lambda one: ov.Populations.fit(one, 1, key=0)),
        (
            "have no bulk to be described by populations",
            lambda one: ov.Populations([1.0], np.zeros((1, 4)), np.eye(4)[None]).align(one),
        ),
        ("has a bulk already", ov.interop.low_rank),
        ("have no bulk in the convention 'low_rank'", lambda one: ov.interop.to_state_dict(one, "low_rank")),
    ],
)
def test_what_cannot_describe_a_bulk_refuses_it(network, message, call):
    with pytest.raises(ValueError, match=message):
        call(network)


def test_words_are_no_neurons_of_a_nonlinear_module():
    with pytest.raises(ValueError, match="be a whole network for phi 'tanh'"):
        ov.interop.to_torch(SMALL, TANH)


def test_labels_of_neurons_with_a_bulk_are_refused():
    with pytest.raises(ValueError, match="have no bulk to be described by populations"):
        ov.Populations.from_labels(NETWORK, np.arange(N) % 2)


def test_a_change_of_gauge_leaves_w_as_it_is():
    other = ov.studies.gauge(NETWORK, 2.5)
    np.testing.assert_allclose(other.W, NETWORK.W, rtol=0, atol=1e-14)
    assert ov.studies.functionally_equal(NETWORK, other, TANH)
    assert not np.allclose(other.u, NETWORK.u)


def test_functions_of_networks_with_a_bulk_are_compared_for_long_enough():
    """J shifts each unit to the next one. So input reaches the readout after N - 2 steps, or after N - 1."""
    shift, first, none = np.eye(N, k=-1), np.eye(N)[:, 0], np.zeros(N)
    one, other = (ov.Network(first, none, none, N * np.eye(N)[:, place], bulk=shift) for place in (N - 2, N - 1))
    for phi in ("linear", "tanh"):
        assert ov.studies.function_distance(one, other, ov.RNN(phi, dt=DT)) > 0.5
    assert ov.studies.functionally_equal(one, one, LINEAR)


@pytest.mark.parametrize("convention", ["vectors", "full_rank", "torch", "input2h", "weights"])
def test_an_exported_network_has_all_of_w(convention):
    missing = {"full_rank": ("c",), "torch": ("h0",), "input2h": ("h0",)}.get(convention, ())
    network = ov.Network(**PARTS, bulk=NETWORK.bulk, **{name: value for name, value in BIASES.items() if name not in missing})
    arrays = ov.interop.to_state_dict(network, convention)
    flags = {"recurrent_over_n": False, "readout_over_n": True} if convention == "weights" else {}
    leak = {"leak": "activity"} if convention == "input2h" else {}
    back, rnn = ov.interop.from_state_dict(arrays, convention, alpha=1.0, phi="tanh", **flags, **leak)
    np.testing.assert_allclose(back.W, NETWORK.bulk + NETWORK.u @ NETWORK.v.T / N, rtol=0, atol=1e-13)
    np.testing.assert_allclose(rnn.output(back, INPUTS), rnn.output(network, INPUTS), rtol=0, atol=1e-12)
    if convention == "vectors":
        np.testing.assert_array_equal(back.bulk, network.bulk)
        assert not np.shares_memory(arrays["bulk"], network.bulk)


def test_arrays_with_a_bulk_and_a_leak_inside():
    """r <- phi((1 - alpha) r + alpha (W r + m x)), step by step."""
    arrays, alpha = ov.interop.to_state_dict(NETWORK), 0.3
    network, rnn = ov.interop.from_state_dict(arrays, alpha=alpha, phi="tanh", leak="inside")
    W, r, outputs = NETWORK.bulk + NETWORK.u @ NETWORK.v.T / N, np.zeros((3, N)), []
    for sample in np.moveaxis(INPUTS, 1, 0):
        r = np.tanh((1 - alpha) * r + alpha * (r @ W.T + sample @ NETWORK.m.T))
        outputs.append(r @ NETWORK.z / N)
    np.testing.assert_allclose(rnn.output(network, INPUTS), np.stack(outputs, axis=1), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="must be a square matrix of shape"):
        ov.interop.from_state_dict(arrays | {"bulk": NETWORK.bulk[:-1]})


def test_a_low_rank_network_that_keeps_its_initial_matrix(tmp_path):
    """W = W0 + a matrix of rank 1: the network with W0 as its bulk is the whole network, also in a file."""
    W0 = NETWORK.bulk
    dense = ov.DenseNetwork(NETWORK.W, NETWORK.m, NETWORK.z, BIASES["b"], BIASES["h0"], BIASES["c"])
    found, report = ov.interop.low_rank(dense, initial=W0, rnn=TANH, inputs=INPUTS, keep_initial=True)
    alone, other = ov.interop.low_rank(dense, initial=W0, rnn=TANH, inputs=INPUTS)
    np.testing.assert_array_equal(found.bulk, W0)
    assert alone.bulk is None
    np.testing.assert_allclose(found.W, NETWORK.W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(TANH.output(found, INPUTS), TANH.output(dense, INPUTS), rtol=0, atol=1e-12)
    for one in (report, other):  # the report does not depend on what is kept
        assert one["output_error_with_initial"] < 1e-12
        assert one["output_error"] > 0.01
    found, _ = ov.interop.low_rank(ov.DenseNetwork(NETWORK.W, NETWORK.m, NETWORK.z), initial=W0, keep_initial=True)
    assert found.krylov(2).order == 2
    run = ov.learn(found, TASK, LINEAR, ov.GradientDescent(1e-3, 5), saves=3)
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")

    np.testing.assert_array_equal(ov.final_state(xr.load_dataset(tmp_path / "run.nc")).bulk, W0)


def test_a_bulk_that_is_not_there_cannot_be_kept():
    with pytest.raises(ValueError, match="`initial` must come with `keep_initial`"):
        ov.interop.low_rank(NETWORK.W, 1, keep_initial=True)
    with pytest.raises(ValueError, match=r"has a bulk already.*`initial` is its `bulk`"):
        ov.interop.low_rank(NETWORK, 1, initial=NETWORK.bulk, keep_initial=True)


@pytest.mark.slow
def test_noise_sees_the_bulk():
    """The answer to noise is that of a plain simulation of the whole W, with the same draws."""
    keys, std, samples = jax.random.split(jax.random.key(0), 2), 0.1, 12
    W, start = NETWORK.bulk + NETWORK.u @ NETWORK.v.T / N, NETWORK.m

    def simulated(W, kicks):
        h, outputs = start, []
        for kick in kicks:
            outputs.append(NETWORK.z.T @ h / N)
            h = h + DT * (W @ h - h) + kick
        return np.array(outputs)

    quiet = simulated(W, np.zeros((samples, 1, 1)))
    found = weight_noise_answers(NETWORK, LINEAR, samples, std, keys)
    for answer, key in zip(found, keys, strict=True):
        noisy = W + std / np.sqrt(N) * np.asarray(jax.random.normal(key, (N, N)))
        np.testing.assert_allclose(answer, simulated(noisy, np.zeros((samples, 1, 1))) - quiet, rtol=0, atol=1e-13)
    found = activity_noise_answers(NETWORK, LINEAR, samples, std, keys)
    for answer, key in zip(found, keys, strict=True):
        kicks = [std * np.sqrt(DT) * np.asarray(jax.random.normal(jax.random.fold_in(key, k), (N, 1))) for k in range(samples)]
        np.testing.assert_allclose(answer, simulated(W, kicks) - quiet, rtol=0, atol=1e-13)
