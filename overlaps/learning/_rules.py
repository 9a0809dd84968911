"""Learning rules as descriptions: what `learn` is to do, checked when made."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffrax
import optax

from overlaps._support import argument_error, count, number, parameter

OptimizerFactory = Callable[[Any], optax.GradientTransformation]


@dataclass(frozen=True)
class GradientFlow:
    """Gradient flow dF/ds = -dL/dF in continuous learning time, solved adaptively by diffrax.

    In overlaps it is dG/ds = -(S G + G S), S = Gamma + Gamma^T, Gamma = dL/dG (docs/theory.md, "The learning flow"); [GB26]
    writes out its components at ranks 1 and 2.

    `duration`: learning time to integrate over, where learning time is learning rate times step. `rtol`, `atol`: tolerances of
    the adaptive solver. `solver`: a diffrax solver, None for diffrax.Tsit5(); diffrax.Kvaerno5() for stiff problems, such as
    targets that decay slowly. `rates`: relative learning rate per letter or vector label, as in {"m": 0, "u1": 0.5}, and of "W"
    for a `DenseNetwork`; 0 freezes. `max_steps`: a limit on solver steps, None for no limit. `stop_loss`, `stop_gradient`: end
    early, after the solver step in which the loss, or the norm of dL/dF, has come down to this. Raises ValueError for values
    out of range.
    """

    duration: float = 10.0
    rtol: float = 1e-8
    atol: float = 1e-10
    solver: diffrax.AbstractSolver | None = None
    rates: Mapping[str, float] | None = None
    max_steps: int | None = None
    stop_loss: float | None = None
    stop_gradient: float | None = None

    def __post_init__(self) -> None:
        for name in ("duration", "rtol", "atol"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0.0))
        _check_stops(self)
        if self.solver is not None and not isinstance(self.solver, diffrax.AbstractAdaptiveSolver):
            raise argument_error(
                "solver",
                "be a diffrax solver with an error estimate, or None",
                f"{self.solver!r} came",
                "Pass diffrax.Kvaerno5(), for example.",
            )
        if self.max_steps is not None:
            count("max_steps", self.max_steps)
        object.__setattr__(self, "rates", checked_rates(self.rates))


@dataclass(frozen=True)
class GradientDescent:
    """Full-batch gradient descent F <- F - learning_rate dL/dF, exact at any learning rate.

    In overlaps it is G <- (1 - eta S) G (1 - eta S) (docs/theory.md, "The learning flow").

    `learning_rate`: eta, in learning time per step. `steps`: number of updates. `optimizer`: an optax factory that is called
    with the learning rate, as in functools.partial(optax.sgd, momentum=0.9); None for plain descent. On overlaps it has to
    commute with rotations of neuron space, since others (Adam) do not close on overlaps (docs/optimizers.md). `rates`:
    relative learning rate per letter or vector label, which multiplies the final update; 0 freezes and hides the vector from
    the optimiser. `stop_loss`, `stop_gradient`: end early, at the first step where the loss, or the norm of dL/dF, has come
    down to this. An array of learning rates trains a batch of networks. Raises ValueError for values out of range.
    """

    learning_rate: Any = 5e-3
    steps: int = 2000
    optimizer: OptimizerFactory | None = None
    rates: Mapping[str, float] | None = None
    stop_loss: float | None = None
    stop_gradient: float | None = None

    def __post_init__(self) -> None:
        learning_rate = parameter("learning_rate", self.learning_rate, above=0.0)
        # A tuple, unlike an array, leaves rules comparable.
        object.__setattr__(self, "learning_rate", tuple(learning_rate.tolist()) if learning_rate.ndim else float(learning_rate))
        count("steps", self.steps)
        _check_stops(self)
        if self.optimizer is not None:
            if not callable(self.optimizer):
                raise argument_error(
                    "optimizer",
                    "be a function of the learning rate that returns an optax transformation",
                    f"{type(self.optimizer).__name__} came",
                    "Pass optax.sgd or functools.partial(optax.sgd, momentum=0.9), not optax.sgd(1e-3).",
                )
            object.__setattr__(self, "optimizer", _comparable(self.optimizer))
        object.__setattr__(self, "rates", checked_rates(self.rates))


@dataclass(frozen=True)
class Factory:
    """functools.partial compared by what it holds, so that writing the same optimiser again does not recompile."""

    function: Callable[..., optax.GradientTransformation]
    args: tuple = ()
    keywords: tuple[tuple[str, Any], ...] = field(default=())

    def __call__(self, learning_rate: Any) -> optax.GradientTransformation:
        return self.function(*self.args, learning_rate, **dict(self.keywords))


def _comparable(optimizer: OptimizerFactory) -> OptimizerFactory:
    if not isinstance(optimizer, functools.partial):
        return optimizer
    factory = Factory(optimizer.func, optimizer.args, tuple(sorted(optimizer.keywords.items())))
    try:
        hash(factory)
    except TypeError:  # arrays, lists and dicts among the arguments
        return optimizer
    return factory


def _check_stops(rule: GradientFlow | GradientDescent) -> None:
    # A loss of the user's own may be negative.
    for name, bounds in (("stop_loss", {}), ("stop_gradient", {"above": 0.0})):
        if getattr(rule, name) is not None:
            object.__setattr__(rule, name, number(name, getattr(rule, name), **bounds))


def checked_rates(rates: Mapping[str, float] | None) -> dict[str, float] | None:
    """Relative rates as a dictionary of numbers that are at least 0."""
    if rates is None:
        return None
    if not isinstance(rates, Mapping):
        raise argument_error("rates", "be a mapping of letters or labels to numbers", f"{rates!r} came")
    return {name: number(f"rates[{name!r}]", value, least=0.0) for name, value in rates.items()}
