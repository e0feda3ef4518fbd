"""A BOINC client in Python: what the stock client 7.20 says and checks, without its hours of waiting.

It attaches, asks for work, downloads and verifies, makes the result up or really runs the program,
uploads, reports; and it can be cut off, restored from a backup, and lie. Thousands of them live in
one loop. Nothing is shared with the code under test but the values' codec.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import itertools
import re
import secrets
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import boincask, boincreply, fakework
from tests.support.boinchttp import Answer, Cut, Wire
from tests.support.boincreply import Node

UPLOADED, FAILED, ABORTED, FETCH_FAILED = 5, 3, 6, 1  #: states of a result
LARGE_BYTES = 8192  #: from there on a client asks first how much of a file is there
_MAIN = "x86_64-pc-linux-gnu"
_pad = b"\0\1" + b"\xff" * (128 - 3 - 32) + b"\0"


class Refused(Exception):
    """The server answered with something that makes a client try again later."""


class BadFile(Exception):
    """A download that no client would take."""


@dataclass
class File:
    """What a reply says of one file."""

    name: str
    url: str
    md5: str
    nbytes: int
    signature: str
    open_name: str = ""
    is_main: bool = False
    is_copied: bool = False


@dataclass
class Job:
    """A result that the host has."""

    name: str
    inputs: list[File]
    app: list[File]
    output: str
    open_name: str
    max_nbytes: int
    upload_url: str
    token: str
    deadline: float
    plan_class: str
    command_line: str = ""
    says: Node | None = field(default=None, repr=False)

    @property
    def files(self) -> list[File]:
        return [*self.app, *self.inputs]


@dataclass
class Done:
    """A result that is to be reported."""

    name: str
    state: int = UPLOADED
    exit_status: int = 0
    output: str = ""
    nbytes: int = 0
    md5: str = ""
    max_nbytes: int = 0
    upload_url: str = ""
    stderr: str = ""


class Reply:
    """What a scheduler answered."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.delay_s = node.number("request_delay")
        self.next_rpc_s = node.number("next_rpc_delay")
        self.acks = [each.get("name") for each in node.all("result_ack")]
        self.aborts = [each.get("name") for each in node.all("result_abort")]
        self.messages = [each.text for each in node.all("message")]
        self.jobs: list[Job] = []


@dataclass
class Memory:
    """What a client's state file holds: all that is lost when a backup is restored."""

    host_id: int = 0
    seqno: int = 0
    key: str = ""  #: the project's, which it keeps once it has it
    jobs: dict[str, Job] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(
        default_factory=dict
    )  #: of jobs that are not uploaded yet
    app: dict[tuple[str, str], list[File]] = field(default_factory=dict)
    cpid: str = field(default_factory=lambda: secrets.token_hex(16))


_numbers = itertools.count(1)


