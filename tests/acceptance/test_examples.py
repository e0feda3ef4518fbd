"""Each example runs as a newcomer would run it, on a real daemon, and gives the right answer."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon, end, family, left_over, running
from tests.support.waiting import wait_until

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all examples: they leave nothing behind that the next one would mind."""
    daemon = Daemon(tmp_path_factory.mktemp("examples"))
    try:
        yield daemon.start()
    finally:
        end(daemon)


def run(*command: str | Path) -> str:
    """What the program prints; it must succeed, and silently but for that."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def example(name: str, served: Daemon, *options: str | Path) -> str:
    return run(sys.executable, EXAMPLES / name, "--spool", served.spool, *options)


def test_pi(served: Daemon) -> None:
    said = example("pi.py", served, "--tasks", "8", "--points", "20000")
    assert float(said.split()[-1]) == pytest.approx(3.14159, abs=0.03)


def test_the_same_program_runs_where_one_switch_says(served: Daemon) -> None:
    options = ("--tasks", "2", "--points", "100")
    assert example("pi.py", served, "--agents", "local", *options) == example(
        "pi.py", served, *options
    )


def test_sweep(served: Daemon) -> None:
    said = example("sweep.py", served, "--temperatures", "3", "--sweeps", "60")
    rows = [line.split() for line in said.splitlines() if re.match(r" *\d\.\d\d ", line)]
    cold, _, hot = (float(row[1]) for row in rows)
    assert [row[0] for row in rows] == ["1.40", "2.40", "3.40"]
    assert cold > 0.9, "a cold magnet is one"
    assert hot < 0.5, "a hot one is none"


def test_redundancy(tmp_path: Path) -> None:
    hosts = ("pc01", "pc02", "pc03")
    config = "".join(f'[agents.{name}]\nslots = 1\nmachine = "{name}"\n' for name in hosts)
    with running(tmp_path, config=config) as daemon:
        said = example("redundancy.py", daemon, "--tasks", "3", "--liar", "pc02")
        honest = example("redundancy.py", daemon, "--tasks", "3")
    assert [line.split()[0] for line in said.splitlines()] == [
        line.split()[0] for line in honest.splitlines()
    ]
    assert "pc02: valid" not in said
    assert "pc02: invalid" in said or "pc02: inconclusive" in said


def test_primes(served: Daemon) -> None:
    said = example("primes.py", served, "--below", "1000", "--step", "100")
    assert said == "168 primes below 1000, the largest is 997\n"


def test_count_strings(served: Daemon, tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two words.txt"
    one.write_text("the cat and the dog\nand the end\n")
    two.write_text("nothing here\n")
    said = example("count_strings.py", served, "the", one, two)
    assert [line.split()[0] for line in said.splitlines()] == ["3", "0", "3"]


@pytest.mark.parametrize("width", ["2", "8"])
def test_map_reduce(served: Daemon, tmp_path: Path, width: str) -> None:
    files = [tmp_path / f"{n}.txt" for n in range(5)]
    for n, file in enumerate(files):
        file.write_text("The spool, and the grid.\n" * (n + 1))
    said = example("map_reduce.py", served, "--width", width, *files)
    assert said.split() == ["30", "the", "15", "and", "15", "grid", "15", "spool"]


def test_genetic(served: Daemon) -> None:
    options = ("--generations", "3", "--population", "6", "--tries", "60")
    said = example("genetic.py", served, *options)
    lengths = [float(line.split()[-1]) for line in said.splitlines() if "generation" in line]
    assert len(lengths) == 3
    assert lengths == sorted(lengths, reverse=True), "it gets better"
    assert sorted(map(int, said.splitlines()[-1].split()[3:])) == list(range(20))


def test_diffusion_gives_the_same_answer_though_its_worker_is_killed(
    served: Daemon,
) -> None:
    options = ("--walkers", "100", "--steps", "40000", "--every", "0.1s")
    program = [sys.executable, EXAMPLES / "diffusion.py", "--spool", served.spool, *options]
    text = [str(part) for part in program]
    saved = served.spool / "checkpoints"
    with subprocess.Popen(text, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        wait_until(lambda: list(saved.glob("*/0/1-*")), last=served.log_text)
        for pid in [each for each in family(served.pid) if not family(each)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        said, _ = running.communicate(timeout=60)
    assert said.splitlines()[-1] == example("diffusion.py", served, *options).splitlines()[-1]


@pytest.mark.parametrize("where", [(), ("--agents", "local")], ids=["anywhere", "local"])
def test_pipeline(served: Daemon, tmp_path: Path, where: tuple[str, ...]) -> None:
    files = [tmp_path / f"{n}.txt" for n in "abc"]
    for n, file in enumerate(files, 1):
        file.write_text("the spool and the grid\n" * n)
    said = run(EXAMPLES / "pipeline.sh", "--spool", served.spool, *where, *files)
    counted = {word: int(count) for count, word in map(str.split, said.splitlines())}
    assert counted == Counter({"the": 12, "spool": 6, "and": 6, "grid": 6})


def test_the_demo_shows_everything_and_leaves_nothing_running(tmp_path: Path) -> None:
    spool = tmp_path / "demo-spool"
    size = ("--temperatures", "4", "--sweeps", "40")
    said = run(sys.executable, EXAMPLES / "demo.py", "--spool", spool, *size)
    for shown in ("4 Python calls", "hello from", "different", "ZeroDivisionError", "comand"):
        assert shown in said, said
    [plot] = tmp_path.glob("*.png")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert str(spool) in "".join(said.split()), "it says where the spool is"
    assert not left_over(spool)


def test_the_demo_can_be_run_again_but_never_removes_what_is_not_its_own(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter1.tex").write_text("years of work")
    program = [sys.executable, EXAMPLES / "demo.py", "--spool", mine]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is no spool" in done.stderr
    assert (mine / "chapter1.tex").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_read_in_a_minute(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) <= (190 if name == "demo" else 75)
    assert text.startswith('"""')


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_explains_its_options(name: str) -> None:
    said = run(sys.executable, EXAMPLES / f"{name}.py", "--help")
    assert "--spool" in said
    assert name == "demo" or "--agents" in said
