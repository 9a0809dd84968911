"""Against PyTorch itself: real modules in, modules out, and learning there and here. Left out where PyTorch is missing."""

import numpy as np
import pytest

import overlaps as ov
from tests.test_interop import INPUTS, N, assert_same_output, drawn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small matrices: more threads wait for each other
TARGETS = np.random.default_rng(5).standard_normal((4, 9, 2))
MASK = np.arange(9) >= 3


class Trained(torch.nn.Module):
    """A torch.nn.RNN with a linear readout, as people write it."""

    def __init__(self, kind=torch.nn.RNN, **arguments):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(3, N, batch_first=True, **arguments)
        self.fc = torch.nn.Linear(N, 2)

    def forward(self, inputs):
        return self.fc(self.rnn(inputs)[0])


def outputs(module, dtype=torch.float64):
    with torch.no_grad():
        return module(torch.tensor(INPUTS, dtype=dtype)).numpy()


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_rnn(nonlinearity, bias):
    module = Trained(nonlinearity=nonlinearity, bias=bias).double()
    for d in (module, module.state_dict()):
        assert_same_output(d, outputs(module), phi=nonlinearity)
    single = Trained(nonlinearity=nonlinearity, bias=bias)
    assert_same_output(single, outputs(single, torch.float32), tolerance=1e-5, phi=nonlinearity)


