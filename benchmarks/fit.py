"""How long `inference.fit` takes for a network of rank 1 from 100 random starts, and how many of them arrive.

The curves are the impulse responses of a network that learns two tasks, at 21 learning times each, with noise 1e-3. The first
call compiles two programs. The second call has other data and starts, and compiles nothing.
"""

import resource
import time

import overlaps as ov

STARTS = 100


def main() -> None:
    """Time two fits, and print the starts that arrived and the steps that they took."""
    net, rnn = ov.Overlaps.random(3, n=50), ov.RNN(dt=0.1)
    tasks = {"A": ov.tasks.exponential_filter(0.2, horizon=5.0), "B": ov.tasks.exponential_filter(0.8, horizon=5.0)}
    protocol = [ov.Phase(name, task, ov.GradientDescent(1e-2, steps=150)) for name, task in tasks.items()]
    for call, key in (("first call", 0), ("second call", 1)):
        data = ov.inference.observations(net, protocol, rnn, noise_key=key, saves=21)
        usage, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        result = ov.inference.fit(data, protocol, rnn, starts=STARTS, key=key)
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        steps = result["start_steps"].values
        print(f"{call}: {wall:.1f} s, {cpu:.1f} s of all cores; {result['arrived'].sum().item()} of {STARTS} starts arrived,")
        print(f"  steps: median {int(sorted(steps)[len(steps) // 2])}, most {steps.max()}")


if __name__ == "__main__":
    main()
