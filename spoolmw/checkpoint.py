"""Save the progress of a long task, and go on from there when it is started again.

    from spoolmw import checkpoint, progress

    def simulate(steps):
        world = checkpoint.load(None) or World()
        while world.time < steps:
            world.advance()
            checkpoint.save(world)            # nothing, until ten minutes have passed
            progress(world.time / steps)
        return world.energy()

A plain loop becomes resumable in one line: `for step in checkpoint.steps(range(n), state=world):`.

Outside of a task all of this does nothing: `load` returns the default, `steps` just iterates. So
the same function also runs by hand. How often a task saves is its `[checkpoint] every` (the
option `checkpoint_every`). See docs/checkpoints-python.md.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["due", "load", "progress", "save", "steps"]

T = TypeVar("T")

# In a worker the attempt is known to the runner's own modules; whatever stands beside them in
# the environment of the task may be of another version.
_home = "spoolmw_runner" if "spoolmw_runner" in sys.modules else "spoolmw.runner"
_session: Any = importlib.import_module(f"{_home}.session")


def load(default: T) -> T:
    """The newest whole state that an earlier attempt of this task saved; else `default`.

    A damaged checkpoint is reported in the task's story and passed over for the one before it.
    Raises RuntimeError when a whole one cannot be unpickled here.
    """
    state: T = _session.load(default)
    return state


def save(state: object) -> None:
    """Save `state` if the interval has passed since the last time; call it as often as you like.

    Not due, it takes less than a microsecond. Due, the state is pickled (arrays without a copy),
    made durable, and known to the daemon when this returns. When the task was told to end (the
    daemon stops, the user holds it), the next call saves at once and ends the attempt.
    Raises TypeError for a state that cannot be pickled; a full disk is only warned of.
    """
    _session.save(state)


def due() -> bool:
    """Whether `save` would write now, for a state that is costly to put together."""
    answer: bool = _session.due()
    return answer


def steps(items: Iterable[T], state: object = None) -> Iterator[T]:
    """Iterate over `items`, saving between two of them: a task that is started again goes on there.

    `state` is what the loop changes: it is saved with the number of steps done, and restored
    in place, as are the generators behind `random` and `numpy.random`. It may be a dict, list,
    set, bytearray, deque, numpy array, generator of random numbers, an object with attributes,
    or a tuple of these; what stands directly in it is restored in place too.
    `items` must be the same each time. One loop in a task can be resumed.
    Raises TypeError for a state that cannot be restored in place.
    """
    left: Iterator[T] = _session.resumable(items, state)
    return left


def progress(fraction: float, text: str = "") -> None:
    """Say how far the task is, from 0 to 1, and where, as "epoch 4"; a few a second get through.

    Shown by `spoolmw-ctl watch` and `show`, and by the helper's `task.progress()`.
    """
    _session.progress(fraction, text)
