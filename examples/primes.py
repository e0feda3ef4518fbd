"""Prime search over ranges, through the interface of the standard library.

Whoever has a program for ProcessPoolExecutor changes one line.

    python examples/primes.py --spool spool --below 200000
"""

from __future__ import annotations

import argparse
import math

from spoolmw import Spool


def primes_in(numbers: range) -> list[int]:
    """The primes among `numbers`, by trial division."""
    return [n for n in numbers if n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description="primes below a number")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--below", type=int, default=200_000)
    parser.add_argument("--step", type=int, default=10_000, help="numbers in one task")
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    starts = range(0, args.below, args.step)
    ranges = [range(start, min(start + args.step, args.below)) for start in starts]
    with grid.executor() as pool:  # before: with ProcessPoolExecutor() as pool:
        found = [prime for primes in pool.map(primes_in, ranges) for prime in primes]
    print(f"{len(found)} primes below {args.below}, the largest is {found[-1]}")


if __name__ == "__main__":
    main()
