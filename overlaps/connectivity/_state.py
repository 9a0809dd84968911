"""`State`, the base class of all descriptions of connectivity: everything that the rest of the library may ask of one."""

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from overlaps._support import AnyArray, argument_error, is_traced, numpy_for, said
from overlaps.connectivity._charges import gram_charges
from overlaps.connectivity._html import state_html
from overlaps.connectivity._projection import Projection, Transfer, gaussian_closure
from overlaps.connectivity._protocols import Model, Results, Variable
from overlaps.connectivity._readout_bias import tracked_bias, with_bias, without_row
from overlaps.connectivity._spectrum import by_modulus

if TYPE_CHECKING:
    from overlaps.connectivity._overlaps import Overlaps


class State(eqx.Module):
    """Connectivity that can be trained: anything with a factor F, which is a matrix whose overlap matrix is G = F^T F.

    Every learning rule acts on the rows of F and on the gradient of the loss with respect to them. So one implementation of a
    rule serves all kinds of states (docs/theory.md, "The minimal network"). Each kind of state is a subclass. It defines
    `layout`, `factor`, `with_factor`, `gram`, `stored` and `read`. Everything else has a default. The defaults are right for a
    state that stands for neurons with a joint Gaussian distribution. The rest of the library never asks of which kind a state
    is (docs/architecture.md, "To add a state"; tests/test_new_state.py adds one).

    Arrays of a batch of networks have one more axis, in front.
    """

    kinds: ClassVar[dict[str, type["State"]]] = {}
    """All kinds of states, by their names. The library looks here for the class of a state that a Dataset describes."""

    simulated: ClassVar[bool] = False
    """Whether the state is a finite network. Filter tasks with a finite horizon then simulate all its units in time."""

    takes_neuron_rules: ClassVar[bool] = False
    """Whether learning rules that treat neurons one by one, such as Adam, may train the state."""

    matrix_learns: ClassVar[bool] = False
    """Whether the first N columns of the factor are an N x N matrix: its columns belong to neurons, as its rows do."""

    needs_gain: ClassVar[bool] = True
    """Whether `projection` needs the gain of phi (the mean slope of phi over a Gaussian), which is not known for every phi."""

    needs_mean: ClassVar[bool] = False
    """Whether `projection` needs the mean of phi over a Gaussian that is not centred."""

    solver_steps: ClassVar[int] = 200
    """How many steps of the solver of a gradient flow take some tenths of a second.

    For a single network, one call of the solver makes at most so many steps. A call cannot be interrupted.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        known = State.kinds.setdefault(cls.__name__, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"A kind of state must have a name of its own, but {cls.__name__!r} names one in {known.__module__}, "
                "which Datasets refer to. Give the new class another name."
            )
        if not issubclass(cls, known):  # the same definition once more; subclasses are made by Equinox, for its own use
            State.kinds[cls.__name__] = cls

    # What the state consists of

    @property
    @abc.abstractmethod
    def layout(self) -> Any:
        """The order and the names of the connectivity vectors."""

    @property
    def has_bulk(self) -> bool:
        """Whether there is a part of W that does not learn, a bulk. Overlaps of the vectors alone then do not fix the loss."""
        return False

    @property
    def latent_layout(self) -> Any:
        """The names and the number of the latents, the variables that determine the activity. By default those of `layout`."""
        return self.layout

    @property
    @abc.abstractmethod
    def factor(self) -> Float[AnyArray, "*batch rows D"]:
        """A matrix F with F^T F = G. It has one row per neuron and one column per connectivity vector."""

    @abc.abstractmethod
    def with_factor(self, factor: Float[AnyArray, "*batch rows D"]) -> "State":
        """A state like this one, but with this factor."""

    gram: eqx.AbstractVar[Any]
    """The overlap matrix G, (D, D), as a field or a property. A state without an overlap matrix raises ValueError."""

    @property
    def batch(self) -> tuple[int, ...]:
        """(number of networks,) for a batch of networks, and () for a single network."""
        return self.factor.shape[:-2]

    @property
    def readout_bias(self) -> Any:
        """The readout bias c, (O,), which is added to the output; None if there is none.

        If there is one, it is one more row of the factor, the last one.
        """
        return None

    @property
    def constants(self) -> tuple[str, ...]:
        """The names of what moves the output without an input: "b" (biases), "h0" (initial activity), "c" (readout bias)."""
        present = {"b": self.layout.bias, "h0": self.layout.initial, "c": self.readout_bias is not None}
        return tuple(name for name, there in present.items() if there)

    def rates(self, names: dict[str, float]) -> np.ndarray:
        """Relative learning rates: one for each column of the factor; with a readout bias, one for each of its entries.

        `names`: the rates of vectors by letter or label, and that of the readout bias by "c". The others are 1. Raises
        ValueError for an unknown name.
        """
        c = self.readout_bias
        if c is None:
            return np.asarray(self.layout.columns(names), float)
        vectors = {name: rate for name, rate in names.items() if name != "c"}
        rates = np.tile(np.asarray(self.layout.columns(vectors), float), (self.factor.shape[-2], 1))
        rates[-1] = 0.0
        rates[-1, -c.shape[-1] :] = names.get("c", 1.0)
        return rates

    @property
    def scales(self) -> Any:
        """Factors that turn the columns of F into the vectors themselves, on which rules for single neurons (Adam) act.

        With a readout bias there is one for each entry of F.
        """
        return np.full(self.layout.size, np.sqrt(self.factor.shape[-2]))

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that `repr` shows, by name."""
        return {"n": self._rows, **self.layout.description}

    @property
    def _rows(self) -> int:
        return self.factor.shape[-2] - (self.readout_bias is not None)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        batch = f", batch of {self.batch}" if self.batch else ""
        return f"{type(self).__name__}({sizes}, {jax.tree.leaves(self)[0].dtype}{batch})"

    def _repr_html_(self) -> str:
        return state_html(self)

    # Overlaps

    def overlaps(self) -> "Overlaps":
        """The overlap matrix of this state, as an `Overlaps` object.

        Raises ValueError for a state without an overlap matrix.
        """
        from overlaps.connectivity._overlaps import Overlaps  # here, because `Overlaps` itself is a subclass of `State`

        return Overlaps(self.gram, *self.layout, c=self.readout_bias)

    def visible(self, rnn: Model) -> dict[str, Any]:
        """The visible overlaps, which fix the activity, the output and the loss of this network now.

        An overlap is the scalar product of two connectivity vectors, divided by the number of neurons. `rnn`: the `RNN`, the
        model that decides which overlaps are visible (see `RNN.visible`). Returns a dictionary from labels such as "zm" to
        numbers, or to arrays (batch,) for a batch of networks. Raises ValueError for a state without an overlap matrix.
        """
        return self._selected(rnn, True)

    def invisible(self, rnn: Model) -> dict[str, Any]:
        """The invisible overlaps: they change neither activity nor output nor loss now, but they steer learning.

        Arguments, result and errors are as in `visible`.
        """
        return self._selected(rnn, False)

    def _selected(self, rnn: Model, visible: bool) -> dict[str, Any]:
        gram, layout = self.gram, self.layout
        return {
            pair.label: scalar(gram[..., pair.row, pair.column])
            for pair, seen in zip(layout.pairs, rnn.visible(layout), strict=True)
            if seen is visible
        }

    def charges(self, rates: Float[np.ndarray, " D"], linear: bool) -> dict[str, np.ndarray]:
        """The charges of this state by name: quantities that gradient flow conserves (docs/symmetries.md).

        `rates`: the relative learning rate of each column of the factor. `linear`: whether phi is linear; then there are more.
        """
        return gram_charges(np.asarray(self.gram), self.layout, rates, linear)

    # Activity

    def projection(self, transfer: Transfer) -> Projection:
        """The map from latents kappa, (points, I + R), to (1/N) [v z]^T phi([m u] kappa), (points, R + O), in jax.numpy.

        Recurrence and readout see these sums over neurons, and nothing else of phi. By default the map is the Gaussian closure,
        which needs only overlaps.
        """
        return gaussian_closure(self.gram, self.layout.driving, transfer)

    def check_transfer(self, phi: Any) -> None:
        """Raise ValueError for a phi with which this state does not stand for its network. By default every phi is accepted."""

    def linear_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Recurrent weights (n, n), input weights (n, I) and readout (O, n) of a linear network that responds as this state.

        By default this network is that of `latent_system`. A finite network has its own units here.
        """
        return self.latent_system()

    def latent_system(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """The same for the smallest network that is known to respond so, for all inputs.

        It has one unit per latent: the filtered inputs k_m and the latents k of the recurrence (docs/theory.md, "Networks and
        overlaps").
        """
        xp, gram, layout = numpy_for(self), self.gram, self.layout
        split = layout.driving
        visible = gram[..., split:, :split]
        silent = xp.zeros_like(gram[..., : layout.external, :split])
        recurrent = xp.concatenate([silent, visible[..., : layout.rank, :]], axis=-2)
        inputs = xp.broadcast_to(xp.eye(split, layout.inputs), (*gram.shape[:-2], split, layout.inputs))
        return recurrent, inputs, visible[..., layout.rank :, :]

    def eigenvalues(self) -> np.ndarray:
        """The R eigenvalues of W = u v^T / N that can differ from 0. The one with the largest modulus comes first.

        They are the eigenvalues of the block vu of the overlap matrix.
        """
        rows, columns = self.layout.block("vu")
        return by_modulus(np.linalg.eigvals(np.asarray(self.gram, float)[..., rows, columns]))

    def modes(self) -> np.ndarray:
        """The eigenvalues of W that decide whether the activity of a linear network decays. By default all `eigenvalues`."""
        return self.eigenvalues()

    def neurons(self) -> tuple[AnyArray, AnyArray] | None:
        """The vectors (N, D) of all neurons, and the weight of each in averages (N,); None for a state without neurons."""
        return None

    # Runs

    def pieces(self, saves: int) -> int:
        """The number of pieces in which a run with `saves` saved points is computed.

        A run can be interrupted between two pieces. Each piece costs 0.5 ms.
        """
        return 50

    def recorded(self, factor: Float[AnyArray, "rows D"]) -> dict[str, AnyArray]:
        """What a run records at a saved point, where it has this factor; in jax.numpy."""
        factor, c = without_row(factor, self.readout_bias)
        return with_bias({"gram": factor.T @ factor}, c)

    def condensed(self, values: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
        """What a run keeps of the recorded values, if the run started from this state.

        `kept` says for each recorded row whether a Dataset shows it.
        """
        del kept
        return values

    def tracked(self, values: dict[str, np.ndarray], rnn: Model) -> tuple[dict[str, Variable], dict[str, Variable]]:
        """The variables over `time` that a Dataset has of the values that a run keeps, and the coordinates of these."""
        pairs = self.layout.pairs
        variables = {"sigma": (("time", "overlap"), self.layout.listed(values["gram"]), said("overlap a.b / N"))}
        return variables | tracked_bias(values), {
            "overlap": (("overlap",), [pair.label for pair in pairs], said("overlap")),
            "left": (("overlap",), [pair.left for pair in pairs], said("first vector")),
            "right": (("overlap",), [pair.right for pair in pairs], said("second vector")),
            "visible": (("overlap",), list(rnn.visible(self.layout)), said("loss-visible")),
        }

    @property
    def description(self) -> dict[str, Any]:
        """What a Dataset writes down about this state if a run starts from it: numbers, texts and arrays."""
        return {"n": self._rows, **self.layout.description}

    @abc.abstractmethod
    def stored(self, name: str) -> dict[str, Variable]:
        """Variables of a Dataset from which `read` can build this state again.

        `name` is "initial" for the state at the start of a run, and "final" for the state at its end.
        """

    @classmethod
    @abc.abstractmethod
    def read(cls, name: str, results: Results) -> "State":
        """Build the "initial" or the "final" state of a run from the Dataset of the run."""


def require_no_constants(state: State) -> None:
    """Raise ValueError for a network whose output moves without an input: its impulse response does not tell its output."""
    if state.constants:
        came = f"this one has {', '.join(state.constants)}"
        mend = "Biases and initial activity need a task of trials, such as tasks.flip_flop, tasks.white_noise or tasks.Trials."
        raise argument_error("state", "be a network without biases and without initial activity here", came, mend)


def scalar(value: Any) -> Any:
    return float(value) if value.ndim == 0 and not is_traced(value) else value
