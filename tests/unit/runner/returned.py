"""Staged results for the tests of validators, as workers write them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from spoolmw.runner import outputs, results, safe
from spoolmw.runner.results import Ended
from spoolmw.runner.staged import Returned

TASK = "0193a0000000" + "1" * 20


class Stage:
    """A folder `stage/` in which replicas leave what they return."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def value(self, replica: int, value: Any, *, pickled: bool = False) -> Returned:
        """A call's result."""
        ended = Ended()
        ended.codec = "pickle" if pickled else "safe"
        ended.value = [pickle.dumps(value)] if pickled else safe.parts(value)
        return self.ended(replica, ended, trusted=pickled)

    def ended(self, replica: int, ended: Ended, *, trusted: bool = False) -> Returned:
        attempt = f"{TASK}.{replica}.1"
        results.write(str(self.folder / attempt), "sum", attempt, ended)
        return Returned(replica, str(self.folder / attempt), trusted)

    def files(self, replica: int, **contents: str) -> Returned:
        """A command's result; `stdout="..."` and so on."""
        folder = self.folder / f"{TASK}.{replica}.1.files"
        outputs.fresh(str(folder))
        for name, text in contents.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        ended = Ended()
        ended.files = outputs.describe_own(str(folder))
        return self.ended(replica, ended)

    def values(self, *values: Any, pickled: bool = False) -> list[Returned]:
        return [self.value(number, each, pickled=pickled) for number, each in enumerate(values)]
