"""What `make demo` runs: real work through a daemon of its own on a fresh spool, in a minute.

A sweep of a simulation as Python calls, a script dropped with `cp`, a word count with input and
output files, a task that fails and a file that is refused. Then a table and a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sweep import magnetisation, temperatures

from spoolmw import Spool, SpoolmwError, TaskFailed

HERE = Path(__file__).resolve().parent
TEXTS = sorted(HERE.parent.glob("docs/*.md"))
PATIENCE_S = 30.0
say = Console(highlight=False).print


def main() -> None:
    parser = argparse.ArgumentParser(description="spoolmw at work")
    parser.add_argument("--spool", type=Path, default=Path("demo-spool"), help="is made afresh")
    parser.add_argument("--temperatures", type=int, default=24)
    parser.add_argument("--sweeps", type=int, default=600)
    args = parser.parse_args()

    root = fresh(args.spool)
    table = Table("what", "how", "result", title="what came out of it", title_justify="left")
    with daemon(root):
        spool = Spool(root)
        found = sweep(spool, temperatures(args.temperatures), args.sweeps)
        plot = draw(found, root.parent / f"{root.name}-sweep.png")
        table.add_row(
            "sweep", f"{len(found)} Python calls", f"{plot.name}: order breaks at 2.27"
        )
        table.add_row("hello.sh", "cp hello.sh incoming/", script(root))
        table.add_row("word count", "TOML, input and output files", word_count(root))
        table.add_row("a division", "Python call that fails", failure(spool))
        table.add_row("typo.toml", "refused file", refusal(root))
    say(table)
    ctl = os.path.relpath(Path(sys.executable).with_name("spoolmw-ctl"))
    say(f"The spool is {root}\nThe plot is {plot}", soft_wrap=True)
    say(f"Look around: {ctl} --spool {os.path.relpath(root)} ls --all", soft_wrap=True)


def fresh(root: Path) -> Path:
    """An empty folder; what an earlier demo left there goes, and nothing else does."""
    root = root.absolute()
    if root.exists():
        if not (root / "incoming").is_dir():
            sys.exit(f"{root} is there and is no spool; name another with --spool.")
        shutil.rmtree(root)
    root.mkdir(parents=True)
    return root


@contextmanager
def daemon(root: Path) -> Iterator[None]:
    """A daemon of our own, until the work is done."""
    log = root.parent / f"{root.name}.log"
    command = [sys.executable, "-m", "spoolmw.daemon.main", "--spool", str(root)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    try:
        wait_for(lambda: (root / "control.sock").exists() or process.poll() is not None)
        if process.poll() is not None:
            sys.exit(f"The daemon did not start:\n{log.read_text()}")
        say(f"spoolmwd runs as process {process.pid} on {root}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        say("spoolmwd has stopped; nothing is left running")


def sweep(spool: Spool, points: list[float], sweeps: int) -> dict[float, float]:
    """The magnetisation of a magnet at each temperature: one task for each."""
    tasks = {spool.submit(magnetisation, t, sweeps=sweeps): t for t in points}
    bar = track(spool.as_completed(tasks), "sweep of the Ising model", total=len(tasks))
    return {tasks[task]: task.result() for task in bar}


def draw(found: dict[float, float], plot: Path) -> Path:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(sorted(found), [found[t] for t in sorted(found)], "o-")
    axes.axvline(2.269, linestyle=":", label="infinite magnet: 2.269")
    axes.set(xlabel="temperature", ylabel="magnetisation", title="Ising model, 20 x 20 spins")
    axes.legend()
    figure.savefig(plot, dpi=120)
    plt.close(figure)
    return plot


def script(root: Path) -> str:
    """Drop a script as anybody would. It is taken when it has settled, after a second."""
    shutil.copy(HERE / "drops" / "hello.sh", root / "incoming")
    return text_when_there(root / "results" / "hello.sh.result", "hello.sh.files/stdout")


def word_count(root: Path) -> str:
    """A command with files: inputs in a folder beside it, which has to be there first."""
    inputs = root / "incoming" / "words.toml.in"
    inputs.mkdir()
    for file in [HERE / "drops" / "words.sh", *TEXTS]:
        shutil.copy(file, inputs)
    shutil.copy(HERE / "drops" / "words.toml", root / "incoming")
    table = text_when_there(
        root / "results" / "words.toml.result", "words.toml.files/words.tsv"
    )
    words = dict(line.split("\t") for line in table.splitlines())
    return f"{len(TEXTS)} pages, {sum(map(int, words.values()))} words, {len(words)} different"


def failure(spool: Spool) -> str:
    """A task that fails raises here what it raised there."""
    try:
        spool.submit(divide, 1, 0).result(PATIENCE_S)
    except (ZeroDivisionError, TaskFailed) as error:
        return f"{type(error).__name__}: {error}"
    return "it did not fail!"


def divide(a: float, b: float) -> float:
    return a / b


def refusal(root: Path) -> str:
    """A misspelt key is refused, with the reason beside the file."""
    shutil.copy(HERE / "drops" / "typo.toml", root / "incoming")
    reason = root / "rejected" / "typo.toml.reason"
    wait_for(reason.exists)
    return reason.read_text().strip()


def text_when_there(result: Path, output: str) -> str:
    """An output file of a command, when its result has been delivered."""
    wait_for(result.exists)
    trailer = json.loads(result.read_bytes().splitlines()[-1])
    if trailer["state"] != "done":
        raise SpoolmwError(f"{result.name} ended as {trailer['state']}.", why=str(trailer))
    return (result.parent / output).read_text().strip()


def wait_for(condition: Callable[[], bool]) -> None:
    """Look every 20 ms; a minute's demo need not be cleverer."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("That took too long; the daemon's log is beside the spool.")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
