"""What a client asks for: its scheduler request, each field checked; what is odd is left out.

Rule 1: whatever comes, `parse` answers; a request that it cannot read has empty fields.
Rule 2: every result that is reported is found, so that it can be acknowledged: a client repeats
a report for ever until it is, and asks for no work meanwhile.
Rule 3: behind this nobody checks again: names are of the allow-list, numbers finite and within
bounds, texts short and without control characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spoolmw.agents.boinclink import lenient
from spoolmw.agents.boinclink.lenient import Element, unescape
from spoolmw.format.names import escape

STATE_OK = 5  #: the result ran and its files are here

MOST_REPORTS = 10_000  #: the client tells the others in its next request
MOST_OUTPUTS = 16  #: of a report
MOST_STDERR = 4000  #: characters, of the end
MOST_TEXT = 200  #: characters, of what else is for people
MOST_PLATFORMS = 16

_MOST_BYTES = 1 << 60
_MOST_CORES = 1 << 12
_MOST_S = 1e11
_MOST_FLOPS = 1e18
_INT = (1 << 31) - 1

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)
_HEX32 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{1,128}", re.ASCII)
_NUMBER = re.compile(r"\s*+[+-]?\d++(?:\.\d*+)?(?:e[+-]?\d{1,4}+)?\s*+", re.ASCII)
_LONGEST_NUMBER = 400  # a client may print a large one in full
_KEY_LINE = re.compile(rb"<authenticator>\s*+([0-9a-f]{1,128})\s*+</authenticator>")
HEAD_BYTES = (
    4096  #: of a request, in which its key stands: a client tells it in the second line
)
_LONGEST_KEY = 4096  # of a code signing key: the client's own buffer
_VERSION = re.compile(r"\A\s*<core_client_version>[^<]*+</core_client_version>")
_MARKS = re.compile(r"<!\[CDATA\[|\]\]>\s*+\Z|</?(?:stderr_txt|message)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that the client says it uploaded; `md5` is "" where it told none."""

    name: str
    nbytes: int = 0
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The end of one result, as its host tells it."""

    name: str
    state: int = 0  #: STATE_OK, or where it went wrong
    exit_status: int = 0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    stderr: str = ""
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host says about itself; 0 and "" where it says nothing."""

    name: str = ""  #: as people know it; "" where the client keeps it to itself
    os: str = ""
    cpu: str = ""
    cores: int = 1
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    flops: float = 0.0  #: operations per second of one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One scheduler request."""

    authenticator: str = ""  #: the account's key; "" if it is none
    host_id: int = 0  #: 0: the host has none yet
    seqno: int = 0
    version: tuple[int, int, int] = (0, 0, 0)  #: of the client
    platforms: tuple[str, ...] = ()  #: the main one first
    wants_work: bool = False
    seconds: float = 0.0  #: of work wanted, summed over cores
    instances: float = 0.0  #: idle cores
    code_sign_key: str = ""  #: that the client has pinned, without white space around
    cpid: str = ""  #: 32 hex digits of the client's data folder
    host: HostFacts = field(default_factory=HostFacts)
    in_progress: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()  #: each name once
    has_trickles: bool = False  #: the client repeats them until they are acknowledged
    is_whole: bool = False  #: from its first tag to its last, and all of it was read


class _Fields:
    """The children of one element, read as what they ought to be; what is odd is nothing."""

    __slots__ = ("_by_tag",)

    def __init__(self, element: Element | None) -> None:
        self._by_tag: Mapping[str, Element] = element.fields() if element else {}

    def element(self, tag: str) -> Element | None:
        return self._by_tag.get(tag)

    def raw(self, tag: str) -> str:
        found = self._by_tag.get(tag)
        return found.text if found else ""

    def has(self, tag: str) -> bool:
        """For <tag/> and <tag>1</tag>."""
        return tag in self._by_tag and self.raw(tag).strip() not in ("0", "0.0", "0.000000")

    def text(self, tag: str) -> str:
        words = unescape(self.raw(tag)[: 8 * MOST_TEXT]).split()
        return escape(" ".join(words))[:MOST_TEXT]

    def like(self, tag: str, pattern: re.Pattern[str]) -> str:
        told = self.raw(tag)
        told = told.strip() if len(told) < 1000 else ""
        return told if pattern.fullmatch(told) else ""

    def name(self, tag: str) -> str:
        return name_or_nothing(self.raw(tag))

    def number(self, tag: str, most: float, least: float = 0.0) -> float:
        told = self.raw(tag)
        if len(told) > _LONGEST_NUMBER or not _NUMBER.fullmatch(told):
            return 0.0
        return min(max(float(told), least), most)

    def whole(self, tag: str, most: int, least: int = 0) -> int:
        return int(self.number(tag, most, least))


def key_of(body: bytes) -> str:
    """The account's key alone: who has none that is good need not be read further."""
    found = _KEY_LINE.search(body[:HEAD_BYTES])
    return found[1].decode() if found else ""


