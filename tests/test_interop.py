"""Networks of other programs have the output here that they have there, and come back with the same arrays."""

import numpy as np
import pytest

import overlaps as ov
from tests.systems import forward

N, I, R, O = 23, 3, 2, 2  # noqa: E741
SHAPES = {
    "vectors": {"m": (N, I), "u": (N, R), "v": (N, R), "z": (N, O), "b": (N,), "h0": (N,), "c": (O,)},
    "low_rank": {
        "wi": (I, N),
        "si": (I,),
        "m": (N, R),
        "n": (N, R),
        "wo": (N, O),
        "so": (O,),
        "h0": (N,),
        "b": (N,),
    },
    "full_rank": {"wi": (I, N), "si": (I,), "wrec": (N, N), "wo": (N, O), "so": (O,), "h0": (N,), "b": (N,)},
    "torch": {
        "weight_ih_l0": (N, I),
        "weight_hh_l0": (N, N),
        "bias_ih_l0": (N,),
        "bias_hh_l0": (N,),
        "weight": (O, N),
        "bias": (O,),
    },
    "input2h": {
        "input2h.weight": (N, I),
        "input2h.bias": (N,),
        "h2h.weight": (N, N),
        "h2h.bias": (N,),
        "fc.weight": (O, N),
        "fc.bias": (O,),
    },
    "weights": {"W": (N, N), "m": (N, I), "z": (N, O), "b": (N,), "h0": (N,), "c": (O,)},
}
FLAGS = [(True, True), (True, False), (False, True), (False, False)]
INPUTS = np.random.default_rng(1).standard_normal((4, 9, I))


