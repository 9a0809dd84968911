"""Tasks of the package neurogym, and of other environments that are built in the same way, as trials."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from overlaps._support import argument_error, count, number, real_array, warn
from overlaps.tasks._environments import Trial, actions_of, draw, environment
from overlaps.tasks._pool import TrialPool
from overlaps.tasks._trials import FreshTrials, LossFunction, Trials


def from_neurogym(
    env: Any,
    trials: int,
    seed: int,
    tau: float = 100.0,
    periods: Any = None,
    values: Any = None,
    pool: int | None = None,
    loss: LossFunction | None = None,
) -> Trials | FreshTrials:
    """Trials of an environment of neurogym, or of an object that is built in the same way, as a task.

    The observations become the inputs, and the ground truth, which is the right answer in each sample, becomes the targets.
    Each trial starts from the initial activity of the network. Nothing is carried over from the trial before. A trial that is
    shorter than the longest one is filled up at its end with zeros, and the mask, the weight of each sample in the loss, is 0
    there.

    - `env`: an environment, or its name, such as "ContextDecisionMaking-v0", for which neurogym makes it with its default
      arguments. neurogym is installed by: pip install 'overlaps[neurogym]'. Any other object serves, without neurogym, if it
      has a method `new_trial()`, which sets its attributes `ob`, the observations (time, ...); `gt`, the ground truth (time,)
      or (time, ...); and `start_ind` and `end_ind`, dictionaries from names of periods to their first sample and to the sample
      after their last. Its attribute `dt` is the time between samples, in milliseconds. The call draws trials from `env`, so
      that it changes `env`. Wrappers that act in `step()` alone, such as `Noise` and `PassReward` of neurogym, have no effect.
    - `trials`: the number of trials in a set.
    - `seed`: an integer from 0 to 2^32 - 1. It is passed to the method `seed` of the environment. Without this method, a
      NumPy generator in the attribute `rng` is replaced by one that starts from the seed.
    - `tau`: how many milliseconds are one unit of tau, the time constant of the neurons. The time between samples of the task
      is env.dt / tau, in units of tau. `learn` with Euler steps needs an `RNN` with this dt, which is at most 1 for an `RNN`
      whose tau is 1.
    - `periods`: the periods of a trial in which the output counts in the loss: a name, several names, or a dictionary from
      names to weights, such as {"fixation": 0.1, "decision": 1.0}. Samples in no such period have weight 0, and where periods
      overlap the largest weight counts. For None, all samples of a trial have weight 1.
    - `values`: the targets for each action, (actions,) for one output or (actions, O) for O outputs, if the ground truth is an
      integer, the action: in each sample the targets are values[action]. For None they are one-hot: as many outputs as
      actions, 1 for the right action and 0 for the others. (The number of actions is `action_space.n`. For an object without
      `action_space` it is the largest action that came, plus 1.) A real-valued ground truth is taken as it is.
    - `pool`: None for a fixed set of trials. A number draws a pool of so many trials now, and each step of learning draws
      `trials` of them at random, from the key of `learn`. Environments are Python programs, and the steps of `learn` are
      compiled, so that no step can run an environment. With a pool the steps are fast, they work for batches of networks, and
      a saved run holds the pool, so that `rerun` repeats it without the environment. But the steps see the trials of the pool
      again and again: take a pool that is large compared with what the network could learn by heart.
    - `loss`: the loss of `Trials`: a function of (outputs, targets, mask) made of jax.numpy; None for the squared error.

    Returns `Trials`, or `FreshTrials` if `pool` is given. All trials are drawn twice. Gives a RuntimeWarning if
    the environment draws other trials when it is seeded again: its trials then depend on more than the seed. (For a name, a
    second environment is made for this test.) It also gives one if env.dt is larger than `tau`.
    Raises ImportError for a name without neurogym, and ValueError for a name that neurogym cannot make, an object that is no
    such environment, a period that does not lie inside of its trial, a ground truth that is neither integer nor real, actions
    out of range, trials with different numbers of channels, an unknown period, periods in which no output counts, and numbers
    out of range. neurogym is described in Molano-Mazon et al., "NeuroGym: An open resource for developing and sharing
    neuroscience tasks" (2022).
    """
    size, tau, seed = count("trials", trials), number("tau", tau, above=0.0), count("seed", seed, least=0)
    if seed >= 2**32:
        raise argument_error("seed", "be less than 2^32", f"{seed} came")
    source = environment(env)
    drawn = draw(source, size if pool is None else count("pool", pool, least=size), seed)
    again = draw(environment(env), len(drawn), seed)
    if not all(one.equals(other) for one, other in zip(drawn, again, strict=True)):
        warn(
            "The environment drew other trials when it was seeded again. It keeps a state from trial to trial, or it draws "
            "from a random generator that the seed does not set. A file of a run holds its trials, so that `rerun` repeats it."
        )
    dt = drawn[0].dt / tau
    if dt > 1:
        warn(
            f"The samples of the environment are {drawn[0].dt:g} ms apart, {dt:g} times `tau` = {tau:g} ms. Euler steps of an "
            "RNN are at most as long as its own tau, which is 1 by default. The `tau` here is in milliseconds: pass a larger "
            "one, or make the environment with a smaller dt."
        )
    targets = _padded(_targets([trial.truth for trial in drawn], values, actions_of(source)))
    mask = _padded(_weights(drawn, periods))
    task = Trials(_padded([trial.inputs for trial in drawn]), targets, mask, dt, loss)
    if pool is None:
        return task
    idle = int(np.sum(~np.any(mask > 0, axis=(1, 2))))
    if idle >= size:
        must = f"leave fewer than {size} trials of the pool without an output that counts, since a step draws {size}"
        raise argument_error("periods", must, f"{idle} of {pool} came", "Name more periods, or raise `trials`.")
    return FreshTrials(TrialPool(task, size))


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of shape (time, channels) as one array (trials, longest time, channels), filled up with zeros."""
    padded = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]))
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def _targets(truth: Sequence[np.ndarray], values: Any, actions: int | None) -> Sequence[np.ndarray]:
    """The targets (time, O) of each trial: real answers as they are, integer ones through the table of values."""
    if truth[0].dtype.kind == "f":
        if values is not None:
            came = "the ground truth of this environment is real-valued, and becomes the targets as it is"
            raise argument_error("values", "be None", came)
        return truth
    if truth[0].shape[1] != 1:
        must = "have a ground truth of one integer in each sample, the action, or of real numbers"
        mend = "If these numbers shall be targets, let the environment make them floats."
        raise argument_error("env", must, f"{truth[0].shape[1]} integers came", mend)
    least, most = min(x.min() for x in truth), max(x.max() for x in truth)
    needed = max(actions or 0, int(most) + 1)
    if least < 0 or (values is None and actions is not None and most >= actions):
        listed = f"from 0 to {actions - 1}" if actions else "of at least 0"
        mend = "" if least < 0 else f"Pass `values` with a row for each action, 0 to {most}, if these are meant."
        raise argument_error("env", f"have actions {listed} as its ground truth", f"{least if least < 0 else most} came", mend)
    table = np.eye(needed) if values is None else real_array("values", values)
    if table.ndim not in (1, 2) or 0 in table.shape or len(table) < needed:
        must = f"have shape (actions,) or (actions, outputs), for the {needed} actions 0 to {needed - 1}"
        raise argument_error("values", must, f"its shape is {table.shape}")
    table = table.reshape(len(table), -1)
    return [table[x[:, 0]] for x in truth]


