"""How long a table of identifiability takes: the first call, which compiles, and a second call with another network.

The tables are for linear networks of ranks 1 to 3 that learn one filter or three filters in sequence, by gradient flow or by
descent in 600 steps for each filter, with 21 saved impulse responses for each. The second call has to take less than 5 s.
"""

import time

import overlaps as ov

RULES = {"flow": ov.GradientFlow(3.0), "descent": ov.GradientDescent(5e-3, steps=600)}


def main() -> None:
    """Print the times as a table."""
    rnn, rates = ov.RNN(dt=0.1), (0.2, 0.5, 1.0)
    print(f"{'rank':>4} {'tasks':>5} {'rule':8} {'first call (s)':>15} {'second call (s)':>16}")
    for rank in (1, 2, 3):
        for tasks in (1, 3):
            for name, rule in RULES.items():
                phases = [ov.Phase(str(rate), ov.tasks.exponential_filter(rate, horizon=20.0), rule) for rate in rates[:tasks]]
                seconds = []
                for seed in (0, 1):
                    start = time.perf_counter()
                    ov.inference.identifiability(ov.Overlaps.random(seed, rank), phases, rnn, saves=21)
                    seconds.append(time.perf_counter() - start)
                print(f"{rank:4} {tasks:5} {name:8} {seconds[0]:15.1f} {seconds[1]:16.2f}", flush=True)


if __name__ == "__main__":
    main()
