"""What breaks perfect twins: how much G + eps J, which no gradient flow feels, changes the outputs under other ways to learn.

This prints the table "What breaks the perfect twins" of docs/identifiability.md: the root mean square change of the impulse
response (of the output, on trials) while `Overlaps.random(0)` learns, per unit length of eps J. The exponent is that of the
learning rate, from 4e-3 to 1e-3. Takes about two minutes.
"""

import functools

import jax
import numpy as np
import optax

import overlaps as ov

jax.config.update("jax_enable_x64", True)
DURATION, EPS, LEARNING_RATES = 2.0, 0.1, (4e-3, 2e-3, 1e-3)
NET, J, RNN = ov.Overlaps.random(0), np.diag([1.0, 1.0, -1.0, -1.0]), ov.RNN(dt=0.1)  # vectors in the order m, u, v, z
TASK, SECOND = (ov.tasks.exponential_filter(rate, horizon=5.0) for rate in (0.2, 0.8))


def flow(duration=DURATION, **options):
    """Gradient flow with errors of the solver far below what is measured."""
    return ov.GradientFlow(duration, rtol=1e-11, atol=1e-13, **options)


def change(protocol, direction=J, neurons=None, rnn=RNN, observe="impulse_response", key=None):
    """The root mean square difference of what is observed with and without eps x direction, per unit length of this."""
    seen = []
    for gram in (NET.gram, NET.gram + EPS * direction):
        state = ov.Overlaps(gram)
        state = state.sample(neurons, 0) if neurons else state
        course = ov.trajectory(state, protocol, rnn, saves=11, observe=observe, key=key)
        seen.append(np.asarray(getattr(course, observe)))
    return np.sqrt(np.mean((seen[1] - seen[0]) ** 2)) / (EPS * np.linalg.norm(direction))


def under_descent(task, rule, **options):
    """The change at the smallest learning rate, and the exponent of the learning rate."""
    changes = [change([ov.Phase("A", task, rule(rate))], **options) for rate in LEARNING_RATES]
    exponent = np.polyfit(np.log(LEARNING_RATES), np.log(changes), 1)[0]
    return f"{changes[-1]:8.1e}   exponent {exponent:5.2f}"


def descent(optimizer=optax.sgd, effective=1.0, duration=DURATION):
    """Descent to the same learning time at each learning rate; `effective` is the rate of the optimizer per learning rate."""
    return lambda rate: ov.GradientDescent(effective * rate, round(duration / rate), optimizer)


def decayed(learning_rate):
    """Plain descent with a weight decay of 0.5."""
    return optax.chain(optax.add_decayed_weights(0.5), optax.sgd(learning_rate))


def main() -> None:
    """Print the rows of the table as they come."""
    teacher = ov.Overlaps(np.eye(4)).replace(zm=0.5, vu=0.5)
    erf = ov.RNN("erf", dt=0.1)
    trials = ov.tasks.teacher(teacher, erf, 0, trials=4, duration=5.0, noise=1.0)
    rates = {"u": 2.0, "z": 0.5}
    first = [ov.Phase("A", TASK, flow())]
    unequal = [ov.Phase("A", TASK, flow(rates=rates))]
    frozen = [ov.Phase("A", TASK, flow(rates={"m": 0.0}))]
    later = [ov.Phase("A", TASK, flow(1.0)), ov.Phase("B", SECOND, flow(1.0, rates={"m": 0.0}))]
    for name, measure in {
        "gradient flow, rtol 1e-8": lambda: f"{change([ov.Phase('A', TASK, ov.GradientFlow(DURATION))]):8.1e}",
        "gradient flow, rtol 1e-11": lambda: f"{change(first):8.1e}",
        "plain descent": lambda: under_descent(TASK, descent()),
        "momentum 0.5": lambda: under_descent(TASK, descent(functools.partial(optax.sgd, momentum=0.5), 0.5)),
        "momentum 0.9": lambda: under_descent(TASK, descent(functools.partial(optax.sgd, momentum=0.9), 0.1)),
        "weight decay 0.5": lambda: under_descent(TASK, descent(decayed)),
        "label noise of std 1": lambda: under_descent(ov.tasks.label_noise(TASK, 1.0), descent(), key=0),
        "unequal rates, J": lambda: f"{change(unequal):8.1e}",
        "unequal rates, J M": lambda: f"{change(unequal, J @ np.diag([1.0, rates['u'], 1.0, rates['z']])):8.1e}",
        "m frozen, J": lambda: f"{change(frozen):8.1e}",
        "m frozen, J M": lambda: f"{change(frozen, J @ np.diag([0.0, 1.0, 1.0, 1.0])):8.1e}",
        "m frozen in the second half, J": lambda: f"{change(later):8.1e}",
        "Adam, 100 neurons": lambda: under_descent(TASK, descent(optax.adam, duration=DURATION / 2), neurons=100),
        "erf, flow on trials": lambda: f"{change([ov.Phase('A', trials, flow())], rnn=erf, observe='output'):8.1e}",
        "linear, flow on the same trials": lambda: f"{change([ov.Phase('A', trials, flow())], observe='output'):8.1e}",
    }.items():
        print(f"{name:32} {measure()}", flush=True)


if __name__ == "__main__":
    main()
