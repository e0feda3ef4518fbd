"""SAVE: what checkpoints cost a task: a save that is not due, one that is, and coming back."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.report import Measure, Report, at_most
from benchmarks.service import Service
from benchmarks.workloads import TIMEOUT_S
from spoolmw import Spool, checkpoint, progress

MEGABYTE = 1_000_000
_LARGE_BYTES = 100 * MEGABYTE


def save(folder: Path, report: Report, *, quick: bool) -> None:
    """Checkpoints: a save that is not due, a due one of 100 MB, and going on from it."""
    calls, saves = (200_000, 3) if quick else (2_000_000, 10)
    with Service(folder) as service:
        spool = Spool(service.spool)
        seldom, often = spool.options(), spool.options(checkpoint_every=0)
        not_due_us = seldom.submit(not_due, calls).result(TIMEOUT_S)
        throttled_us = seldom.submit(throttled, calls).result(TIMEOUT_S)
        step_us = seldom.submit(one_step, calls).result(TIMEOUT_S)
        bare = plain_writes(folder, saves)
        took = often.submit(due, saves).result(TIMEOUT_S)
        back_s = often.submit(come_back).result(TIMEOUT_S)
    report.add(
        at_most("SAVE", "a save that is not due", not_due_us, "us", 2),
        at_most("SAVE", "progress() that is throttled", throttled_us, "us", 2),
        Measure("SAVE", "a step of steps(), nothing due", step_us, "us"),
        Measure("SAVE", "write and fsync of 100 MB", statistics.median(bare), "s"),
        Measure("SAVE", "a due save of 100 MB", statistics.median(took), "s"),
        at_most(
            "SAVE",
            "  ratio to write and fsync",
            statistics.median(took) / statistics.median(bare),
            "x",
            4,
        ),
        Measure("SAVE", "check and load 100 MB", back_s, "s"),
    )


def not_due(calls: int) -> float:
    """Microseconds of one `save` before the interval has passed, the loop around it included."""
    state = {"step": 1}
    checkpoint.load(None)
    before = time.perf_counter()
    for _ in range(calls):
        checkpoint.save(state)
    return (time.perf_counter() - before) / calls * 1e6


def throttled(calls: int) -> float:
    """Microseconds of one `progress`, in a flood of which a few a second get through."""
    before = time.perf_counter()
    for call in range(calls):
        progress(call / calls, "counting")
    return (time.perf_counter() - before) / calls * 1e6


def one_step(calls: int) -> float:
    """Microseconds of one step of a resumable loop."""
    before = time.perf_counter()
    for _ in checkpoint.steps(range(calls), state={"step": 1}):
        pass
    return (time.perf_counter() - before) / calls * 1e6


def due(saves: int) -> list[float]:
    """Seconds of each save of an array of 100 MB, durable and told of."""
    state = {"x": _large()}
    checkpoint.load(None)
    took = []
    for _ in range(saves):
        before = time.perf_counter()
        checkpoint.save(state)
        took.append(time.perf_counter() - before)
    return took


def come_back() -> float:
    """Seconds to check and load the newest checkpoint, of 100 MB."""
    checkpoint.save({"x": _large()})
    before = time.perf_counter()
    checkpoint.load(None)
    return time.perf_counter() - before


def plain_writes(folder: Path, times: int) -> list[float]:
    """Seconds of writing and syncing 100 MB, and nothing else, beside it."""
    data, took = _large(), []
    for _ in range(times):
        before = time.perf_counter()
        with open(folder / "plain", "wb") as file:
            file.write(data.data)
            file.flush()
            os.fsync(file.fileno())
        took.append(time.perf_counter() - before)
    (folder / "plain").unlink()
    return took


def _large() -> np.ndarray:
    return np.random.default_rng(1).random(_LARGE_BYTES // 8)
