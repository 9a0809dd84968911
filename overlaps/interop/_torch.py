"""PyTorch modules that compute what networks of this library compute. PyTorch is imported when it is asked for."""

import functools
import importlib
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.connectivity import Network
from overlaps.dynamics import RNN
from overlaps.interop._export import require_network, to_state_dict


def to_torch(network: Any, rnn: Any) -> Any:
    """A PyTorch module with the outputs of a network, to train it there, in float64.

    Its forward pass maps inputs (trials, time, I) to outputs (trials, time, O): h <- h + alpha (-h + W phi(h) + m x + b) with
    alpha = dt / tau, from h = h0, and y = z^T phi(h) / N + c after each step. Its parameters are m, u, v and z of a `Network`,
    or W, m and z of a `DenseNetwork`, and b, h0 and c where the network has them. The bulk of a `Network` is a buffer, which
    does not learn. `from_state_dict` reads the module back, with the same alpha and phi.

    torch.optim.SGD(module.groups(eta), lr=eta) is GradientDescent(eta): it moves vectors at N times the learning rate eta, and
    W at eta. Derivation: docs/interop.md, "Train here or there".

    - `network`: a single `Network` or `DenseNetwork`.
    - `rnn`: an `RNN` with Euler steps and a phi out of "linear", "erf", "tanh", "relu" and "softplus".

    Raises ValueError for other networks and models, and for a reduced network with a nonlinear phi. Raises ImportError without
    PyTorch.
    """
    require_network(network)
    if not isinstance(rnn, RNN) or rnn.dt is None:
        raise argument_error("rnn", "be an RNN with Euler steps", f"{rnn!r} came", "Give it a dt.")
    if rnn.phi not in ("linear", "erf", "tanh", "relu", "softplus"):
        mend = "Change `module.phi` of a module with another phi."
        raise argument_error("rnn", "have a phi that PyTorch knows by the same name", f"its phi is {rnn.phi!r}", mend)
    network.check_transfer(rnn.phi)
    arrays = to_state_dict(network, "vectors" if isinstance(network, Network) else "weights")
    return _module_class()(arrays, rnn.phi, rnn.dt / rnn.tau)


@functools.cache
def _module_class() -> Any:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError("`to_torch` needs PyTorch. Install it with: pip install torch") from error

    functions = {
        "linear": lambda h: h,
        "erf": lambda h: torch.erf(np.sqrt(np.pi) / 2 * h),
        "tanh": torch.tanh,
        "relu": torch.relu,
        "softplus": torch.nn.functional.softplus,
    }

    class TrainedNetwork(torch.nn.Module):
        """The network tau dh/dt = -h + W phi(h) + m x + b, y = z^T phi(h) / N + c, in Euler steps of alpha tau."""

        def __init__(self, arrays: dict[str, np.ndarray], phi: str, alpha: float):
            super().__init__()
            self.phi, self.alpha = functions[phi], alpha
            for name in ("m", "u", "v", "W", "z", "b", "h0", "c"):
                block = arrays.get(name)
                parameter = None if block is None else torch.nn.Parameter(torch.tensor(block, dtype=torch.float64))
                self.register_parameter(name, parameter)
            bulk = arrays.get("bulk")
            self.register_buffer("bulk", None if bulk is None else torch.tensor(bulk, dtype=torch.float64))

        def forward(self, inputs: Any) -> Any:
            """Outputs (trials, time, O) for inputs (trials, time, I)."""
            n, zero = self.m.shape[0], inputs.new_zeros(())
            bias, offset = (zero if one is None else one for one in (self.b, self.c))
            h = (zero if self.h0 is None else self.h0).expand(inputs.shape[0], n)
            outputs = []
            for sample in inputs.unbind(1):
                rates = self.phi(h)
                recurrent = rates @ self.v @ self.u.T / n if self.W is None else rates @ self.W.T
                recurrent = recurrent if self.bulk is None else recurrent + rates @ self.bulk.T
                h = h + self.alpha * (-h + recurrent + sample @ self.m.T + bias)
                outputs.append(self.phi(h) @ self.z / n + offset)
            return torch.stack(outputs, 1)

        def groups(self, learning_rate: float) -> list[dict[str, Any]]:
            """Parameter groups for torch.optim.SGD that learn as under GradientDescent(learning_rate)."""
            n = self.m.shape[0]
            return [
                {"params": [parameter], "lr": learning_rate * (n if name not in ("W", "c") else 1)}
                for name, parameter in self.named_parameters()
            ]

    return TrainedNetwork
