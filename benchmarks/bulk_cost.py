"""What a step of learning with a random bulk costs: the theory over its order, and networks over their number of neurons.

The task is an exponential filter of 100 Euler steps, at rank 1. All contenders learn in turn in one process, in several rounds,
and each round gives one ratio to the theory of order 4. The table shows the medians, in seconds of the processor. Beside them
stands the error: the largest deviation of the overlaps after 100 steps of learning, at radius 0.5. That of an order is relative
to order 7, and that of a number of neurons is the root mean square over four networks.
"""

import time
from typing import Any

import jax
import numpy as np

import overlaps as ov

RADIUS, ROUNDS, STEPS = 0.5, 5, 10
NET = ov.Overlaps.random(0, n=None).replace(zu=0.4, vm=0.4, vu=0.2)
TASK, RNN = ov.tasks.exponential_filter(0.2, horizon=10.0), ov.RNN(dt=0.1)
ORDERS, SIZES, DRAWS = (0, 1, 2, 3, 4, 5, 6), (100, 200, 400, 800), 4


def trained(state: Any, steps: int) -> np.ndarray:
    """The overlaps after so many steps."""
    return ov.learn(state, TASK, RNN, ov.GradientDescent(0.01, steps), saves=2)["sigma"].isel(time=-1).values


def deviation(neurons: int, limit: np.ndarray) -> float:
    """The deviation of networks from the limit: the root mean square over draws of the largest one."""
    off = [np.max(np.abs(trained(NET.sample(neurons, draw, bulk=RADIUS), 100) - limit)) for draw in range(DRAWS)]
    return float(np.sqrt(np.mean(np.square(off))))


def main() -> None:
    """Time a step of each contender, measure its error, and print the table."""
    jax.config.update("jax_enable_x64", True)
    limit = trained(NET.with_bulk(RADIUS, 7), 100)
    theories = {f"order {order}": NET.with_bulk(RADIUS, order) for order in ORDERS}
    networks = {f"{neurons} neurons": NET.sample(neurons, 0, bulk=RADIUS) for neurons in SIZES}
    errors = {name: float(np.max(np.abs(trained(state, 100) - limit))) for name, state in theories.items()}
    errors |= {f"{neurons} neurons": deviation(neurons, limit) for neurons in SIZES}
    contenders = theories | networks
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(ROUNDS + 1):  # the first one compiles
        for name, state in contenders.items():
            extra = 400 if np.shape(state.factor)[0] < 300 else 40
            spent = []
            for steps in (STEPS, STEPS + extra):  # the difference of two runs has no constant cost in it
                start = time.process_time()
                trained(state, steps)
                spent.append(time.process_time() - start)
            if round_:
                seconds[name].append((spent[1] - spent[0]) / extra)
    print(f"{'':16}{'units':>8}{'ms / step':>12}{'ratio to order 4':>18}{'error':>12}")
    for name, state in contenders.items():
        ratio = np.median(np.divide(seconds[name], seconds["order 4"]))
        print(f"{name:16}{np.shape(state.factor)[0]:8}{1e3 * np.median(seconds[name]):12.3g}{ratio:18.3g}{errors[name]:12.1e}")


if __name__ == "__main__":
    main()
