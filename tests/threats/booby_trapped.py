"""spoolmwd in a process where every way to unpickle is mined: whatever unpickles there ends it.

`python -m tests.threats.booby_trapped PYTHON -m spoolmw.daemon.main ...` runs the daemon so (the
words of its command line are passed on), `-p tests.threats.booby_trapped` every daemon of a
pytest run. Only this one process is mined: the runner and its workers are other programs.

Two nets: the functions are replaced before the daemon is loaded, and an audit hook sees what goes
round them. SIGUSR2 unpickles something on purpose, to see whether the mines are there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from tests.support.daemon import Daemon

EXIT = 99
SAYS = "UNPICKLED"
PREFIX = (sys.executable, "-m", "tests.threats.booby_trapped")

#: What makes objects of bytes, or a part of it, by module.
MINED = {
    "_pickle": ("load", "loads", "Unpickler"),
    "pickle": ("load", "loads", "Unpickler", "_load", "_loads", "_Unpickler"),
    "cloudpickle": ("load", "loads"),
    "cloudpickle.cloudpickle": ("load", "loads"),
    "copyreg": ("_reconstructor", "__newobj__", "__newobj_ex__"),
    "shelve": ("open", "Shelf"),
}
AUDITED = ("pickle.find_class", "marshal.load", "marshal.loads")


def go_off(what: str) -> NoReturn:
    """Say what was unpickled from where, and end the process at once."""
    stack = "".join(traceback.format_stack())
    os.write(2, f"{SAYS} by {what}\n{stack}".encode("utf-8", "backslashreplace"))
    os._exit(EXIT)


def _mine(what: str) -> type:
    """A class in the place of a function or a class: calling it sets it off, and so does a subclass."""

    class Mine:
        def __new__(cls, *_args: object, **_options: object) -> Mine:
            go_off(what)

    return Mine


def _audit(event: str, args: tuple[object, ...]) -> None:
    if event not in AUDITED:
        return
    if event != "pickle.find_class" and _is_import():
        return
    go_off(f"{event} {args!r:.200}")


def _is_import() -> bool:
    """The import system loads code by marshal; that is no data of anybody's."""
    return sys._getframe(2).f_code.co_filename.startswith("<frozen")


def arm() -> dict[str, Callable[..., Any]]:
    """Lay the mines; returns what they replaced."""
    replaced: dict[str, Callable[..., Any]] = {}
    modules = {name: importlib.import_module(name) for name in MINED}
    reduction = importlib.import_module("multiprocessing.reduction")
    reduction.ForkingPickler.loads = _mine("multiprocessing.reduction.ForkingPickler.loads")
    if importlib.util.find_spec("numpy") is not None:
        _arm_numpy()
    for name, functions in MINED.items():
        for function in functions:
            replaced[f"{name}.{function}"] = getattr(modules[name], function)
            setattr(modules[name], function, _mine(f"{name}.{function}"))
    sys.addaudithook(_audit)
    return replaced


def _arm_numpy() -> None:
    numpy: Any = importlib.import_module("numpy")
    load = numpy.load

    def guarded(*args: Any, allow_pickle: bool = False, **options: Any) -> Any:
        if allow_pickle:
            go_off("numpy.load")
        return load(*args, **options)

    numpy.load = guarded


def _on_purpose(_number: int, _frame: object) -> None:
    pickle = sys.modules["pickle"]
    pickle.loads(pickle.dumps("on purpose"))


def main() -> int:
    """Run the daemon whose command line is in the arguments."""
    words = sys.argv[1:]
    arm()
    signal.signal(signal.SIGUSR2, _on_purpose)
    daemon = importlib.import_module("spoolmw.daemon.main")
    status: int = daemon.main(words[words.index("spoolmw.daemon.main") + 1 :])
    return status


def pytest_configure() -> None:
    """As a plugin: every daemon that tests start is mined."""
    begin = Daemon.__init__

    def mined(self: Daemon, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self.prefix = PREFIX

    Daemon.__init__ = mined  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
