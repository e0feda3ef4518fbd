"""Keeps what a command printed for its next start in another folder, beside its checkpoints.

What a job prints goes when its attempt is lost, and a new start takes up a checkpoint in which that
is not. So the files have more names: whoever removes one leaves the others.
"""

from __future__ import annotations

import contextlib
import os
from typing import Callable

from . import outputs
from .sandbox import BEFORE, CHECKPOINTS
from .snapshot import PRINTED


class Printed:
    """The printed files of one attempt in the small spool at `root`."""

    def __init__(self, root: str, attempt: str) -> None:
        self._staged = f"{root}/stage/{attempt}.files"
        self._kept = f"{root}/tmp/printed"
        self._place = f"{root}/{CHECKPOINTS}/{BEFORE}"  #: a link leads there to what stays

    def note(self) -> None:
        """A checkpoint was made or taken up: what was printed until then belongs to it."""
        for folder in (self._kept, self._place):
            for name in PRINTED:
                with contextlib.suppress(OSError):  # another file system: `hand_over` copies
                    os.makedirs(folder, 0o700, exist_ok=True)
                    _link(f"{self._staged}/{name}", f"{folder}/{name}")

    def hand_over(self) -> None:
        """The attempt has ended, and its checkpoint travels: so does what was printed."""
        for name in PRINTED:
            source, target = f"{self._kept}/{name}", f"{self._place}/{name}"
            with contextlib.suppress(OSError):  # then it goes on without
                os.makedirs(self._place, 0o700, exist_ok=True)
                if not _are_one(source, target):
                    _copy(source, target)


def _link(source: str, target: str) -> None:
    if not _are_one(source, target):
        _replace(lambda half: os.link(source, half), target)


def _copy(source: str, target: str) -> None:
    _replace(lambda half: outputs.copy(source, half, 0o600), target)


def _are_one(source: str, target: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samefile(source, target)
    return False


def _replace(make: Callable[[str], object], target: str) -> None:
    """Put what `make` makes in the place of `target`, at once."""
    half = f"{target}.half"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(half)
    make(half)
    os.replace(half, target)
