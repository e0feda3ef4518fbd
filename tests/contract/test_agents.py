"""What every agent keeps to, whatever runs behind it. A new kind joins with one line in STAGES."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw import checkpoint, progress
from spoolmw.agents.boinclink import accounts
from spoolmw.agents.contract import Agent
from spoolmw.agents.contract import Lasting as Adopting
from spoolmw.agents.fake import FakeAgent
from spoolmw.agents.hostrunner import umask
from spoolmw.agents.registry import make_agent, make_agents
from spoolmw.config import AgentConfig, Boinc
from spoolmw.config import Pool as PoolConfig
from spoolmw.configpilots import Pilots
from spoolmw.errors import AgentError
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported
from spoolmw.model.replica import Class
from spoolmw.model.voting import Judged, JudgingFailed
from spoolmw.runner import checkpoint as stored
from tests.keeper.work import hold
from tests.support.attempts import Bench
from tests.support.boincsite import Crowd, free_port
from tests.support.condor import give, needs_pool, user
from tests.support.lab import Lab, needs_hosts
from tests.support.pilots import end_pilots
from tests.support.pool import Pool, personal
from tests.support.runninghost import RunningHost
from tests.support.stepdown import being
from tests.support.waiting import wait_until


def nothing() -> None:
    return None


def save_and_hold(flag: str) -> str:
    """Go on from what was saved, save one more, say so, and save that until it is let go."""
    number = checkpoint.load(0) + 1
    checkpoint.save(number)
    progress(0.5, f"number {number}")
    until = time.monotonic() + 240
    while time.monotonic() < until and not Path(flag).exists():
        checkpoint.save(number)
        time.sleep(0.05)
    return "let go"


class Stage:
    """An agent of some kind, and the means to begin and end attempts on it."""

    kind = ""
    lasts = False  #: what runs outlives the agent, for the next one to take up
    tells = (
        True  #: what an attempt prints and says of itself while it runs, not only at its end
    )
    keeps = True  #: what attempts save outlives their host
    judges = False  #: it sees the staged results and compares them
    needs: pytest.MarkDecorator | tuple[()] = ()  #: what this machine must have for it

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.heard = self.bench.heard
        self.shared = root
        settings = AgentConfig(name="here", kind=self.kind, slots=2)
        self.agent: Agent = make_agent(settings, root, self.heard)

    def quick(self) -> Launch:
        """Work that ends at once, as a success."""
        return self.bench.call(nothing)

    def long(self) -> Launch:
        """Work that runs until `let_go`."""
        flag = self.shared / f"flag-{time.monotonic_ns()}"
        work = self.bench.call(hold, str(flag))
        self._flag(work).symlink_to(flag)
        return work

    def saving(self) -> Launch:
        """Work that saves, says that half is done, and saves on until `let_go`."""
        flag = self.shared / f"flag-{time.monotonic_ns()}"
        work = self.bench.call(save_and_hold, str(flag), checkpoint={"every_s": 0.0})
        self._flag(work).symlink_to(flag)
        return work

    def again(self, work: Launch, *, since: int = 0) -> Launch:
        """The next attempt of `work`."""
        successor = self.bench.again(work, since=since)
        self._flag(successor).symlink_to(self._flag(work).readlink())
        return successor

    def until_it_saved(self, work: Launch) -> None:
        self.heard.wait(lambda: self.heard.progress_of(work))

    def ended(self) -> tuple[Launch, Reported | Lost]:
        """Quick work that has ended, and how."""
        work = self.quick()
        self.launch(work)
        return work, self.heard.end_of(work)

    def run_another(self) -> None:
        """See something else through: what was to be told before it was told."""
        self.ended()

    def running(self) -> Launch:
        """Long work that has begun."""
        work = self.long()
        self.launch(work)
        self.until_it_runs(work)
        return work

    def saved(self, work: Launch | None = None) -> Launch:
        """Saving work that has saved."""
        work = work or self.saving()
        self.launch(work)
        self.until_it_saved(work)
        return work

    def finish(self, work: Launch) -> None:
        """Let it go, and wait for its end."""
        self.let_go(work)
        self.heard.end_of(work)

    def until_it_told(self, work: Launch) -> None:
        """Work that saved has told of itself by then."""

    def _flag(self, work: Launch) -> Path:
        return self.bench.root / f"flag-of-{work.attempt}"

    def launch(self, *work: Launch) -> None:
        self.agent.launch(work)

    def until_it_runs(self, work: Launch) -> None:
        self.heard.start_of(work)

    def let_go(self, work: Launch) -> None:
        self._flag(work).readlink().touch()

    def close(self) -> None:
        self.agent.close(0.0)

    def judge(self, *values: object, **how: object) -> Judged | JudgingFailed:
        """What a validation of these values comes to."""
        work = self.bench.judging(self.quick(), *values, **how)
        self.launch(work)
        return self.heard.answer_to(work)


class LocalStage(Stage):
    kind = "local"
    judges = True


class Lasting(Stage):
    """An agent whose attempts outlive it."""

    lasts = True

    def settings(self) -> AgentConfig:
        """The section that the agent is of."""
        raise NotImplementedError

    def serve(self, *work: Launch) -> None:
        """Have an agent that finds this work from an earlier one."""
        made = make_agents(self.settings(), self.bench.root, lambda _name: self.heard)
        [self.agent] = made.values()
        assert isinstance(self.agent, Adopting)
        self.agent.adopt(work)
        wait_until(lambda: self.agent.capacity().slots, last=lambda: self.heard.events)


class SshStage(Lasting):
    """A host of its own, with a real sshd, that sees nothing of the spool."""

    kind = "ssh"
    needs = needs_hosts

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.heard = self.bench.heard
        self.shared = root.parent / "shared"  # the host sees all of this machine but the spool
        self.shared.mkdir()
        self.lab = Lab(root.parent / "lab", 1, hidden=[root])
        self.lab.__enter__()
        self.serve()

    def settings(self) -> AgentConfig:
        return AgentConfig(
            name="here",
            kind="ssh",
            slots=2,
            hosts=("pc01",),
            ssh_config=str(self.lab.ssh_config),
            python=(sys.executable,),
        )

    def close(self) -> None:
        super().close()
        self.lab.close()


class PoolStage(Lasting):
    """A real pool, of one machine. The agent is an ordinary user, as HTCondor wants it."""

    kind = "condor"
    needs = needs_pool

    def __init__(self, root: Path, pool: Pool) -> None:
        self.pool = pool
        self.shared = pool.shared
        self._being = being(user())
        self._being.__enter__()
        self.bench = Bench(root)
        self.heard = self.bench.heard
        self.serve()

    def section(self, **keys: Any) -> PoolConfig:
        """What the agent is told of the pool."""
        return PoolConfig(
            condor_config=str(self.pool.by_user),
            schedd=self.pool.schedd_name,
            request_memory_bytes=64 << 20,
            request_disk_bytes=1 << 20,
            lease_s=20.0,
            submit=(("keep_claim_idle", "30"),),
            **keys,
        )

    def close(self) -> None:
        super().close()
        self._being.__exit__(None, None, None)
        self.pool.run("condor_rm", "-all", check=False)


class CondorStage(PoolStage):
    """One job for each attempt."""

    tells = False

    def settings(self) -> AgentConfig:
        pool = self.section(max_jobs=2, max_idle=2, checkpoint_every_s=0.2)
        return AgentConfig(name="here", kind="condor", give_up_s=60.0, pool=pool)

    def until_it_saved(self, work: Launch) -> None:
        self.heard.checkpoint_of(work)

    def until_it_told(self, work: Launch) -> None:
        self.finish(work)


PILOTS = Pilots(listen="127.0.0.1:0", least=1, most=1, idle_s=2.0, vacate_grace_s=1.0)


class CondorPilotStage(PoolStage):
    """A job that has called."""

    def settings(self) -> AgentConfig:
        return AgentConfig(
            name="here",
            kind="condor",
            slots=2,
            python=(sys.executable,),
            pool=self.section(mode="pilot"),
            pilots=PILOTS,
        )


class PilotStage(Lasting):
    """A batch job that has called: here a process of this machine."""

    kind = "process"

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.heard = self.bench.heard
        self.shared = root.parent / "shared"
        self.shared.mkdir()
        self.serve()

    def settings(self) -> AgentConfig:
        return AgentConfig(
            name="here", kind="process", slots=2, python=(sys.executable,), pilots=PILOTS
        )

    def close(self) -> None:
        super().close()
        end_pilots(self.bench.root)


class BoincStage(Lasting):
    """A desktop that fetches its work, and really runs it."""

    kind = "boinc"
    tells = False
    keeps = False

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.heard = self.bench.heard
        self.shared = root.parent / "shared"
        self.shared.mkdir()
        self._port = free_port()
        key = accounts.add(accounts.folder_of(root, "here"), "ann").key
        self.serve()
        host = RunningHost(self._url, key, root.parent, p_ncpus=4)
        self._crowd = Crowd()
        self._crowd.__enter__()
        self._crowd.live(host)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}/grid/"

    def settings(self) -> AgentConfig:
        boinc = Boinc(
            listen=f"127.0.0.1:{self._port}",
            url=self._url,
            poll_s=1.0,
            max_jobs=2,
            max_waiting=2,
            request_memory_bytes=64 << 20,
            request_disk_bytes=1 << 20,
        )
        return AgentConfig(name="here", kind="boinc", python=(sys.executable,), boinc=boinc)

    def close(self) -> None:
        self._crowd.__exit__()
        super().close()


class FakeStage(Stage):
    kind = "fake"
    judges = True

    def launch(self, *work: Launch) -> None:
        assert isinstance(self.agent, FakeAgent)
        self.agent.launch(work)
        for each in work:
            if each.judging is not None:
                self.agent.judge(each.attempt)
            elif not (self._flag(each).is_symlink() or self.heard.ends_of(each.attempt)):
                self.agent.finish(each.attempt)

    def until_it_runs(self, work: Launch) -> None:
        assert isinstance(self.agent, FakeAgent)
        self.agent.prints(work.attempt, b"it runs\n")
        self.agent.start(work.attempt)

    def until_it_saved(self, work: Launch) -> None:
        assert isinstance(self.agent, FakeAgent)
        self.agent.resume(work.attempt)
        self.agent.save(work.attempt)
        self.agent.progress(work.attempt, 0.5, f"number {work.attempt.attempt}")

    def let_go(self, work: Launch) -> None:
        assert isinstance(self.agent, FakeAgent)
        self.agent.finish(work.attempt)


#: The names of the suite's agents.
STAGES: dict[str, type[Stage]] = {
    "fake": FakeStage,
    "local": LocalStage,
    "pilot": PilotStage,
    "ssh": SshStage,
    "condor": CondorStage,
    "condor-pilot": CondorPilotStage,
    "boinc": BoincStage,
}


def those(fit: Callable[[type[Stage]], bool] = lambda _: True) -> list[Any]:
    """The agents that a property is asked of; the docs say of the others that they lack it."""
    return [pytest.param(name, marks=made.needs) for name, made in STAGES.items() if fit(made)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A pool of HTCondor, for all tests of this file."""
    with personal(cpus=8) as made:
        yield made