def parse(body: bytes) -> Asked:
    """What `body` asks for. Never raises."""
    tree, is_all = lenient.parse(body)
    root = tree.fields().get("scheduler_request")
    told = _Fields(root or tree)
    ends = body[-200:].rstrip().endswith(b"</scheduler_request>")
    work = told.number("work_req_seconds", _MOST_S)
    seconds = max(work, told.number("cpu_req_secs", _MOST_S))
    instances = told.number("cpu_req_instances", _MOST_CORES)
    host = _Fields(told.element("host_info"))
    return Asked(
        authenticator=told.like("authenticator", _KEY),
        host_id=told.whole("hostid", _INT),
        seqno=told.whole("rpc_seqno", _INT),
        version=_version(told),
        platforms=_platforms(root or tree, told),
        wants_work=(seconds > 0 or instances > 0) and not told.has("dont_send_work"),
        seconds=seconds,
        instances=instances,
        code_sign_key=told.raw("code_sign_key")[:_LONGEST_KEY].strip(),
        cpid=host.like("host_cpid", _HEX32),
        host=_host(host),
        in_progress=_in_progress(told.element("other_results")),
        reports=_reports(body, root or tree, tree),
        has_trickles=told.element("msg_from_host") is not None,
        is_whole=is_all and root is not None and ends,
    )


def name_or_nothing(told: str) -> str:
    """The name of a result or a file if it may be one; else ""."""
    told = told.strip() if len(told) < 1000 else ""
    return told if _NAME.fullmatch(told) and ".." not in told else ""


def clean(text: str, most: int) -> str:
    """The last `most` characters of `text` with nothing in them that moves a cursor."""
    return "\n".join(escape(line) for line in text[-most:].splitlines())[-most:]


def _version(told: _Fields) -> tuple[int, int, int]:
    major = told.whole("core_client_major_version", _INT)
    minor = told.whole("core_client_minor_version", _INT)
    return major, minor, told.whole("core_client_release", _INT)


def _platforms(root: Element, told: _Fields) -> tuple[str, ...]:
    others = (each for each in root.children if each.tag == "alt_platform")
    names = (_Fields(each).name("name") for each in itertools.islice(others, MOST_PLATFORMS))
    found = (told.name("platform_name"), *names)
    return tuple(dict.fromkeys(name for name in found if name))


def _host(told: _Fields) -> HostFacts:
    return HostFacts(
        name=told.text("domain_name"),
        os=" ".join(filter(None, (told.text("os_name"), told.text("os_version")))),
        cpu=told.text("p_model") or told.text("p_vendor"),
        cores=max(1, told.whole("p_ncpus", _MOST_CORES)),
        memory_bytes=told.whole("m_nbytes", _MOST_BYTES),
        disk_free_bytes=told.whole("d_free", _MOST_BYTES),
        flops=told.number("p_fpops", _MOST_FLOPS),
    )


def _in_progress(element: Element | None) -> tuple[str, ...]:
    told = element.children if element else ()
    names = (_Fields(each).name("name") for each in told if each.tag == "other_result")
    return tuple(dict.fromkeys(_first(name for name in names if name)))


def _first(names: Iterable[str]) -> Iterator[str]:
    return itertools.islice(names, MOST_REPORTS)


def _reports(body: bytes, root: Element, tree: Element) -> tuple[Report, ...]:
    """Those that stand where they belong; if there may be others, those anywhere."""
    told = [each for each in root.children if each.tag == "result"]
    if body.count(b"<result>") != len(told):
        told = list(tree.every("result"))
    found: dict[str, Report] = {}
    for each in told[: 2 * MOST_REPORTS]:
        report = _report(each)
        if report.name and len(found) < MOST_REPORTS:
            found.setdefault(report.name, report)
    return tuple(found.values())


def _report(element: Element) -> Report:
    told = _Fields(element)
    files = (each for each in element.children if each.tag == "file_info")
    outputs = (_output(_Fields(each)) for each in itertools.islice(files, MOST_OUTPUTS))
    return Report(
        name=told.name("name"),
        state=told.whole("state", _INT, -_INT),
        exit_status=told.whole("exit_status", _INT, -_INT - 1),
        cpu_s=told.number("final_cpu_time", _MOST_S),
        elapsed_s=told.number("final_elapsed_time", _MOST_S),
        stderr=_stderr(told.raw("stderr_out")),
        outputs=tuple(output for output in outputs if output.name),
    )


def _output(told: _Fields) -> Output:
    return Output(
        name=told.name("name"),
        nbytes=told.whole("nbytes", _MOST_BYTES),
        md5=told.like("md5_cksum", _HEX32),
    )


def _stderr(told: str) -> str:
    """What the program and the client wrote there, without the client's marks."""
    if not told or told.isspace():
        return ""
    end = _VERSION.sub("", told[:500]) + told[500:] if len(told) < 65536 else told[-65536:]
    return clean(unescape(_MARKS.sub("", end)).strip(), MOST_STDERR)
