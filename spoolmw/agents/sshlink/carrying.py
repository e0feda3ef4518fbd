"""Brings a Python to a host that has none: a program for /bin/sh (`carrying.sh`), then the bundle.

The host needs /bin/sh and what every system has beside it. The bundle is unpacked aside, tried,
and gets its name when it is whole and on disk; it is looked at each time, and sent again when
something of it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spoolmw.agents import pythonbundle
from spoolmw.agents.carrier.trouble import trouble
from spoolmw.agents.pythonbundle import Packed
from spoolmw.errors import AgentError

_PROGRAM = Path(__file__).with_name("carrying.sh")
_END = "END"  #: the line behind the program
#: What the login shell is given; it must mean the same to all of them.
LINE = (
    "exec /bin/sh -c 'eval \"$(while IFS= read -r line; do "
    f'[ "$line" = {_END} ] && break; printf "%s\\n" "$line"; done)"\''
)
#: What a Python on the host is given: it executes the program on the next line.
READ = "import sys,json;exec(json.loads(sys.stdin.buffer.raw.readline()))"
_PIECE_BYTES = 1 << 20
_TRY_S = 60.0  #: for the one that is there to be looked at
_UNPACK_S = 300.0  #: for a slow disk that has other things to do

Answer = Callable[[float], Mapping[str, Any]]  #: waits so many seconds at most


def bring(channel: Any, answer: Answer, folder: str, spool: Path) -> bool:
    """Have the bundled Python run on the host's end of the channel; whether it had to be sent.

    `answer` waits for what the program says. Raises HostTrouble.
    """
    try:
        packed = pythonbundle.publish(spool / "runner")
    except (AgentError, OSError) as error:
        raise _unmade(error) from error
    channel.sendall(words(packed, folder))
    if not answer(_TRY_S)["need"]:
        return False
    with open(packed.path, "rb") as file:
        while data := file.read(_PIECE_BYTES):
            channel.sendall(data)
    answer(_UNPACK_S)
    return True


def words(packed: Packed, folder: str) -> bytes:
    """What comes before the bundle: the program, and what it shall do."""
    told = (
        *(folder or "-", pythonbundle.NAME, packed.name, packed.path.stat().st_size),
        *(packed.sha256, packed.machine, READ),
    )
    program = _PROGRAM.read_text(encoding="utf-8")
    return f"{program}{_END}\n{' '.join(map(str, told))}\n".encode()


def _unmade(error: AgentError | OSError) -> Exception:
    if isinstance(error, AgentError):
        return trouble("python", error.what, why=error.why, fix=error.fix)
    what = f"the Python for the hosts could not be packed into {error.filename or 'the spool'}"
    return trouble("python", what, why=error.strerror or str(error), fix="make room there")
