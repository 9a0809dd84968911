"""A pool of trials: each step of learning draws some of them."""

import equinox as eqx
import jax
import jax.numpy as jnp

from overlaps.tasks._trials import TrialGenerator, Trials


class TrialPool(TrialGenerator):
    """Draws trials from a large fixed set, the pool: each key draws `number` different trials, all sets equally likely.

    It serves where a program outside of JAX makes the trials, since a compiled step of learning cannot run such a program. The
    steps see the trials of the pool again and again, so that what is learned is the loss of the pool.
    `FreshTrials(TrialPool(pool, number))` is the task. `from_neurogym` makes this object.

    - `pool`: the trials to draw from, a single `Trials`.
    - `number`: the number of trials in a set, at most the number of trials in the pool.
    """

    pool: Trials
    number: int = eqx.field(static=True)

    def trials(self, key: jax.Array) -> Trials:
        rows = jax.random.choice(key, len(self.pool.inputs), (self.number,), replace=False)
        inputs, targets, mask = (jnp.asarray(x)[rows] for x in (self.pool.inputs, self.pool.targets, self.pool.mask))
        return Trials(inputs, targets, mask, self.pool.dt, self.pool.loss_function)
