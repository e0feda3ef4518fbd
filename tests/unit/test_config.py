"""The configuration is strict: what cannot be used is refused with the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolmw.config import AgentConfig, Boinc, Config, Disk, Hooks, Intake, Retention, parse
from spoolmw.errors import BadConfig

FULL = b"""\
[intake]
settle_s = 0.5
scan_s = "2s"
max_task_bytes = "1GB"
group = "lab"
allow_paths = ["/data", "/srv/shared"]

[agents.local]
slots = 4
gpus = [0, "GPU-3f2a"]
memory = "16GiB"
interpreters = ["/usr/bin/python3.11"]
path = "/opt/bin:/usr/bin"
home = "/var/lib/spoolmw"
env = ["LANG"]
owner = "ann"
machine = "pc01"

[agents.spare]
kind = "fake"
slots = "auto"

[retention]
results = "30d"
story = "never"
logs = "7d"

[disk]
low = "5GB"

[hooks]
done = ["/usr/local/bin/tell", "ann"]
failed = ["/usr/local/bin/tell", "root"]
timeout = "10s"

[daemon]
grace = "1m"

[log]
level = "debug"
"""
SOURCE = Path("/etc/spoolmw.toml")


def refusal(text: str) -> BadConfig:
    with pytest.raises(BadConfig) as caught:
        parse(text.encode(), SOURCE)
    return caught.value


def test_without_a_file_there_is_one_local_agent() -> None:
    config = Config.load(None)
    assert config == Config()
    assert [agent.name for agent in config.agents] == ["local"]
    assert config.agents[0].kind == "local"
    assert config.agents[0].slots == 0
    assert config.retention.results_s is None


def test_every_key_arrives_in_the_records_units() -> None:
    config = parse(FULL, SOURCE)
    assert config.intake == Intake(
        settle_s=0.5,
        scan_s=2.0,
        max_task_bytes=1_000_000_000,
        group="lab",
        allow_paths=("/data", "/srv/shared"),
    )
    assert config.agents == (
        AgentConfig(
            name="local",
            slots=4,
            gpus=("0", "GPU-3f2a"),
            memory_bytes=16 * 2**30,
            interpreters=("/usr/bin/python3.11",),
            path="/opt/bin:/usr/bin",
            home="/var/lib/spoolmw",
            env=("LANG",),
            owner="ann",
            machine="pc01",
        ),
        AgentConfig(name="spare", kind="fake"),
    )
    assert config.retention == Retention(
        results_s=30 * 86400.0, story_s=None, logs_s=7 * 86400.0
    )
    assert config.disk == Disk(low_bytes=5_000_000_000)
    assert config.hooks == Hooks(
        done=("/usr/local/bin/tell", "ann"),
        failed=("/usr/local/bin/tell", "root"),
        timeout_s=10.0,
    )
    assert config.daemon.grace_s == 60.0
    assert config.log.level == "debug"
    assert config.source == SOURCE


def test_an_empty_file_changes_nothing() -> None:
    assert parse(b"# nothing\n", SOURCE).agents == Config().agents


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("[intak]\n", "line 1: intak", 'did you mean "intake"'),
        ("[intake]\nsetle_s = 1\n", "line 2: [intake] setle_s", 'did you mean "settle_s"'),
        ("[intake]\nsettle_s = true\n", "line 2", "a time was expected"),
        ("[intake]\nmax_task_bytes = 5\n", "line 2", '"5B"'),
        ("[intake]\nmax_task_bytes = '1B'\n", "line 2", "65536"),
        ("[intake]\nallow_paths = ['data']\n", "line 2", "absolute path"),
        ("[agents.local]\nslot = 2\n", "line 2: [agents] local.slot", 'did you mean "slots"'),
        ("[agents.local]\nslots = 0\n", "line 2", "between 1 and"),
        ("[agents.local]\nslots = 'many'\n", "line 2", "a whole number was expected"),
        ("[agents.local]\ngpus = [-1]\n", "line 2", "device"),
        ("[agents.'a b']\nkind = 'local'\n", "", "no name of an agent"),
        ("[agents]\nslots = 2\n", "line 2", "an agent is a section"),
        ("agents = 3\n", "line 1", "no agent"),
        ("[agents]\n", "line 1", "no agent"),
        ("[retention]\nstory = 'ever'\n", "line 2", "such as"),
        ("[disk]\nlow = '1gb'\n", "line 2", "known are B"),
        ("[hooks]\ndone = '/bin/true'\n", "line 2", "write the words apart"),
        ("[log]\nlevel = 'inform'\n", "line 2", 'did you mean "info"'),
        ("[log\n", "line 1", "not TOML"),
        ("[log]\nlevel = 'info'\nlevel = 'debug'\n", "line 3", "not TOML"),
        ("a = " + "[" * 5000, "", "nested too deeply"),
        ("#" * 300_000, "", "256 KiB"),
    ],
)
def test_what_cannot_be_used_is_refused_with_line_key_and_nearest(
    text: str, where: str, says: str
) -> None:
    error = refusal(text)
    assert str(SOURCE) in error.what
    assert where in error.what
    assert says in str(error)
    assert error.fix


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"none\.toml cannot be read"):
        Config.load(tmp_path / "none.toml")
    with pytest.raises(BadConfig, match="cannot be read"):
        Config.load(tmp_path)


def test_the_file_beside_the_spool_is_found(tmp_path: Path) -> None:
    assert Config.find(tmp_path / "spool").source is None
    (tmp_path / "spoolmw.toml").write_text("[log]\nlevel = 'error'\n")
    assert Config.find(tmp_path / "spool").log.level == "error"


def test_a_link_beside_the_spool_that_leads_nowhere_is_not_taken_for_no_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "spoolmw.toml").symlink_to("/etc/none.toml")
    with pytest.raises(BadConfig, match=r"link to /etc/none\.toml, and nothing is there"):
        Config.find(tmp_path / "spool")


def test_a_given_file_is_taken_instead(tmp_path: Path) -> None:
    (tmp_path / "spoolmw.toml").write_text("[log]\nlevel = 'error'\n")
    other = tmp_path / "other.toml"
    other.write_bytes(FULL)
    assert Config.find(tmp_path / "spool", other).log.level == "debug"


SSH = """\
[agents.lab]
kind = "ssh"
hosts = ["pc[01-03].lab", "ann@gate:2222"]
hosts_file = "/etc/lab"
user = "grid"
ssh_config = "/etc/spoolmw/ssh_config"
folder = "/scratch/spoolmw"
python = ["/usr/bin/python3.11", "python3.12"]
runner_python = "auto"
give_up = "5m"
slots = 4
"""


def test_a_section_of_hosts_is_read() -> None:
    [agent] = parse(SSH.encode(), SOURCE).agents
    assert agent == AgentConfig(
        name="lab",
        kind="ssh",
        slots=4,
        hosts=("pc[01-03].lab", "ann@gate:2222"),
        hosts_file="/etc/lab",
        user="grid",
        ssh_config="/etc/spoolmw/ssh_config",
        folder="/scratch/spoolmw",
        python=("/usr/bin/python3.11", "python3.12"),
        give_up_s=300.0,
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"ann@gate:2222"', '"pc02.lab"', "pc02.lab is there twice"),
        ("[01-03]", "[03-01]", "backwards"),
        ('"auto"', '"bundel"', '"bundle"'),
        ('"/scratch/spoolmw"', '"/scratch/a b"', "plain characters"),
        ('"python3.12"', '"python3; rm -rf"', "a Python"),
        ("give_up", "giveup", "give_up"),
        ('kind = "ssh"', 'kind = "local"', "only an agent of kind ssh"),
        ("slots = 4", 'machine = "pc01"', "each host is the machine that it is"),
    ],
)
def test_what_no_section_of_hosts_can_say_is_refused(old: str, new: str, says: str) -> None:
    error = refusal(SSH.replace(old, new))
    assert says in f"{error.what} {error.why} {error.fix}"
    assert "line" in error.what


def test_an_agent_of_kind_condor_has_keys_of_its_own() -> None:
    written = b"""
