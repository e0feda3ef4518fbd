"""Fifty hosts, some of them faulty: how many wrong results get through, and what that costs.

`python -m benchmarks.redundancy [--tasks N] [--write]`. The rules are the real ones
(`rules.ballot`, `rules.trust`), the hosts are FakeAgents whose results stand in a real `stage/`;
only the clock is made up. `--write` puts table and plot into docs/redundancy.md.
"""

from __future__ import annotations

import argparse
import heapq
import random
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from matplotlib import pyplot

from benchmarks import redundancy_theory as theory
from benchmarks.redundancy_theory import Figures, Kind
from spoolmw.agents.fake import FakeAgent
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Launch as AgentLaunch
from spoolmw.model.effects import Discard, Judge, StartReplica, Stop, Trim
from spoolmw.model.events import Lost, Reported
from spoolmw.model.host import HostRecord, Mark
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Ballot, Class, Phase, ReplicaState, Spot
from spoolmw.model.spec import Spec
from spoolmw.model.voting import DeadlinePassed, Judged, Placed
from spoolmw.rules import ballot as rules
from spoolmw.rules import independence, trust
from spoolmw.rules.closing import Effect
from spoolmw.runner import safe
from spoolmw.runner.grouping import by_key
from spoolmw.runner.results import Ended

HOUR_S = 3600.0  #: a good host needs about so long for one execution
DEADLINE_S = 5 * HOUR_S
OPEN_TASKS = 150  #: under way at a time
RIGHT, PLOT = "right", "plot"

KINDS = (
    Kind("good", 40),
    Kind("wrong in 5 %", 5, alone_wrong=0.05),
    Kind("always wrong", 1, alone_wrong=1.0),
    Kind("conspiring", 2, conspires=True),
    Kind("slow", 1, asks=0.1, silent=True),
    Kind("vanishing", 1, asks=HOUR_S / DEADLINE_S, silent=True),
)
POLICIES = {
    "quorum 1": Redundancy(max_errors=3),
    "quorum 2": Redundancy(max_errors=3, quorum=2, target=2),
    "quorum 2 of 3": Redundancy(max_errors=3, quorum=2, target=3, limit=9),
    "quorum 3": Redundancy(max_errors=3, quorum=3, target=3, limit=9),
    "adaptive": Redundancy(max_errors=3, quorum=2, target=2, adaptive=True),
    "adaptive, audit 2 %": Redundancy(
        max_errors=3, quorum=2, target=2, adaptive=True, audit=0.02
    ),
}
DOCS = Path(__file__).parent.parent / "docs"


@dataclass
class Host:
    """One machine with one slot."""

    number: int
    kind: Kind
    agent: FakeAgent
    record: HostRecord
    busy: AttemptId | None = None

    @property
    def spot(self) -> Spot:
        name = f"pc{self.number:02}"
        return Spot(machine=self.record.machine, host=name, slot="1", owner=name)


@dataclass
class Count:
    """What a run came to."""

    tasks: int = 0
    wrong: int = 0
    none: int = 0
    executions: int = 0
    paused: set[int] = field(default_factory=set)

    def figures(self) -> Figures:
        return Figures(
            self.wrong / self.tasks, self.none / self.tasks, self.executions / self.tasks
        )


