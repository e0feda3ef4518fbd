"""The service as systemd sees it: units, readiness, the watchdog, signals, reload and hooks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import Spool
from tests.support.daemon import ROOT, Daemon, running, trailer
from tests.support.ear import Ear
from tests.support.waiting import wait_until

UNITS = ROOT / "systemd"
SYSTEM_UNIT = UNITS / "spoolmwd.service"
USER_UNIT = UNITS / "user" / "spoolmwd.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ,
    reason="systemd-analyze is not installed",
)

#: Says that it runs by a file, goes on for ever, and does not mind SIGTERM.
STUBBORN = "#!/bin/sh\ntrap '' TERM\necho $$ >>{mark}\nwhile :; do sleep 0.1; done\n"
#: The same, but ends well when it is told to.
OBEDIENT = (
    "#!/bin/sh\ntrap 'echo saved; exit 0' TERM\necho $$ >>{mark}\nwhile :; do sleep 0.1; done\n"
)
#: The same without a thought on signals.
PLAIN = "#!/bin/sh\necho $$ >>{mark}\nsleep 300\n"


# --- the units


def installed(unit: Path, folder: Path) -> Path:
    """The unit as it is after an installation: its program exists."""
    text = unit.read_text()
    assert re.search(r"^ExecStart=\S+/bin/spoolmwd ", text, re.MULTILINE)
    copy = folder / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return copy


@needs_systemd
@pytest.mark.parametrize(
    ("unit", "manager"), [(SYSTEM_UNIT, "--system"), (USER_UNIT, "--user")]
)
def test_systemd_has_nothing_to_say_about_the_unit(
    unit: Path, manager: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["systemd-analyze", manager, "verify", str(installed(unit, tmp_path))],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def security_review() -> tuple[float, list[dict[str, object]]]:
    """The exposure level, and each directive as systemd judges it."""
    command = ["systemd-analyze", "security", "--offline=true"]
    text = subprocess.run(
        [*command, str(SYSTEM_UNIT)], capture_output=True, text=True, check=True
    )
    level = re.search(r"Overall exposure level.*: ([\d.]+)", text.stdout)
    assert level is not None, text.stdout
    table = subprocess.run(
        [*command, "--json=short", str(SYSTEM_UNIT)], capture_output=True, text=True, check=True
    )
    return float(level[1]), json.loads(table.stdout)


@needs_systemd
def test_the_service_exposes_little() -> None:
    level, _ = security_review()
    assert level <= 2.5


@needs_systemd
def test_every_directive_that_stayed_open_is_explained_in_the_unit() -> None:
    comments = " ".join(
        line for line in SYSTEM_UNIT.read_text().splitlines() if line.startswith("#")
    )
    _, directives = security_review()
    # what belongs to a directive that is explained, or is what RestrictAddressFamilies lists
    same = {
        "DeviceAllow": "PrivateDevices",
        "RestrictAddressFamilies=~AF_(INET|INET6)": "PrivateNetwork",
        "RestrictAddressFamilies=~AF_UNIX": "AF_UNIX",
        "RestrictAddressFamilies=~AF_NETLINK": "AF_NETLINK",
    }
    for directive in directives:
        name = str(directive["name"]).rstrip("=")
        if not directive["set"]:
            name = same.get(name) or same.get(name.partition("=")[0]) or name
            assert name.partition("=/")[0] in comments, f"{directive['name']} is not explained"


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="makes users and folders below another root")
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    """The shared folders get their set-group-id bit here: the hardened unit may not set it."""
    for kind in ("sysusers", "tmpfiles"):
        target = tmp_path / f"usr/lib/{kind}.d"
        target.mkdir(parents=True)
        shutil.copy(UNITS / f"{kind}.d/spoolmw.conf", target)
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    assert "spoolmw" in (tmp_path / "etc/passwd").read_text()
    subprocess.run(
        ["systemd-tmpfiles", f"--root={tmp_path}", "--create"], check=True, capture_output=True
    )
    spool = tmp_path / "var/spool/spoolmw"
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in spool.iterdir()}
    shared = dict.fromkeys(("incoming", "results", "rejected", "tmp"), "0o2770")
    assert modes == {**shared, "journal": "0o2750", "stage": "0o2700"}


# --- what systemd is told


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(tmp_path / "notify")
    yield made
    made.close()


def listened_to(ear: Ear, **more: str) -> dict[str, str]:
    """The environment in which systemd would start the service."""
    return {"NOTIFY_SOCKET": str(ear.path), **more}


def test_it_says_when_it_is_ready_what_it_does_and_that_it_stops(
    tmp_path: Path, ear: Ear
) -> None:
    with running(tmp_path, env=listened_to(ear)) as daemon:
        wait_until(lambda: ear.heard("READY=1"))
        assert Spool(daemon.spool).submit(int, "17").result(60) == 17
        wait_until(lambda: ear.heard("STATUS="))
        assert daemon.stop() == 0
        assert ear.heard("STOPPING=1")


def test_it_shows_the_watchdog_that_it_is_alive(tmp_path: Path, ear: Ear) -> None:
    with running(tmp_path, env=listened_to(ear, WATCHDOG_USEC="600000")):
        wait_until(lambda: ear.listen().count("WATCHDOG=1") >= 5, last=ear.listen)


def test_a_stuck_daemon_shows_no_sign_of_life(tmp_path: Path, ear: Ear) -> None:
    """Signs of life come from the thread that decides; a daemon that is stopped gives none."""
    with running(tmp_path, env=listened_to(ear, WATCHDOG_USEC="300000")) as daemon:
        wait_until(lambda: ear.heard("WATCHDOG=1"))
        os.kill(daemon.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{daemon.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        said = len(ear.listen())
        time.sleep(0.5)  # nothing can be waited for: that nothing comes is the point
        silent = not ear.listen()[said:]
        os.kill(daemon.pid, signal.SIGCONT)
        assert silent
        wait_until(lambda: ear.heard("WATCHDOG=1", after=said))


def test_without_a_watchdog_it_gives_no_signs_of_life(tmp_path: Path, ear: Ear) -> None:
    with running(tmp_path, env=listened_to(ear)) as daemon:
        assert Spool(daemon.spool).submit(int, "17").result(60) == 17
        assert not ear.heard("WATCHDOG=1")


# --- SIGTERM


def started(daemon: Daemon, name: str, program: str) -> Path:
    """Drop a script, wait until it runs, and return the file in which it notes its starts."""
    mark = daemon.home / "starts"
    daemon.drop(name, program.format(mark=mark))
    wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"), last=daemon.log_text)
    return mark


def test_a_stop_lets_an_attempt_end_well_within_the_grace_period(tmp_path: Path) -> None:
    with running(tmp_path, config='[daemon]\ngrace = "12s"\n') as daemon:
        started(daemon, "save.sh", OBEDIENT)
        assert daemon.stop() == 0
        assert trailer(daemon.result("save.sh", timeout_s=0))["state"] == "done"
        stdout = daemon.spool / "results" / "save.sh.files" / "stdout"
        assert stdout.read_text() == "saved\n"


@pytest.mark.parametrize("program", [PLAIN, STUBBORN], ids=["plain", "stubborn"])
def test_a_stop_records_what_still_runs_for_the_next_start(
    program: str, tmp_path: Path
) -> None:
    with running(tmp_path, config='[daemon]\ngrace = "0.5s"\n') as daemon:
        mark = started(daemon, "long.sh", program)
        first = int(mark.read_text())
        assert daemon.stop() == 0
        assert not daemon.results()
        assert not Path(f"/proc/{first}").exists(), "the attempt ended with the daemon"

        daemon.start()
        wait_until(lambda: len(mark.read_text().split()) == 2, last=daemon.log_text)
        daemon.ctl("cancel", "long.sh")
        attempts = trailer(daemon.result("long.sh"))["attempts"]
        assert isinstance(attempts, list)
        assert [ran["blame"] for ran in attempts] == ["host", "user"], "no retry was used up"


def test_a_stop_takes_in_nothing_more(tmp_path: Path, ear: Ear) -> None:
    config = '[daemon]\ngrace = "30s"\n'
    with running(tmp_path, config=config, env=listened_to(ear)) as daemon:
        started(daemon, "long.sh", STUBBORN)
        os.kill(daemon.pid, signal.SIGTERM)
        wait_until(lambda: ear.heard("STOPPING=1"))
        daemon.drop("later.sh", "#!/bin/sh\n")
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait_exit() == 0
        assert (daemon.spool / "incoming" / "later.sh").exists()


def test_a_second_signal_ends_the_grace_period(tmp_path: Path, ear: Ear) -> None:
    config = '[daemon]\ngrace = "1h"\n'
    with running(tmp_path, config=config, env=listened_to(ear)) as daemon:
        started(daemon, "long.sh", STUBBORN)
        os.kill(daemon.pid, signal.SIGTERM)
        wait_until(lambda: ear.heard("STOPPING=1"))
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait_exit(timeout_s=20) == 0


# --- SIGHUP

ONE_SLOT = '[agents.local]\nkind = "local"\nslots = 1\n'


def slots(daemon: Daemon) -> object:
    [agent] = daemon.ctl_json("agents")
    return agent["slots"]


def configure(daemon: Daemon, text: str) -> None:
    """Change the configuration and tell the daemon."""
    (daemon.home / "spoolmw.toml").write_text(text)
    os.kill(daemon.pid, signal.SIGHUP)


def test_a_hang_up_reloads_the_configuration(tmp_path: Path, ear: Ear) -> None:
    with running(tmp_path, config=ONE_SLOT, env=listened_to(ear)) as daemon:
        assert slots(daemon) == 1
        said = len(ear.listen())
        configure(daemon, ONE_SLOT.replace("1", "3"))
        wait_until(lambda: ear.heard("READY=1", after=said), last=daemon.log_text)
        assert ear.heard("RELOADING=1", after=said)
        wait_until(lambda: slots(daemon) == 3, last=daemon.log_text)


def test_a_wrong_configuration_is_refused_and_the_old_one_stays(
    tmp_path: Path, ear: Ear
) -> None:
    with running(tmp_path, config=ONE_SLOT, env=listened_to(ear)) as daemon:
        said = len(ear.listen())
        configure(daemon, ONE_SLOT.replace("slots = 1", "slts = 3"))
        wait_until(lambda: ear.heard("READY=1", after=said), last=daemon.log_text)
        refusal = next(line for line in daemon.log_text().splitlines() if "refused" in line)
        assert "slts" in refusal, "it names the key"
        assert "slots" in refusal, "and the nearest right one"
        assert slots(daemon) == 1
        assert Spool(daemon.spool).submit(int, "17").result(60) == 17


def test_agents_that_no_daemon_would_start_with_are_refused_too(tmp_path: Path) -> None:
    with running(tmp_path, config=ONE_SLOT) as daemon:
        (daemon.home / "spoolmw.toml").write_text(ONE_SLOT + '[agents.lab]\nkind = "slurm"\n')
        refused = daemon.ctl("reload", check=False)
        assert refused.returncode != 0
        assert "there is no kind 'slurm'" in refused.stderr
        assert slots(daemon) == 1


def test_a_wrong_configuration_at_the_start_is_an_error_that_says_so(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config=ONE_SLOT.replace("slots", "slts"))
    assert daemon.start(wait=False).wait_exit() == 2
    assert "slts" in daemon.log_text()
    assert "slots" in daemon.log_text()
    assert not daemon.spool.exists(), "nothing was made"


# --- hooks


def a_hook(folder: Path, name: str) -> Path:
    """A program that keeps what it gets on its standard input, in NAME.heard."""
    hook = folder / name
    hook.write_text(f"#!/bin/sh\ncat >{hook}.part && mv {hook}.part {hook}.heard\n")
    hook.chmod(0o755)
    return hook


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 3)])
def test_a_hook_gets_the_trailer_of_what_is_done_or_failed(
    state: str, code: int, tmp_path: Path
) -> None:
    hooks = {name: a_hook(tmp_path, name) for name in ("done", "failed")}
    lines = [f'{name} = ["{hook}"]' for name, hook in hooks.items()]
    with running(tmp_path, config="\n".join(["[hooks]", *lines])) as daemon:
        daemon.drop("some.sh", f"#!/bin/sh\nexit {code}\n")
        heard = Path(f"{hooks[state]}.heard")
        wait_until(heard.exists, last=daemon.log_text)
        assert json.loads(heard.read_text()) == trailer(daemon.result("some.sh"))
    assert [hook.name for hook in hooks.values() if Path(f"{hook}.heard").exists()] == [state]


def test_a_hook_that_fails_costs_a_line_in_the_log(tmp_path: Path) -> None:
    config = '[hooks]\ndone = ["/bin/false"]\nfailed = ["/no/such/hook"]\n'
    with running(tmp_path, config=config) as daemon:
        daemon.drop("good.sh", "#!/bin/sh\n")
        daemon.drop("bad.sh", "#!/bin/sh\nexit 1\n")
        wait_until(lambda: "/bin/false" in daemon.log_text(), last=daemon.log_text)
        wait_until(lambda: "/no/such/hook" in daemon.log_text(), last=daemon.log_text)
        assert daemon.result("good.sh", timeout_s=0)
        assert daemon.result("bad.sh", timeout_s=0)
