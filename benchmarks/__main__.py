"""`python -m benchmarks [--quick] [--only NAME] [--json] [--on DIR]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from benchmarks.array import w7
from benchmarks.backlog import w4
from benchmarks.boinc import boinc
from benchmarks.condor import condor
from benchmarks.dependencies import w6
from benchmarks.ground import enter_namespace, ground
from benchmarks.report import Report
from benchmarks.saving import save
from benchmarks.ssh import ssh
from benchmarks.workloads import w1, w2, w3, w5

WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": w6,
    "W7": w7,
    "SAVE": save,
    "SSH": ssh,
    "CONDOR": condor,
    "BOINC": boinc,
}


def main() -> None:
    """Run the chosen workloads, each on a fresh spool, and show what came out."""
    options = _options()
    if options.on is None:
        enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: clean up, then end
    report, load = Report(as_json=options.json), os.getloadavg()[0]
    with ground(options.on) as measured:
        report.say(f"measuring on {measured.kind}")
        for name in options.only or WORKLOADS:
            report.say(f"{name}: {WORKLOADS[name].__doc__}")
            folder = measured.path / name
            folder.mkdir()
            WORKLOADS[name](folder, report, quick=options.quick)
    report.close(f"{measured.kind}; load average at the start {load:.1f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a minute")
    parser.add_argument(
        "--only", action="append", type=str.upper, choices=WORKLOADS, help="may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="JSON Lines on standard output")
    parser.add_argument(
        "--on",
        type=Path,
        metavar="DIR",
        help="measure in DIR instead of a file system of our own",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
