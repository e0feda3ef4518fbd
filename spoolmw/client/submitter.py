"""Submits calls and commands with certain options; `Spool` is one with the plain options."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spoolmw.client.arguments import Predecessors, with_takes
from spoolmw.client.array import Indexes, SpoolArray, header_keys
from spoolmw.client.bundling import Args, Call, bundles, chunks_of
from spoolmw.client.executor import SpoolExecutor
from spoolmw.client.future import SpoolTask
from spoolmw.client.link import Link
from spoolmw.client.options import Options
from spoolmw.client.progress import ProgressLine
from spoolmw.client.taskmap import TaskMap, run_chunk
from spoolmw.errors import BadTaskFile
from spoolmw.format.arrays import count
from spoolmw.format.call import StandsForTask, dump_call
from spoolmw.format.ids import new_task_id
from spoolmw.format.keyed import Unfit
from spoolmw.format.names import sanitise
from spoolmw.format.redundancy import FUNCTIONS
from spoolmw.format.schema import read_spec
from spoolmw.format.taskwriter import Template
from spoolmw.model.ids import TaskId
from spoolmw.runner.calls import Writer

#: Longest part of a file's name that stands before the id.
_MOST_NAME = 80
#: Headers kept ready, by name.
_MOST_TEMPLATES = 256

StrPath = str | os.PathLike[str]
T = TypeVar("T", bound=SpoolTask)


class Submitter:
    """Writes task files and returns their futures. Works while the daemon is down."""

    def __init__(self, link: Link, options: Options) -> None:
        self._link = link
        self._options = options
        box = options.box
        self._dropper = link.dropper(box)
        self._results = f"{link.layout.results}/{box}" if box else str(link.layout.results)
        self._templates: dict[str, Template] = {}

    def options(self, **wishes: Any) -> Submitter:
        """A submitter with these options on top, as `spool.options(memory="2GB").submit(f)`."""
        return Submitter(self._link, self._options.with_wishes(wishes))

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> SpoolTask:
        """Have `function(*args, **kwargs)` called by the grid. Returns at once."""
        return self.submit_as(SpoolTask, function, args, kwargs)

    def submit_as(
        self,
        kind: type[T],
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> T:
        """As `submit`, with a future of the class `kind`."""
        task, data = self._packed(kind, name_of(function), Call(function, args, kwargs))
        self._dropper.drop(task.dropped, data, durable=self._options.durable)
        self._link.waiter.add(task)
        return task

    def map(
        self,
        function: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        chunk: int = 1,
        timeout: float | None = None,
        progress: bool = False,
    ) -> TaskMap:
        """Have `function` called with each of the arguments, `chunk` calls to a task.

        Iterating over what is returned gives the values in order.
        """
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}; a task holds at least one call")
        if self._options.key:
            raise BadTaskFile(
                "map() makes many tasks, and a key names one",
                why="tasks with the same key are the same task",
                fix="submit each with options(key=...) of its own",
            )
        calls: Iterator[Args] = zip(*iterables, strict=False)
        called = function
        if chunk > 1:
            called, calls = functools.partial(run_chunk, function), chunks_of(calls, chunk)
        packs: Iterable[Call | Writer] = (
            (Call(called, args, {}) for args in calls)  # each has a vote of its own
            if self._options.compares
            else bundles(called, calls)
        )
        tasks = self._submit_all(name_of(function), packs)
        made = TaskMap(tasks, self._link, chunk=chunk, timeout=timeout)
        if progress:
            ProgressLine(made.tasks, ask=self._link.progress).show()
        return made

    def command(
        self,
        command: Sequence[StrPath],
        *,
        inputs: Iterable[StrPath] | Mapping[str, StrPath] = (),
        outputs: Iterable[str] = (),
        array: Indexes | None = None,
    ) -> SpoolTask:
        """Have a program run. Its future's value is a CommandResult; the files are kept.

        With `array` ("1-1000", a range, or the path of a file with a line for each) it runs once
        for each element; `{index}` and `{line}` in its words stand for that. The future is then
        a SpoolArray, whose value is an ArrayResult.
        """
        if isinstance(command, (str, bytes)):
            raise BadTaskFile(
                "the command is one text",
                why="no shell runs it, so its words have to stand apart",
                fix='write command(["./fold", "17"]), or command(["sh", "-c", TEXT])',
            )
        words = [os.fspath(word) for word in command]
        name = sanitise(Path(words[0]).name, _MOST_NAME) if words else "command"
        header = self._options.command_header(name)
        run = dict(header.get("run") or {})  # type: ignore[call-overload]
        header["run"] = {**run, "command": words}
        named, patterns = _named_inputs(inputs), list(outputs)
        # Named, so that a task whose inputs somebody took away is refused and does not run without.
        there = [name for name, path in named.items() if path.is_file()]
        if files := {k: v for k, v in (("inputs", there), ("outputs", patterns)) if v}:
            header["files"] = files
        keep = self._options.keep is not False
        return self._drop_one(header, b"", named, array, keep=keep)

    def array(
        self, function: Callable[..., Any], indexes: Indexes, /, *args: Any, **kwargs: Any
    ) -> SpoolArray:
        """Have `function(ELEMENT, *args, **kwargs)` called for each element, as one dropped file.

        An element is an index, or a line of the file that `indexes` is the path of.
        """
        header = self._options.call_header(name_of(function))
        try:
            body = dump_call(function, args, kwargs)
        except StandsForTask:
            raise BadTaskFile(
                "an array takes no other task as an argument",
                fix="pass its value, or submit each call with it: spool.submit(f, index, task)",
            ) from None
        keep = bool(self._options.key) if self._options.keep is None else self._options.keep
        task = self._drop_one(header, body, {}, indexes, keep=keep)
        assert isinstance(task, SpoolArray)
        return task

    def _drop_one(
        self,
        header: dict[str, object],
        body: bytes,
        inputs: dict[str, Path],
        indexes: Indexes | None,
        *,
        keep: bool,
    ) -> SpoolTask:
        """Drop one task, or an array, with its inputs."""
        task_id, name = new_task_id(), str(header["name"])
        task = self._task(SpoolTask, task_id, name, keep=keep)
        if indexes is not None:
            keys, elements = header_keys(indexes)
            header |= keys
            task = self._task(SpoolArray, task_id, name, keep=keep)
            task.elements, task.total = elements, count(elements)
            if isinstance(indexes, os.PathLike):
                inputs = {**inputs, keys["array_file"]: Path(indexes)}
        task.is_command = not body
        codec = "pickle" if body else FUNCTIONS
        body += self._options.code
        _check(header)
        if inputs:
            self._dropper.put_inputs(task.dropped, inputs, durable=self._options.durable)
        self._dropper.drop(
            task.dropped,
            Template(header).fill(task_id, body, codec=codec),
            durable=self._options.durable,
        )
        self._link.waiter.add(task)
        return task

    def executor(self, **wishes: Any) -> SpoolExecutor:
        """A `concurrent.futures.Executor` whose calls are tasks of this spool."""
        submitter = self.options(**wishes) if wishes else self
        return SpoolExecutor(submitter, self._link)

    def _submit_all(self, name: str, packs: Iterable[Call | Writer]) -> list[SpoolTask]:
        tasks: list[SpoolTask] = []
        try:
            if self._options.durable:
                files: list[list[SpoolTask]] = []
                self._dropper.drop_all(self._files_of(name, packs, files))
                for made in files:
                    self._await(made, tasks)
            else:
                for pack in packs:
                    made, data = self._file_of(name, pack)
                    self._dropper.drop(made[0].dropped, data)
                    self._await(made, tasks)
        except BaseException:
            self._link.cancel_many(tasks, waiting_only=False)
            raise
        return tasks

    def _files_of(
        self, name: str, packs: Iterable[Call | Writer], files: list[list[SpoolTask]]
    ) -> Iterator[tuple[str, bytes]]:
        for pack in packs:
            made, data = self._file_of(name, pack)
            files.append(made)
            yield made[0].dropped, data

    def _await(self, made: Sequence[SpoolTask], tasks: list[SpoolTask]) -> None:
        tasks += made
        for task in made:
            self._link.waiter.add(task)
        if made[0].array is not None:
            self._link.waiter.add(made[0].array)

    def _file_of(self, name: str, pack: Call | Writer) -> tuple[list[SpoolTask], bytes]:
        """A file, and the futures of the calls in it."""
        if isinstance(pack, Call):
            task, data = self._packed(SpoolTask, name, pack)
            return [task], data
        array, data = self._array_of_calls(name, pack)
        return [array.future(number, number) for number in range(len(pack))], data

    def _array_of_calls(self, name: str, calls: Writer) -> tuple[SpoolArray, bytes]:
        name = self._options.name or name
        array = self._task(SpoolArray, new_task_id(), name, keep=self._options.keep is True)
        array.total, array.is_hidden = len(calls), True
        header = {**self._options.call_header(name), "array": f"0-{len(calls) - 1}"}
        return array, Template(header).fill(array.id, calls.body(), codec="calls")

    def _packed(self, kind: type[T], name: str, call: Call) -> tuple[T, bytes]:
        task_id = new_task_id()
        name = self._options.name or name
        # who gives a key may come back for the result, and a twin needs it for its copy
        keep = bool(self._options.key) if self._options.keep is None else self._options.keep
        task = self._task(kind, task_id, name, keep=keep)
        try:
            body = dump_call(*call) + self._options.code
            return task, self._template(name).fill(task_id, body)
        except StandsForTask:
            return task, self._with_predecessors(task, call)

    def _with_predecessors(self, task: SpoolTask, call: Call) -> bytes:
        """The file of a call that has other tasks among its arguments."""
        taken = Predecessors(task.id, str(self._link.layout.results))
        try:
            body = dump_call(*call, stand_in=taken.stand_in)
            header = with_takes(self._options.call_header(task.name), list(taken.found))
            _check(header)
        except BaseException:
            taken.forget()
            raise
        task.predecessors = tuple(taken.found.values())
        return Template(header).fill(task.id, body + self._options.code)

    def _template(self, name: str) -> Template:
        template = self._templates.get(name)
        if template is None:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            template = self._templates[name] = Template(self._options.call_header(name))
        return template

    def _task(self, kind: type[T], task_id: TaskId, name: str, *, keep: bool) -> T:
        stem = f"{_file_name(name)}-{task_id}"
        path = f"{self._results}/{stem}.result"
        task = kind(self._link, task_id, name, f"{stem}.task", path, keep=keep)
        task.box = self._options.box
        return task


def name_of(function: object) -> str:
    """What a task that calls `function` is called, if nobody says otherwise."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", "") or type(function).__name__
    return _file_name(str(name))