@contextlib.contextmanager
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = STAGES[request.param]
    stage: Stage
    if issubclass(made, PoolStage):
        pool: Pool = request.getfixturevalue("pool")
        stage = made(give(pool.user_folder / tmp_path.name) / "spool", pool)
    else:
        stage = made(tmp_path / "spool")
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(params=those())
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=those(lambda each: each.tells))
def telling(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """An agent that tells of what runs."""
    with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=those(lambda each: each.keeps))
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """An agent whose attempts go on from what earlier ones saved, wherever these ran."""
    with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=those(lambda each: not each.lasts))
def ending(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """An agent whose attempts end with it."""
    with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=those(lambda each: each.judges))
def judging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """An agent that compares results."""
    with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=those(lambda each: each.lasts))
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lasting]:
    """An agent whose attempts outlive it."""
    with opened(request, tmp_path) as made:
        yield made


def test_it_says_of_itself_what_it_can(stage: Stage) -> None:
    assert stage.agent.judges == stage.judges
    assert isinstance(stage.agent, Adopting) == stage.lasts


def test_it_has_the_slots_that_were_configured(stage: Stage) -> None:
    assert stage.agent.capacity().slots == 2


def test_it_says_which_machine_it_is_and_of_which_platform(stage: Stage) -> None:
    """Two replicas of a task never share a machine, whatever agents reach it. Where an engine
    chooses the machine, it is known when the attempt ran."""
    room = stage.agent.capacity()
    assert room.machine or isinstance(stage, CondorStage | BoincStage)
    _, end = stage.ended()
    assert isinstance(end, Reported)
    assert end.machine
    assert room.platform or end.platform
    assert room.machine in (end.machine, "")


