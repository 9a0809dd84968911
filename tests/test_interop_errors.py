"""What cannot be imported is refused by one clear error, which says what was expected, what came, and how to mend it."""

import re

import numpy as np
import pytest

import overlaps as ov
from tests.test_interop import INPUTS, SHAPES, N, R, drawn

LOW, FULL, TORCH, RATES, PLAIN = (drawn(name) for name in ("low_rank", "full_rank", "torch", "input2h", "weights"))
LSTM = {"weight_ih_l0": np.ones((4 * N, 3)), "weight_hh_l0": np.ones((4 * N, N)), "weight": np.ones((2, N))}
GRU = {"weight_ih_l0": np.ones((3 * N, 3)), "weight_hh_l0": np.ones((3 * N, N)), "weight": np.ones((2, N))}
GATED_CELL = {"input2h.weight": np.ones((4 * N, 3)), "h2h.weight": np.ones((4 * N, N))}
TRANSFORMER = {f"encoder.layers.{k}.self_attn.in_proj_weight": np.ones((12, 4)) for k in range(20)}
NETWORK, RNN = ov.Network(*np.random.default_rng(0).standard_normal((4, 7, 1))), ov.RNN("tanh", dt=0.2)
DENSE = ov.DenseNetwork.random(0, 8)


def imported(d, **arguments):
    return lambda: ov.interop.from_state_dict(d, **arguments)


def without(d, *names):
    return {name: array for name, array in d.items() if name not in names}