class Simulation:
    """An event loop over made-up time; everything that is decided is decided by the rules."""

    def __init__(self, wish: Redundancy, folder: Path, *, seed: int, pauses: bool) -> None:
        self._wish = wish
        self._stage = folder / "stage"
        self._stage.mkdir(exist_ok=True)
        self._chance = random.Random(seed)
        self._pauses = pauses
        self._now = 0.0
        self._order = count()
        self._due: list[tuple[float, int, AttemptId, str]] = []
        self._told: list[Reported | Lost] = []
        self._ballots: dict[TaskId, Ballot] = {}
        self._waiting: deque[tuple[TaskId, int]] = deque()
        self._values: dict[AttemptId, str] = {}
        self._hosts = [
            self._host(number, kind)
            for number, kind in enumerate(each for each in KINDS for _ in range(each.count))
        ]
        self._chance.shuffle(self._hosts)
        self._where: dict[AttemptId, Host] = {}
        self.count = Count()

    def _host(self, number: int, kind: Kind) -> Host:
        name = AgentName(f"pc{number:02}")
        settings = AgentConfig(name=name, kind="fake", slots=1)
        agent = FakeAgent(name, self._stage.parent, settings, self._hear)
        return Host(number, kind, agent, HostRecord(machine=f"machine{number}", name=name))

    def _hear(self, events: object) -> None:
        assert isinstance(events, list | tuple)
        self._told += [each for each in events if isinstance(each, Reported | Lost)]

    def run(self, tasks: int) -> Count:
        """Let so many tasks come to their end."""
        submitted = 0
        while self.count.tasks < tasks:
            while submitted < tasks and len(self._ballots) < OPEN_TASKS:
                self._submit(TaskId(f"{submitted:032x}"))
                submitted += 1
            self._place()
            if not self._due:  # all that could run are paused: their probes are awaited
                self._now += HOUR_S
                continue
            self._now, _, attempt, what = heapq.heappop(self._due)
            getattr(self, f"_{what}")(attempt)
        return self.count

    def _submit(self, task: TaskId) -> None:
        self._ballots[task] = rules.opened(task, self._wish)
        self._queue(self._ballots[task])

    def _queue(self, ballot: Ballot, known: int = 0) -> None:
        self._waiting += [(ballot.task, each.number) for each in ballot.replicas[known:]]

    # Placement: a host that is free asks, and gets the oldest replica that it may run

    def _place(self) -> None:
        for host in self._hosts:
            if host.busy is None and (
                not self._pauses or trust.may_work(host.record, self._now)
            ):
                self._give(host)

    def _give(self, host: Host) -> None:
        for _ in range(len(self._waiting)):
            task, number = self._waiting.popleft()
            ballot = self._ballots.get(task)
            if ballot is None or ballot.replicas[number].state is not ReplicaState.PENDING:
                continue
            if not independence.may_run(ballot, number, host.spot):
                self._waiting.append((task, number))
                continue
            attempt = AttemptId(task, number, ballot.replicas[number].attempt + 1)
            host.busy = attempt
            self._where[attempt] = host
            self.count.executions += 1
            luck = self._chance.random()
            placed = Placed(
                at=self._now,
                replica=number,
                agent=host.agent.name,
                token=f"{self._chance.getrandbits(128):032x}",
                wall=self._now,
                spot=host.spot,
                trusted=trust.runs_alone(host.record, self._wish.audit, luck),
            )
            self._step(ballot, placed)
            return

    # What happens to attempts

    def _finish(self, attempt: AttemptId) -> None:
        host = self._where[attempt]
        if host.busy != attempt:
            return  # it was stopped
        ended = Ended()
        self._values[attempt] = self._value(host)
        ended.codec, ended.value = "safe", safe.parts(self._values[attempt])
        host.agent.finish(attempt, ended)
        host.agent.launched.clear()
        host.agent.release([attempt])
        host.busy = None
        self._take_told()

    def _value(self, host: Host) -> str:
        if host.kind.conspires:
            return PLOT
        if self._chance.random() < host.kind.alone_wrong:
            return f"wrong {self._chance.getrandbits(64)}"
        return RIGHT

    def _deadline(self, attempt: AttemptId) -> None:
        host = self._where[attempt]
        ballot = self._ballots.get(attempt.task)
        if ballot is not None:
            self._step(ballot, DeadlinePassed(at=self._now, attempt=attempt))
        if host.busy == attempt and host.kind.name == "vanishing":
            host.busy = None  # it is back, and knows of nothing

    def _take_told(self) -> None:
        told, self._told = self._told, []
        for event in told:
            ballot = self._ballots.get(event.attempt.task)
            if ballot is not None:
                self._step(ballot, event)

    # The daemon's part

    def _step(self, before: Ballot, event: rules.Event) -> None:
        done = rules.step(before, event)
        ballot = done.ballot
        self._ballots[ballot.task] = ballot
        self._queue(ballot, known=len(before.replicas))
        for number, mark in done.marks:
            self._mark(ballot.replicas[number].attempt_id, mark)
        for effect in done.effects:
            self._perform(effect)
        ballot = self._ballots.get(ballot.task, ballot)
        if ballot.phase in (Phase.AGREED, Phase.GIVEN_UP) and not ballot.asked:
            self._close(ballot)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Trim():
                pass  # nothing is saved here
            case StartReplica(replica):
                assert replica.lease is not None
                host = self._where[replica.attempt_id]
                launch = AgentLaunch(
                    attempt=replica.attempt_id,
                    token=replica.lease.token,
                    path="",
                    spec=Spec(name="sum"),
                )
                host.agent.launch([launch])
                self._plan(host, replica.attempt_id)
            case Stop(_, attempt):
                host = self._where[attempt]
                host.agent.stop([attempt])
                host.busy = None if host.busy == attempt else host.busy
            case Discard(attempt):
                (self._stage / str(attempt)).unlink(missing_ok=True)
            case Judge() as order:
                self._judge(order)

    def _plan(self, host: Host, attempt: AttemptId) -> None:
        takes_s = HOUR_S * self._chance.uniform(0.5, 1.5)
        if host.kind.name == "slow":
            takes_s *= 10
        if host.kind.name != "vanishing":
            self._at(self._now + takes_s, attempt, "finish")
        self._at(self._now + DEADLINE_S, attempt, "deadline")

    def _at(self, when: float, attempt: AttemptId, what: str) -> None:
        heapq.heappush(self._due, (when, next(self._order), attempt, what))

    def _judge(self, order: Judge) -> None:
        ballot = self._ballots[order.task]
        staged = {number: ballot.replicas[number].staged for number in order.replicas}
        keys = {
            number: self._values[attempt].encode()
            for number, attempt in staged.items()
            if attempt is not None
        }
        classes = tuple(Class(*group) for group in by_key(keys))
        self._step(ballot, Judged(at=self._now, round=order.round, classes=classes))

    def _mark(self, attempt: AttemptId, mark: Mark) -> None:
        host = self._where[attempt]
        host.record = trust.marked(host.record, mark, self._now)
        if not self._pauses:
            host.record = HostRecord(
                machine=host.record.machine,
                name=host.record.name,
                consecutive_valid=host.record.consecutive_valid,
            )
        elif host.record.paused:
            self.count.paused.add(host.number)

    def _close(self, ballot: Ballot) -> None:
        if self._ballots.pop(ballot.task, None) is None:
            return
        self.count.tasks += 1
        if ballot.canonical is None:
            self.count.none += 1
        else:
            staged = ballot.replicas[ballot.canonical].staged
            assert staged is not None
            self.count.wrong += self._values[staged] != RIGHT
        for each in ballot.replicas:
            for attempt in range(1, each.attempt + 1):
                name = AttemptId(ballot.task, each.number, attempt)
                self._values.pop(name, None)
                (self._stage / str(name)).unlink(missing_ok=True)


