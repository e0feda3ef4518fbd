"""What a stock client of BOINC 7.20.5 says, word for word; the parts that vary are arguments."""

from __future__ import annotations

KEY = "0123456789abcdef0123456789abcdef"
CPID = "4ecc6fda32b0e84c4c06f21a7b984aee"
MD5 = "943d9b6e1fdd2cb55f6acaede7ff36ab"
TOKEN = "35f1d51694a54cc7361cec38de50f3c304b5649a2eb5c7b44864ddca18a594f9"

_PREFERENCES = """\
   <source_project></source_project>
   <mod_time>0.000000</mod_time>
   <battery_charge_min_pct>90.000000</battery_charge_min_pct>
   <battery_max_temperature>40.000000</battery_max_temperature>
   <run_on_batteries>0</run_on_batteries>
   <run_if_user_active>1</run_if_user_active>
   <run_gpu_if_user_active>0</run_gpu_if_user_active>
   <suspend_if_no_recent_input>0.000000</suspend_if_no_recent_input>
   <suspend_cpu_usage>0.000000</suspend_cpu_usage>
   <start_hour>0.000000</start_hour>
   <end_hour>0.000000</end_hour>
   <net_start_hour>0.000000</net_start_hour>
   <net_end_hour>0.000000</net_end_hour>
   <leave_apps_in_memory>0</leave_apps_in_memory>
   <confirm_before_connecting>1</confirm_before_connecting>
   <hangup_if_dialed>0</hangup_if_dialed>
   <dont_verify_images>0</dont_verify_images>
   <work_buf_min_days>0.010000</work_buf_min_days>
   <work_buf_additional_days>0.010000</work_buf_additional_days>
   <max_ncpus_pct>100.000000</max_ncpus_pct>
   <cpu_scheduling_period_minutes>60.000000</cpu_scheduling_period_minutes>
   <disk_interval>60.000000</disk_interval>
   <disk_max_used_gb>0.000000</disk_max_used_gb>
   <disk_max_used_pct>90.000000</disk_max_used_pct>
   <disk_min_free_gb>0.100000</disk_min_free_gb>
   <vm_max_used_pct>75.000000</vm_max_used_pct>
   <ram_max_used_busy_pct>50.000000</ram_max_used_busy_pct>
   <ram_max_used_idle_pct>90.000000</ram_max_used_idle_pct>
   <idle_time_to_run>3.000000</idle_time_to_run>
   <max_bytes_sec_up>0.000000</max_bytes_sec_up>
   <max_bytes_sec_down>0.000000</max_bytes_sec_down>
   <cpu_usage_limit>100.000000</cpu_usage_limit>
   <daily_xfer_limit_mb>0.000000</daily_xfer_limit_mb>
   <daily_xfer_period_days>0</daily_xfer_period_days>
   <override_file_present>1</override_file_present>
   <network_wifi_only>0</network_wifi_only>
"""

_HOST = f"""\
<host_info>
    <timezone>0</timezone>
    <domain_name>desk-07</domain_name>
    <ip_addr>10.0.0.7</ip_addr>
    <host_cpid>{CPID}</host_cpid>
    <p_ncpus>4</p_ncpus>
    <p_vendor>GenuineIntel</p_vendor>
    <p_model>Intel(R) Xeon(R) Processor @ 2.80GHz [Family 6 Model 106 Stepping 6]</p_model>
    <p_features>fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush \
mmx fxsr sse sse2 ss ht syscall nx pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology \
nonstop_tsc cpuid tsc_known_freq pni pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2 x2apic movbe \
popcnt tsc_deadline_timer aes xsave avx f16c rdrand hypervisor lahf_lm abm 3dnowprefetch \
invpcid_single ssbd ibrs ibpb stibp ibrs_enhanced fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms \
invpcid avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha_ni</p_features>
    <p_fpops>1000000000.000000</p_fpops>
    <p_iops>1000000000.000000</p_iops>
    <p_membw>1000000000.000000</p_membw>
    <p_calculated>1795164000.000000</p_calculated>
    <p_vm_extensions_disabled>0</p_vm_extensions_disabled>
    <m_nbytes>25276514304.000000</m_nbytes>
    <m_cache>55574528.000000</m_cache>
    <m_swap>0.000000</m_swap>
    <d_total>135089152000.000000</d_total>
    <d_free>103079215104.000000</d_free>
    <os_name>Linux Debian</os_name>
    <os_version>Debian GNU/Linux 12 (bookworm) [6.1.0|libc 2.36]</os_version>
    <n_usable_coprocs>0</n_usable_coprocs>
    <wsl_available>0</wsl_available>
</host_info>
"""