CASES = {
    "empty": (imported({}), "d", "it is empty"),
    "no mapping": (imported(np.ones(3)), "d", "be a mapping of names to arrays, a path .* but ndarray came"),
    "other keys": (imported({"a": np.ones(2)}), "d", r"keys of a convention \(vectors: m, u, v, z; .*its keys are 'a'"),
    "a transformer": (imported(TRANSFORMER), "d", r"'encoder.layers.0.self_attn.in_proj_weight'.* and 8 more"),
    "an LSTM": (imported(LSTM), "d", r"without gates, but 'weight_hh_l0' has shape \(92, 23\), as in an LSTM"),
    "a GRU": (imported(GRU), "d", "as in a GRU"),
    "a cell with gates": (imported(GATED_CELL), "d", "without gates"),
    "two layers": (imported(TORCH | {"weight_ih_l1": np.ones((N, N))}), "d", "'weight_ih_l1' came, of a stack of layers"),
    "both directions": (imported(TORCH | {"rnn.weight_hh_l0_reverse": np.ones((N, N))}), "d", "a bidirectional layer"),
    "a missing array": (imported(without(LOW, "n")), "d", "'low_rank', but 'n' is missing. The keys that came are 'b', 'h0'"),
    "no readout": (imported(without(TORCH, "weight", "bias")), "d", r"readout, of shape \(outputs, 23\), but .* is nothing"),
    "two readouts": (imported(TORCH | {"fc.weight": np.ones((1, N))}), "d", r"'weight' \(2, 23\), .*'fc.weight' \(1, 23\)"),
    "a readout of two layers": (imported(TORCH | {"fc.weight": np.ones((4, 2))}), "d", r"'fc.weight' came too"),
    "an unknown array": (imported(LOW | {"gain": np.ones(N)}), "d", "nothing but .*'gain' came too. .* delete keys"),
    "a time constant": (imported(TORCH | {"tau": np.ones(2)}), "d", "'tau' came too. Pass alpha and tau as arguments"),
    "noise": (imported(LOW | {"rec_noise": np.ones(N)}), "d", "no noise among its keys, but 'rec_noise' came"),
    "sigma": (imported(LOW | {"sigma_rec": np.ones(())}), "d", "no sigma .* delete the key"),
    "a mask": (imported(FULL | {"wrec_mask": np.ones((N, N))}), "d", "no mask .* pass the product"),
    "several fit": (
        imported(PLAIN | drawn("vectors")),
        "convention",
        "the keys .* fit several: vectors, weights",
    ),
    "two networks": (
        imported({f"{a}.{k}": x for a in "ab" for k, x in LOW.items()}),
        "d",
        "single network, .*'a.m' and 'b.m'",
    ),
    "unknown convention": (imported(LOW, convention="a"), "convention", "be one of 'vectors', 'low_rank'"),
    "another convention": (imported(LOW, convention="full_rank"), "d", "'wrec' is missing"),
    "NaN": (imported(LOW | {"wo": np.full((N, 2), np.nan)}), 'd["wo"]', "finite"),
    "complex": (imported(LOW | {"wo": np.full((N, 2), 1j)}), 'd["wo"]', "be a real array"),
    "empty array": (imported(LOW | {"b": np.ones(0)}), 'd["b"]', "not be empty"),
    "transposed inputs": (imported(LOW | {"wi": LOW["wi"].T}), 'd["wi"]', r"shape \(I, 23\) .*\(23, 3\): is it transposed\?"),
    "transposed readout": (imported(LOW | {"wo": LOW["wo"].T}), 'd["wo"]', "is it transposed"),
    "all transposed": (imported({k: x.T for k, x in LOW.items()}), 'd["wi"]', "is it transposed"),
    "transposed linear readout": (imported(TORCH | {"weight": TORCH["weight"].T}), "d", r"'weight' \(23, 2\)"),
    "another rank": (imported(LOW | {"n": np.ones((N, R + 1))}), 'd["n"]', r"shape \(23, 2\) .* \(23, 3\)\.?$"),
    "another number of neurons": (imported(LOW | {"h0": np.ones(N + 1)}), 'd["h0"]', r"shape \(23,\)"),
    "no square": (imported(PLAIN | {"W": np.ones((N, N + 1))}, recurrent_over_n=False, readout_over_n=True), 'd["W"]', "shape"),
    "a recurrence that is no square": (imported(FULL | {"wrec": np.ones((N, N - 1))}), 'd["wrec"]', r"square.*\(23, 22\)"),
    "a layer that is no square": (
        imported({f"rnn.{k}": x for k, x in (TORCH | {"weight_hh_l0": np.ones((N, N - 1))}).items()}),
        'd["rnn.weight_hh_l0"]',
        "square",
    ),
    "a recurrence with one axis": (imported(RATES | {"h2h.weight": np.ones(N)}), 'd["h2h.weight"]', r"square.*\(23,\)"),
    "inputs of a layer": (imported(TORCH | {"weight_ih_l0": np.ones((3, N))}), 'd["weight_ih_l0"]', "is it transposed"),
    "bias of a readout": (imported(RATES | {"fc.bias": np.ones(5)}), 'd["fc.bias"]', r"shape \(2,\) .*\(5,\)"),
    "no scales said": (imported(PLAIN), "recurrent_over_n", "True or False for the convention 'weights', but None came"),
    "a scale that is no flag": (imported(LOW, readout_over_n=3), "readout_over_n", "True or False"),
    "alpha": (imported(LOW, alpha=1.2), "alpha", "at most 1"),
    "no alpha": (imported(LOW, alpha=0), "alpha", "greater than 0"),
    "alpha of a torch rnn": (imported(TORCH, alpha=0.2), "alpha", "be 1 for torch.nn.RNN"),
    "phi of a torch rnn": (imported(TORCH, phi="softplus"), "phi", r"be 0 at 0, .* phi\(0\) is 0.693"),
    "leak": (imported(LOW, leak="outside"), "leak", "'activity', 'rates', 'inside'"),
    "leak on the rates": (imported(RATES, alpha=0.5), "leak", "on the rates, with alpha = 0.5. That is another model"),
    "initial rates": (imported(drawn("vectors"), leak="inside"), "d", "no initial rates"),
    "no file": (imported("nowhere.npz"), "d", "a file that exists"),
    "another file": (imported("net.h5"), "d", "the path net.h5 came"),
    "a pickled file": (imported("net.pt"), "d", r"nothing but arrays.*np.savez\(.*weights_only=True"),
    "state without neurons": (lambda: ov.interop.to_state_dict(NETWORK.overlaps()), "network", "sample"),
    "u and v of a whole W": (lambda: ov.interop.to_state_dict(DENSE, "low_rank"), "network", "a DenseNetwork came"),
    "unknown target": (lambda: ov.interop.to_state_dict(NETWORK, "keras"), "convention", "be one of"),
    "rank": (lambda: ov.interop.low_rank(DENSE, rank=9), "rank", "at most 8"),
    "no gap": (lambda: ov.interop.low_rank(ov.DenseNetwork.random(0, 80, 1.0)), "rank", "no singular value stands out"),
    "W": (lambda: ov.interop.low_rank(np.ones((3, 4))), "weights", r"shape \(N, N\)"),
    "a low-rank network": (lambda: ov.interop.low_rank(NETWORK), "weights", "Network came. A Network is low-rank already"),
    "overlaps": (lambda: ov.interop.low_rank(NETWORK.overlaps()), "weights", "a DenseNetwork, but Overlaps came"),
    "W0": (lambda: ov.interop.low_rank(DENSE, initial=np.eye(3)), "initial", r"shape \(8, 8\)"),
    "inputs alone": (lambda: ov.interop.low_rank(DENSE, 1, inputs=INPUTS), "inputs", "come with an `rnn`"),
    "inputs for W alone": (lambda: ov.interop.low_rank(np.eye(3), 1, rnn=RNN, inputs=INPUTS), "inputs", "DenseNetwork"),
    "continuous time": (lambda: ov.interop.to_torch(NETWORK, ov.RNN("tanh")), "rnn", "Euler steps"),
    "phi for torch": (lambda: ov.interop.to_torch(NETWORK, ov.RNN(_cube, dt=0.2)), "rnn", "PyTorch knows"),
    "mean field for torch": (lambda: ov.interop.to_torch(NETWORK.overlaps().mean_field(), RNN), "network", "MeanField came"),
}


def _cube(x):
    return x**3


@pytest.mark.parametrize(("call", "argument", "message"), CASES.values(), ids=CASES)
def test_one_clear_error(call, argument, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert re.match(rf"Argument `{re.escape(argument)}` must ", str(error.value))


def test_files_of_python_objects_are_not_opened(tmp_path):
    np.savez(tmp_path / "net.npz", m=np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("net.npz", "text.npz"):
        with pytest.raises(ValueError, match=r"Argument `d` must be an \.npz file of arrays of numbers"):
            ov.interop.from_state_dict(tmp_path / name)


def test_what_a_convention_has_no_name_for_is_refused():
    d = drawn("vectors")
    network, _ = ov.interop.from_state_dict(d)
    for convention, what in (("low_rank", "readout bias c"), ("full_rank", "bias c"), ("torch", "h0"), ("input2h", "h0")):
        with pytest.raises(ValueError, match=what):
            ov.interop.to_state_dict(network, convention)


def test_a_broken_safetensors_file(tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "net.safetensors").write_text("no archive")
    with pytest.raises(ValueError, match=r"be a \.safetensors file"):
        ov.interop.from_state_dict(tmp_path / "net.safetensors")


def test_every_convention_is_described():
    for convention in SHAPES:
        assert f'- "{convention}": ' in ov.interop.from_state_dict.__doc__
