"""What is not asked of the kernel after a short call is neither lost nor told twice.

Each test is a program of its own: the surroundings are those of a whole process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BEGIN = """
import os, posix, signal, sys, time
from spoolmw.runner.surroundings import MOST_BRIEF, Surroundings

def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

around = Surroundings(sys.argv[1])
"""


def run(folder: Path, text: str) -> str:
    command = [sys.executable, "-c", BEGIN + text, str(folder / "scratch")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_clock_told_is_not_told_again(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
for _ in range(MOST_BRIEF):
    burn(0.004)
    assert around.used(0.004).cpu_s == 0.004
burn(0.004)
print(around.used(0.004).cpu_s)
""",
    )
    assert 0.002 < float(told) < 0.03


def test_what_the_clock_did_not_tell_is_told_with_the_next_measurement(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
for _ in range(MOST_BRIEF):
    burn(0.004)
    around.used(0.001)
print(around.used().cpu_s)
""",
    )
    assert 0.04 < float(told) < 0.1


def test_a_setting_that_was_made_is_put_back_however_short_the_call(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
for umask in (os.umask, posix.umask):
    umask(0)
    assert not around.leave(brief=True)
    print(oct(umask(0o22)))
for start in (lambda: signal.alarm(60), lambda: signal.setitimer(signal.ITIMER_REAL, 60)):
    start()
    assert not around.leave(brief=True)
    print(signal.getitimer(signal.ITIMER_REAL)[0])
""",
    )
    assert told.split() == ["0o22", "0o22", "0.0", "0.0"]
