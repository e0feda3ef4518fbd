"""What a client is answered: a scheduler reply, in the words and line by line as stock servers do.

Rule 1: each element has its own line; the client reads parts of a reply line by line.
Rule 2: whatever stands between tags is escaped, and cut to what the client's buffers hold: a
longer text would make it refuse the whole element.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spoolmw.format.names import escape

APP = "spoolmw"  #: the name of the one application
API_VERSION = "7.20.5"  #: of the shared memory: a mapped file from 6.0 on
SCHEDULER_VERSION = 720

MOST_WORD_BYTES = 200  #: of names for people, as escaped; a client's buffers have 256
MOST_MESSAGE_BYTES = 900  #: as escaped; a client's buffer has 1,024

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Who answers."""

    url: str  #: the master URL that clients attached to, with its last "/"
    name: str  #: for people; no other project of a client may have it


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFile:
    """A file of the application."""

    name: str  #: its content never changes
    url: str
    md5: str
    nbytes: int
    signature: str  #: as signing.KeyPair.sign makes it
    is_main: bool = False
    open_name: str = ""  #: what the program calls it; "": it does not open it by a name
    is_copied: bool = False  #: into the slot folder, instead of a soft link


@dataclass(frozen=True, slots=True, kw_only=True)
class AppVersion:
    """The application for one platform."""

    number: int
    platform: str
    plan_class: str = ""
    cores: int = 1  #: that it keeps busy
    flops: float = 1e9  #: per second, as the host does with it
    files: tuple[AppFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that a job reads."""

    name: str  #: its content never changes
    url: str
    md5: str
    nbytes: int
    open_name: str
    is_copied: bool = True  #: into the slot folder; else the program finds a soft link


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """The file that a job writes."""

    name: str
    open_name: str
    max_nbytes: int
    upload_url: str
    token: str  #: comes back with the upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One result to be made, with its workunit; a client drops it without its app version."""

    name: str
    version: int
    platform: str
    plan_class: str = ""
    inputs: tuple[InputFile, ...] = ()
    output: OutputFile
    est_fpops: float
    bound_fpops: float  #: divided by the version's flops: seconds after which it is ended
    memory_bytes: int
    disk_bytes: int
    deadline: float  #: unix time
    command_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scheduler reply."""

    project: Project
    host_id: int = 0  #: only if newly given: it starts the client's count of requests again
    user: str = ""
    user_id: int = 0
    code_sign_key: str = ""  #: only for a client that has none
    messages: tuple[tuple[str, str], ...] = ()  #: priority ("low" or "notice") and text
    delay_s: float = 0.0  #: the client keeps quiet so long
    next_rpc_s: float = 0.0  #: the client asks again by then; 0: when it likes
    app_versions: tuple[AppVersion, ...] = ()
    jobs: tuple[Job, ...] = ()
    acks: tuple[str, ...] = ()
    aborts: tuple[str, ...] = ()
    preferences: tuple[tuple[str, str], ...] = ()
    acks_trickles: bool = False


def refusal(project: Project, text: str, *, delay_s: float, acks: Iterable[str] = ()) -> bytes:
    """A body that shows people `text` and keeps the client away for `delay_s`."""
    return write(
        Reply(project=project, messages=(("notice", text),), delay_s=delay_s, acks=tuple(acks))
    )


def write(reply: Reply) -> bytes:
    """The body that says `reply`."""
    lines = ["<scheduler_reply>", *_lines(reply), "</scheduler_reply>", ""]
    return "\n".join(lines).encode("utf-8", "replace")


def _lines(reply: Reply) -> Iterator[str]:
    yield from _head(reply)
    for name in reply.acks:
        yield from ("<result_ack>", _tag("name", name), "</result_ack>")
    for name in reply.aborts:
        yield from ("<result_abort>", _tag("name", name), "</result_abort>")
    if reply.app_versions or reply.jobs:
        yield from _work(reply)


def _head(reply: Reply) -> Iterator[str]:
    yield _tag("scheduler_version", SCHEDULER_VERSION)
    yield _tag("master_url", reply.project.url)
    yield _tag("project_name", fitting(reply.project.name, MOST_WORD_BYTES), escaped=True)
    for priority, text in reply.messages:
        shown = fitting(text, MOST_MESSAGE_BYTES)
        yield f'<message priority="{_escaped(priority)}">{shown}</message>'
    yield from _given("request_delay", reply.delay_s)
    yield from _given("next_rpc_delay", reply.next_rpc_s)
    if reply.user:
        yield _tag("user_name", fitting(reply.user, MOST_WORD_BYTES), escaped=True)
    yield from _given("userid", reply.user_id)
    yield from _given("hostid", reply.host_id)
    yield "<dont_use_dcf/>"
    if reply.acks_trickles:
        yield "<message_ack/>"
    if reply.code_sign_key:
        yield from _block("code_sign_key", reply.code_sign_key)
    if reply.preferences:
        values = (_tag(key, value) for key, value in reply.preferences)
        yield from ("<global_preferences>", *values, "</global_preferences>")


def _work(reply: Reply) -> Iterator[str]:
    """The order matters: a client refuses what refers to what it has not read yet."""
    yield from ("<app>", _tag("name", APP), _tag("user_friendly_name", APP))
    yield from (_tag("non_cpu_intensive", 0), "</app>")
    told: set[str] = set()
    for version in reply.app_versions:
        for file in version.files:
            yield from _once(file.name, told, _app_file(file))
        yield from _app_version(version)
    for job in reply.jobs:
        for given in job.inputs:
            yield from _once(given.name, told, _input_file(given))
        yield from _workunit(job)
        yield from _once(job.output.name, told, _output_file(job.output))
        yield from _result(job)


def _once(name: str, told: set[str], lines: Iterator[str]) -> Iterator[str]:
    if name not in told:
        told.add(name)
        yield from lines


def _app_file(file: AppFile) -> Iterator[str]:
    yield from ("<file_info>", _tag("name", file.name), _tag("download_url", file.url))
    yield from (_tag("md5_cksum", file.md5), _tag("nbytes", file.nbytes))
    if file.is_main:
        yield "<executable/>"
    yield from _block("file_signature", file.signature)
    yield "</file_info>"


def _input_file(file: InputFile) -> Iterator[str]:
    yield from ("<file_info>", _tag("name", file.name), _tag("download_url", file.url))
    yield from (_tag("md5_cksum", file.md5), _tag("nbytes", file.nbytes), "</file_info>")


def _output_file(file: OutputFile) -> Iterator[str]:
    yield from ("<file_info>", _tag("name", file.name))
    yield from ("<generated_locally/>", "<upload_when_present/>")
    yield from (_tag("max_nbytes", file.max_nbytes), _tag("upload_url", file.upload_url))
    yield from (*_block("xml_signature", file.token), "</file_info>")


def _app_version(version: AppVersion) -> Iterator[str]:
    yield from ("<app_version>", _tag("app_name", APP), _tag("version_num", version.number))
    yield _tag("platform", version.platform)
    yield from _given("plan_class", version.plan_class)
    yield from (_tag("api_version", API_VERSION), _tag("avg_ncpus", version.cores))
    yield _tag("flops", version.flops)
    for file in version.files:
        yield from _file_ref(
            file.name, file.open_name, copied=file.is_copied, main=file.is_main
        )
    yield "</app_version>"


def _workunit(job: Job) -> Iterator[str]:
    yield from ("<workunit>", _tag("name", workunit_name(job.name)), _tag("app_name", APP))
    yield _tag("version_num", job.version)
    yield from (_tag("rsc_fpops_est", job.est_fpops), _tag("rsc_fpops_bound", job.bound_fpops))
    yield _tag("rsc_memory_bound", job.memory_bytes)
    yield _tag("rsc_disk_bound", job.disk_bytes)
    yield from _given("command_line", job.command_line)
    for file in job.inputs:
        yield from _file_ref(file.name, file.open_name, copied=file.is_copied)
    yield "</workunit>"


def _result(job: Job) -> Iterator[str]:
    yield from ("<result>", _tag("name", job.name), _tag("wu_name", workunit_name(job.name)))
    yield from (_tag("report_deadline", job.deadline), _tag("platform", job.platform))
    yield _tag("version_num", job.version)
    yield from _given("plan_class", job.plan_class)
    yield "<report_immediately/>"
    yield from _file_ref(job.output.name, job.output.open_name, copied=True)
    yield "</result>"


def workunit_name(result: str) -> str:
    """The workunit that this result is of: each has one only."""
    return f"w_{result}"


def _file_ref(
    name: str, open_name: str, *, copied: bool = False, main: bool = False
) -> Iterator[str]:
    yield from ("<file_ref>", _tag("file_name", name))
    yield from _given("open_name", open_name)
    if copied:
        yield "<copy_file/>"
    if main:
        yield "<main_program/>"
    yield "</file_ref>"


def _given(tag: str, value: str | float) -> Iterator[str]:
    """The element, if there is something to say."""
    if value:
        yield _tag(tag, value)


def _block(tag: str, text: str) -> Iterator[str]:
    """Keys and signatures: the client takes their lines as they stand."""
    yield f"<{tag}>"
    yield from (_escaped(line) for line in text.strip().splitlines())
    yield f"</{tag}>"


def _tag(tag: str, value: str | float, *, escaped: bool = False) -> str:
    text = value if isinstance(value, str) else _number(value)
    return f"<{tag}>{text if escaped else _escaped(text)}</{tag}>"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def _escaped(text: str) -> str:
    """On one line: a line feed in a name could end the element for the client."""
    return escape(text).translate(_ENTITIES)


def fitting(text: str, most: int) -> str:
    """`text` escaped, cut before the sign with which it would have more than `most` bytes."""
    plain = escape(" ".join(text.split()))
    if len(plain) <= most and len(whole := _escaped(plain).encode()) <= most:
        return whole.decode()
    shown = ""
    for sign in plain[:most]:
        more = shown + _escaped(sign)
        if len(more.encode()) > most:
            break
        shown = more
    return shown
