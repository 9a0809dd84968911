"""Rich learning, lazy learning and learning in between: one network, its simulation, and the theories of it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from overlaps._support import argument_error, number
from overlaps.connectivity import DenseNetwork
from overlaps.dynamics import RNN
from overlaps.integration._lazy import lazy_learning_curve
from overlaps.integration._targets import pole, relative_rates
from overlaps.learning import GradientFlow, learn
from overlaps.tasks import damped_oscillation, exponential_filter

OUTLIER = ("outlier_real", "outlier_imag")


def compare_regimes(
    rate: float = 0.2,
    sigma: float = 0.3,
    scale: float = 1.0,
    frequency: float = 0.0,
    duration: float = 5.0,
    n: int = 200,
    order: int = 1,
    key: int = 0,
    rates: Mapping[str, float] | None = None,
    saves: int = 51,
    progress: bool = False,
) -> xr.Dataset:
    """Simulate how one random network learns exp(-rate t) cos(frequency t), and compute what each theory says about it.

    The network is *silent*: it consists of two copies of one network with readouts of opposite signs, so that its output is 0
    at the start. Time is continuous, and the horizon is infinite (docs/integration.md, "Lazy").

    - `rate`, `frequency`: of the target, per tau.
    - `sigma`: radius of the bulk, the disk that the eigenvalues of W fill.
    - `scale`: the scale R of the readout z = R v. R = 1 gives rich learning, a large R gives lazy learning.
    - `duration`: learning time. `saves`: number of saved points.
    - `n`: number of neurons. `key`: an integer seed.
    - `order`: order of the Krylov theory, which keeps products of up to `order` factors of W and W^T.
    - `rates`: relative rates of "W", "m" and "z". W and m learn at 1 / R^2 times their rates, so that f changes as fast at
      every R.
    - `progress`: whether to show a bar.

    The flow is solved explicitly, in steps of about rate^3. So rates below 0.05 take long.

    Returns a Dataset with `loss(theory, time)`, `outlier_real(theory, time)`, `outlier_imag(theory, time)` and
    `weight_change(theory, time)`, the Frobenius norm of the change of W. The theories are "simulation", "rich", "krylov" and
    "lazy". The rich theory keeps of W only how it maps m and z on each other, and has two units. The lazy theory has no
    outlier.

    Raises ValueError for values out of range, and `DivergenceError` if the simulation does.
    """
    mu, relative = pole(rate, frequency), relative_rates(rates)
    scale = number("scale", scale, above=0.0)
    if not isinstance(key, int | np.integer):
        raise argument_error("key", "be an integer seed", f"{key!r} came")
    network = DenseNetwork.random(key, n, sigma, scale=scale, silent=True)
    task = damped_oscillation(rate, frequency, horizon=None) if mu.imag else exponential_filter(rate, horizon=None)
    scaled = {"W": relative["W"] / scale**2, "m": relative["m"] / scale**2, "z": relative["z"]}
    rule = GradientFlow(duration=duration, rates=scaled)
    states = {"simulation": network, "rich": network.krylov(0), "krylov": network.krylov(order)}
    runs = {}
    for name, state in states.items():
        run = learn(state, task, RNN(), rule, saves=saves, progress=progress)
        runs[name] = run[["loss", *OUTLIER, "weight_change"]]
    lazy = lazy_learning_curve(rate, sigma, runs["rich"]["time"].values, relative, frequency)
    runs["lazy"] = lazy.assign(weight_change=(lazy["weight_change"] / scale).assign_attrs(runs["rich"]["weight_change"].attrs))
    theories = xr.IndexVariable("theory", list(runs))
    dataset: Any = xr.concat(runs.values(), theories, join="outer", combine_attrs="drop_conflicts")
    sizes = {"n": n, "order": order, "key": int(key), "saves": saves}
    target = {"rate": rate, "frequency": frequency, "sigma": sigma, "scale": scale, "duration": duration, "rates": relative}
    dataset.attrs = {"compare_regimes": json.dumps(target | sizes)}
    return dataset