@dataclass(frozen=True)
class Row:
    """One policy: what the theory says, and what came out without and with pauses."""

    name: str
    theory: Figures
    plain: Count
    paused: Count


def measured(tasks: int, seed: int) -> Iterator[Row]:
    """Run every policy."""
    for name, asked in POLICIES.items():
        wish = replace(asked, deadline_s=DEADLINE_S)
        counts = []
        for pauses in (False, True):
            with tempfile.TemporaryDirectory(dir=_memory()) as folder:
                simulation = Simulation(wish, Path(folder), seed=seed, pauses=pauses)
                counts.append(simulation.run(tasks))
        says = (
            theory.adaptive(KINDS, wish, tasks)
            if wish.adaptive
            else theory.Lottery(KINDS, wish).figures()
        )
        yield Row(name, says, *counts)


def _memory() -> str | None:
    """A folder in memory, where there is one: the files of the stage are many and short-lived."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


HEAD = """\
| | wrong, theory | wrong, no pauses | wrong | executions a task, theory | no pauses | with pauses |
|---|---|---|---|---|---|---|
"""


def table(rows: list[Row]) -> str:
    """The rows in Markdown. Beside a share stands twice its standard error."""
    lines = [
        f"| {row.name} | {row.theory.wrong:.3%} | {_share(row.plain)} | {_share(row.paused)}"
        f" | {row.theory.executions:.2f} | {row.plain.figures().executions:.2f}"
        f" | {row.paused.figures().executions:.2f} |"
        for row in rows
    ]
    return HEAD + "\n".join(lines) + "\n"


def _share(counted: Count) -> str:
    share = counted.wrong / counted.tasks
    if not counted.wrong:
        return f"0 (below {3 / counted.tasks:.3%})"  # the rule of three: 95 %
    return f"{share:.3%} ± {2 * (share * (1 - share) / counted.tasks) ** 0.5:.3%}"


def plot(rows: list[Row], path: Path) -> None:
    """Wrong results over work, both from theory and measured."""
    pyplot.rcParams["svg.hashsalt"] = "spoolmw"  # the same figures make the same file
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for row in rows:
        floor = 0.5 / row.plain.tasks
        says, found, paused = row.theory, row.plain.figures(), row.paused.figures()
        colour = axes.plot(says.executions, max(says.wrong, floor), "o", fillstyle="none")[0]
        shade = colour.get_color()
        axes.plot(found.executions, max(found.wrong, floor), "x", color=shade, label=row.name)
        axes.plot(paused.executions, max(paused.wrong, floor), "+", color=shade)
    axes.set_yscale("log")
    axes.set_xlabel("executions for each task")
    axes.set_ylabel("share of wrong results accepted")
    axes.set_title("o theory, x simulation, + simulation with pauses", fontsize=10)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def write(rows: list[Row], tasks: int, seed: int) -> None:
    """Put table and plot into the documentation."""
    page = DOCS / "redundancy.md"
    text = page.read_text(encoding="utf-8")
    said = f"`python -m benchmarks.redundancy --tasks {tasks} --seed {seed} --write`"
    made = f"<!-- measured -->\n\nMade by {said}.\n\n{table(rows)}\n<!-- /measured -->"
    new, found = re.subn(
        r"<!-- measured -->.*<!-- /measured -->", lambda _: made, text, flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{page} has no place for the table: it needs <!-- measured -->")
    page.write_text(new, encoding="utf-8")
    plot(rows, DOCS / "redundancy.svg")


def main() -> None:
    """Simulate every policy and show what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redundancy")
    parser.add_argument("--tasks", type=int, default=4000, help="for each policy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into docs/redundancy.md too")
    options = parser.parse_args()
    rows = []
    for row in measured(options.tasks, options.seed):
        rows.append(row)
        paused = ", ".join(f"pc{number:02}" for number in sorted(row.paused.paused))
        print(f"{row.name}: paused at least once: {paused or 'nobody'}", file=sys.stderr)
    print(table(rows), end="")
    if options.write:
        write(rows, options.tasks, options.seed)


if __name__ == "__main__":
    main()
