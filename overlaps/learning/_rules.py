"""Learning rules. A rule only describes what `learn` should do; its arguments are checked when it is made."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffrax
import optax

from overlaps._support import argument_error, count, is_traced, number, parameter

OptimizerFactory = Callable[[Any], optax.GradientTransformation]


@dataclass(frozen=True)
class GradientFlow:
    """Gradient flow dF/ds = -dL/dF in continuous learning time s, solved by diffrax with adaptive steps.

    Here L is the loss, and the factor F is a matrix with F^T F = G, where G is the matrix of overlaps. For a network with the
    connectivity vectors P = [m u v z] as columns, F = P / sqrt(N). In overlaps the flow is dG/ds = -(S G + G S), with
    S = Gamma + Gamma^T and Gamma = dL/dG (docs/theory.md, "The learning flow"). [GB26] writes out its components at ranks 1
    and 2.

    - `duration`: the learning time to integrate over. Learning time corresponds to learning rate x step of gradient descent.
    - `rtol`, `atol`: the relative and the absolute tolerance of the adaptive solver.
    - `solver`: a diffrax solver with an error estimate, None for diffrax.Tsit5(). Use diffrax.Kvaerno5() for stiff problems,
      which have very fast and very slow changes, such as targets that decay slowly.
    - `rates`: relative learning rates of vectors, by letter or label, as in {"m": 0, "u1": 0.5}, and of "W" for a
      `DenseNetwork`. The others are 1, and 0 freezes a vector.
    - `max_steps`: a limit on the number of solver steps, None for no limit.
    - `stop_loss`, `stop_gradient`: end early, after the solver step in which the loss, or the norm of dL/dF, has come down to
      this value. None: do not end early.

    Raises ValueError for values out of range.
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
            if not is_traced(getattr(self, name)):
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
    """Full-batch gradient descent F <- F - eta dL/dF with the learning rate eta, or another optimiser with discrete steps.

    Here L is the loss, and the factor F is a matrix with F^T F = G, where G is the matrix of overlaps. For a network with the
    connectivity vectors P = [m u v z] as columns, F = P / sqrt(N). In overlaps, plain descent is
    G <- (1 - eta S) G (1 - eta S), with S = Gamma + Gamma^T and Gamma = dL/dG. This equation is exact at any learning rate
    (docs/theory.md, "The learning flow").

    - `learning_rate`: eta, in learning time per step. An array (batch,) trains a batch of networks.
    - `steps`: the number of updates.
    - `optimizer`: a function of the learning rate that returns an optax transformation, such as optax.sgd or
      functools.partial(optax.sgd, momentum=0.9); None for plain descent. To train overlaps, it has to commute with rotations of
      neuron space. Others, such as Adam, do not close on overlaps: the overlaps now do not fix the overlaps later
      (docs/optimizers.md).
    - `rates`: relative learning rates of vectors, by letter or label, as in {"m": 0, "u1": 0.5}, and of "W" for a
      `DenseNetwork`. The others are 1. A rate multiplies the final update. 0 freezes a vector and hides it from the optimiser.
    - `stop_loss`, `stop_gradient`: end early, at the first step at which the loss, or the norm of dL/dF, has come down to this
      value. None: do not end early.

    Raises ValueError for values out of range.
    """

    learning_rate: Any = 5e-3
    steps: int = 2000
    optimizer: OptimizerFactory | None = None
    rates: Mapping[str, float] | None = None
    stop_loss: float | None = None
    stop_gradient: float | None = None

    def __post_init__(self) -> None:
        learning_rate = parameter("learning_rate", self.learning_rate, above=0.0)
        if not is_traced(learning_rate):  # a tuple and not an array, so that rules can be compared with ==
            learning_rate = tuple(learning_rate.tolist()) if learning_rate.ndim else float(learning_rate)
        object.__setattr__(self, "learning_rate", learning_rate)
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
    """A functools.partial that equals another one with the same content, so that the same optimiser compiles only once."""

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
    except TypeError:  # arguments such as arrays, lists and dicts have no hash
        return optimizer
    return factory


def _check_stops(rule: GradientFlow | GradientDescent) -> None:
    # A loss that the user defines may be negative, so `stop_loss` may be negative too.
    for name, bounds in (("stop_loss", {}), ("stop_gradient", {"above": 0.0})):
        if getattr(rule, name) is not None:
            object.__setattr__(rule, name, number(name, getattr(rule, name), **bounds))


def checked_rates(rates: Mapping[str, float] | None) -> dict[str, float] | None:
    """Relative learning rates as a dictionary of numbers. Raises ValueError for a number below 0."""
    if rates is None:
        return None
    if not isinstance(rates, Mapping):
        raise argument_error("rates", "be a mapping of letters or labels to numbers", f"{rates!r} came")
    return {name: number(f"rates[{name!r}]", value, least=0.0) for name, value in rates.items()}
