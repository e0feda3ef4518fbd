"""Decides whose code travels with a call: the caller's own does, installed packages do not.

The caller's own are modules outside the standard library and site-packages; `__main__` and
notebooks travel by value anyway. What was decided is remembered by cloudpickle, process-wide.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from types import ModuleType

import cloudpickle

_SOURCES = (".py", ".pyc", ".pyw")
#: Modules whose place was looked at, as name -> id: a module that was loaded anew is new.
_decided: dict[str, int] = {}
_last_count = 0


def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages())
    folders.add(site.getusersitepackages())
    return tuple({os.path.realpath(folder) + os.sep for folder in folders})


_FOLDERS = _installed_folders()
_MARKS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def let_own_code_travel() -> None:
    """Have cloudpickle write every loaded module of the caller's own by value."""
    global _last_count  # noqa: PLW0603  # one process, one cloudpickle, one memory of it
    if len(sys.modules) == _last_count:
        return
    _last_count = len(sys.modules)
    for name, module in list(sys.modules.items()):
        if _decided.get(name) == id(module):
            continue
        _decided[name] = id(module)
        if name != "__main__" and is_own(name, module):
            cloudpickle.register_pickle_by_value(module)


def is_own(name: str, module: object) -> bool:
    """Whether a module is the caller's own source: not installed, not built in, not ours."""
    if name.partition(".")[0] in ("spoolmw", "cloudpickle"):
        return False
    if not isinstance(module, ModuleType):
        return False
    # Not getattr: a module that is loaded lazily would be loaded by it.
    try:
        content = object.__getattribute__(module, "__dict__")
    except AttributeError:  # what cffi enters as a module only says that it is one
        return False
    file = content.get("__file__")
    if (
        content.get("__name__") != name
        or not isinstance(file, str)
        or not file.endswith(_SOURCES)
    ):
        return False
    real = os.path.realpath(file)
    return not real.startswith(_FOLDERS) and not any(mark in real for mark in _MARKS)
