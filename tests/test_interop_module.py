"""A PyTorch module is refused where its parts or attributes say that its output is another one. Left out without PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

import overlaps as ov
from tests.test_interop import INPUTS, N, assert_same_output, drawn

torch = pytest.importorskip("torch")


class Layer(torch.nn.Module):
    """A torch.nn.RNN with a linear readout, and parts that act on the output one after the other."""

    def __init__(self, nonlinearity="tanh", **parts):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = torch.nn.RNN(3, N, batch_first=True, nonlinearity=nonlinearity)
        self.fc = torch.nn.Linear(N, 2)
        self.acting = list(parts)
        for name, part in parts.items():
            setattr(self, name, part)
        self.double()

    def forward(self, inputs):
        outputs = self.fc(self.rnn(inputs)[0])
        for name in self.acting:
            part = getattr(self, name)
            outputs = part(outputs) if callable(part) else outputs
        return outputs


class Vectors(torch.nn.Module):
    """The parameters of a convention, with attributes."""

    def __init__(self, convention="low_rank", **attributes):
        super().__init__()
        for name, array in drawn(convention).items():
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(array)))
        for name, value in attributes.items():
            setattr(self, name, value)


class Rates(torch.nn.Module):
    """A cell with input2h and h2h, and a readout, alpha = 1."""

    def __init__(self, inside=None, **attributes):
        super().__init__()
        self.cell = torch.nn.Module()
        self.cell.input2h, self.cell.h2h = torch.nn.Linear(3, N), torch.nn.Linear(N, N)
        self.fc = torch.nn.Linear(N, 2)
        for part, values in ((self.cell, inside or {}), (self, attributes)):
            for name, value in values.items():
                setattr(part, name, value)
        self.double()


def with_mask(values):
    module = Vectors("full_rank")
    module.register_buffer("w_mask", torch.tensor(values), persistent=False)
    return module


def imported(module, **arguments):
    return ov.interop.from_state_dict(module, **arguments)


ACTS = "have nothing that acts on the output"
REFUSED = {
    "a sigmoid": (Layer(out=torch.nn.Sigmoid()), f"d` must {ACTS} .*its part `out` is Sigmoid. Pass module.state_dict"),
    "dropout": (Layer(drop=torch.nn.Dropout(0.5)), f"d` must {ACTS} .*`drop` is Dropout. Call module.eval"),
    "softmax in a sequence": (Layer(head=torch.nn.Sequential(torch.nn.Softmax(-1))), r"`head.0` is Softmax"),
    "phi on the output": (Layer(tanh=torch.nn.Tanh()), "`tanh` is Tanh"),
    "phi on the output, by the name of phi": (Layer(activation=torch.nn.Tanh()), "`activation` is Tanh"),
    "one part twice": (Rates({"act": (act := torch.nn.Tanh())}, out=act), "`out` is Tanh"),
    "a function on the output": (Layer(out_fn=torch.sigmoid), f"{ACTS} .*`out_fn` is sigmoid"),
    "its name": (Vectors("vectors", output_activation="sigmoid"), f"{ACTS} .*`output_activation` is 'sigmoid'"),
    "a function outside of the recurrence": (Rates(nonlinearity=torch.tanh), "`nonlinearity` is tanh"),
    "another readout": (
        Vectors(output_non_linearity=torch.relu),
        r"read its output from phi\(h\).*`output_non_linearity` is relu",
    ),
    "a readout of activities": (Vectors(output_non_linearity=lambda h: h), r"read its output from phi\(h\)"),
    "noise": (Vectors(noise_std=0.05), "have no noise among its attributes, but `noise_std` is 0.05. Set it to 0"),
    "noise of each neuron": (Vectors(rec_noise=torch.ones(N)), "no noise"),
    "a flag for noise": (Vectors(add_noise=True), "no noise"),
    "noise in the cell": (Rates({"sigma": 0.1}), "have no sigma among its attributes, but `cell.sigma` is 0.1"),
    "a mask": (with_mask(np.eye(N)), "have no mask .*`w_mask` is .*product in place of the weights"),
    "a mask of zeros": (with_mask(np.zeros((N, N))), "have no mask"),
    "a flag for a mask": (Vectors(use_mask=True), "have no mask"),
    "relu in a torch.nn.RNN": (Layer("relu"), "phi` must be 'relu', as in the module, but 'tanh' came"),
    "relu as a function": (Vectors(non_linearity=torch.relu), "phi` must be 'relu', as in the module"),
    "relu as a part": (Rates({"act": torch.nn.ReLU()}), "phi` must be 'relu', as in the module"),
    "relu by its name": (Rates({"activation": "ReLU"}), "phi` must be 'relu'"),
    "an unknown name": (Rates({"activation": "gelu"}), "phi` must be 'gelu'"),
    "another function": (Vectors(phi=lambda h: torch.tanh(2 * h)), "phi` must be the function `phi` of the module.*jax.numpy"),
    "a function of two arguments": (Vectors(phi=torch.where), "phi` must be the function `phi`"),
    "another alpha": (Vectors(alpha=0.3), "alpha` must be 0.3, as in the module, but "),
}


@pytest.mark.parametrize(("module", "message"), REFUSED.values(), ids=REFUSED)
def test_modules_with_another_output_are_refused_by_name(module, message):
    arguments = {"alpha": 1.0} if isinstance(module, Rates) else {}
    with pytest.raises(ValueError, match=f"Argument `.*{message}"):
        imported(module, **arguments)
    imported(module.state_dict(), **arguments)  # the way out that the errors name


def test_the_output_before_a_part_that_is_refused():
    module = Layer(out=torch.nn.Sigmoid())
    with torch.no_grad():
        before = module.fc(module.rnn(torch.tensor(INPUTS))[0]).numpy()
    assert_same_output(module.state_dict(), before)


@pytest.mark.parametrize(
    "parts",
    [
        {"out": torch.nn.Identity(), "fn": torch.nn.Sequential()},
        {"drop": torch.nn.Dropout(0.0)},
        {"output_fn": lambda y: y, "output_activation": None},
    ],
)
def test_parts_that_do_not_act_are_accepted(parts):
    module = Layer(**parts)
    module.loss, module.out_features = torch.nn.MSELoss(), 2
    with torch.no_grad():
        assert_same_output(module, module(torch.tensor(INPUTS)).numpy())


def test_dropout_is_idle_in_evaluation():
    module = Layer(drop=torch.nn.Dropout(0.5)).eval()
    with torch.no_grad():
        assert_same_output(module, module(torch.tensor(INPUTS)).numpy())


def test_attributes_that_are_off_and_a_phi_that_agrees_are_accepted():
    off = {
        "noise_std": 0.0,
        "rec_noise": torch.zeros(N),
        "sigma": None,
        "mask": torch.ones(N, N),
        "use_mask": False,
        "alpha": 0.2,
    }
    expected, _ = imported(Vectors())
    for attributes in (off, {"non_linearity": torch.tanh, "output_non_linearity": torch.tanh}, {"activation": "Tanh"}):
        network, _ = imported(Vectors(**attributes))
        np.testing.assert_array_equal(network.gram, expected.gram)
    imported(with_mask(np.ones((N, N))))
    imported(Rates({"act": torch.nn.ReLU(), "noise": 0}, output_activation="identity"), alpha=1.0, phi="relu")
    imported(Vectors(phi=lambda h: torch.tanh(2 * h)), phi=lambda h: jnp.tanh(2 * h))
    imported(Vectors(activation="steep"), phi=lambda h: jnp.tanh(2 * h))


@pytest.mark.parametrize("phi", ["linear", "erf", "tanh", "relu", "softplus"])
def test_a_module_of_this_library_is_read_back_with_its_own_phi_and_alpha_alone(phi):
    network, rnn = ov.interop.from_state_dict(drawn("vectors"), alpha=0.3, phi=phi)
    module = ov.interop.to_torch(network, rnn)
    with torch.no_grad():
        assert_same_output(module, module(torch.tensor(INPUTS)).numpy(), alpha=0.3, phi=phi)
    with pytest.raises(ValueError, match=r"`alpha` must be 0\.3, as in the module"):
        imported(module, phi=phi)
    for other in {"linear", "erf", "tanh", "relu", "softplus"} - {phi}:
        with pytest.raises(ValueError, match=f"`phi` must be {phi!r}, as in the module, but {other!r} came"):
            imported(module, alpha=0.3, phi=other)


def test_a_phi_that_was_changed_in_the_module():
    """As the error of `to_torch` for an unknown phi says."""
    network, rnn = ov.interop.from_state_dict(drawn("vectors"))
    module = ov.interop.to_torch(network, rnn)
    module.phi = lambda h: torch.tanh(h) ** 3
    with pytest.raises(ValueError, match="be the function `phi` of the module"):
        imported(module)
    with torch.no_grad():
        assert_same_output(module, module(torch.tensor(INPUTS)).numpy(), phi=lambda h: jnp.tanh(h) ** 3)


def test_the_recurrence_of_a_nested_module_is_found():
    outer = torch.nn.ModuleDict({"net": Vectors(phi=torch.relu)})
    with pytest.raises(ValueError, match="`phi` must be 'relu'"):
        imported(outer)
    imported(outer, phi="relu")
