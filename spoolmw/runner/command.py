"""Runs a command or a script: no shell, its own process group, output into files in `stage/`.

The worker waits, and so stays able to end the whole tree when the runner is gone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from . import outputs, process, results
from .limits import Around, Lifted
from .order import Order
from .reading import TaskFile
from .results import Ended
from .snapshot import Keeper

#: Signals that come from outside (an administrator, the kernel's out-of-memory killer), not
#: from an error of the program's own.
FROM_OUTSIDE = frozenset(
    int(each)
    for each in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPWR)
)
_DEFAULTS = [
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
    signal.SIGALRM, signal.SIGCHLD, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
]  # fmt: skip
_OUT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126


class Places(NamedTuple):
    """Where a worker's attempts find and leave files."""

    scratch: str  #: the working directory
    script: str  #: a script's text lies here, so that it is no output
    inputs: str  #: content by digest
    stage: str  #: with a slash at its end


class Finished(NamedTuple):
    """How a process ended."""

    status: int
    cpu_s: float
    memory_bytes: int


class Watched(NamedTuple):
    """What is to be looked at while a command runs."""

    runner_fd: int  #: hangs up when the runner is gone
    keeper: Optional[Keeper] = None  #: saves its progress, where that was asked for


def run(
    told: Order, task: TaskFile, places: Places, env: Mapping[str, str], watched: Watched
) -> Ended:
    """Run the task's command to its end; its files lie in `stage/ATTEMPT.files/` then."""
    header = task.header
    wanted: Dict[str, Any] = header.get("files") or {}
    folder = f"{places.stage}{told.attempt}.files"
    outputs.fresh(folder)
    try:
        argv = _argv(task, places)
        finished = _run_on(argv, env, folder, told, watched)
    except OSError as error:
        ended = _not_started(error)
    else:
        saved = _judge_saving(finished.status, watched.keeper)
        ended = saved if saved is not None else _judge(finished, told.memory, folder)
        ended.cpu_s, ended.memory_bytes = finished.cpu_s, finished.memory_bytes
    if ended.outcome == "lost":
        return ended  # the runner knows whether it was its own will, and then keeps the output
    brought = [each["name"] for each in wanted.get("inputs") or ()]
    kept = outputs.collect(places.scratch, folder, wanted.get("outputs") or [], brought)
    if ended.outcome == "success" or kept.total_bytes >= told.output:
        ended = _complete(ended, kept, told.output)
    ended.files = kept.files
    filled = {each["name"] for each in kept.files if each["bytes"]}
    ended.stdout_tail = results.tail(folder + "/stdout") if "stdout" in filled else ""
    ended.stderr_tail = results.tail(folder + "/stderr") if "stderr" in filled else ""
    return ended


def _complete(ended: Ended, kept: outputs.Kept, limit: int) -> Ended:
    """The end, if the command left what it promised and not more than it may."""
    wrong = None
    if kept.total_bytes > limit or (ended.outcome == "error" and kept.total_bytes == limit):
        wrong = results.failed(
            "output", f"{kept.total_bytes} bytes of output, [limits] output allows {limit}"
        )
    elif kept.missing:
        names = ", ".join(kept.missing)
        wrong = results.failed(
            "missing-output", f"declared output not found at the end: {names}"
        )
    if wrong is None:
        return ended
    wrong.cpu_s, wrong.memory_bytes, wrong.exit_code = (
        ended.cpu_s,
        ended.memory_bytes,
        ended.exit_code,
    )
    return wrong


def _argv(task: TaskFile, places: Places) -> List[str]:
    run: Dict[str, Any] = task.header.get("run") or {}
    arguments = [str(each) for each in run.get("command") or ()]
    if (task.header.get("body") or {}).get("codec") != "script":
        return arguments
    outputs.fresh(places.script)
    name = (task.header.get("name") or "script").replace("/", "_").lstrip(".-") or "script"
    path = f"{places.script}/{name}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
    with os.fdopen(fd, "wb") as file:
        file.write(task.body)
    return [*_shebang(bytes(task.body[:4096])), path, *arguments]


def _shebang(text: bytes) -> List[str]:
    """The script's interpreter and its one argument, as the kernel reads them.

    Read here so that it also works on a file system mounted noexec, and with a line that
    ends as on Windows.
    """
    first = text.split(b"\n", 1)[0].strip()
    words = os.fsdecode(first[2:].strip()).split(None, 1) if first.startswith(b"#!") else []
    return words or ["/bin/sh"]


