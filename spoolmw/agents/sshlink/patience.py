"""Hangs up on a host that keeps us waiting: whatever waits for it then ends with an error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from spoolmw.agents.carrier.trouble import trouble
from spoolmw.agents.sshlink.connection import Connection


@contextlib.contextmanager
def patience(connection: Connection, what: str, seconds: float) -> Iterator[None]:
    """Bound what happens inside to so many seconds. Raises HostTrouble when they are over."""
    is_over = threading.Event()

    def hang_up() -> None:
        is_over.set()
        connection.close()

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not is_over.is_set():
            raise
    finally:
        timer.cancel()
    if is_over.is_set():
        raise trouble(
            "link",
            f"{connection.target.name} let us in, and then stopped answering",
            why=f"{what} took more than {seconds:.0f} s",
            fix=f"is it overloaded, or does `ssh {connection.target.name} true` hang too?",
        )
