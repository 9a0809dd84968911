"""What every state is, and all that the rest of the library may ask of one."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, is_traced, numpy_for, said
from overlaps.connectivity._charges import gram_charges
from overlaps.connectivity._layout import Layout
from overlaps.connectivity._projection import Projection, Transfer, gaussian_closure

if TYPE_CHECKING:
    from overlaps.connectivity._overlaps import Overlaps

Variable = tuple[tuple[str, ...], Any, dict[str, str]]
"""Dimensions, values and attributes of a variable of a Dataset. Values of a batch have one more axis, in front."""


@runtime_checkable
class Model(Protocol):
    """What decides which overlaps are visible: an `RNN`."""

    def visible(self, layout: Layout) -> tuple[bool, ...]: ...


@runtime_checkable
class FiniteNetwork(Protocol):
    """What a state that is `simulated` has besides: units, each with an activity of its own."""

    m: Any
    """Input vectors (N, I)."""

    @property
    def layout(self) -> Any: ...

    @property
    def drivers(self) -> Any:
        """The weights (N, I + R) with which the latents drive the units."""

    @property
    def readers(self) -> Any:
        """The weights (N, R + O) with which recurrence and output read the units."""

    def fed_back(self, recurrent: Any) -> Any:
        """The input (N, I) that recurrence gives to the units, from what it reads, (R, I)."""

    def recurrent_norm(self) -> Any:
        """An upper bound of the spectral norm of the recurrent weights; in NumPy."""


@runtime_checkable
class Results(Protocol):
    """What a state is read back from: a Dataset of `learn`."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What `State.description` said of the state that the run started from."""
        ...

    def variable(self, name: str) -> Any:
        """The values of a variable, None if the Dataset has none of this name."""
        ...

    def networks(self, batched: np.ndarray) -> np.ndarray:
        """The entries, along the first axis, of the networks of the original batch that the Dataset holds."""
        ...


