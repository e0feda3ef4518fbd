"""To be an ordinary user for a while, in this very process: root may not submit to HTCondor.

Threads that are started meanwhile are that user, programs that are started are so for good. One
capability is kept, that of reading everything: this Python may lie in root's closed home.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from tests.support.people import Person

_READ_ALL = 1 << 2  #: CAP_DAC_READ_SEARCH
_VERSION_3 = 0x20080522
_AMBIENT, _RAISE, _CLEAR = 47, 2, 4  #: PR_CAP_AMBIENT and what it does

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def being(person: Person) -> Iterator[None]:
    """Be this user until the end; only root can, others are themselves."""
    if os.geteuid() != 0 or person.uid == 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(person.gid, person.gid, 0)
    os.setresuid(person.uid, person.uid, 0)
    _keep_reading()
    try:
        yield
    finally:
        _libc.prctl(_AMBIENT, _CLEAR, 0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@contextlib.contextmanager
def being_root_again() -> Iterator[None]:
    """Within `being`: who could become somebody else is root for a while, for what root began."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 or os.getresuid()[2] != 0:
        yield
        return
    os.setresuid(0, 0, 0)
    os.setresgid(0, 0, 0)
    try:
        yield
    finally:
        os.setresgid(gid, gid, 0)
        os.setresuid(uid, uid, 0)
        _keep_reading()


def _keep_reading() -> None:
    head = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert _libc.capget(head, data) == 0
    data[0], data[2] = _READ_ALL, data[2] | _READ_ALL
    assert _libc.capset(head, data) == 0
    assert _libc.prctl(_AMBIENT, _RAISE, 2, 0, 0) == 0
