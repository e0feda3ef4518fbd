"""A task that saves each step and notes it; where it goes on, nothing is lost but the step at hand."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from spoolmw import checkpoint


def wander(steps: int, note: str = "", pause_s: float = 0.08) -> float:
    """A sum of random numbers; each step that is done is noted with the machine that did it."""
    dice, total = random.Random(1), [0.0]
    for step in checkpoint.steps(range(steps), state={"dice": dice, "total": total}):
        total[0] += dice.random() * (step + 1)
        if note:
            with open(note, "a") as file:
                file.write(f"{step} {os.uname().nodename}\n")
            time.sleep(pause_s)
    return total[0]


def steps_done(note: Path) -> list[tuple[int, str]]:
    """Each step and where it was done, in order."""
    lines = note.read_text().splitlines() if note.exists() else []
    return [(int(step), machine) for step, machine in map(str.split, lines)]