class FakeHost:
    """One desktop."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        name: str = "",
        cache: dict[str, bytes] | None = None,
        tls: ssl.SSLContext | None = None,
        address: str = "",
        **facts: Any,
    ) -> None:
        """`url` and `key` as people attach; `facts` replace what it says about itself.

        Hosts with a common `cache` of files fetch each only once.
        """
        self.url, self.authenticator = url, key
        self.name = name or f"pc{next(_numbers):04}"
        self.scheduler = ""
        self.state = Memory()
        self.wire = Wire(tls, address)
        self.facts: dict[str, Any] = {**boincask.FACTS, "domain_name": self.name, **facts}
        self.cache: dict[str, bytes] = {} if cache is None else cache
        self.making: fakework.Making = fakework.named
        self.refetches = False  #: files that it has, too
        self.ran: list[str] = []  #: jobs, each time that one was made
        self.reported: list[str] = []  #: of these the server said that it knows

    # -- the project

    async def attach(self) -> None:
        """Read the master page."""
        page = (await self._get(self.url)).decode("utf-8")
        found = [each[1] for each in re.finditer(r"<scheduler>([^<]*)</scheduler>", page)]
        assert found, f"no <scheduler> in {page[:2000]}"
        line = next(each for each in page.splitlines() if "<scheduler>" in each)
        assert len(line) < 256, "the client reads lines of 255 characters"
        self.scheduler = found[0].strip()

    async def poll(
        self, *, seconds: float = 1e5, instances: float | None = None, **fate: Any
    ) -> Reply:
        """One scheduler request: reports what is done, and asks for so much work (0: for none).

        `fate` is of `Wire.ask`. Raises Cut, OSError or Refused: then it has the same jobs as before.
        """
        if not self.scheduler:
            await self.attach()
        told = list(self.state.done)
        idle = float(seconds > 0) if instances is None else instances
        body = boincask.request(self, seconds=seconds, instances=idle)
        self.state.seqno += self.state.host_id > 0  # also where no answer comes
        answer = await self.wire.ask(self.scheduler, body, **fate)
        if answer.status != 200:
            raise Refused(f"{answer.status}: {answer.body[:300]!r}")
        reply = Reply(boincreply.read(answer.body, "scheduler_reply"))
        self._learn(reply, told)
        return reply

    def _learn(self, reply: Reply, told: Iterable[str]) -> None:
        node, state = reply.node, self.state
        if (theirs := node.get("master_url")) and theirs.lower() != self.url.lower():
            raise boincreply.Malformed(f"{theirs} instead of {self.url}")
        if node.has("hostid"):
            state.host_id, state.seqno = int(node.get("hostid")), 0
        else:
            state.seqno += state.host_id > 0
        if node.has("code_sign_key"):
            assert not state.key, (
                "a client with a key complains about another without signature"
            )
            state.key = node.get("code_sign_key").strip()
        for each in node.all("app_version"):
            self._learn_app(each, node)
        reply.jobs = [self._job(each, node) for each in node.all("result")]
        self._learn_jobs(reply, told)

    def _learn_jobs(self, reply: Reply, told: Iterable[str]) -> None:
        state = self.state
        for job in reply.jobs:
            known = state.jobs.setdefault(job.name, job)
            known.deadline = job.deadline
        for name in reply.acks:
            if state.done.pop(name, None) is not None and name in told:
                self.reported.append(name)
        for name in reply.aborts:
            if state.jobs.pop(name, None) is not None:
                state.done[name] = Done(name, ABORTED, 202)

    def _learn_app(self, version: Node, node: Node) -> None:
        files = [_file(each, node) for each in version.all("file_ref")]
        assert sum(each.is_main for each in files) == 1
        self.state.app[version.get("version_num"), version.get("plan_class")] = files

    def _job(self, result: Node, node: Node) -> Job:
        [unit] = [
            each for each in node.all("workunit") if each.get("name") == result.get("wu_name")
        ]
        [ref] = result.all("file_ref")
        [out] = [e for e in node.all("file_info") if e.get("name") == ref.get("file_name")]
        version = (result.get("version_num"), result.get("plan_class"))
        assert version in self.state.app, "No app version found"
        assert ref.has("copy_file")
        assert out.has("upload_when_present")
        for number in (
            "rsc_fpops_est",
            "rsc_fpops_bound",
            "rsc_memory_bound",
            "rsc_disk_bound",
        ):
            assert unit.number(number) > 0
        return Job(
            name=result.get("name"),
            inputs=[_file(each, node) for each in unit.all("file_ref")],
            app=self.state.app[version],
            output=out.get("name"),
            open_name=ref.get("open_name"),
            max_nbytes=int(out.number("max_nbytes")),
            upload_url=out.get("upload_url"),
            token=out.get("xml_signature").strip(),
            deadline=result.number("report_deadline"),
            plan_class=version[1],
            command_line=unit.get("command_line"),
            says=result,
        )

    # -- files

    async def _get(self, url: str, **more: Any) -> bytes:
        answer = await self.wire.ask(url, **more)
        if answer.status not in (200, 206):
            raise Refused(f"{url}: {answer.status}")
        return answer.body

    async def fetch(self, job: Job) -> dict[str, bytes]:
        """Download what the job needs; its inputs by the names that the program opens.

        Raises BadFile for what no client would take, else as `poll`.
        """
        for each in job.files:
            if self.refetches or each.name not in self.cache:
                self.cache[each.name] = await self.download(each)
        return {each.open_name: self.cache[each.name] for each in job.files if each.open_name}

    async def download(self, file: File, *, resumes_at: int = 0) -> bytes:
        """The bytes of a file, verified; `resumes_at`: the first part comes in a request of its own."""
        data = b""
        if resumes_at:
            part = {"Range": f"bytes=0-{resumes_at - 1}"}
            data = await self._get(file.url, headers=part)
            assert len(data) == resumes_at
        more = {"Range": f"bytes={resumes_at}-"} if resumes_at else {}
        data += await self._get(file.url, headers=more)
        if len(data) != file.nbytes or hashlib.md5(data).hexdigest() != file.md5:
            raise BadFile(f"{file.name}: {len(data)} bytes, MD5 check failed")
        if file.signature and not verifies(self.state.key, file.md5, file.signature):
            raise BadFile(f"{file.name}: signature verification failed")
        return data

    def forget_inputs(self, job: Job) -> None:
        for each in job.inputs:
            self.cache.pop(each.name, None)

    async def stored(self, job: Job) -> int:
        """How many bytes of the job's output the server says that it has."""
        body = boincask.size_query(job.output)
        return int((await self._upload_answer(job, body)).get("file_size", "-1"))

    async def upload(self, job: Job, data: bytes, **lies: Any) -> int:
        """Upload the output, from where the server says that it has it; how it answered (0: done).

        `lies`: `token`, `name`, `nbytes`, `md5`, `max_nbytes`, `offset` as they are told instead;
        what `Wire.ask` takes. Raises as `poll`.
        """
        offset = 0
        if len(data) >= LARGE_BYTES and "offset" not in lies:
            offset = await self.stored(job)
            if offset >= len(data):
                return 0
        fate = {key: lies.pop(key) for key in ("cut_after", "deaf") if key in lies}
        offset = lies.setdefault("offset", offset)
        head = boincask.upload_head(job, data, lies)
        if "cut_after" in fate:
            fate["cut_after"] += len(head)
        return int((await self._upload_answer(job, head + data[offset:], **fate)).get("status"))

    async def _upload_answer(self, job: Job, body: bytes, **fate: Any) -> Node:
        answer: Answer = await self.wire.ask(job.upload_url, body, **fate)
        if answer.status != 200:
            raise Refused(f"upload: {answer.status}")
        node = boincreply.read(answer.body, "data_server_reply")
        assert node.has("status")
        return node

    # -- work

    def make(self, job: Job, files: Mapping[str, bytes], **more: Any) -> bytes:
        """The output of a job that was not run."""
        self.ran.append(job.name)
        errand = fakework.errand_of(files)
        return fakework.parcel(errand, self.making(errand), host=self.name, **more)

    def finish(self, job: Job, data: bytes = b"", **lies: Any) -> Done:
        """The job is done and uploaded: it is reported with the next request."""
        self.state.jobs.pop(job.name, None)
        self.state.outputs.pop(job.name, None)
        self.forget_inputs(job)
        told: dict[str, Any] = {
            "nbytes": len(data),
            "md5": hashlib.md5(data).hexdigest() if data else "",
            "output": job.output if data else "",
        }
        told |= {"max_nbytes": job.max_nbytes, "upload_url": job.upload_url, **lies}
        made = Done(job.name, **told)
        self.state.done[job.name] = made
        return made

    def fail(
        self, job: Job, *, state: int = FAILED, exit_status: int = 1, stderr: str = ""
    ) -> None:
        """The job went wrong on this host: it is reported without an output."""
        self.finish(job, state=state, exit_status=exit_status, stderr=stderr)

    async def turn(self, job: Job) -> None:
        """Fetch, make and upload one job; it is reported with the next request."""
        outputs = self.state.outputs
        if job.name not in outputs:
            outputs[job.name] = self.make(job, await self.fetch(job))
        data = outputs[job.name]
        status = await self.upload(job, data)
        if status == 0:
            self.finish(job, data)
        elif status < 0:
            self.fail(job, exit_status=-240)
        else:
            raise Refused(f"upload: status {status}")

    async def work(self) -> Reply:
        """Ask once, and do all that there is to do; what cannot be had now is tried next time."""
        reply = await self.poll()
        for job in list(self.state.jobs.values()):
            await self.turn(job)
        return reply

    async def live(self, until: Callable[[], bool], *, pause_s: float = 0.05) -> None:
        """Work, report and wait, whatever happens to the server, until told to end."""
        while not until():
            try:
                reply = await self.work()
                if self.state.done or reply.jobs:
                    continue
            except (Cut, Refused, OSError):
                pass
            await asyncio.sleep(pause_s)

    # -- its disk

    def backup(self) -> Memory:
        return copy.deepcopy(self.state)

    def restore(self, kept: Memory) -> None:
        self.state = copy.deepcopy(kept)

    def reset(self) -> None:
        """As `boinccmd --project URL reset`: forgets its jobs silently."""
        self.state.jobs.clear()
        self.state.outputs.clear()
        self.state.done.clear()

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self.wire.close()


def _file(ref: Node, node: Node) -> File:
    """What a reply says of the file that `ref` names; it is described exactly once."""
    name = ref.get("file_name")
    infos = [each for each in node.all("file_info") if each.get("name") == name]
    assert len(infos) == 1, f"{len(infos)} descriptions of {name}"
    [info] = infos
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert ".." not in name
    return File(
        name,
        info.get("download_url"),
        info.get("md5_cksum"),
        int(info.get("nbytes")),
        info.get("file_signature"),
        ref.get("open_name"),
        ref.has("main_program"),
        ref.has("copy_file"),
    )


def verifies(key: str, md5: str, signature: str) -> bool:
    """Whether a file's signature is that of `key`, as crypt_prog and the client check it."""
    bits, *lines = key.split()
    assert bits == "1024"
    assert lines[-1] == "."
    assert all(len(each) == 64 for each in lines[:-1])
    digits = bytes.fromhex("".join(lines[:-1]))
    n, e = int.from_bytes(digits[:128], "big"), int.from_bytes(digits[128:], "big")
    *signed, dot = signature.split()
    assert dot == "."
    opened = pow(int("".join(signed), 16), e, n).to_bytes(128, "big")
    return opened == _pad + md5.encode()
