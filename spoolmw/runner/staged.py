"""Reads results as replicas staged them, to be compared: a value, or a folder of files.

What is wrong with a result is said of that result (`Unfit`); nothing in it is believed that can
be seen: digests are of the bytes at hand. A pickle is decoded only when its host is trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from typing import Any, Dict, List, NamedTuple

from . import results, safe

#: What a command says beside its result: times, progress. It is not compared.
NOT_COMPARED = ("stderr",)
_MAX_HEADER = 4 << 20


class Returned(NamedTuple):
    """What one replica returned, and from where."""

    replica: int
    path: str  #: the staged result; its files lie in `path.files/`
    trusted: bool = False  #: a pickle from its host may be decoded


class Unfit(Exception):
    """What a replica returned is no result that can be compared."""


class Unreadable(Exception):
    """It cannot be read here, and that is not the result's fault."""


class Staged(NamedTuple):
    """One staged result: its header, and where its value begins in the bytes."""

    header: Dict[str, Any]
    data: bytes
    start: int

    @property
    def value(self) -> memoryview:
        """The bytes of the value; behind them stands a trailer where it is just being delivered."""
        return memoryview(self.data)[self.start :][: self.header.get("bytes", 0)]


def read(returned: Returned) -> Staged:
    """The result with its digest checked; raises `Unfit`, or `Unreadable`."""
    try:
        with open(returned.path, "rb", buffering=0) as file:
            data = file.readall()
    except FileNotFoundError:
        raise Unfit("its result file is missing") from None
    except OSError as error:
        raise Unreadable(f"{returned.path}: {error.strerror}") from None
    staged = _parsed(data)
    if staged.header.get("bytes", 0) != len(staged.value):
        raise Unfit("its value is not whole")
    digest = hashlib.sha256(staged.value).hexdigest()
    if staged.value and digest != staged.header.get("sha256"):
        raise Unfit("its value has another digest than its header says")
    return staged


def _parsed(data: bytes) -> Staged:
    end = data.find(b"\n", len(results.MAGIC), _MAX_HEADER)
    if not data.startswith(results.MAGIC) or end < 0:
        raise Unfit("its result file is not one of ours")
    try:
        header = json.loads(data[len(results.MAGIC) : end])
    except (ValueError, RecursionError):
        raise Unfit("the header of its result file is not JSON") from None
    if not isinstance(header, dict) or header.get("outcome") != "success":
        raise Unfit("its result file does not tell of a success")
    size = header.get("bytes", 0)
    if type(size) is not int or size < 0:
        raise Unfit("the header of its result file does not say how long its value is")
    return Staged(header, data, end + 1)


def value_of(returned: Returned, staged: Staged) -> Any:
    """The value; for a command's result the folder of its files. Raises `Unfit`."""
    codec = staged.header.get("codec", "")
    if has_files(returned):
        return folder_of(returned)
    if codec == "":
        return None
    if codec == "safe":
        return _safe(staged.value)
    if codec != "pickle":
        raise Unfit("the codec of its value is unknown")
    if not returned.trusted:
        raise Unfit("its value is a pickle, and its host is not trusted")
    try:
        return pickle.loads(staged.value)  # noqa: S301  from a trusted host, as the submitter
    except Exception as error:  # noqa: BLE001  whatever the value's own classes raise
        raise Unfit(f"its value cannot be decoded: {type(error).__name__}: {error}") from None


def _safe(data: memoryview) -> Any:
    try:
        return safe.loads(data)
    except safe.Unsafe as error:
        if "not installed" in str(error):
            raise Unreadable(str(error)) from None
        raise Unfit(f"its value cannot be decoded: {error}") from None


def folder_of(returned: Returned) -> str:
    """Where a command's files lie."""
    return f"{returned.path}.files"


def has_files(returned: Returned) -> bool:
    """Whether it is a command's result."""
    return os.path.isdir(folder_of(returned))


def files_key(returned: Returned) -> bytes:
    """A digest of a command's files, names and bytes: equal for results that are equal."""
    folder = folder_of(returned)
    found: List[List[str]] = []
    try:
        for above, folders, names in os.walk(folder):
            folders.sort()
            for name in names:
                path = os.path.join(above, name)
                told = os.path.relpath(path, folder)
                if told in NOT_COMPARED or not os.path.isfile(path) or os.path.islink(path):
                    continue
                found.append([os.fsencode(told).hex(), results.digest_of(path)[1]])
    except OSError as error:
        raise Unreadable(f"{folder}: {error.strerror}") from None
    return hashlib.sha256(json.dumps(sorted(found)).encode()).digest()