def test_an_attempt_ends_in_one_report_with_its_token(stage: Stage) -> None:
    work, end = stage.ended()
    assert isinstance(end, Reported)
    assert end.outcome is Outcome.SUCCESS
    assert end.cause is Cause.FINISHED
    assert end.blame is Blame.NONE
    assert end.token == work.token


def test_a_report_comes_when_its_result_stands_whole_in_stage(stage: Stage) -> None:
    work, end = stage.ended()
    assert isinstance(end, Reported)
    assert stage.bench.staged(work).stat().st_size == end.body_bytes
    assert stage.bench.result(work).header["task"] == work.attempt.task


def test_what_is_staged_may_be_read_by_whom_the_daemons_umask_lets(stage: Stage) -> None:
    """It is delivered as it is: the group of a spool must be able to read its results."""
    work, _ = stage.ended()
    assert stage.bench.staged(work).stat().st_mode & 0o777 == 0o666 & ~umask()


def test_launching_the_same_attempt_twice_runs_it_once(stage: Stage) -> None:
    work = stage.long()
    stage.launch(work)
    stage.launch(work)
    stage.finish(work)
    stage.run_another()
    assert len(stage.heard.ends_of(work.attempt)) == 1


def test_launching_a_reported_attempt_repeats_its_report(stage: Stage) -> None:
    work, first = stage.ended()
    stage.launch(work)
    assert stage.heard.wait(lambda: stage.heard.ends_of(work.attempt)[1:]) == [first]


