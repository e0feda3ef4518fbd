"""Which attempts are known to run, and what their runner told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Told = dict[str, Any]


class Running:
    """By the attempts' names. How many cores they have together is known without counting."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, Told]] = {}
        self.cpus = 0

    def __len__(self) -> int:
        return len(self._told)

    def begin(self, name: str, cpus: int, told: Mapping[str, Any]) -> None:
        """It runs; told again, it has the newer word."""
        self.end(name)
        self._told[name] = (cpus, dict(told))
        self.cpus += cpus

    def used(self, name: str, told: Mapping[str, Any]) -> None:
        """What it uses now, if it runs."""
        if name in self._told:
            self._told[name][1].update(told)

    def end(self, name: str) -> Told:
        """It runs no more, if it did; what was told of it."""
        cpus, told = self._told.pop(name, (0, {}))
        self.cpus -= cpus
        return told

    def get(self, name: str) -> Told | None:
        """What was told of it; None: it does not run."""
        found = self._told.get(name)
        return None if found is None else found[1]