@functools.lru_cache(maxsize=1024)
def _file_name(name: str) -> str:
    return sanitise(name, _MOST_NAME)


def _named_inputs(inputs: Iterable[StrPath] | Mapping[str, StrPath]) -> dict[str, Path]:
    """The input files by the names under which the command finds them."""
    if isinstance(inputs, (str, bytes)):
        raise BadTaskFile("`inputs` is one text", fix='write inputs=["data.npz"]')
    if isinstance(inputs, Mapping):
        pairs = [(str(name), Path(path)) for name, path in inputs.items()]
    else:
        pairs = [(_input_name(Path(path)), Path(path)) for path in inputs]
    named = dict(pairs)
    if len(named) < len(pairs):
        raise BadTaskFile(
            "two inputs have the same name",
            why=", ".join(sorted(name for name, _ in pairs)),
            fix='name them: inputs={"a.txt": "one/data.txt", "b.txt": "two/data.txt"}',
        )
    _check({"run": {"command": ["x"]}, "files": {"inputs": list(named)}})
    return named


def _input_name(path: Path) -> str:
    is_below = not path.is_absolute() and ".." not in path.parts
    return str(path) if is_below else path.name


def _check(header: Mapping[str, object]) -> None:
    """Let the format judge, so that a mistake is told here and not in `rejected/`."""
    try:
        read_spec(header, name="task")
    except Unfit as problem:
        raise BadTaskFile(
            f"the task cannot be submitted: {'.'.join(problem.path)}",
            why=problem.why,
            fix=problem.fix,
        ) from None