def _weights(trials: Sequence[Trial], periods: Any) -> Sequence[np.ndarray]:
    """The weights (time, 1) of the samples of each trial in the loss."""
    if periods is None:
        return [np.ones((len(trial.inputs), 1)) for trial in trials]
    if not isinstance(periods, Iterable):
        raise argument_error("periods", "be names of periods, or weights by name", f"{periods!r} came")
    names = [periods] if isinstance(periods, str) else periods
    named = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
    known = list(dict.fromkeys(name for trial in trials for name in trial.periods))
    for name, weight in named.items():
        if name not in known:
            listed = f"periods of the environment, which are {', '.join(map(repr, known))}" if known else "None"
            came = f"{name!r} came" if known else "the environment has no periods"
            raise argument_error("periods", f"be {listed}", came)
        named[name] = number(f"periods[{name!r}]", weight, least=0.0)
    weights = [np.zeros((len(trial.inputs), 1)) for trial in trials]
    for trial, row in zip(trials, weights, strict=True):
        for name in named.keys() & trial.periods.keys():
            samples = trial.periods[name]
            row[samples] = np.maximum(row[samples], named[name])
    if not any(np.any(row > 0) for row in weights):
        listed = ", ".join(map(repr, named))
        came = f"{listed} has no sample of positive weight in any trial" if named else "none came"
        raise argument_error("periods", "name a period in which the output counts", came)
    return weights