[agents.pool]
kind = "condor"
schedd = "submit.lab"
collector = "cm.lab:9618"
tokens = "/etc/spoolmw/tokens"
max_jobs = 200
max_idle = 20
request_memory = "2GB"
lease = "2m"
python = ["/opt/python3.11/bin/python3"]

[agents.pool.submit]
accounting_group = "physics"
requirements = 'OpSysMajorVer >= 12'
"+Project" = 7
"""
    [agent] = parse(written, SOURCE).agents
    pool = agent.pool
    assert (pool.schedd, pool.collector, pool.tokens) == (
        "submit.lab",
        "cm.lab:9618",
        "/etc/spoolmw/tokens",
    )
    assert (pool.max_jobs, pool.max_idle, pool.lease_s) == (200, 20, 120.0)
    assert pool.request_memory_bytes == 2_000_000_000
    assert pool.submit == (
        ("accounting_group", "physics"),
        ("requirements", "OpSysMajorVer >= 12"),
        ("+Project", "7"),
    )
    assert agent.python == ("/opt/python3.11/bin/python3",)
    assert agent.give_up_s == 86400.0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("slots = 4", "max_jobs"),
        ('memory = "4GB"', "request_memory"),
        ("hosts = ['pc01']", "only an agent of kind ssh"),
        ("max_job = 3", 'did you mean "max_jobs"'),
        ("[agents.pool.submit]\nLog = '/tmp/x'", "event_log"),
        ("[agents.pool.submit]\nrequest_cpus = 4", "[resources] cpus"),
        ("[agents.pool.submit]\njob_max_vacate_time = 600", "a minute"),
        ("[agents.pool.submit]\n'+SpoolmwToken' = 'x'", "another name"),
        ("[agents.pool.submit]\n'a b' = 'x'", "no submit command"),
        ('[agents.pool.submit]\nrequirements = "x\\nqueue 5"', "control"),
    ],
)
def test_what_an_agent_of_kind_condor_cannot_have_is_refused(line: str, says: str) -> None:
    with pytest.raises(BadConfig) as error:
        parse(f'[agents.pool]\nkind = "condor"\n{line}\n'.encode(), SOURCE)
    assert says in str(error.value)


PILOTS = """
[agents.pool]
kind = "condor"
mode = "pilot"
listen = "0.0.0.0:9750"
slots = 4
memory = "8GB"
max = 20
idle = "2m"
"""


def test_pilots_of_a_pool_have_keys_of_their_own() -> None:
    [agent] = parse(PILOTS.encode(), SOURCE).agents
    assert (agent.slots, agent.memory_bytes, agent.pool.mode) == (4, 8_000_000_000, "pilot")
    assert (agent.pilots.listen, agent.pilots.most) == ("0.0.0.0:9750", 20)
    assert agent.give_up_s == 120.0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max = 20", "max_jobs = 20", "say max"),
        ("max = 20", "shared_files = true", "travel over its connection"),
        ("max = 20", "maxx = 20", 'did you mean "max"'),
        ("max = 20", "hosts = ['pc01']", "hosts"),
        ('mode = "pilot"', 'mode = "job"', 'write mode = "pilot"'),
        ('mode = "pilot"', 'mode = "pilots"', '"pilot"'),
    ],
)
def test_what_pilots_of_a_pool_cannot_have_is_refused(old: str, new: str, says: str) -> None:
    error = refusal(PILOTS.replace(old, new))
    assert says in f"{error.what} {error.why} {error.fix}"


@pytest.mark.parametrize(
    ("line", "says"),
    [("gpus = [0]", "the same devices"), ('runner_python = "bundle"', "say python")],
)
def test_what_would_do_nothing_or_harm_in_pilots_of_this_machine_is_refused(
    line: str, says: str
) -> None:
    error = refusal(f'[agents.here]\nkind = "process"\nlisten = "127.0.0.1:0"\n{line}\n')
    assert says in f"{error.what} {error.why} {error.fix}"


@pytest.mark.parametrize(
    ("key", "kinds"),
    [("max_idle = 4", "kind condor has"), ("max_jobs = 4", "kind condor or boinc has")],
)
def test_keys_of_condor_are_refused_elsewhere(key: str, kinds: str) -> None:
    with pytest.raises(BadConfig) as error:
        parse(f"[agents.local]\n{key}\n".encode(), SOURCE)
    assert f"only an agent of {kinds} this key" in str(error.value)


BOINC = """
[agents.lab]
kind = "boinc"
listen = "0.0.0.0:8090"
url = "http://spool.lab.example:8090/grid/"
deadline = "6h"
per_core = 3
trusted = false
python = ["/usr/bin/python3.11"]

