"""A consumer who takes results away at random moments, and notices when one comes twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
from pathlib import Path

from tests.crash.workload import TAKEN

PAUSE_S = 0.002
CHANCE = 0.2  #: that a result that lies there is taken in one look


class Consumer:
    """Moves `results/[BOX/]NAME.result` to `taken/BOX~NAME.result`, its folder of files too."""

    def __init__(self, home: Path, seed: int) -> None:
        self._results = home / "spool" / "results"
        self._taken = home / "taken"
        self._taken.mkdir(exist_ok=True)
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.complaints: list[str] = []
        self.digests: dict[Path, str] = {}

    def __enter__(self) -> Consumer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            with contextlib.suppress(FileNotFoundError):
                self._look()

    def _look(self) -> None:
        for folder, _, names in os.walk(self._results):
            for name in names:
                is_mine = name.endswith(".result") and name != f"{TAKEN}.result"
                if is_mine and self._random.random() < CHANCE:
                    self._take(Path(folder) / name)

    def _take(self, result: Path) -> None:
        flat = str(result.relative_to(self._results)).replace("/", "~")
        target = self._taken / flat
        if target.exists():
            self.complaints.append(f"{flat} was delivered twice")
            target = self._taken / f"again-{len(self.complaints)}-{flat}"
        files = result.with_suffix(".files")
        parts = [(result, target), (files, target.with_suffix(".files"))]
        self._random.shuffle(parts)
        self.digests[target] = hashlib.sha256(result.read_bytes()).hexdigest()
        for source, place in parts:
            if source.exists():
                source.rename(place)

    def changed(self) -> list[str]:
        """Results that were written to after they could be seen."""
        return [
            f"{path.name} changed after its delivery"
            for path, digest in self.digests.items()
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest
        ]
