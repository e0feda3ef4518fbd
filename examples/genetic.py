"""A genetic algorithm: each generation is a barrier, because the next one grows from the best.

It looks for the shortest round trip through some cities.

    python examples/genetic.py --spool spool --generations 10
"""

from __future__ import annotations

import argparse
import math
import random
from itertools import pairwise, repeat

from spoolmw import Spool

Tour = list[int]
CITIES = [(math.cos(k * 2.4) * k, math.sin(k * 2.4) * k) for k in range(1, 21)]


def length(tour: Tour) -> float:
    """The length of the round trip."""
    return sum(math.dist(CITIES[a], CITIES[b]) for a, b in pairwise([*tour, tour[0]]))


def improved(tour: Tour, seed: float, tries: int) -> Tour:
    """The real work: the best tour that turning random pieces of `tour` around leads to."""
    rng = random.Random(seed)
    for _ in range(tries):
        start, end = sorted(rng.sample(range(len(tour) + 1), 2))
        other = tour[:start] + tour[start:end][::-1] + tour[end:]
        tour = min(tour, other, key=length)
    return tour


def child(rng: random.Random, mother: Tour, father: Tour) -> Tour:
    """A piece of the mother's tour, and the rest in the father's order."""
    start, end = sorted(rng.sample(range(len(mother) + 1), 2))
    piece = mother[start:end]
    return piece + [city for city in father if city not in piece]


def main() -> None:
    parser = argparse.ArgumentParser(description="a genetic algorithm with a barrier")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--population", type=int, default=12)
    parser.add_argument("--tries", type=int, default=500, help="of each task")
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    rng = random.Random(1)
    population = [rng.sample(range(len(CITIES)), len(CITIES)) for _ in range(args.population)]
    for generation in range(args.generations):
        seeds = [rng.random() for _ in population]
        better = grid.map(improved, population, seeds, repeat(args.tries))
        ranked = sorted(better, key=length)  # the barrier: all have to be there
        print(f"generation {generation}: {length(ranked[0]):.2f}")
        parents = ranked[: args.population // 2]
        children = [child(rng, *rng.sample(parents, 2)) for _ in parents]
        population = parents + children
    print("the best tour:", *ranked[0])


if __name__ == "__main__":
    main()
