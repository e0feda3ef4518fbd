"""A long simulation that goes on where it was, whatever is killed meanwhile: one line does it.

python examples/diffusion.py --spool spool --steps 20000 --every 5s
"""

from __future__ import annotations

import argparse
import random
import time

from spoolmw import Spool, checkpoint, progress


def diffuse(walkers: int, steps: int, seed: int) -> float:
    """Let walkers take random steps on a line; returns their mean square distance from its middle."""
    places, draw = [0] * walkers, random.Random(seed)
    # Now and then the state is saved between two steps. When the task is started again it is
    # restored in place, and the loop goes on. By hand, outside of a task, this is a plain loop.
    for step in checkpoint.steps(range(steps), state=(places, draw)):
        for number in range(walkers):
            places[number] += draw.choice((-1, 1))
        progress((step + 1) / steps, f"step {step + 1} of {steps}")
    return sum(place * place for place in places) / walkers


def main() -> None:
    parser = argparse.ArgumentParser(description="Diffusion on a line, resumable")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--walkers", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", default="5s", help="how often the state is saved")
    args = parser.parse_args()

    spool = Spool(args.spool).options(checkpoint_every=args.every)
    grid = spool.options(agents=args.agents) if args.agents else spool
    task = grid.submit(diffuse, args.walkers, args.steps, 7)
    while not task.done():
        told = task.progress()
        if told is not None:
            print(f"{told.fraction:.0%}, {told.text}", flush=True)
        time.sleep(1)
    print(f"mean square distance {task.result():.2f} after {args.steps} steps")


if __name__ == "__main__":
    main()
