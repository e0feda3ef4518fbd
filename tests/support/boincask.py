"""What a client of version 7.20.5 writes: scheduler requests and upload requests, word by word."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.fakeclient import Done, FakeHost, Job

PLATFORM = "x86_64-pc-linux-gnu"
#: What a host says about itself, unless a test says otherwise.
FACTS: Mapping[str, Any] = {
    "platforms": [PLATFORM, "i686-pc-linux-gnu"],
    "p_ncpus": 4,
    "p_vendor": "GenuineIntel",
    "p_model": "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz [Family 6 Model 94 Stepping 3]",
    "p_fpops": 4e9,
    "m_nbytes": 16 << 30,
    "d_total": 500 << 30,
    "d_free": 400 << 30,
    "os_name": "Linux Debian",
    "os_version": "Debian GNU/Linux 12 (bookworm) [6.1.0-34-amd64|libc 2.36]",
}
_VERSION = """\
    <core_client_major_version>7</core_client_major_version>
    <core_client_minor_version>20</core_client_minor_version>
    <core_client_release>5</core_client_release>
"""


def request(host: FakeHost, *, seconds: float, instances: float) -> bytes:
    """A scheduler request."""
    state, facts = host.state, host.facts
    main, *others = facts["platforms"]
    alternatives = "".join(
        f"    <alt_platform>\n        <name>{each}</name>\n    </alt_platform>\n"
        for each in others
    )
    key = f"<code_sign_key>\n{state.key}\n</code_sign_key>\n" if state.key else ""
    progress = "".join(
        f"    <other_result>\n        <name>{name}</name>\n"
        "        <app_version>0</app_version>\n    </other_result>\n"
        for name in state.jobs
    )
    text = (
        "<scheduler_request>\n"
        f"    <authenticator>{host.authenticator}</authenticator>\n"
        f"    <hostid>{state.host_id}</hostid>\n"
        f"    <rpc_seqno>{state.seqno}</rpc_seqno>\n"
        f"{_VERSION}"
        "    <resource_share_fraction>1.000000</resource_share_fraction>\n"
        "    <rrs_fraction>1.000000</rrs_fraction>\n"
        "    <prrs_fraction>1.000000</prrs_fraction>\n"
        "    <duration_correction_factor>1.000000</duration_correction_factor>\n"
        "    <allow_multiple_clients>0</allow_multiple_clients>\n"
        "    <sandbox>0</sandbox>\n"
        "    <dont_send_work>0</dont_send_work>\n"
        f"    <work_req_seconds>{seconds:f}</work_req_seconds>\n"
        f"    <cpu_req_secs>{seconds:f}</cpu_req_secs>\n"
        f"    <cpu_req_instances>{instances:f}</cpu_req_instances>\n"
        "    <estimated_delay>0.000000</estimated_delay>\n"
        "    <client_cap_plan_class>1</client_cap_plan_class>\n"
        f"    <platform_name>{main}</platform_name>\n"
        f"{alternatives}{key}"
        "<working_global_preferences>\n<global_preferences>\n</global_preferences>\n"
        "</working_global_preferences>\n"
        "<cross_project_id></cross_project_id>\n"
        f"{_about(host)}"
        f"{''.join(_result(each) for each in state.done.values())}"
        f"<other_results>\n{progress}</other_results>\n"
        "</scheduler_request>\n"
    )
    return text.encode("utf-8", "surrogateescape")


def _about(host: FakeHost) -> str:
    lines = [f"    <timezone>3600</timezone>\n    <host_cpid>{host.state.cpid}</host_cpid>\n"]
    lines += [
        f"    <{key}>{value:f}</{key}>\n"
        if isinstance(value, float)
        else f"    <{key}>{value}</{key}>\n"
        for key, value in host.facts.items()
        if key != "platforms"
    ]
    return f"<host_info>\n{''.join(lines)}</host_info>\n"


def _result(done: Done) -> str:
    file = ""
    if done.output:
        file = (
            f"<file_info>\n    <name>{done.output}</name>\n    <nbytes>{done.nbytes:f}</nbytes>\n"
            f"    <max_nbytes>{done.max_nbytes:f}</max_nbytes>\n"
            f"    <md5_cksum>{done.md5}</md5_cksum>\n"
            f"    <upload_url>{done.upload_url}</upload_url>\n</file_info>\n"
        )
    return (
        f"<result>\n    <name>{done.name}</name>\n"
        "    <final_cpu_time>0.110000</final_cpu_time>\n"
        "    <final_elapsed_time>1.011489</final_elapsed_time>\n"
        f"    <exit_status>{done.exit_status}</exit_status>\n    <state>{done.state}</state>\n"
        f"    <platform>{PLATFORM}</platform>\n    <version_num>100</version_num>\n"
        "    <final_peak_disk_usage>14521</final_peak_disk_usage>\n"
        "    <app_version_num>100</app_version_num>\n"
        "<stderr_out>\n<core_client_version>7.20.5</core_client_version>\n<![CDATA[\n"
        f"<stderr_txt>\n{done.stderr}\n</stderr_txt>\n]]>\n</stderr_out>\n"
        f"{file}</result>\n"
    )


def size_query(name: str) -> bytes:
    """How much of a file has come?"""
    text = f"<data_server_request>\n{_VERSION}    <get_file_size>{name}</get_file_size>\n"
    return f"{text}</data_server_request>\n".encode()


def upload_head(job: Job, data: bytes, lies: Mapping[str, Any]) -> bytes:
    """What stands before the bytes of a file."""
    return (
        f"<data_server_request>\n{_VERSION}<file_upload>\n<file_info>\n"
        f"<name>{lies.get('name', job.output)}</name>\n"
        f"<xml_signature>\n{lies.get('token', job.token)}</xml_signature>\n"
        f"<max_nbytes>{lies.get('max_nbytes', job.max_nbytes)}</max_nbytes>\n"
        "</file_info>\n"
        f"<nbytes>{lies.get('nbytes', len(data))}</nbytes>\n"
        f"<md5_cksum>{lies.get('md5', _md5(data))}</md5_cksum>\n"
        f"<offset>{lies['offset']}</offset>\n<data>\n"
    ).encode()


def _md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()