def request(
    *reports: str,
    in_progress: tuple[str, ...] = (),
    host_id: int = 0,
    seqno: int = 0,
    code_sign_key: str = "",
    seconds: float = 1.0,
    alternative: str = "",
) -> str:
    """A scheduler request."""
    others = "".join(
        f"    <other_result>\n        <name>{name}</name>\n"
        "        <app_version>0</app_version>\n    </other_result>\n"
        for name in in_progress
    )
    pinned = (
        f"    <code_sign_key>\n{code_sign_key}\n</code_sign_key>\n" if code_sign_key else ""
    )
    second = f"    <alt_platform>\n        <name>{alternative}</name>\n    </alt_platform>\n"
    return f"""\
<scheduler_request>
    <authenticator>{KEY}</authenticator>
    <hostid>{host_id}</hostid>
    <rpc_seqno>{seqno}</rpc_seqno>
    <core_client_major_version>7</core_client_major_version>
    <core_client_minor_version>20</core_client_minor_version>
    <core_client_release>5</core_client_release>
    <resource_share_fraction>1.000000</resource_share_fraction>
    <rrs_fraction>1.000000</rrs_fraction>
    <prrs_fraction>1.000000</prrs_fraction>
    <duration_correction_factor>1.000000</duration_correction_factor>
    <allow_multiple_clients>1</allow_multiple_clients>
    <sandbox>0</sandbox>
    <dont_send_work>0</dont_send_work>
    <work_req_seconds>{seconds:f}</work_req_seconds>
    <cpu_req_secs>{seconds:f}</cpu_req_secs>
    <cpu_req_instances>0.000000</cpu_req_instances>
    <estimated_delay>0.000000</estimated_delay>
    <client_cap_plan_class>1</client_cap_plan_class>
    <platform_name>x86_64-pc-linux-gnu</platform_name>
{second if alternative else ""}{pinned}<working_global_preferences>
<global_preferences>
{_PREFERENCES}</global_preferences>
</working_global_preferences>
<cross_project_id></cross_project_id>
<time_stats>
    <on_frac>0.999990</on_frac>
    <connected_frac>-1.000000</connected_frac>
    <cpu_and_network_available_frac>0.999990</cpu_and_network_available_frac>
    <active_frac>0.999990</active_frac>
    <gpu_active_frac>0.999990</gpu_active_frac>
    <client_start_time>1795164846.640000</client_start_time>
    <previous_uptime>0.000000</previous_uptime>
    <session_active_duration>2.004213</session_active_duration>
    <session_gpu_active_duration>2.004213</session_gpu_active_duration>
    <total_start_time>1795164846.640000</total_start_time>
    <total_duration>3.007011</total_duration>
    <total_active_duration>2.004213</total_active_duration>
    <total_gpu_active_duration>2.004213</total_gpu_active_duration>
    <now>1795164849.650000</now>
</time_stats>
<net_stats>
    <bwup>0.000000</bwup>
    <avg_up>0.000000</avg_up>
    <avg_time_up>0.000000</avg_time_up>
    <bwdown>0.000000</bwdown>
    <avg_down>0.000000</avg_down>
    <avg_time_down>0.000000</avg_time_down>
</net_stats>
{_HOST}    <disk_usage>
        <d_boinc_used_total>12288.000000</d_boinc_used_total>
        <d_boinc_used_project>4096.000000</d_boinc_used_project>
        <d_project_share>92771293594.000000</d_project_share>
    </disk_usage>
{"".join(reports)}<app_versions>
</app_versions>
<other_results>
{others}</other_results>
</scheduler_request>
"""


def report(
    name: str,
    *,
    stderr: str = "hello\n",
    state: int = 5,
    exit_status: int = 0,
    output: bool = True,
) -> str:
    """The report of one result in a scheduler request."""
    file = f"""\
<file_info>
    <name>out_{name}</name>
    <nbytes>63.000000</nbytes>
    <max_nbytes>1000000.000000</max_nbytes>
    <md5_cksum>{MD5}</md5_cksum>
    <upload_url>http://127.0.0.1:38123/upload/file_upload_handler</upload_url>
</file_info>
"""
    return f"""\
<result>
    <name>{name}</name>
    <final_cpu_time>0.110000</final_cpu_time>
    <final_elapsed_time>4.011489</final_elapsed_time>
    <exit_status>{exit_status}</exit_status>
    <state>{state}</state>
    <platform>x86_64-pc-linux-gnu</platform>
    <version_num>100</version_num>
    <final_peak_disk_usage>14521</final_peak_disk_usage>
    <app_version_num>100</app_version_num>
<stderr_out>
<core_client_version>7.20.5</core_client_version>
<![CDATA[
<stderr_txt>
{stderr}
</stderr_txt>
]]>
</stderr_out>
{file if output else ""}</result>
"""


def upload(
    name: str, data: bytes, *, nbytes: int | None = None, offset: int = 0, token: str = TOKEN
) -> bytes:
    """An upload: its head, and the bytes behind it as they stand."""
    head = f"""\
<data_server_request>
    <core_client_major_version>7</core_client_major_version>
    <core_client_minor_version>20</core_client_minor_version>
    <core_client_release>5</core_client_release>
<file_upload>
<file_info>
<name>{name}</name>
<xml_signature>
{token}</xml_signature>
<max_nbytes>1000000</max_nbytes>
</file_info>
<nbytes>{len(data) + offset if nbytes is None else nbytes}</nbytes>
<md5_cksum>{MD5}</md5_cksum>
<offset>{offset}</offset>
<data>
"""
    return head.encode() + data


def size_query(name: str) -> bytes:
    """A question how much of an output is there."""
    return f"""\
<data_server_request>
    <core_client_major_version>7</core_client_major_version>
    <core_client_minor_version>20</core_client_minor_version>
    <core_client_release>5</core_client_release>
    <get_file_size>{name}</get_file_size>
</data_server_request>
""".encode()