[agents.lab.preferences]
run_if_user_active = true
max_ncpus_pct = 50
"""


def test_an_agent_of_kind_boinc_has_keys_of_its_own() -> None:
    [agent] = parse(BOINC.encode(), SOURCE).agents
    assert agent.boinc == Boinc(
        listen="0.0.0.0:8090",
        url="http://spool.lab.example:8090/grid/",
        deadline_s=21_600.0,
        per_core=3,
        preferences=(("run_if_user_active", "1"), ("max_ncpus_pct", "50")),
    )
    assert agent.python == ("/usr/bin/python3.11",)
    assert agent.give_up_s == 86_400.0
    assert not agent.boinc.is_trusted


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("http://spool.lab.example:8090/grid/", "http://localhost:8090/grid/", "a dot"),
        ("http://spool.lab.example:8090/grid/", "http://10.0.0.1/grid", "does not end in"),
        ("http://spool.lab.example:8090/grid/", "spool.lab.example/", "http://"),
        ("http://spool.lab.example:8090/grid/", "http://a.b:99999/", "port"),
        ("http://spool.lab.example:8090/grid/", "http://a.b/x?y/", "one of"),
        ("http://spool.lab.example:8090/grid/", "http://a.b/ü/", "a URL was expected"),
        ("per_core = 3", "slots = 3", "max_waiting"),
        ("per_core = 3", 'owner = "ann"', "account add"),
        ("per_core = 3", 'runner_python = "bundle"', "say bundle"),
        ("per_core = 3", "per_cor = 3", 'did you mean "per_core"'),
        ("per_core = 3", "schedd = 'x'", "only an agent of kind condor"),
        ("per_core = 3", 'platforms = ["linux"]', "platform"),
        ("trusted = false", 'trusted = "no"', "true or false"),
        ("max_ncpus_pct = 50", "max_cpus_pct = 50", 'did you mean "max_ncpus_pct"'),
        ("max_ncpus_pct = 50", "max_ncpus_pct = -1", "between"),
        ("run_if_user_active = true", "run_if_user_active = 1", "true or false"),
    ],
)
def test_what_an_agent_of_kind_boinc_cannot_have_is_refused(
    old: str, new: str, says: str
) -> None:
    error = refusal(BOINC.replace(old, new))
    assert says in f"{error.what} {error.why} {error.fix}"
    assert "line" in error.what


def test_pilots_of_this_machine_have_no_bundle() -> None:
    error = refusal('[agents.here]\nkind = "process"\nrunner_python = "bundle"\n')
    assert "line 3" in error.what
    assert "say python for another" in error.fix
