"""A worker: a warm process that runs one attempt after the other, as its runner tells it.

Rule 1: an attempt is reported only when its result stands whole in `stage/`, or in the report.
Rule 2: nothing of an attempt is left when it is reported: no process, file, variable or output.
A worker that cannot make sure of that says so with its report, and is replaced.
"""

from __future__ import annotations

import binascii
import contextlib
import gc
import hashlib
import importlib
import json
import mmap
import os
import signal
import socket
import sys
import time
import types
from typing import Any, Dict, List, NamedTuple, Tuple

from . import (
    arguments,
    call,
    command,
    elements,
    limits,
    order,
    outputs,
    process,
    reading,
    results,
    snapshot,
    validation,
    wire,
)
from .desk import desk
from .judge import Judgement
from .order import Order
from .results import Ended
from .surroundings import BRIEF_S, Surroundings

_HELD_UP_S = 10 * BRIEF_S  #: between order and end of a brief call: it had to wait
NOW_BYTES = 64  #: length of the file that names the attempt at hand


class Setup(NamedTuple):
    """What a worker is told at its start."""

    spool: str
    name: str
    parent: int
    umask: int
    inline: bool = False  #: small results go with their reports, not into `stage/`
    values: str = ""  #: "safe": nobody unpickles what comes from here (`call.GUARDED`)
    brings: bool = False  #: the archive's cloudpickle goes before one that is installed here


