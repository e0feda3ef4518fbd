"""Do not believe one machine: each average is computed on two hosts at least, which must agree.

python examples/redundancy.py --spool spool --liar pc03

It needs hosts to choose from. On one machine several local agents may stand for several hosts:
docs/redundancy.md says how, and --liar names one of these that returns wrong values.
"""

from __future__ import annotations

import argparse
import os
import random

from spoolmw import Spool


def average(seed: int, walkers: int, liar: str) -> float:
    """How far random walkers get on average; a liar's memory is bad."""
    chance = random.Random(seed)
    far = [abs(sum(chance.choice((-1, 1)) for _ in range(100))) for _ in range(walkers)]
    value = sum(far) / walkers
    return value * 1.01 if os.environ.get("SPOOLMW_MACHINE") == liar else value


def same(one: float, two: float) -> bool:
    """What agreeing is: the last digits may differ between processors."""
    return abs(one - two) <= 1e-9 * max(one, two)


def sound(value: float) -> bool:
    """What a result is at all."""
    return 0 <= value <= 100


def main() -> None:
    parser = argparse.ArgumentParser(description="averages on which several hosts agree")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--walkers", type=int, default=200)
    parser.add_argument("--liar", default="", help="the host that returns wrong values")
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    voted = grid.options(quorum=2, target=3, validator=(same, sound))
    tasks = [voted.submit(average, seed, args.walkers, args.liar) for seed in range(args.tasks)]
    for task in tasks:
        value = task.result()
        votes = spool.attach(id=task.id).record["votes"]
        said = [f"{each['host']}: {each['verdict']}" for each in votes["replicas"]]
        print(f"{value:.4f}  {', '.join(said)}")


if __name__ == "__main__":
    main()
