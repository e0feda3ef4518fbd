"""Starts `spoolmw-ctl`: its modules are loaded here, where Ctrl-C already ends it without a trace."""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Load the program and run it (the console script's entry)."""
    try:
        importlib.import_module("spoolmw.ctl.main").main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
