"""What may be asked for with a task: keywords of `options()` and the header keys they stand for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spoolmw.client.arguments import ids_of
from spoolmw.errors import BadTaskFile
from spoolmw.format.call import dump_functions
from spoolmw.format.keyed import Unfit, nearest
from spoolmw.format.names import box_problem, escape
from spoolmw.format.schema import read_spec

#: keyword -> (section of the header, key in it); "" is the header itself
_KEYS = {
    "priority": ("", "priority"),
    "after": ("", "after"),
    "after_failed": ("", "after_failed"),
    "env": ("run", "env"),
    "result": ("run", "result"),
    "cpus": ("resources", "cpus"),
    "memory": ("resources", "memory"),
    "gpus": ("resources", "gpus"),
    "time": ("limits", "time"),
    "output": ("limits", "output"),
    "retries": ("retry", "max"),
    "backoff": ("retry", "backoff"),
    "retry_memory": ("retry", "memory"),
    "retry_on": ("retry", "on"),
    "checkpoint_every": ("checkpoint", "every"),
    "checkpoint_exit_code": ("checkpoint", "exit_code"),
    "checkpoint_files": ("checkpoint", "files"),
    "checkpoint_keep": ("checkpoint", "keep"),
    "agents": ("place", "agents"),
    "interpreter": ("place", "interpreter"),
    "python": ("place", "python"),
    "platform": ("place", "platform"),
    "quorum": ("redundancy", "quorum"),
    "target": ("redundancy", "target"),
    "limit": ("redundancy", "limit"),
    "max_errors": ("redundancy", "max_errors"),
    "deadline": ("redundancy", "deadline"),
    "distinct": ("redundancy", "distinct"),
    "validator": ("redundancy", "validator"),
    "adaptive": ("redundancy", "adaptive"),
    "audit": ("redundancy", "audit"),
    "alike": ("redundancy", "class"),
}
_FOR_COMMANDS = ("checkpoint_files", "checkpoint_exit_code")
#: What the helper itself uses.
_OWN = ("name", "key", "box", "keep", "durable")
#: Header values that take several words also when one is given alone.
_LISTS = ("retry_on", "checkpoint_files", "agents")


@dataclass(frozen=True)
class Options:
    """The wishes of one submitter. `wishes` holds only what was asked for, by keyword."""

    name: str = ""
    key: str = ""
    box: str = ""
    keep: bool | None = None  #: leave result files where they are; None: as the method has it
    durable: bool = False
    wishes: Mapping[str, object] = field(default_factory=dict)
    code: bytes = b""  #: the functions of the validator, pickled; they travel behind the call

    @property
    def compares(self) -> bool:
        """Whether several replicas of each task are wished for."""
        return "quorum" in self.wishes

    def with_wishes(self, given: Mapping[str, object]) -> Options:
        """These options with `given` on top. Unknown or wrong ones are errors at once."""
        for word in given:
            _check_word(word)
        own = {word: given[word] for word in _OWN if word in given}
        wishes = {**self.wishes}
        wishes.update({word: _plain(word, given[word]) for word in _KEYS if word in given})
        code = self.code
        if "validator" in given:
            wishes["validator"], code = _validator(given["validator"])
        kept = {word: getattr(self, word) for word in _OWN}
        changed = Options(**{**kept, **own}, wishes=wishes, code=code)
        changed._check()
        return changed

    def call_header(self, name: str) -> dict[str, object]:
        """The header of a call, but for its id and body: it runs in the caller's own Python."""
        for word in _FOR_COMMANDS:
            if word in self.wishes:
                raise BadTaskFile(
                    f"the option {word!r} is for commands",
                    why="a Python call has neither state files nor an exit code",
                    fix="save with spoolmw.checkpoint.save(state): see docs/checkpoints.md",
                )
        if self.wishes.get("validator") == "files":
            raise BadTaskFile(
                "the option 'validator' is for commands when it says \"files\"",
                why="a Python call leaves no files that could be compared",
                fix='leave it out: "exact" compares what the call returns',
            )
        caller = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
        if sys.executable:
            caller["interpreter"] = sys.executable
        return self._header(name, caller)

    def command_header(self, name: str) -> dict[str, object]:
        """The header of a command, which needs no Python, but for its id and command."""
        return self._header(name, {})

    def _header(self, name: str, caller: Mapping[str, str]) -> dict[str, object]:
        header: dict[str, object] = {"name": self.name or name}
        if self.key:
            header["key"] = self.key
        sections: dict[str, dict[str, object]] = {"place": dict(caller)} if caller else {}
        for word, value in self.wishes.items():
            section, key = _KEYS[word]
            if section:
                sections.setdefault(section, {})[key] = value
            else:
                header[key] = value
        if self.code:
            sections["redundancy"]["code"] = len(self.code)
        return {**header, **sections}

    def _check(self) -> None:
        """Let the format judge, so that a mistake is told here and not in `rejected/`."""
        if self.box and (problem := box_problem(self.box)):
            raise BadTaskFile(f"the box {escape(self.box)} cannot be used", why=problem)
        try:
            read_spec(self.command_header("task"), name="task")
        except Unfit as problem:
            raise BadTaskFile(
                f"the option {_word(problem.path)!r} cannot be used as it is",
                why=problem.why,
                fix=problem.fix or "see docs/helper.md",
            ) from None


def from_environment() -> Options:
    """What holds for every task of this process: `$SPOOLMW_AGENTS` names the agents."""
    named = [word.strip() for word in os.environ.get("SPOOLMW_AGENTS", "").split(",")]
    agents = [word for word in named if word]
    return Options().with_wishes({"agents": agents} if agents else {})


def _plain(word: str, value: object) -> object:
    """The value as JSON has it."""
    if word == "after":
        return ids_of(value)
    if word in _LISTS:
        return [value] if isinstance(value, str) else _listed(value)
    if word == "env" and isinstance(value, Mapping):
        return dict(value)
    if word == "interpreter" and isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _validator(value: object) -> tuple[object, bytes]:
    """The header's word for a validator, and its pickled functions where it has some.

    A function `validate(a, b)`, or a pair of that and `check(value)`. Raises `NotPicklable`.
    """
    validate, check = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    if not callable(validate) or not (check is None or callable(check)):
        return value, b""  # a word; if it is none, the format says what is wrong with it
    return "python", dump_functions(validate, check)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, Iterable) else value


def _word(path: tuple[str, ...]) -> str:
    """The keyword of a key in the header."""
    for word, (section, key) in _KEYS.items():
        if path[:2] == ((section, key) if section else (key,)):
            return word
    return ".".join(path)


def _check_word(word: str) -> None:
    if word in _KEYS or word in _OWN:
        return
    near = nearest(word, [*_KEYS, *_OWN])
    raise BadTaskFile(
        f"there is no option {word!r}",
        why=f"the options are {', '.join(sorted([*_KEYS, *_OWN]))}",
        fix=f"did you mean {near!r}?" if near else "see docs/helper.md",
    )
