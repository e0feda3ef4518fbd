"""One task in a hostile world: crashes, lost agents, late, forged and repeated reports.

The world is small but honest: a journal that keeps what was committed, a stage and a results
folder that survive a crash, an agent whose attempts do not, messages that come in any order or
twice, a user who changes his mind, a consumer who takes results away. In it the two promises
are checked: no accepted task is lost, and each is delivered exactly once for each time that it
was asked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoolmw.model.attempt import Blame, Cause
from spoolmw.model.effects import Deliver, Discard, Effect, Forget, Start, Stop, Trim
from spoolmw.model.events import (
    Assigned,
    Cancelled,
    Delivered,
    Event,
    Held,
    NameTaken,
    Released,
    Retried,
)
from spoolmw.model.ids import AttemptId
from spoolmw.model.spec import Retry
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.rules.task import owed, step
from spoolmw.spooldir.checkpoints import Order, outdated
from tests.unit.rules.builders import (
    FIRST,
    LOCAL,
    WALL,
    a_failure,
    a_loss,
    a_save,
    a_success,
    a_task,
    an_attempt,
    the_first_ended,
    token,
)

picks = st.integers(0, 1_000)
END = AttemptId(FIRST, 0, -1)  #: stands for the file that the daemon itself writes into stage/


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.task = a_task()  # as committed
        self.to_do: list[Effect] = []  # committed, not yet performed
        self.inbox: list[Event] = []  # told, not yet handled
        self.told: list[Event] = []
        self.alive: set[int] = set()  # attempts whose processes exist
        self.stage: set[AttemptId] = set()
        self.results: set[str] = set()  # names in results/, also foreign ones
        self.life = 0  # how often the user asked for the task
        self.published: Counter[int] = Counter()
        self.saved: set[Order] = set()  # checkpoints on the disk
        self.counting: list[Order] = []  # all that ever counted since the last fresh start

    @initialize(twin=st.booleans(), most=st.integers(0, 2))
    def accept(self, *, twin: bool, most: int) -> None:
        self.task = a_task(retry=Retry(max=most, on=("signal",)))
        if twin:
            self.task = replace(self.task, state=TaskState.WAITING, twin_of=FIRST)

    # The daemon

    def handle(self, event: Event) -> None:
        before = self.task
        after, effects = step(before, event)
        if isinstance(event, Retried) and after is not before:
            self.life += 1
            if event.fresh:
                self.counting = []
        if before.ending is None and after.ending is not None and after.ending.staged is None:
            self.stage.add(END)  # written before the commit
        self.task = after
        self.to_do += effects

    @precondition(lambda self: self.inbox)
    @rule(pick=picks)
    def hear(self, pick: int) -> None:
        event = self.inbox.pop(pick % len(self.inbox))
        self.told.append(event)
        self.handle(event)

    @precondition(lambda self: self.task.state is TaskState.QUEUED)
    @rule()
    def assign(self) -> None:
        self.now = max(self.now, self.task.not_before)
        secret = token(self.task.attempt + 1)
        self.handle(Assigned(at=self.now, agent=LOCAL, token=secret, wall=WALL))

    @precondition(lambda self: self.to_do)
    @rule()
    def act(self) -> None:
        match self.to_do.pop(0):
            case Start(task):
                if task.lease is not None and self.task.lease == task.lease:
                    self.alive.add(task.attempt)
            case Stop(_, attempt, _):
                self.alive.discard(attempt.attempt)
            case Deliver(task):
                self.deliver(task)
            case Discard(attempt):
                self.stage.discard(attempt)
            case Trim(_, newest, since):
                last = Order(*newest.order) if newest else None
                self.saved -= set(outdated(self.saved, last, since))
            case Forget(_, payload):
                assert not payload or self.task.state is TaskState.DONE

    def deliver(self, task: Task) -> None:
        assert task.ending is not None
        if self.task.ending is not task.ending or self.task.result_name != task.result_name:
            return  # an order of yesterday; the state owes another
        file = task.ending.staged or END
        if file not in self.stage:  # gone means delivered
            assert self.published[self.life] == 1, "the result is lost"
        elif task.result_name in self.results:
            name = f"{task.result_name}.{len(self.results)}"
            self.inbox.append(NameTaken(at=self.now, result_name=name))
            return
        else:
            self.stage.remove(file)
            self.results.add(task.result_name)
            self.published[self.life] += 1
        self.inbox.append(Delivered(at=self.now))

    @rule(performed=st.integers(0, 3))
    def crash_and_start_again(self, performed: int) -> None:
        """The agent's processes die with the daemon; journal, stage and results stay."""
        for _ in range(min(performed, len(self.to_do))):
            self.act()
        self.to_do, self.inbox = [], []
        self.alive.clear()
        self.task = replace(
            self.task, history=tuple(replace(ran, token="") for ran in self.task.history)
        )
        if self.task.lease is not None:
            number = self.task.attempt
            lost = a_loss(number, cause=Cause.CONNECTION, counts=False, dead=True)
            self.handle(lost)
        ending = self.task.ending
        self.stage &= {ending.staged or END} if ending is not None else set()
        self.to_do = list(owed(self.task))

    # The agent

    @precondition(lambda self: self.alive)
    @rule(pick=picks, cause=st.sampled_from([None, Cause.SIGNAL, Cause.EXCEPTION]))
    def finish(self, pick: int, cause: Cause | None) -> None:
        number = sorted(self.alive)[pick % len(self.alive)]
        self.alive.remove(number)
        self.stage.add(an_attempt(number))
        report = a_success(number) if cause is None else a_failure(cause, number)
        self.inbox.append(replace(report, at=self.now))

    @precondition(lambda self: self.alive)
    @rule(pick=picks, told=st.booleans())
    def save(self, pick: int, *, told: bool) -> None:
        """A checkpoint appears; of some nobody is told, because a runner dies with the news."""
        number = sorted(self.alive)[pick % len(self.alive)]
        sequence = sum(order.attempt == number for order in self.counting) + 1
        self.saved.add(Order(number, sequence))
        if number >= self.task.since:
            self.counting.append(Order(number, sequence))
        if told:
            self.inbox.append(a_save(number, sequence, at=self.now))

    @precondition(lambda self: self.alive)
    @rule(pick=picks, dead=st.booleans(), blame=st.sampled_from([Blame.HOST, Blame.AGENT]))
    def lose(self, pick: int, *, dead: bool, blame: Blame) -> None:
        """Contact is lost; where it is not proven dead, the attempt goes on."""
        number = sorted(self.alive)[pick % len(self.alive)]
        if dead:
            self.alive.remove(number)
        self.inbox.append(a_loss(number, at=self.now, dead=dead, blame=blame))

    # Whoever wishes us ill, or well

    @precondition(lambda self: self.told)
    @rule(pick=picks)
    def say_it_again(self, pick: int) -> None:
        event = self.told[pick % len(self.told)]
        if not isinstance(event, Delivered | NameTaken | Retried):
            self.inbox.append(event)

    @rule(number=st.integers(0, 5), secret=st.sampled_from(["", "f" * 32]))
    def forge(self, number: int, secret: str) -> None:
        self.inbox.append(a_success(number, token=secret, digest="e" * 64))

    @rule(event=st.sampled_from([Cancelled(at=0.0), Held(at=0.0), Released(at=0.0)]))
    def will(self, event: Event) -> None:
        self.handle(event)

    @rule(fresh=st.booleans())
    def want_it_again(self, *, fresh: bool) -> None:
        name = f"sum.again{self.life}"
        self.handle(Retried(at=self.now, result_name=name, fresh=fresh))

    @rule()
    def take_a_name(self) -> None:
        if self.task.ending is None:
            self.results.add(self.task.result_name)

    @precondition(lambda self: self.results)
    @rule(pick=picks)
    def consume(self, pick: int) -> None:
        self.results.remove(sorted(self.results)[pick % len(self.results)])

    @precondition(lambda self: self.task.twin_of is not None)
    @rule(state=st.sampled_from(sorted(FINAL, key=str)), copied=st.booleans())
    def hear_of_the_first(self, state: TaskState, *, copied: bool) -> None:
        copied = copied and state is TaskState.DONE
        if copied:
            self.stage.add(an_attempt(0))
        self.handle(the_first_ended(state, copied=copied))

    # The promises

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        assert all(count <= 1 for count in self.published.values())

    @invariant()
    def what_ended_was_delivered(self) -> None:
        if self.task.state in FINAL:
            assert self.published[self.life] == 1

    @invariant()
    def the_two_newest_checkpoints_are_never_removed(self) -> None:
        assert set(sorted(self.counting)[-2:]) <= self.saved

    @invariant()
    def what_succeeded_is_real(self) -> None:
        ending = self.task.ending
        if ending is not None and ending.state is TaskState.DONE:
            assert ending.digest in {"d" * 64, "c" * 64}

    def teardown(self) -> None:
        """Left alone, the task ends, and so does everything that it owes."""
        for _ in range(200):
            if not (self.to_do or self.inbox or self.alive or self.task.state not in FINAL):
                break
            self.go_on()
        assert self.task.state in FINAL
        assert self.published[self.life] == 1
        assert sum(self.published.values()) == self.life + 1

    def go_on(self) -> None:
        if self.to_do:
            self.act()
        elif self.inbox:
            self.hear(0)
        elif self.alive:
            self.finish(0, None)
        elif self.task.state is TaskState.WAITING:
            self.hear_of_the_first(TaskState.FAILED, copied=False)
        elif self.task.state is TaskState.HELD:
            self.will(Released(at=self.now))
        elif self.task.state is TaskState.QUEUED:
            self.assign()
        else:
            self.crash_and_start_again(0)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