def test_a_released_report_is_not_kept(stage: Stage) -> None:
    work, _ = stage.ended()
    stage.agent.release([work.attempt])
    stage.agent.release([work.attempt])
    assert list(stage.agent.sightings()) == []


def test_many_attempts_all_end(stage: Stage) -> None:
    works = [stage.quick() for _ in range(50)]
    stage.launch(*works)
    for work in works:
        assert stage.heard.end_of(work).cause is Cause.FINISHED


def test_a_long_attempt_is_seen_running(stage: Stage) -> None:
    work = stage.running()
    [sighting] = stage.agent.sightings()
    assert sighting.attempt == work.attempt
    assert sighting.running
    assert sighting.slot or sighting.host
    stage.finish(work)
    assert list(stage.agent.sightings()) == []


def test_the_output_of_a_running_attempt_can_be_followed(telling: Stage) -> None:
    work = telling.running()
    wait_until(lambda: telling.agent.tail(work.attempt, 0) == b"it runs\n")
    wait_until(lambda: telling.agent.tail(work.attempt, 3) == b"runs\n")  # of a far one: later
    wait_until(lambda: telling.agent.tail(work.attempt, -5) == b"runs\n")
    assert telling.agent.tail(work.attempt, 8) == b""


def test_nothing_is_reported_of_a_stopped_attempt(stage: Stage) -> None:
    work = stage.running()
    stage.agent.stop([work.attempt])
    assert list(stage.agent.sightings()) == []
    stage.run_another()
    assert stage.heard.ends_of(work.attempt) == []


def test_a_waiting_attempt_can_be_stopped(stage: Stage) -> None:
    works = [stage.long() for _ in range(3)]
    stage.launch(*works)
    stage.agent.stop([works[2].attempt])
    for work in works[:2]:
        stage.finish(work)
    assert stage.heard.ends_of(works[2].attempt) == []


def test_stopping_an_unknown_attempt_is_no_error(stage: Stage) -> None:
    stage.agent.stop([stage.quick().attempt])


def test_the_next_attempt_of_a_stopped_task_runs(stage: Stage) -> None:
    work = stage.running()
    stage.agent.stop([work.attempt])
    successor = stage.again(work)
    stage.launch(successor)
    stage.until_it_runs(successor)
    stage.let_go(successor)
    assert stage.heard.end_of(successor).cause is Cause.FINISHED


def test_a_checkpoint_is_told_of_when_it_stands_whole(keeping: Stage) -> None:
    work = keeping.saved()
    told = keeping.heard.checkpoint_of(work)
    owner = stored.Owner(str(keeping.bench.root / "checkpoints"), work.attempt.task, 0)
    folder = keeping.bench.checkpoint(work, f"1-{told.sequence}")
    whole = stored.verify(str(folder), owner)
    assert (told.size_bytes, told.saved_at) == (whole.size_bytes, whole.saved_at)
    keeping.finish(work)


def test_checkpoints_are_told_of_in_order_while_the_attempt_runs(telling: Stage) -> None:
    """An older one that is gone before it could be brought here is not told of."""
    work = telling.saved()
    assert telling.heard.checkpoint_of(work).sequence >= 1
    assert telling.heard.ends_of(work.attempt) == []
    telling.finish(work)
    told = [each.sequence for each in telling.heard.checkpoints_of(work)]
    assert told == sorted(set(told))