class State(eqx.Module):
    """Connectivity that can be trained: anything with a factor F whose overlap matrix is G = F^T F.

    Every learning rule acts on the rows of F and on the loss gradient with respect to them, so that one implementation of a
    rule serves all kinds of states (docs/theory.md, "The minimal network"). A kind of state is a subclass. It defines `layout`,
    `factor`, `with_factor`, `gram`, `stored` and `read`; all else has a default, which is right for a state that stands for
    neurons with a joint Gaussian distribution. Nothing else in the library asks of which kind a state is
    (docs/architecture.md, "To add a state").

    Arrays of a batch of networks have one more axis, in front.
    """

    kinds: ClassVar[dict[str, type["State"]]] = {}
    """All kinds of states by their names: this is how a Dataset finds the class of the state that it describes."""

    simulated: ClassVar[bool] = False
    """Whether the state is a finite network, of which filter tasks of finite horizon simulate all units in time."""

    takes_neuron_rules: ClassVar[bool] = False
    """Whether rules that treat neurons one by one, such as Adam, may train the state."""

    matrix_learns: ClassVar[bool] = False
    """Whether the first columns of the factor are an N x N matrix, whose columns belong to neurons as its rows do."""

    needs_gain: ClassVar[bool] = True
    """Whether `projection` reads the gain of the transfer function, which not every phi has."""

    solver_steps: ClassVar[int] = 200
    """Steps of the solver of a flow that take some tenths of a second."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        known = State.kinds.get(cls.__name__)
        if known is None or not issubclass(cls, known):  # Equinox makes subclasses of the same name for its own use
            State.kinds[cls.__name__] = cls

    # What the state consists of

    @property
    @abc.abstractmethod
    def layout(self) -> Any:
        """Order and names of the connectivity vectors."""

    @property
    @abc.abstractmethod
    def factor(self) -> Float[AnyArray, "*batch rows D"]:
        """A matrix F with F^T F = G, one row per neuron."""

    @abc.abstractmethod
    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "State":
        """The state that has this factor."""

    gram: eqx.AbstractVar[Any]
    """The overlap matrix G, (D, D), as a field or a property. Raises ValueError for a state that has none."""

    @property
    def batch(self) -> tuple[int, ...]:
        """The shape of the batch axis: () for a single network."""
        return jax.tree.leaves(self)[0].shape[:-2]

    @property
    def scales(self) -> Any:
        """What columns of the factor are multiplied by to give the vectors that a rule for single neurons sees."""
        return np.full(self.layout.size, np.sqrt(self.factor.shape[-2]))

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers that `repr` shows."""
        return {"n": self.factor.shape[-2], **self.layout._asdict()}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        batch = f", batch of {self.batch}" if self.batch else ""
        return f"{type(self).__name__}({sizes}, {jax.tree.leaves(self)[0].dtype}{batch})"

    # Overlaps

    def overlaps(self) -> "Overlaps":
        """The overlap matrix of this state, as a state of its own."""
        from overlaps.connectivity._overlaps import Overlaps  # here, because `Overlaps` is a state itself

        return Overlaps(self.gram, *self.layout)

    def visible(self, rnn: Model) -> dict[str, Any]:
        """The overlaps that fix the activity, output and loss of this network under `rnn`, by label."""
        return self._selected(rnn, True)

    def invisible(self, rnn: Model) -> dict[str, Any]:
        """The overlaps that change nothing now but steer learning under `rnn`, by label."""
        return self._selected(rnn, False)

    def _selected(self, rnn: Model, visible: bool) -> dict[str, Any]:
        gram, layout = self.gram, self.layout
        return {
            pair.label: scalar(gram[..., pair.row, pair.column])
            for pair, seen in zip(layout.pairs, rnn.visible(layout), strict=True)
            if seen is visible
        }

    def charges(self, rates: Float[np.ndarray, " D"], linear: bool) -> dict[str, np.ndarray]:
        """What gradient flow conserves, for relative rates per column of the factor; more of it for linear phi."""
        return gram_charges(np.asarray(self.gram), self.layout, rates, linear)

    # Activity

    def projection(self, transfer: Transfer) -> Projection:
        """The map from latents kappa (points, I + R) to (1/N) [v z]^T phi([m u] kappa), (points, R + O); in jax.numpy."""
        return gaussian_closure(self.gram, self.layout.inputs + self.layout.rank, transfer)

    def check_transfer(self, phi: Any) -> None:
        """Raise ValueError for a transfer function under which this state does not stand for its network."""

    def linear_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Recurrent weights (n, n), input weights (n, I) and readout (O, n) of a linear network with this response.

        By default it has I + R units: the filtered inputs k_m, and the latents k (docs/theory.md, "Networks and overlaps").
        """
        xp, gram, layout = numpy_for(self), self.gram, self.layout
        split = layout.inputs + layout.rank
        visible = gram[..., split:, :split]
        recurrent = xp.concatenate([xp.zeros_like(gram[..., : layout.inputs, :split]), visible[..., : layout.rank, :]], axis=-2)
        inputs = xp.broadcast_to(xp.eye(split, layout.inputs), (*gram.shape[:-2], split, layout.inputs))
        return recurrent, inputs, visible[..., layout.rank :, :]

    def eigenvalues(self) -> np.ndarray:
        """The eigenvalues of W that can differ from 0, R of them: those of vu. The largest modulus comes first."""
        rows, columns = self.layout.block("vu")
        return by_modulus(np.linalg.eigvals(np.asarray(self.gram, float)[..., rows, columns]))

    def neurons(self) -> tuple[AnyArray, AnyArray] | None:
        """Vectors (N, D) of the neurons and their weights (N,) in averages over neurons; None for a state without neurons."""
        return None

    # Runs

    def pieces(self, saves: int) -> int:
        """Pieces in which a run of so many saves is computed; it can be interrupted between them. Each costs 0.5 ms."""
        return 50

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        """What a run records of a factor at a saved point; in jax.numpy."""
        return {"gram": factor.T @ factor}

    def condensed(self, values: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
        """What a run that started from this state keeps of recorded values, of which a Dataset shows the rows `kept` alone."""
        del kept
        return values

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        """The variables over `time` that a Dataset has of the values kept of a run, and their coordinates."""
        pairs = self.layout.pairs
        sigma = self.layout.listed(values["gram"])
        return {"sigma": (("time", "overlap"), sigma, said("overlap a.b / N"))}, {
            "overlap": (("overlap",), [pair.label for pair in pairs], said("overlap")),
            "left": (("overlap",), [pair.left for pair in pairs], said("first vector")),
            "right": (("overlap",), [pair.right for pair in pairs], said("second vector")),
            "visible": (("overlap",), list(rnn.visible(self.layout)), said("loss-visible")),
        }

    @property
    def description(self) -> dict[str, Any]:
        """What is written down of the state that a run starts from; numbers, texts and arrays."""
        return {"n": self.factor.shape[-2], **self.layout._asdict()}

    @abc.abstractmethod
    def stored(self, name: str) -> dict[str, Variable]:
        """Variables of a Dataset from which `read` makes this state again; `name` is "initial" or "final"."""

    @classmethod
    @abc.abstractmethod
    def read(cls, name: str, results: Results) -> "State":
        """The "initial" or "final" state of a run."""


def scalar(value: Any) -> Any:
    return float(value) if value.ndim == 0 and not is_traced(value) else value


def by_modulus(values: np.ndarray) -> np.ndarray:
    """Numbers along the last axis, from the largest modulus to the smallest."""
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=-1, kind="stable"), axis=-1)
