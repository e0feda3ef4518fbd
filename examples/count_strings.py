"""Count a string in many files: a command for each file, with the file as its input.

python examples/count_strings.py --spool spool the docs/*.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from spoolmw import Spool


def main() -> None:
    parser = argparse.ArgumentParser(description="count a string in files")
    parser.add_argument("--spool", help="the spool of a running spoolmwd")
    parser.add_argument(
        "--agents", nargs="+", default=[], help="where to run; default: anywhere"
    )
    parser.add_argument("string")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()

    spool = Spool(args.spool)
    grid = spool.options(agents=args.agents) if args.agents else spool
    # awk, because grep counts lines and fails where there are none. A command runs in an empty
    # folder with its inputs in it, so it sees the file by its bare name.
    program = "BEGIN { FS = word } NF { n += NF - 1 } END { print n + 0 }"
    tasks = {
        grid.command(
            ["awk", "-v", f"word={args.string}", program, file.name], inputs=[file]
        ): file
        for file in args.files
    }
    total = 0
    for task, file in tasks.items():
        count = int(task.result().stdout)  # raises if the command failed
        total += count
        print(f"{count:7}  {file}")
    print(f"{total:7}  in all")


if __name__ == "__main__":
    main()