def test_progress_is_told_while_the_attempt_runs(telling: Stage) -> None:
    work = telling.saved()
    assert telling.heard.progress_of(work) == [(0.5, "number 1")]
    assert telling.heard.ends_of(work.attempt) == []
    telling.finish(work)


def test_the_next_attempt_says_what_it_goes_on_from(keeping: Stage) -> None:
    work = keeping.saved()
    assert keeping.heard.resumption_of(work) is None or isinstance(keeping.agent, FakeAgent)
    keeping.agent.stop([work.attempt])
    successor = keeping.saved(keeping.again(work))
    keeping.until_it_told(successor)
    resumed = keeping.heard.resumption_of(successor)
    assert resumed is not None
    assert resumed.saved is not None
    assert resumed.saved.order >= (1, 1)
    assert resumed.message == ""
    keeping.finish(successor)


def test_an_attempt_goes_on_from_no_checkpoint_before_since(keeping: Stage) -> None:
    work = keeping.saved()
    keeping.agent.stop([work.attempt])
    successor = keeping.saved(keeping.again(work, since=2))
    keeping.until_it_told(successor)
    resumed = keeping.heard.resumption_of(successor)
    assert resumed is None or resumed.saved is None or resumed.saved.order > (2, 0)
    keeping.finish(successor)


def test_nothing_is_told_of_what_a_stopped_attempt_still_saves(keeping: Stage) -> None:
    work = keeping.saved()
    keeping.agent.stop([work.attempt])
    told = keeping.heard.checkpoints_of(work)
    if isinstance(keeping.agent, FakeAgent):
        keeping.agent.save(work.attempt, 2)
    keeping.run_another()
    assert keeping.heard.checkpoints_of(work) == told


def test_results_are_compared_and_fall_into_classes(judging: Stage) -> None:
    answer = judging.judge([1, 2], [1, 3], [1, 2])
    assert isinstance(answer, Judged)
    assert answer.round == 1
    assert answer.classes == (Class((0, 2), 0), Class((1,), 1))


def test_a_validation_needs_no_slot(judging: Stage) -> None:
    works = [judging.long() for _ in range(3)]
    judging.launch(*works)
    judging.until_it_runs(works[1])
    assert isinstance(judging.judge(1, 1), Judged)
    for work in works:
        judging.finish(work)


def test_a_validation_leaves_nothing_in_stage_and_no_other_word(judging: Stage) -> None:
    work = judging.bench.judging(judging.quick(), 1.0, 1.0 + 1e-12, kind="close")
    judging.launch(work)
    judging.heard.answer_to(work)
    assert not judging.bench.staged(work).exists()
    assert judging.heard.ends_of(work.attempt) == []
    assert list(judging.agent.sightings()) == []


def test_what_cannot_be_compared_is_the_validators_fault(judging: Stage) -> None:
    answer = judging.judge(Path("/one"), Path("/two"))
    assert isinstance(answer, JudgingFailed)
    assert not answer.transient
    assert "cannot compare" in answer.message


def test_nothing_is_told_of_a_validation_that_close_ends(judging: Stage) -> None:
    work = judging.bench.judging(judging.quick(), 1, 1, kind="command", command=("sleep", "60"))
    judging.agent.launch([work])
    judging.agent.close(0.0)
    assert judging.heard.answers_to(work) == []


def test_close_loses_what_runs_without_counting_it(ending: Stage) -> None:
    work = ending.running()
    ending.agent.close(0.1)
    end = ending.heard.end_of(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.blame, end.counts) == (Cause.SHUTDOWN, Blame.HOST, False)


def test_a_closed_agent_takes_nothing(stage: Stage) -> None:
    stage.agent.close(0.0)
    with pytest.raises(AgentError):
        stage.agent.launch([stage.quick()])


def test_closing_twice_is_no_error(stage: Stage) -> None:
    stage.agent.close(0.0)
    stage.agent.close(0.0)


def test_what_outlives_its_agent_is_taken_up_by_the_next(
    lasting: Lasting,
) -> None:
    runs, ended = lasting.long(), lasting.long()
    lasting.launch(runs, ended)
    lasting.until_it_runs(runs)
    lasting.until_it_runs(ended)
    lasting.agent.close(0.0)
    lasting.let_go(ended)
    assert lasting.heard.ends_of(runs.attempt) == []
    lasting.serve(runs, ended)
    assert lasting.heard.end_of(ended).cause is Cause.FINISHED
    lasting.let_go(runs)
    assert lasting.heard.end_of(runs).cause is Cause.FINISHED
    assert lasting.bench.value(runs) == "let go"
