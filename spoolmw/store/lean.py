"""sqlite-utils, without the numpy and pandas that it loads wherever they are installed.

It does so to know their types as columns' types. The journal has none of those, and a daemon that
is started from an environment for science would pay for them with its start and its memory.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_UNUSED = ("numpy", "pandas")


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """These modules seem not to be installed, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an ImportError, by the language's rules
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without(_UNUSED):
    from sqlite_utils import Database

__all__ = ["Database"]