class Worker:
    """The loop: take an order, run it, write its result, report."""

    def __init__(self, setup: Setup, sock: socket.socket) -> None:
        self._sock = sock
        self._is_fork = False
        os.register_at_fork(after_in_child=self._mark_fork)
        self._active = setup.spool + "/"
        self._stage = setup.spool + "/stage/"
        self._values = setup.spool + "/values"
        self._name = setup.name
        self._inline = setup.inline
        self._is_guarded = setup.values == "safe"
        scratch = f"{setup.spool}/tmp/scratch/{setup.name}"
        self._places = command.Places(
            scratch,
            f"{setup.spool}/tmp/scratch/{setup.name}.script",
            f"{setup.spool}/inputs",
            self._stage,
        )
        desk.set_up(f"{setup.spool}/checkpoints", sock.send)
        self._now = _open_now(f"{setup.spool}/tmp/output/{setup.name}.now")
        self._around = Surroundings(scratch, setup.umask)
        self._source = elements.Source()

    def serve(self) -> None:
        """Run what comes until the runner is gone."""
        hello = {"python": sys.version.split()[0], "pid": os.getpid()}
        self._sock.send(order.HELLO + wire.encode(hello))
        while True:
            packet = self._sock.recv(order.MAX_PACKET)
            if not packet:
                return
            told = order.parse(packet)
            if told.judge is None:
                self._run(told)
            else:
                self._judge(told)

    def _run(self, told: Order) -> None:
        started = time.time()
        self._mark(told.attempt)
        name = ""
        try:
            task = self._read(told)
            name = order.name_of(task.header, told.element)
            ended = self._execute(told, task)
        except reading.Damaged as error:
            ended = results.failed("codec", str(error))
        except OSError as error:
            ended = results.could_not(error, "the attempt could not be set up")
        except Exception as error:  # noqa: BLE001  one odd header must not cost the worker
            ended = results.failed("launch", f"the attempt could not be set up: {error!r}")
        self._finish(told, name, ended, started)

    def _read(self, told: Order) -> reading.TaskFile:
        path = self._active + told.path
        if told.element is None:
            return reading.read(path)
        return self._source.task(path, told.element)

    def _judge(self, told: Order) -> None:
        """Compare what the replicas of a task returned; the report says what came of it."""
        started = time.time()
        self._mark(told.attempt)
        try:
            found = self._compared(told, reading.read(self._active + told.path))
        except reading.Damaged as error:
            found = Judgement(fault=str(error))
        except OSError as error:
            why = f"the results cannot be compared now: {error.strerror}"
            found = Judgement(fault=why, transient=True)
        process.end_children()
        self._around.tails()
        ended = Ended()
        ended.cpu_s, ended.memory_bytes = self._around.used()
        report = results.report(told.attempt, told.token, ended, (started, time.time()))
        report["slot"] = self._name
        report["judgement"] = validation.as_tree(found)
        worn = self._around.leave()
        self._sock.send(order.FLAGS[order.WORN if worn else 0] + wire.encode(report))
        if worn:
            time.sleep(3600)

    def _compared(self, told: Order, task: reading.TaskFile) -> Judgement:
        wrong = _wrong_python(task.header)
        if wrong:
            return Judgement(fault=wrong, transient=True)
        self._around.enter(*self._prepared(told, task.header))
        return validation.compare(told, task, self._stage)

    def _prepared(
        self, told: Order, header: Dict[str, Any]
    ) -> Tuple[Dict[str, str], Dict[str, str]]:
        """Bring the inputs; returns the variables of every attempt, and those of this task."""
        own = {
            "SPOOLMW_TASK": told.attempt[:32],
            "SPOOLMW_ATTEMPT": told.attempt.rpartition(".")[2],
            "SPOOLMW_TOKEN": told.token,
            "SPOOLMW_NAME": order.name_of(header, told.element),
            "SPOOLMW_CPUS": str(told.cpus),
        }
        env: Dict[str, str] = (header.get("run") or {}).get("env") or {}
        if told.element is not None:
            env = {**env, **elements.variables(told.element)}
        if told.devices:
            env = {"CUDA_VISIBLE_DEVICES": ",".join(told.devices), **env}
        inputs = (header.get("files") or {}).get("inputs")
        if inputs:
            self._around.stand()
            outputs.bring(inputs, self._places.inputs, self._places.scratch)
        return own, env

    def _execute(self, told: Order, task: reading.TaskFile) -> Ended:
        header = task.header
        run: Dict[str, Any] = header.get("run") or {}
        own, env = self._prepared(told, header)
        if run.get("command") or (header.get("body") or {}).get("codec") == "script":
            return self._command(told, task, self._around.full(own, env))
        wrong = _wrong_python(header)
        if wrong:
            return results.failed("interpreter", wrong)
        self._around.enter(own, env)
        desk.order = told
        packed = call.Packed(task.body, task.function, told.element)
        if "takes" in header:
            taken = arguments.Arguments(self._values, header["takes"])
            packed = packed._replace(unpack=taken.load)
        wish = call.GUARDED if self._is_guarded else run.get("result") or "auto"
        before = time.perf_counter()
        ended = call.run(packed, wish, limits.Around(told))
        ended.is_brief = time.perf_counter() - before < BRIEF_S
        if self._is_fork:
            _end_as_a_fork()
        desk.clear()
        return ended

    def _command(self, told: Order, task: reading.TaskFile, env: Dict[str, str]) -> Ended:
        self._around.stand()
        process.die_with_parent(0)  # on the runner's death the worker first ends the command
        fd = self._sock.fileno()
        try:
            if told.checkpoint is None:
                return command.run(told, task, self._places, env, command.Watched(fd))
            scratch = self._places.scratch
            stderr = f"{self._stage}{told.attempt}.files/stderr"
            folder = env[snapshot.VARIABLE] = f"{scratch}.checkpoint"
            ground = snapshot.Ground(desk.place, folder, scratch, stderr, self._sock.send)
            with snapshot.Keeper(told, ground) as keeper:
                return command.run(told, task, self._places, env, command.Watched(fd, keeper))
        finally:
            process.die_with_parent(9)

    def _finish(self, told: Order, name: str, ended: Ended, started: float) -> None:
        around = self._around
        left = not ended.is_brief and process.end_children()
        out, err = around.tails()
        if ended.files is None:
            ended.stdout_tail, ended.stderr_tail = out, err
            brief_s = time.time() - started if ended.is_brief else 0.0
            if brief_s > _HELD_UP_S:
                brief_s = 0.0  # somebody else had the processor: the clock does not tell
            ended.cpu_s, ended.memory_bytes = around.used(brief_s)
        report = results.report(told.attempt, told.token, ended, (started, time.time()))
        report["slot"] = self._name
        if ended.outcome != "lost" and not self._enclose(told.attempt, name, ended, report):
            self._write(told.attempt, name, ended, report)
        worn = around.leave(brief=ended.is_brief) or (left and ended.files is None)
        ended.value = ()
        flags = (order.WORN if worn else 0) | (order.LOST if ended.outcome == "lost" else 0)
        self._sock.send(order.FLAGS[flags] + results.encoded(report))
        if worn:
            time.sleep(3600)  # the runner ends this process, with whatever hangs on it

    def _enclose(self, attempt: str, name: str, ended: Ended, report: Dict[str, Any]) -> bool:
        """Put a small result into its report, where that is wished for."""
        if not self._inline or ended.files is not None:
            return False
        body = results.inlined(name, attempt, ended)
        if body is None:
            return False
        report["body_bytes"] = len(body)
        report["digest"] = hashlib.sha256(body).hexdigest()
        report["body"] = binascii.b2a_base64(body, newline=False).decode()
        return True

    def _write(self, attempt: str, name: str, ended: Ended, report: Dict[str, Any]) -> None:
        large = sum(map(len, ended.value)) >= order.DEFAULT_OUTPUT_BYTES
        if large:
            limits.lift_file_size()
        try:
            size, digest = results.write(self._stage + attempt, name, attempt, ended)
        except OSError as error:
            why = f"the result could not be written: {error.strerror}"
            report.update(results.verdict_of(results.refused(why)))
            with contextlib.suppress(OSError):
                os.unlink(self._stage + attempt)  # half of it helps nobody
            return
        finally:
            if large:
                limits.settle()
        report["body_bytes"] = size
        report["digest"] = digest

    def _mark_fork(self) -> None:
        self._is_fork = True

    def _mark(self, attempt: str) -> None:
        """Say which attempt is at hand, or was last, where it survives this process and the runner."""
        self._now[:NOW_BYTES] = attempt.encode().ljust(NOW_BYTES, b"\0")


