"""Where users have something written: what is wrong with the place is told, not traced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from spoolmw.errors import SpoolmwError


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """While something is written there: what the system refuses becomes an error of ours."""
    try:
        yield
    except OSError as error:
        raise SpoolmwError(
            f"{target} cannot be written.",
            why=f"{error.strerror}: {error.filename or target}."
            if error.strerror
            else str(error),
            fix="Name another place, one with room that is open to this user.",
        ) from error
