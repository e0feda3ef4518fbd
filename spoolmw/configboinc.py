"""The keys of agents of kind "boinc": where clients call, what they are given, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from spoolmw.configpilots import PILOTS
from spoolmw.format.keyed import Reader, Unfit, read_table
from spoolmw.format.units import describe
from spoolmw.format.values import (
    checked,
    duration,
    list_of,
    matching,
    one_of,
    size,
    text,
    whole,
    yes_or_no,
)

DAY_S = 86400.0
_MOST_URL = 200  #: characters; a client reads its page of a project with lines of 255 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Boinc:
    """What an agent of kind "boinc" has besides."""

    listen: str = ""  #: "ADDRESS:PORT"
    url: str = ""  #: as clients see it; ends in "/"
    project: str = ""  #: its name for people; empty: the agent's
    is_trusted: bool = False  #: whether pickles from its hosts may be decoded
    deadline_s: float = DAY_S  #: from sending a job to the report of it
    poll_s: float = 5.0  #: a client calls so long after its last call
    max_jobs: int = 1000  #: with hosts and waiting for one; a task of n cpus counts n times
    max_waiting: int = 200  #: of these, that wait for a host
    per_core: int = 2  #: that a host may have for each of its cores
    per_host: int = 100  #: that a host may have in all
    estimate_s: float = 600.0  #: what a client reckons that a job takes
    request_memory_bytes: int = 500_000_000  #: for tasks that name none
    request_disk_bytes: int = 1_000_000_000  #: besides the inputs
    platforms: tuple[str, ...] = ("x86_64-pc-linux-gnu", "aarch64-unknown-linux-gnu")
    preferences: tuple[tuple[str, str], ...] = ()  #: that clients are sent; empty: none are
    bundle: str = "auto"  #: whether a Python travels: "auto", "never", "always"


def url_fault(url: str) -> str:
    """Why no client would attach to `url`; empty: one would."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port is none"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it does not begin with http:// or https:// and a host"
    if "." not in parts.hostname:  # `Invalid URL`, says the client
        return "a client wants a dot in the host: an address, or a name with its domain"
    if port == 0 or "@" in parts.netloc:
        return "it needs a host, perhaps a port, and nothing else before the path"
    if "?" in url or "#" in url or "%" in url:
        return 'it has one of "?", "#" and "%" in it'
    return "" if url.endswith("/") else 'it does not end in "/"'


def _url(raw: object) -> object:
    plain = matching(rf"[!-~]{{1,{_MOST_URL}}}", "a URL")(raw)
    return checked(url_fault, "a project's URL")(plain)


_SWITCHES = (
    *("run_on_batteries", "run_if_user_active", "leave_apps_in_memory"),
    *("confirm_before_connecting", "hangup_if_dialed", "network_wifi_only"),
)
_NUMBERS = (
    *("idle_time_to_run", "suspend_if_no_recent_input", "suspend_cpu_usage"),
    *("niu_suspend_cpu_usage", "niu_cpu_usage_limit", "niu_max_ncpus_pct"),
    *("start_hour", "end_hour", "net_start_hour", "net_end_hour"),
    *("work_buf_min_days", "work_buf_additional_days", "max_ncpus_pct", "cpu_usage_limit"),
    *("cpu_scheduling_period_minutes", "disk_interval", "vm_max_used_pct"),
    *("disk_max_used_gb", "disk_max_used_pct", "disk_min_free_gb"),
    *("ram_max_used_busy_pct", "ram_max_used_idle_pct"),
    *("max_bytes_sec_up", "max_bytes_sec_down"),
    *("daily_xfer_limit_mb", "daily_xfer_period_days"),
)


def _switch(raw: object) -> object:
    return "1" if yes_or_no(raw) else "0"


def _number(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise Unfit(f"a number was expected, not {describe(raw)}")
    if not math.isfinite(raw) or not 0 <= raw <= 1e15:
        raise Unfit("the number is not between 0 and 1e15")
    return f"{raw:.15g}"


_PREFERENCES: Mapping[str, Reader] = {
    **dict.fromkeys(_SWITCHES, _switch),
    **dict.fromkeys(_NUMBERS, _number),
}


def _preferences(raw: object) -> object:
    """The table [agents.NAME.preferences]: as BOINC calls them."""
    if not isinstance(raw, dict):
        raise Unfit(
            f"a section was expected, not {describe(raw)}",
            "[agents.lab.preferences] and below it run_if_user_active = true",
        )
    return tuple(read_table(raw, _PREFERENCES).items())


BOINC: Mapping[str, Reader] = {
    "listen": PILOTS["listen"],
    "url": _url,
    "project": text(most=100),
    "trusted": yes_or_no,
    "deadline": duration(least=1, most=31_622_400),
    "poll": duration(least=1, most=DAY_S),
    "max_jobs": whole(1, 1_000_000),
    "max_waiting": whole(1, 100_000),
    "per_core": whole(1, 1000),
    "per_host": whole(1, 10_000),
    "estimate": duration(least=1, most=31_622_400),
    "request_memory": size(),
    "request_disk": size(),
    "platforms": list_of(
        matching(r"[A-Za-z0-9_]{1,40}(-[A-Za-z0-9_]{1,40}){2,3}", "a platform of BOINC's")
    ),
    "preferences": _preferences,
    "bundle": one_of("auto", "never", "always"),
}

#: What the record calls a key, where that is another word.
BOINC_FIELD_NAMES = {
    "trusted": "is_trusted",
    "deadline": "deadline_s",
    "poll": "poll_s",
    "estimate": "estimate_s",
    "request_memory": "request_memory_bytes",
    "request_disk": "request_disk_bytes",
}

#: What to say instead of a key that other kinds have.
BOINC_INSTEAD = {
    "slots": "say max_jobs and max_waiting",
    "max_idle": "say max_waiting",
    "memory": "each host says what it has; request_memory is for tasks that ask for none",
    "gpus": "jobs of this kind have no devices yet",
    "machine": "each job has the machine that it runs on",
    "owner": "each host has the owner of its account: spoolmw-ctl boinc account add NAME",
    "advertise": "say url",
    "platform": 'say platforms = ["x86_64-pc-linux-gnu"]',
    "runner_python": "say bundle",
    "home": "each job has a folder of its client's, which is its $HOME",
}

__all__ = ["BOINC", "BOINC_FIELD_NAMES", "BOINC_INSTEAD", "Boinc", "url_fault"]
