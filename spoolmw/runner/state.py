"""The state of a Python call as files of a checkpoint: `state.pickle`, and `buffers` beside it.

Large buffers (arrays) go from the memory where they are into the file, and from the file into
the memory where they stay: a state is in memory once while it is saved, and twice at most
while it is taken up (the one that the function made anew, and the one that comes back).
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Type

from .checkpoint import Checkpoint, Draft, Pen

PICKLED = "state.pickle"
BUFFERS = "buffers"
_PROTOCOL = 5
_SMALL_BYTES = 16 << 10  #: a buffer below that stays in the pickle

Namer = Callable[[Any], Any]  #: the name by which an object is pickled, or None: by its content
Finder = Callable[[Any], Any]  #: the object with that name


class CannotSave(TypeError):
    """A state that cannot be pickled; never leaves the worker under this name."""


def write(draft: Draft, state: Any, namer: Optional[Namer] = None) -> Dict[str, Any]:
    """Write `state` into a checkpoint; returns what its manifest has to say of it.

    Raises OSError, MemoryError, and CannotSave for what neither pickle nor cloudpickle takes.
    """
    try:
        return _write(draft, state, pickle.Pickler, namer)
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: BLE001  a lambda, a class that travelled by value: cloudpickle's turn
        draft.forget(PICKLED)
        draft.forget(BUFFERS)
    cloudpickle: Any = importlib.import_module("cloudpickle")
    try:
        return _write(draft, state, cloudpickle.Pickler, namer)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # an object's own __reduce__ may raise anything
        kind = type(state).__name__
        raise CannotSave(
            f"the state (a {kind}) cannot be saved: {type(error).__name__}: {error}"
        ) from error


def read(checkpoint: Checkpoint, finder: Optional[Finder] = None) -> Any:
    """The state in a whole checkpoint. Raises whatever its own classes raise."""
    lengths = checkpoint.manifest.get("buffers", [])
    with open(f"{checkpoint.path}/{PICKLED}", "rb") as file:
        buffers = _buffers(f"{checkpoint.path}/{BUFFERS}", lengths) if lengths else None
        unpickler = _Unpickler(file, buffers=buffers)
        unpickler.finder = finder
        return unpickler.load()


def _write(draft: Draft, state: Any, base: Type[Any], namer: Optional[Namer]) -> Dict[str, Any]:
    pickled = draft.pen(PICKLED)
    aside = _Aside(draft)
    kind = base if namer is None else _naming(base, namer)
    kind(pickled, protocol=_PROTOCOL, buffer_callback=aside).dump(state)
    draft.keep(PICKLED, pickled)
    if aside.pen is None:
        return {}
    draft.keep(BUFFERS, aside.pen)
    return {"buffers": aside.lengths}


def _naming(base: Type[Any], namer: Namer) -> Type[Any]:
    """A pickler that writes names in place of some objects."""

    class Naming(base):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> Any:
            return namer(obj)

    return Naming


class _Unpickler(pickle.Unpickler):
    finder: Optional[Finder] = None

    def persistent_load(self, name: Any) -> Any:
        if self.finder is None:
            raise pickle.UnpicklingError("a name stands where a value should")
        return self.finder(name)


class _Aside:
    """Takes large buffers out of the pickle, into a file of their own."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.pen: Optional[Pen] = None
        self.lengths: List[int] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """True: the buffer stays in the pickle."""
        with buffer.raw() as view:
            if view.nbytes < _SMALL_BYTES:
                return True
            if self.pen is None:
                self.pen = self._draft.pen(BUFFERS)
            self.lengths.append(self.pen.write(view))
        return False


def _buffers(path: str, lengths: Sequence[int]) -> Iterator[bytearray]:
    """Each buffer in memory of its own, when it is asked for."""
    with open(path, "rb", buffering=0) as file:
        for length in lengths:
            buffer = bytearray(length)
            with memoryview(buffer) as view:
                done = 0
                while done < length:
                    count = file.readinto(view[done:])
                    if not count:
                        raise EOFError(f"{path} ends early")
                    done += count
            yield buffer
