"""The state of a resumable loop: what of it is filled anew in place, and how.

A loop `for step in checkpoint.steps(items, state=x)` goes on using the `x` that it was given, so
a checkpoint must be poured into that very object. The same holds for what stands directly in it
(the values of a dict, the members of a list or tuple, the attributes of an object): a program
may have names of its own for them. These are the *parts* of a state. In a checkpoint each part
has a name, and wherever else the state refers to it, the name stands.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from . import state
from .checkpoint import Draft

MOST_MEMBERS = 64  #: a container with more members holds data, not parts
_SEQUENCES = (list, bytearray, array)
_VALUES = (int, float, complex, str, bytes, tuple, frozenset, type)
_GLOBAL = ("random", "numpy.random")  #: modules whose own generator is saved with a loop

Name = Tuple[Any, ...]  #: the way to a part, key by key


class Form(NamedTuple):
    """What must be equal for one object to be filled from another."""

    kind: str
    shape: Tuple[int, ...] = ()
    dtype: str = ""


class Target:
    """The state of one loop, as it was given."""

    def __init__(self, given: Any) -> None:
        """Raises TypeError for what cannot be filled in place."""
        self._given = given
        self._parts = _parts(given)
        self._forms = {name: _form(each) for name, each in self._parts.items()}
        # Of what was made since, an object may have taken the id of one that is gone; it is
        # a part all the same if it stands in the same place and has the same form.
        self._ids = {name: id(each) for name, each in self._parts.items()}
        self._living: Dict[Name, Any] = {}

    def write(self, draft: Draft, done: int) -> Dict[str, Any]:
        """Write the state after `done` steps; returns what the manifest has to say."""
        parts = {
            name: each
            for name, each in _parts(self._given).items()
            if self._ids.get(name) == id(each) and self._forms[name] == _form(each)
        }
        names = {id(each): name for name, each in reversed(list(parts.items()))}
        tree = {
            "parts": [
                (name, tuple(_form(each)), _content(each))
                for name, each in parts.items()
                if names[id(each)] == name
            ],
            "random": {name: _generator(name).__getstate__() for name in _loaded()},
        }
        more = state.write(draft, tree, lambda each: names.get(id(each)))
        return {"steps": done, **more}

    def find(self, name: Name) -> Any:
        """The part with this name, for a reference in a checkpoint."""
        found = self._living if self._living else self._parts
        if name not in found:
            raise LookupError(f"state={_told(name)} is not there any more")
        return found[name]

    def fill(self, tree: Dict[str, Any]) -> None:
        """Make the state what it was when `tree` was saved."""
        for name, form, _ in tree["parts"]:
            there = self._forms.get(name)
            if there != Form(*form):
                was, now = _shown(Form(*form)), _shown(there)
                raise RuntimeError(
                    f"the checkpoint does not fit the state that steps() was given: "
                    f"state{_told(name)} was {was} and is {now}. "
                    "To begin anew: spoolmw-ctl retry ID --fresh"
                )
        while tree["parts"]:
            name, _, content = tree["parts"].pop()  # from inside out; its memory is free then
            _fill(self._parts[name], content)
        for name, saved in tree["random"].items():
            _generator(name).__setstate__(saved)


def beyond(items: Iterable[Any], done: int) -> Iterator[Any]:
    """The items but for the first `done`; those of a sequence are not even made."""
    if not done:
        return iter(items)
    if isinstance(items, Sequence):
        return (items[at] for at in range(done, len(items)))
    left = iter(items)
    next(itertools.islice(left, done, done), None)
    return left


def _parts(given: Any) -> Dict[Name, Any]:
    """The parts by their names, what is inside after what it is in. Raises TypeError."""
    if given is None:
        return {}
    roots = (
        {(at,): each for at, each in enumerate(given)} if type(given) is tuple else {(): given}
    )
    found: Dict[Name, Any] = {}
    for name, root in roots.items():
        if not _can_be_filled(root):
            raise TypeError(_unfit(root))
        found[name] = root
        for key, member in _members(root):
            if type(key) in (str, int) and _can_be_filled(member):
                found[(*name, key)] = member
    return found


def _members(root: Any) -> List[Tuple[Any, Any]]:
    if isinstance(root, dict):
        return list(root.items()) if len(root) <= MOST_MEMBERS else []
    if isinstance(root, list):
        return list(enumerate(root)) if len(root) <= MOST_MEMBERS else []
    if _is_plain_object(root):
        return list(vars(root).items())
    return []


def _can_be_filled(each: Any) -> bool:
    if isinstance(each, (dict, set, deque, *_SEQUENCES)) or _is_generator(each):
        return True
    if _is_array(each):
        return type(each) is _numpy().ndarray and bool(each.flags.writeable)
    return _is_object(each)


def _is_object(each: Any) -> bool:
    """Whether its attributes are all there is to it."""
    kind = type(each)
    return (
        not isinstance(each, _VALUES)
        and hasattr(each, "__dict__")
        and kind.__module__ != "builtins"
        and not _overrides(kind, "__reduce__")
        and not _overrides(kind, "__reduce_ex__")
        and not hasattr(kind, "__getnewargs__")
        and not hasattr(kind, "__getnewargs_ex__")
        and not callable(getattr(each, "__next__", None))
    )


def _is_plain_object(each: Any) -> bool:
    kind = type(each)
    return (
        _is_object(each)
        and not hasattr(kind, "__setstate__")
        and not _overrides(kind, "__getstate__")
    )


def _overrides(kind: type, method: str) -> bool:
    return getattr(kind, method, None) is not getattr(object, method, None)


def _is_array(each: Any) -> bool:
    numpy = _numpy()
    return numpy is not None and isinstance(each, numpy.ndarray)


def _is_generator(each: Any) -> bool:
    """Whether it makes random numbers: of `random` or of numpy."""
    loaded = sys.modules
    if "random" in loaded and isinstance(each, loaded["random"].Random):
        return not isinstance(each, loaded["random"].SystemRandom)
    numpy = _numpy()
    if numpy is None or "numpy.random" not in loaded:
        return False
    of = numpy.random
    return isinstance(each, (of.Generator, of.RandomState, of.BitGenerator))


def _numpy() -> Any:
    """numpy, where the task has loaded it: without it there is no array either."""
    return sys.modules.get("numpy")


def _form(each: Any) -> Form:
    kind = type(each)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _is_array(each):
        return Form(name, tuple(each.shape), str(each.dtype))
    source = getattr(each, "bit_generator", None) if _is_generator(each) else None
    return Form(name, (), type(source).__name__ if source is not None else "")


def _content(each: Any) -> Any:
    """What is in a part, in an object of another id, so that its name does not stand for it."""
    if _is_array(each):
        return each.view()
    if _is_generator(each):
        return _source(each).__getstate__()
    if isinstance(each, dict):
        return list(each.items()), _attributes(each)
    if isinstance(each, (set, deque)):
        return list(each), _attributes(each)
    if isinstance(each, _SEQUENCES):
        return each[:] if type(each) in _SEQUENCES else list(each), _attributes(each)
    return each.__reduce_ex__(4)[2]


def _fill(each: Any, content: Any) -> None:
    if _is_array(each):
        each[...] = content
    elif _is_generator(each):
        _source(each).__setstate__(content)
    elif isinstance(each, (dict, set, deque, *_SEQUENCES)):
        inside, attributes = content
        _fill_container(each, inside)
        if attributes is not None:
            vars(each).clear()
            vars(each).update(attributes)
    elif hasattr(type(each), "__setstate__"):
        each.__setstate__(content)
    else:
        _fill_object(each, content)


def _fill_container(each: Any, inside: Any) -> None:
    if isinstance(each, _SEQUENCES):
        each[:] = inside
        return
    each.clear()
    if isinstance(each, dict):
        for key, value in inside:
            each[key] = value
    elif isinstance(each, set):
        each.update(inside)
    else:
        each.extend(inside)


def _fill_object(each: Any, content: Any) -> None:
    slots: Optional[Dict[str, Any]] = None
    if isinstance(content, tuple) and len(content) == 2:
        content, slots = content
    if not _overrides(type(each), "__getstate__"):  # else it left out what it makes anew
        vars(each).clear()
    vars(each).update(content or {})
    for key, value in (slots or {}).items():
        object.__setattr__(each, key, value)  # of a frozen dataclass too


def _attributes(each: Any) -> Optional[Dict[str, Any]]:
    return dict(vars(each)) if hasattr(each, "__dict__") else None


def _source(each: Any) -> Any:
    """What holds the state of a generator of random numbers."""
    return getattr(each, "bit_generator", each)


def _loaded() -> List[str]:
    return [name for name in _GLOBAL if name in sys.modules]


def _generator(name: str) -> Any:
    """The generator behind a module's functions, as `random.random`."""
    module: Any = importlib.import_module(name)
    return module.random.__self__


def _told(name: Name) -> str:
    return "".join(f"[{key!r}]" for key in name)


def _shown(form: Optional[Form]) -> str:
    if form is None:
        return "something else"
    size = f" {form.dtype} {form.shape}" if form.dtype else ""
    return form.kind.replace("builtins.", "") + size


def _unfit(root: Any) -> str:
    kind = type(root).__name__
    return (
        f"steps() cannot restore a {kind} in place. It can restore a dict, list, set, bytearray, "
        "deque, numpy array, generator of random numbers, an object with plain attributes, or a "
        "tuple of these: write state={'x': x} and use state['x'], "
        "or use checkpoint.load() and checkpoint.save()"
    )