def test_a_state_dict_saved_as_the_error_of_a_pickled_file_says(tmp_path):
    module = Trained().double()
    torch.save(module.state_dict(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match="weights_only") as error:
        ov.interop.from_state_dict(tmp_path / "net.pt")
    advice = str(error.value).split("is installed: ")[1].replace("net.", f"{tmp_path}/net.")
    exec(advice, {"np": np, "torch": torch})
    assert_same_output(tmp_path / "net.npz", outputs(module))


@pytest.mark.parametrize(
    ("module", "argument", "message"),
    [
        (Trained(torch.nn.LSTM), "d", "as in an LSTM"),
        (Trained(torch.nn.GRU), "d", "as in a GRU"),
        (Trained(num_layers=2), "d", "stack of layers"),
        (Trained(bidirectional=True), "d", "bidirectional"),
        (torch.nn.TransformerEncoderLayer(8, 2), "d", "keys of a convention"),
        (Trained().bfloat16(), r"d\[.*\]", "NumPy cannot hold it"),
    ],
)
def test_modules_of_other_kinds(module, argument, message):
    with pytest.raises(ValueError, match=rf"Argument `{argument}` must .*{message}"):
        ov.interop.from_state_dict(module)


@pytest.mark.parametrize("phi", ["linear", "erf", "tanh", "relu", "softplus"])
@pytest.mark.parametrize("convention", ["vectors", "weights"])
@pytest.mark.parametrize("without", [(), ("b", "h0", "c")])
def test_a_network_as_a_module(convention, phi, without):
    flags = {"recurrent_over_n": False, "readout_over_n": True} if convention == "weights" else {}
    d = drawn(convention, without)
    network, rnn = ov.interop.from_state_dict(d, alpha=0.3, phi=phi, tau=2.0, **flags)
    module = ov.interop.to_torch(network, rnn)
    expected = rnn.output(network, INPUTS).values
    np.testing.assert_allclose(outputs(module), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    again, _ = ov.interop.from_state_dict(module, alpha=0.3, phi=phi, **flags)
    for name in set(d):
        np.testing.assert_array_equal(getattr(again, name), d[name])


def test_a_module_in_single_precision():
    network, rnn = ov.interop.from_state_dict(drawn("vectors", ("b", "h0", "c")))
    module = ov.interop.to_torch(network, rnn).float()
    expected = rnn.output(network, INPUTS).values
    assert np.abs(outputs(module, torch.float32) - expected).max() < 1e-5 * np.abs(expected).max()


def test_an_exported_state_dict_loads_into_a_torch_rnn():
    network, rnn = ov.interop.from_state_dict(drawn("torch"))
    d = {name: torch.tensor(array) for name, array in ov.interop.to_state_dict(network, "torch").items()}
    module = Trained().double()
    module.rnn.load_state_dict({name: d.pop(name) for name in list(d) if name.endswith("_l0")})
    module.fc.load_state_dict(d)
    np.testing.assert_allclose(outputs(module), rnn.output(network, INPUTS), rtol=0, atol=1e-12)


def squared_error(found):
    mask = torch.tensor(MASK[None, :, None] * np.ones_like(TARGETS))
    return (mask * (found - torch.tensor(TARGETS)) ** 2).sum() / mask.sum()


def sgd(forward, groups, steps=200):
    optimizer = torch.optim.SGD(groups, lr=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        squared_error(forward(torch.tensor(INPUTS))).backward()
        optimizer.step()
    with torch.no_grad():
        return squared_error(forward(torch.tensor(INPUTS))).item()


def descended(network, rnn, eta=0.01, steps=200, **rates):
    """The trained network, and the loss before and after."""
    task = ov.tasks.Trials(INPUTS, TARGETS, MASK, dt=rnn.dt)
    dataset = ov.learn(network, task, rnn, ov.GradientDescent(eta, steps, rates=rates))
    end = ov.final_state(dataset)
    return end, float(dataset.loss[0]), task.loss(end, rnn)


def assert_same_end(found, end, names):
    """Overlaps to 1e-10, and the arrays themselves."""
    for name in names:
        np.testing.assert_allclose(getattr(found, name), getattr(end, name), rtol=0, atol=1e-10, err_msg=name)
    if isinstance(end, ov.Network):
        np.testing.assert_allclose(found.gram, end.gram, rtol=0, atol=1e-10)


@pytest.mark.parametrize("without", [(), ("b", "h0", "c")])
@pytest.mark.parametrize("convention", ["vectors", "weights"])
def test_sgd_there_and_descent_here_end_with_the_same_overlaps(convention, without):
    flags = {"recurrent_over_n": False, "readout_over_n": True} if convention == "weights" else {}
    d, eta = drawn(convention, without), 0.05
    network, rnn = ov.interop.from_state_dict(d, **flags)
    end, before, after = descended(network, rnn, eta)
    module = ov.interop.to_torch(network, rnn)
    assert sgd(module, module.groups(eta)) == pytest.approx(after, rel=1e-9)
    assert after < 0.9 * before
    assert_same_end(ov.interop.from_state_dict(module, **flags)[0], end, d)


def low_rank_pass(p, alpha=0.2):
    """The published forward pass of convention "low_rank", with its own parameters."""

    def forward(inputs):
        h = p["h0"].expand(len(inputs), N)
        outputs = []
        for x in inputs.unbind(1):
            r = torch.tanh(h)
            h = h + alpha * (-h + r @ p["n"] @ p["m"].T / N + x @ (p["wi"].T * p["si"]).T)
            outputs.append(torch.tanh(h) @ (p["wo"] * p["so"]) / N)
        return torch.stack(outputs, 1)

    return forward


def test_sgd_on_the_parameters_of_a_published_convention():
    """wi, m, n and wo learn at N times the rate. The scales si, so and h0 do not learn."""
    d, eta = drawn("low_rank", ("b",)), 0.05
    d |= {"si": np.ones(3), "so": np.ones(2)}
    p = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in d.items()}
    network, rnn = ov.interop.from_state_dict(d)
    end, before, after = descended(network, rnn, eta, h=0.0)
    groups = [{"params": [p[name] for name in ("wi", "m", "n", "wo")], "lr": N * eta}]
    assert sgd(low_rank_pass(p), groups) == pytest.approx(after, rel=1e-9)
    assert after < 0.9 * before
    assert_same_end(ov.interop.from_state_dict(p)[0], end, ("m", "u", "v", "z"))


def test_sgd_on_a_torch_rnn():
    """The rates of docs/interop.md: W at eta, m at N eta, each half of the bias at N eta / 2, the readout at eta / N."""
    module, eta = Trained().double(), 0.05
    network, rnn = ov.interop.from_state_dict(module)
    end, before, after = descended(network, rnn, eta)
    layer, readout = module.rnn, module.fc
    groups = [
        {"params": [layer.weight_hh_l0], "lr": eta},
        {"params": [layer.weight_ih_l0], "lr": N * eta},
        {"params": [layer.bias_ih_l0, layer.bias_hh_l0], "lr": N * eta / 2},
        {"params": [readout.weight], "lr": eta / N},
        {"params": [readout.bias], "lr": eta},
    ]
    assert sgd(module, groups) == pytest.approx(after, rel=1e-9)
    assert after < 0.9 * before
    assert_same_end(ov.interop.from_state_dict(module)[0], end, ("W", "m", "z", "b", "c"))


def test_a_bulk_is_a_buffer_that_does_not_learn():
    network, rnn = ov.Overlaps.random(0).sample(N, 1, bulk=0.7), ov.RNN("tanh", dt=0.2)
    module, inputs = ov.interop.to_torch(network, rnn), INPUTS[..., :1]
    with torch.no_grad():
        found = module(torch.tensor(inputs)).numpy()
    np.testing.assert_allclose(found, rnn.output(network, inputs), rtol=0, atol=1e-12)
    assert "bulk" not in dict(module.named_parameters())
    back, _ = ov.interop.from_state_dict(module, alpha=0.2, phi="tanh")
    np.testing.assert_array_equal(back.bulk, network.bulk)
