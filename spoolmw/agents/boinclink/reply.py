"""What a client is answered: a scheduler reply in the words and line by line as stock servers write it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Who answers."""

    url: str  #: the master URL that clients attached to, with its last "/"
    name: str  #: for people; no other project of a client may have it


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFile:
    """A file of the application."""

    name: str
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
    """One result to be made, with its workunit."""

    name: str
    version: int
    platform: str
    plan_class: str = ""
    inputs: tuple[InputFile, ...] = ()
    output: OutputFile
    est_fpops: float
    bound_fpops: float
    memory_bytes: int
    disk_bytes: int
    deadline: float  #: unix time
    command_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scheduler reply."""

    project: Project
    host_id: int = 0  #: 0: none was given; each one given starts the client's count again
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


def write(reply: Reply) -> bytes:
    """The body that says `reply`."""
    raise NotImplementedError


def refusal(
    project: Project, text: str, *, delay_s: float, acks: tuple[str, ...] = ()
) -> bytes:
    """A body that shows people `text` and keeps the client away for `delay_s`."""
    raise NotImplementedError
