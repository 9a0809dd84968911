"""Curves per second of a sweep, beside a plain loop over `learn`, as a ratio in one process.

Rank-1 overlaps learn an exponential filter by 2,000 steps of descent. The loop trains a few of the same networks one by one,
and writes nothing. The sweep trains all, and writes them to a new store in a temporary folder. Both are timed after a first
call that compiles. The last lines say what 10^5 and 10^6 curves would take.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import overlaps as ov

TASK, RNN = ov.tasks.exponential_filter(rate=0.2), ov.RNN(dt=0.1)
LOOP = 20


def build(learning_rate: float, seed: int) -> dict[str, Any]:
    """One network."""
    rule = ov.GradientDescent(learning_rate, steps=2000)
    return {"state": ov.Overlaps.random(seed), "task": TASK, "rnn": RNN, "rule": rule}


def swept(curves: int, block: int) -> tuple[float, int, int]:
    """Seconds, bytes on disk and files of a sweep."""
    over = {"learning_rate": [0.004, 0.005], "seed": range(curves // 2)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.zarr"
        start = time.perf_counter()
        ov.sweep(build, over, path, block=block)
        seconds = time.perf_counter() - start
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return seconds, sum(sizes), len(sizes)


def main() -> None:
    """Time both, for several sizes of blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=2000, help="number of curves of the sweep (default: 2000)")
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=[16, 64, 128, 250], help="sizes of blocks (default: 16 64 128 250)"
    )
    arguments = parser.parse_args()

    def loop() -> float:
        start = time.perf_counter()
        for seed in range(LOOP):
            ov.learn(**build(0.005, seed), saves=51)
        return LOOP / (time.perf_counter() - start)

    loop()
    plain = loop()
    print(f"{'':16}{'curves/s':>10}{'ratio':>8}{'bytes per curve':>18}{'files':>8}{'10^5 curves':>14}{'10^6 curves':>14}")
    print(f"{'loop over learn':16}{plain:10.1f}{1.0:8.1f}{'':26}{1e5 / plain / 60:10.0f} min{1e6 / plain / 3600:12.1f} h")
    for block in arguments.blocks:
        swept(2 * block, block)
        seconds, size, files = swept(arguments.curves, block)
        rate = arguments.curves / seconds
        each = f"{size / arguments.curves:18,.0f}{files:8,}"
        whole = f"{1e5 / rate / 60:10.0f} min{1e6 / rate / 3600:12.1f} h"
        print(f"block={block:<10}{rate:10.1f}{rate / plain:8.1f}{each}{whole}")


if __name__ == "__main__":
    main()
