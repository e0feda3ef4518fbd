"""`spoolmwd`: serves one spool in the foreground, for systemd or a terminal.

Exit status: 0 stopped or drained; 2 it could not start, nor can it before somebody mends what
the message says (a damaged or missing journal, too); 3 the journal or the disk failed, also for lack
of room: another start may help; 75 another daemon serves this spool.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from spoolmw import __version__
from spoolmw.config import Config
from spoolmw.daemon import fsck, rebuild
from spoolmw.daemon.logs import fields, log, setup
from spoolmw.daemon.owners import Owners
from spoolmw.daemon.parts import Parts
from spoolmw.daemon.room import SyncFailed, disk_full
from spoolmw.daemon.service import Service
from spoolmw.errors import (
    BadSpool,
    DiskFull,
    IllegalTransition,
    JournalCorrupt,
    SpoolBusy,
    SpoolmwError,
)
from spoolmw.spooldir.layout import Layout, check_rename, prepare
from spoolmw.spooldir.lock import SpoolLock
from spoolmw.spooldir.where import default_spool

EXIT_START = 2
EXIT_FAILED = 3
EXIT_BUSY = 75
GC_THRESHOLDS = (50_000, 20, 100)  #: records of tasks make no circles; look for them rarely
SWITCH_S = 0.0005  #: a waiting thread gets the interpreter within this time


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; returns its exit status."""
    args = _arguments(argv)
    setup(args.log_level or "info")
    try:
        return _run(args)
    except SpoolBusy as error:
        return _fail(error, EXIT_BUSY)
    except (JournalCorrupt, SyncFailed, DiskFull, IllegalTransition) as error:
        return _fail(error, EXIT_FAILED)
    except SpoolmwError as error:
        return _fail(error, EXIT_START)
    except PermissionError as error:  # of the start, of fsck or rebuild: serving tells its own
        return _fail(_closed(error), EXIT_START)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="spoolmwd",
        description="Watches a spool directory and runs the task files dropped into it.",
        epilog="example: spoolmwd --spool ./spool    then: cp job.sh spool/incoming/",
    )
    parser.add_argument(
        "--spool", type=Path, help="default: $SPOOLMW_SPOOL, /var/spool/spoolmw, ./spool"
    )
    parser.add_argument("--config", type=Path, help="default: spoolmw.toml beside the spool")
    parser.add_argument("--drain", action="store_true", help="exit when nothing is left to do")
    parser.add_argument("--force-fs", action="store_true", help="accept any file system")
    parser.add_argument("--rebuild", action="store_true", help="restore the journal, then exit")
    parser.add_argument(
        "--fsck", action="store_true", help="check spool and journal, then exit"
    )
    parser.add_argument("--json", action="store_true", help="report as JSON (rebuild, fsck)")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--version", action="version", version=f"spoolmw {__version__}")
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> int:
    spool = args.spool or default_spool()
    config = Config.find(spool, args.config)
    if not args.log_level:
        setup(config.log.level)
    if args.fsck:
        return _report(fsck.check(Layout(spool.resolve())), as_json=args.json)
    group = Owners(config.intake.group).gid
    # With a group its members may move and remove what was delivered, folders included.
    os.umask(0o027 if group is None else 0o007)
    layout = prepare(spool, force_fs=args.force_fs, group=group)
    lock = SpoolLock.acquire(layout.lock)
    try:
        check_rename(layout)
        if args.rebuild:
            return _report(rebuild.rebuild(layout), as_json=args.json)
        try:
            _serve(layout, config, args)
        except OSError as error:  # none that passes: those are dealt with where they happen
            log.error("the disk failed %s", fields(why=error), exc_info=True)
            raise disk_full(error) from error
    finally:
        lock.release()
    return 0


def _serve(layout: Layout, config: Config, args: argparse.Namespace) -> None:
    sys.setswitchinterval(SWITCH_S)
    parts = Parts(layout, config)
    parts.log_level = args.log_level or ""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        Service(parts, drain=args.drain).run()
    except (BadSpool, JournalCorrupt, SyncFailed, OSError):
        parts.journal.abandon()  # nothing more is written: the disk is not to be trusted now
        raise
    parts.close()


def _report(report: dict[str, object], *, as_json: bool) -> int:
    """Print a report of fsck or rebuild; 1 when it holds problems."""
    problems = report.get("problems", [])
    if as_json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            if key != "problems":
                print(f"{key}: {value}")
        for problem in problems if isinstance(problems, list) else []:
            print(f"problem: {problem}")
    return 1 if problems else 0


def _closed(error: PermissionError) -> SpoolmwError:
    return BadSpool(
        f"{error.filename} is not open to this user.",
        why=f"{error.strerror}; what is inside a spool is the daemon's own",
        fix="run it as the daemon's user (sudo -u) or as root",
    )


def _fail(error: SpoolmwError, status: int) -> int:
    log.error("%s", fields(event="failed", what=error.what, why=error.why))
    print(f"spoolmwd: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
