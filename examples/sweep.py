"""A parameter sweep: at which temperature does a magnet stop being one?

The two-dimensional Ising model, simulated at several temperatures, one task for each. Between
2.0 and 2.6 the order breaks down (in an infinite magnet at 2.269).

    python examples/sweep.py --spool spool --temperatures 12 --sweeps 500
"""

from __future__ import annotations

import argparse
import math
import random

from spoolmw import Spool


def magnetisation(temperature: float, sweeps: int = 500, size: int = 20) -> float:
    """The mean magnetisation per spin (1: all agree, 0: no order), by Metropolis' algorithm."""
    rng = random.Random(17)
    spins = [[1] * size for _ in range(size)]
    accept = {energy: math.exp(-energy / temperature) for energy in (4, 8)}
    total = 0.0
    for sweep in range(sweeps):
        for x in range(size):
            for y in range(size):
                near = spins[x - 1][y] + spins[(x + 1) % size][y]
                near += spins[x][y - 1] + spins[x][(y + 1) % size]
                cost = 2 * spins[x][y] * near
                if cost <= 0 or rng.random() < accept[cost]:
                    spins[x][y] = -spins[x][y]
        if sweep >= sweeps // 2:  # the first half lets it forget how it began
            total += abs(sum(map(sum, spins))) / size**2
    return total / (sweeps - sweeps // 2)


def temperatures(count: int) -> list[float]:
    """`count` temperatures from 1.4 to 3.4."""
    return [1.4 + 2 * step / max(1, count - 1) for step in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Ising model: magnetisation by temperature")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--temperatures", type=int, default=12)
    parser.add_argument("--sweeps", type=int, default=500)
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    tasks = {
        grid.submit(magnetisation, t, sweeps=args.sweeps): t
        for t in temperatures(args.temperatures)
    }
    found = {}
    for task in spool.as_completed(tasks):  # in the order in which they end
        found[tasks[task]] = task.result()
        print(f"{len(found)} of {len(tasks)} done", end="\r", flush=True)
    for t in sorted(found):
        print(f"{t:5.2f}  {found[t]:5.3f}  {'#' * round(40 * found[t])}")


if __name__ == "__main__":
    main()
