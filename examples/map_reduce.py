"""Count words in many files: map tasks read, reduce tasks take map tasks as arguments.

python examples/map_reduce.py --spool spool docs/*.md

Nothing is waited for in between: all tasks are submitted at once, and each runs when those
that it takes are done. A reduce gets the values themselves; they never pass through this program.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from spoolmw import Spool, SpoolTask

Submit = Callable[..., SpoolTask]


def count(text: str) -> Counter[str]:
    """Map: how often each word stands in a text."""
    words = (word.strip(".,:;!?()[]\"'`*#").lower() for word in text.split())
    return Counter(word for word in words if word)


def merge(counts: Sequence[Counter[str]]) -> Counter[str]:
    """Reduce: several counts as one."""
    return sum(counts, Counter())


def reduced(submit: Submit, tasks: list[SpoolTask], width: int) -> SpoolTask:
    """One task for the sum of all, by way of sums of `width` each."""
    while len(tasks) > 1:
        groups = [tasks[at : at + width] for at in range(0, len(tasks), width)]
        tasks = [submit(merge, group) for group in groups]
    return tasks[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="count words in files")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("--width", type=int, default=8, help="how many counts a reduce takes")
    parser.add_argument("--most", type=int, default=10, help="how many words are shown")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    tasks = [grid.submit(count, file.read_text(encoding="utf-8")) for file in args.files]
    total = reduced(grid.submit, tasks, max(args.width, 2)).result()
    for word, number in sorted(total.items(), key=lambda item: (-item[1], item[0]))[
        : args.most
    ]:
        print(f"{number:7}  {word}")


if __name__ == "__main__":
    main()
