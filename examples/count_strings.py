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

    spool = Spool(args.spool).options(agents=args.agents)
    # awk, because grep counts lines and says with its exit code whether there were any. Each
    # command runs in an empty folder with its inputs in it, so it sees the file by its bare name.
    program = "BEGIN { FS = word } NF { n += NF - 1 } END { print n + 0 }"
    tasks = {
        spool.command(
            ["awk", "-v", f"word={args.string}", program, file.name], inputs=[file]
        ): file
        for file in args.files
    }
    total = 0
    for task, file in tasks.items():
        task.result()  # raises if the command failed
        count = int((task.files / "stdout").read_text())
        total += count
        print(f"{count:7}  {file}")
    print(f"{total:7}  in all")


if __name__ == "__main__":
    main()