def _run_on(
    argv: List[str], env: Mapping[str, str], folder: str, told: Order, watched: Watched
) -> Finished:
    """Run the command until it ends, and again for as long as it only saved its progress."""
    keeper = watched.keeper
    if keeper is not None:
        keeper.restore()
    cpu_s, memory_bytes = 0.0, 0
    while True:
        finished = _execute(argv, env, folder, told, watched)
        process.end_children()
        cpu_s += finished.cpu_s
        memory_bytes = max(memory_bytes, finished.memory_bytes)
        if keeper is None or not keeper.goes_on(finished.status):
            return Finished(finished.status, cpu_s, memory_bytes)


def _execute(
    argv: List[str], env: Mapping[str, str], folder: str, told: Order, watched: Watched
) -> Finished:
    program = _find(argv[0], env.get("PATH", os.defpath))
    # What it saves is no output: only the runner's look at its working directory limits that.
    lifted = Lifted() if watched.keeper is not None else contextlib.nullcontext()
    with Around(told), lifted:
        pid = os.posix_spawn(
            program,
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, folder + "/stdout", _OUT_FLAGS, 0o666),
                (os.POSIX_SPAWN_OPEN, 2, folder + "/stderr", _OUT_FLAGS, 0o666),
            ],
            setpgroup=0,  # `kill 0` in a script must not reach the worker
            setsigdef=_DEFAULTS,
            setsigmask=[],
        )
    if watched.keeper is not None and watched.keeper.ending:
        process.send(pid, signal.SIGTERM)  # it came too late for the runner to see this process
    _await_end(pid, watched)
    _, status, usage = os.wait4(pid, 0)
    return Finished(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def _await_end(pid: int, watched: Watched) -> None:
    """Return when the process has ended; when the runner is gone first, end it all."""
    runner_fd, keeper = watched
    fd = os.pidfd_open(pid)
    try:
        waiter = select.poll()
        waiter.register(fd, select.POLLIN)
        waiter.register(runner_fd, 0)  # reports a hang-up only
        while True:
            wait_ms = keeper.wait_ms() if keeper is not None else None
            ready = [each for each, _ in waiter.poll(wait_ms)]
            if fd in ready:
                return
            if runner_fd in ready:
                process.kill_tree(os.getpid(), root_too=False)
                os._exit(1)
            if keeper is not None:
                keeper.tick()
    finally:
        os.close(fd)


def _find(name: str, path: str) -> str:
    if "/" in name:
        return name
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder or ".", name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(2, f"no such program on the PATH ({path})", name)


def _not_started(error: OSError) -> Ended:
    """As a shell says it, with 127 for what is not there and 126 for what cannot be run."""
    name = error.filename if isinstance(error.filename, str) else ""
    ended = results.could_not(error, f"the command could not be started: {name}")
    if ended.outcome == "error":
        ended.cause = "exit"
        missing = isinstance(error, FileNotFoundError)
        ended.exit_code = _NOT_FOUND if missing else _NOT_EXECUTABLE
    return ended


def _judge_saving(status: int, keeper: Optional[Keeper]) -> Optional[Ended]:
    """What it means that a command ended by saying that it saved; None: it did not."""
    if keeper is None or not os.WIFEXITED(status) or os.WEXITSTATUS(status) != keeper.exit_code:
        return None
    if keeper.ending:
        return results.lost("vanished", "the command saved its progress and ended, as told")
    return results.failed(
        "exit",
        f"exit code {keeper.exit_code} says that it saved its progress, but there was nothing "
        "new in $SPOOLMW_CHECKPOINT_DIR or its [checkpoint] files, several times in a row",
        exit_code=keeper.exit_code,
    )


def _judge(finished: Finished, memory: int, folder: str) -> Ended:
    status = finished.status
    if status == 0:
        ended = Ended()
        ended.exit_code = 0
        return ended
    # A child's peak begins with its parent's, so a small one says nothing.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if memory and finished.memory_bytes > max(memory, own):
        return results.failed(
            "memory",
            f"it used {finished.memory_bytes} bytes of memory, {memory} were asked for",
        )
    if os.WIFEXITED(status):
        return _exited(os.WEXITSTATUS(status), folder)
    return signalled(os.WTERMSIG(status), "the command")


def _exited(code: int, folder: str) -> Ended:
    said = results.tail(folder + "/stderr", 1000).strip().splitlines()
    message = f"exit code {code}" + (f": {said[-1]}" if said else "")
    return results.failed("exit", results.one_line(message), exit_code=code)


def signalled(number: int, who: str) -> Ended:
    """What a death by this signal means: an error of its own, a limit, or somebody's will."""
    name = signal_name(number)
    if number == signal.SIGXFSZ:
        return results.failed(
            "output", f"{who} wrote more than its [limits] output", number=number
        )
    if number in FROM_OUTSIDE:
        return results.lost(
            "vanished", f"{who} was killed from outside by {name}", number=number
        )
    return results.failed("signal", f"{who} died of {name}", number=number)


def signal_name(number: int) -> str:
    """As "SIGSEGV"; real-time signals have none of their own."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
