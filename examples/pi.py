"""Monte-Carlo pi: many independent calls and one sum.

python examples/pi.py --spool spool --tasks 20 --points 200000
"""

from __future__ import annotations

import argparse
import random
from itertools import repeat

from spoolmw import Spool


def hits(seed: int, points: int) -> int:
    """How many of `points` random points of the unit square lie within the quarter circle."""
    draw = random.Random(seed).random
    return sum(draw() ** 2 + draw() ** 2 <= 1 for _ in range(points))


def main() -> None:
    parser = argparse.ArgumentParser(description="Monte-Carlo pi")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--points", type=int, default=200_000, help="of each task")
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    # A seed of its own for each task makes the answer the same in every run and on every host.
    total = sum(grid.map(hits, range(args.tasks), repeat(args.points)))
    print(f"pi is about {4 * total / (args.tasks * args.points):.5f}")


if __name__ == "__main__":
    main()