def main(argv: List[str], archive: str) -> int:
    """Be a worker until the runner is gone; the one argument is the setup, as JSON."""
    setup = Setup(**json.loads(argv[0]))
    process.die_with_parent(9)
    if os.getppid() != setup.parent:
        return 1  # the runner died before it could be watched
    process.become_subreaper()
    _offer_to_the_oom_killer()
    sock = socket.socket(fileno=order.WORKER_FD)
    sock.set_inheritable(False)
    limits.settle()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # from outside, like TERM: no exception
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if setup.brings:
        importlib.import_module("cloudpickle")  # as long as the archive stands first
    if archive in sys.path:
        sys.path.remove(archive)
    sys.path.append(archive)  # the interpreter's own packages come first
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        worker = Worker(setup, sock)
    except OSError as error:  # a full disk: the attempt that waits for this worker is innocent
        sys.stderr.write(f"{error}\n")
        return os.EX_TEMPFAIL
    gc.collect()
    gc.freeze()
    worker.serve()
    return 0


def _open_now(path: str) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.posix_fallocate(fd, 0, NOW_BYTES)  # on a full disk an error now, not a SIGBUS later
    now = mmap.mmap(fd, NOW_BYTES)
    os.close(fd)
    return now


def _wrong_python(header: Dict[str, Any]) -> str:
    wanted = (header.get("place") or {}).get("python")
    here = "%d.%d" % sys.version_info[:2]
    if not wanted or wanted == here:
        return ""
    return (
        f"the task needs Python {wanted}, but {sys.executable} is Python {here}: "
        "submit it anew from the environment as it is now"
    )


def _offer_to_the_oom_killer() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass  # then the kernel chooses by size alone


def _end_as_a_fork() -> None:
    """A child that the task forked came back from the function: it is not the worker."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