def drawn(convention, without=(), dtype=float):
    """Random arrays of a convention. Square matrices have eigenvalues of order 1."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in SHAPES[convention].items():
        scale = 1 / np.sqrt(N) if shape == (N, N) else 1.0
        array = (scale * generator.standard_normal(shape)).astype(dtype)
        if name not in without:
            arrays[name] = array
    return arrays


def assert_same_output(d, expected, inputs=INPUTS, tolerance=1e-12, **arguments):
    network, rnn = ov.interop.from_state_dict(d, **arguments)
    found = rnn.output(network, inputs).values
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    return network, rnn


OPTIONAL = {"vectors": "c", "weights": "c", "low_rank": "si so", "full_rank": "si so"}


@pytest.mark.parametrize("without", ["", "b", "h0", "b h0", "the rest"])
@pytest.mark.parametrize("convention", OPTIONAL)
def test_import_has_the_output_of_the_forward_pass(convention, without):
    d = drawn(convention, (OPTIONAL[convention] if without == "the rest" else without).split())
    passes = {"vectors": forward.vectors, "weights": forward.weights}
    expected = passes.get(convention, forward.scaled)(d, INPUTS, 0.3)
    flags = {"recurrent_over_n": False, "readout_over_n": False} if convention == "weights" else {}
    network, rnn = assert_same_output(d, expected, alpha=0.3, **flags)
    assert (rnn.tau, rnn.dt, rnn.phi) == (1.0, 0.3, "tanh")
    assert isinstance(network, ov.Network if convention in ("vectors", "low_rank") else ov.DenseNetwork)


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("convention", OPTIONAL)
def test_scales_without_one_over_n(convention, flags):
    d = drawn(convention)
    if not flags[0]:  # keep W of order 1
        d |= {name: d[name] / N for name in ("v", "n") if name in d}
    passes = {"vectors": forward.vectors, "weights": forward.weights}
    over = tuple(N if flag else 1 for flag in flags)
    expected = passes.get(convention, forward.scaled)(d, INPUTS, 0.2, over=over)
    assert_same_output(d, expected, recurrent_over_n=flags[0], readout_over_n=flags[1])


@pytest.mark.parametrize("without", [(), ("bias_ih_l0", "bias_hh_l0"), ("bias",)])
@pytest.mark.parametrize(("phi", "function"), [("tanh", np.tanh), ("relu", lambda h: np.maximum(h, 0))])
def test_import_of_a_torch_rnn(phi, function, without):
    d = drawn("torch", without)
    _, rnn = assert_same_output(d, forward.torch_rnn(d, INPUTS, function), phi=phi)
    assert rnn.dt == rnn.tau == 1.0


@pytest.mark.parametrize(
    ("leak", "alpha", "phi"),
    [
        *[("rates", 1.0, "tanh"), ("rates", 0.3, "linear"), ("rates", 1.0, "linear")],
        *[("inside", 0.3, "relu"), ("inside", 1.0, "tanh"), ("activity", 0.3, "tanh"), (None, 1.0, "relu")],
    ],
)
def test_leaks(leak, alpha, phi):
    d = drawn("input2h")
    function = {"tanh": np.tanh, "relu": lambda h: np.maximum(h, 0), "linear": lambda h: h}[phi]
    expected = forward.input2h(d, INPUTS, alpha, function, leak or "rates")
    assert_same_output(d, expected, alpha=alpha, phi=phi, leak=leak)


def test_a_leak_inside_of_a_low_rank_network_makes_it_dense():
    d = drawn("vectors", ("h0", "c"))
    W = d["u"] @ d["v"].T / N
    turned = {"input2h.weight": d["m"], "h2h.weight": W, "input2h.bias": d["b"], "h2h.bias": 0 * d["b"]}
    turned |= {"fc.weight": d["z"].T / N, "fc.bias": np.zeros(O)}
    expected = forward.input2h(turned, INPUTS, 0.3, np.tanh, "inside")
    network, rnn = assert_same_output(d, expected, alpha=0.3, leak="inside", tau=2.0)
    assert isinstance(network, ov.DenseNetwork)
    assert rnn.dt == rnn.tau == 2.0


def test_initial_rates_of_a_linear_network_with_a_leak_on_the_rates():
    d = drawn("vectors")
    assert_same_output(d, forward.vectors(d, INPUTS, 0.2, lambda h: h), phi="linear", leak="rates")


def test_leak_on_the_rates_is_a_filtered_readout_of_another_network():
    """The derivation in docs/interop.md, "Leak on the rates"."""
    d, alpha = drawn("input2h"), 0.3
    expected = forward.input2h(d, INPUTS, alpha, np.tanh, "rates")
    m, bias = d["input2h.weight"], d["input2h.bias"] + d["h2h.bias"]
    sharpened = (INPUTS[:, 1:] - (1 - alpha) * INPUTS[:, :-1]) / alpha
    for trial in range(len(INPUTS)):
        start = m @ INPUTS[trial, 0] + bias
        network = ov.DenseNetwork(d["h2h.weight"], m, N * d["fc.weight"].T, b=bias, h0=start)
        later = ov.RNN("tanh", dt=alpha).output(network, sharpened[trial]).values
        unfiltered = np.concatenate([[d["fc.weight"] @ np.tanh(start)], later])
        filtered = np.zeros(O)
        for sample, wanted in zip(unfiltered, expected[trial], strict=True):
            filtered = (1 - alpha) * filtered + alpha * sample
            np.testing.assert_allclose(filtered + d["fc.bias"], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("convention", SHAPES)
def test_float32_parameters(convention):
    d = drawn(convention, dtype=np.float32)
    network, rnn = ov.interop.from_state_dict(d, alpha=1.0, recurrent_over_n=False, readout_over_n=False)
    assert all(array.dtype == np.float64 for array in (network.m, network.z))
    wide = {name: array.astype(float) for name, array in d.items()}
    exact, _ = ov.interop.from_state_dict(wide, alpha=1.0, recurrent_over_n=False, readout_over_n=False)
    np.testing.assert_array_equal(rnn.output(network, INPUTS), rnn.output(exact, INPUTS))


def test_float32_forward_pass():
    """The program computes in float32, and the library in float64, with the same parameters."""
    d = drawn("low_rank", dtype=np.float32)
    expected = forward.scaled(d, INPUTS.astype(np.float32), np.float32(0.2))
    assert expected.dtype == np.float32
    assert_same_output(d, expected, tolerance=1e-5)


@pytest.mark.parametrize("convention", SHAPES)
def test_prefixes_files_and_names_are_all_the_same(convention, tmp_path):
    d = drawn(convention)
    flags = {"recurrent_over_n": False, "readout_over_n": True} if convention == "weights" else {}
    expected, _ = ov.interop.from_state_dict(d, alpha=1.0, **flags)
    np.savez(tmp_path / "net.npz", **d)
    prefixed = {f"module.net.{name}": array for name, array in d.items()}
    for other in (prefixed, tmp_path / "net.npz", str(tmp_path / "net.npz")):
        for name in (None, convention):
            network, _ = ov.interop.from_state_dict(other, name, alpha=1.0, **flags)
            assert_same_arrays(network, expected)


def test_safetensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    d = drawn("low_rank")
    numpy.save_file(d, tmp_path / "net.safetensors")
    assert_same_output(tmp_path / "net.safetensors", forward.scaled(d, INPUTS, 0.2))


def assert_same_arrays(network, expected, rtol=0.0):
    assert type(network) is type(expected)
    for name in ("m", "u", "v", "W", "z", "b", "h0", "c"):
        one, other = getattr(network, name, None), getattr(expected, name, None)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize("convention", SHAPES)
def test_export_and_import_round_trip(convention):
    """The same arrays: to the bit, except where the convention scales by N or holds h0 - b (rounding)."""
    lost = {"low_rank": "c", "full_rank": "c", "torch": "h0", "input2h": "h0"}.get(convention, "")
    if convention in ("vectors", "low_rank"):
        network, _ = ov.interop.from_state_dict(drawn("vectors", lost))
    else:
        network, _ = ov.interop.from_state_dict(drawn("weights", lost), recurrent_over_n=False, readout_over_n=True)
    exported = ov.interop.to_state_dict(network, convention)
    flags = {"recurrent_over_n": False, "readout_over_n": True} if convention == "weights" else {}
    again, _ = ov.interop.from_state_dict(exported, alpha=1.0, **flags)
    assert_same_arrays(again, network, rtol=1e-15 if lost else 0.0)
    for array in exported.values():  # plain arrays of their own, which every writer of files can take
        assert isinstance(array, np.ndarray)
        assert array.flags.c_contiguous
        assert not any(np.shares_memory(array, block) for block in (network.m, network.z))


@pytest.mark.parametrize("convention", ["full_rank", "torch", "input2h", "weights"])
def test_a_low_rank_network_has_an_output_in_every_convention(convention):
    network, rnn = ov.interop.from_state_dict(drawn("vectors", ("c", "h0")), alpha=1.0)
    d = ov.interop.to_state_dict(network, convention)
    expected = rnn.output(network, INPUTS).values
    passes = {
        "full_rank": lambda: forward.scaled(d, INPUTS, 1.0),
        "torch": lambda: forward.torch_rnn(d, INPUTS),
        "input2h": lambda: forward.input2h(d, INPUTS, 1.0, np.tanh, "rates"),
        "weights": lambda: forward.weights(d, INPUTS, 1.0, over=(1, N)),
    }
    np.testing.assert_allclose(passes[convention](), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_single_vectors_may_have_one_axis_and_zeros_are_left_out():
    d = {name: array[..., 0] if name in "muvz" else 0 * array for name, array in drawn("vectors").items()}
    d["c"] = np.zeros(1)
    network, rnn = ov.interop.from_state_dict(d)
    assert network.m.shape == (N, 1)
    assert network.b is network.h0 is network.c is None
    expected = forward.vectors({name: d[name][:, None] for name in "muvz"}, INPUTS[..., :1], 0.2)
    np.testing.assert_allclose(rnn.output(network, INPUTS[..., :1]), expected, rtol=0, atol=1e-12)


def test_an_imported_network_learns():
    network, rnn = ov.interop.from_state_dict(drawn("low_rank"))
    task = ov.tasks.Trials(INPUTS, np.ones((4, 9, O)), dt=rnn.dt)
    losses = ov.learn(network, task, rnn, ov.GradientDescent(1e-3, 20)).loss
    assert losses[-1] < losses[0]
