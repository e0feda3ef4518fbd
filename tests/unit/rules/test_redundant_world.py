"""A whole task with a vote in the hostile world of `test_ballot_world`, until it is delivered.

Beside what happens to the vote there: users hold, release, cancel, retry and adjudicate, its
twin and its predecessors end, the name of its result is taken, a consumer takes results away,
and the daemon dies between any two effects. Two promises are added: each time that the task was
asked for one result is delivered, once; and no host is marked for what its record has already.

`SPOOLMW_FUZZ=100000 pytest tests/unit/rules/test_redundant_world.py` takes so many steps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, precondition, rule

from spoolmw.model.effects import Deliver, Discard, Forget, Judge, Score, Stop
from spoolmw.model.events import (
    Cancelled,
    Delivered,
    Event,
    Held,
    NameTaken,
    Released,
    Retried,
)
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Ballot, Phase, Replica, ReplicaState
from spoolmw.model.spec import Spec
from spoolmw.model.task import FINAL, TaskState
from spoolmw.model.voting import Accepted, GivenUp, Granted, JudgingFailed
from spoolmw.rules import ballot as vote
from spoolmw.rules.redundant import VOTING
from spoolmw.rules.task import owed, step
from tests.unit.rules.ballots import an_id
from tests.unit.rules.builders import (
    FIRST,
    NOW,
    WALL,
    a_predecessor_failed,
    a_task,
    the_first_ended,
    the_predecessors_succeeded,
)
from tests.unit.rules.test_ballot_world import EXAMPLES, STEPS, World, picks

END = AttemptId(FIRST, 0, -1)  #: stands for the file that the daemon itself writes into stage/
OPEN = (TaskState.QUEUED, TaskState.RUNNING, TaskState.VALIDATING)
ADJUDICATIONS = (Accepted, Granted)


class TaskWorld(World):
    """The same hosts and agents; the task decides, the vote is part of it."""

    def __init__(self) -> None:
        self.task = a_task()
        self.results: set[str] = set()  # names in results/, also foreign ones
        self.life = 0  # how often somebody asked for a result
        self.published: Counter[int] = Counter()
        self.scores: Counter[str] = Counter()  # marks of each machine
        super().__init__()

    @property
    def ballot(self) -> Ballot:
        assert self.task.ballot is not None
        return self.task.ballot

    @ballot.setter
    def ballot(self, ballot: Ballot) -> None:
        """The world of the vote begins a new one."""
        spec = Spec(name="sum", key="k", redundancy=ballot.wish, retry=ballot.retry)
        self.task = a_task(ballot=ballot, spec=spec)

    @initialize(twin=st.booleans(), waits=st.booleans())
    def wait(self, *, twin: bool, waits: bool) -> None:
        if twin:
            self.task = replace(self.task, state=TaskState.WAITING, twin_of=FIRST)
        if waits:
            spec = replace(self.task.spec, after=(FIRST,))
            waiting = replace(self.task, spec=spec, state=TaskState.WAITING, waits=True)
            self.task = replace(waiting, predecessors=(FIRST,))

    # The daemon

    def handle(self, event: Event) -> None:
        before = self.task
        marks = self.marks_of(event)
        after, effects = step(before, event)
        self.task = after
        for effect in effects:
            if isinstance(effect, Score):  # its commit has the record too
                self.scores[effect.spot.machine] += 1
            else:
                self.to_do.append(effect)
        for replica, mark in marks:
            self.marks[replica][mark] += 1
        if after is not before:
            self.follow(event, before.state)
            self.check_owed(event, before.state, effects)
        ending = after.ending
        if ending is not None and ending is not before.ending and ending.staged is None:
            self.stage[END] = "end"  # written before the commit

    def marks_of(self, event: Event) -> tuple[tuple[int, object], ...]:
        if type(event) not in VOTING or self.task.state not in VOTING[type(event)]:
            return ()
        return vote.step(self.ballot, event).marks  # type: ignore[arg-type]

    def follow(self, event: Event, was: TaskState) -> None:
        """Somebody asked for a result once more, or decided."""
        if isinstance(event, Retried) or (isinstance(event, ADJUDICATIONS) and was in FINAL):
            self.life += 1
        if isinstance(event, Retried):
            self.marks.clear()
            self.hand, self.granted, self.agreed_on = False, 0, None
        if isinstance(event, Granted):
            self.granted += event.replicas
        self.hand |= isinstance(event, Accepted | Granted | GivenUp | Cancelled)

    def check_owed(self, event: Event, was: TaskState, effects: tuple[object, ...]) -> None:
        debts = owed(self.task)
        for effect in effects:
            free = isinstance(effect, Stop | Score) or effect == Discard(an_id(0, 0))
            compared = isinstance(effect, Judge) and self.task.state is TaskState.DELIVERING
            cleaned = isinstance(event, Retried) and isinstance(effect, Discard)
            assert free or compared or cleaned or effect in debts, "a crash would lose it"

    def pending(self) -> list[Replica]:
        if self.task.state not in OPEN:
            return []
        return [each for each in self.ballot.replicas if each.state is ReplicaState.PENDING]

    @precondition(lambda self: self.to_do)
    @rule()
    def act(self) -> None:
        match self.to_do[0]:
            case Deliver(task):
                self.to_do.pop(0)
                self.deliver(task.result_name)
            case Forget(_, payload):
                self.to_do.pop(0)
                assert not payload or self.task.state is TaskState.DONE
            case _:
                super().act()

    def judge(self, order: Judge, how: str = "") -> None:
        best = self.ballot.canonical
        asked = order.round == self.ballot.round and bool(self.ballot.asked)
        if asked and best is not None and self.ballot.replicas[best].staged not in self.stage:
            failed = JudgingFailed(at=NOW, round=order.round, message="it is gone")
            self.inbox.append(failed)  # delivered meanwhile
        else:
            super().judge(order, how)

    def deliver(self, name: str) -> None:
        ending = self.task.ending
        if self.task.state is not TaskState.DELIVERING or self.task.result_name != name:
            return  # an order of yesterday; the state owes another
        assert ending is not None
        file = ending.staged or END
        if file not in self.stage:  # gone means delivered
            assert self.published[self.life] == 1, "the result is lost"
        elif name in self.results:
            other = f"{name}.{len(self.results)}"
            self.inbox.append(NameTaken(at=NOW, result_name=other))
            return
        else:
            del self.stage[file]
            self.results.add(name)
            self.published[self.life] += 1
        self.inbox.append(Delivered(at=NOW))

    @rule(performed=st.integers(0, 3), survive=st.booleans())
    def crash_and_start_again(self, performed: int, survive: bool) -> None:
        super().crash_and_start_again(performed, survive)
        self.to_do = list(owed(self.task))
        made = len(self.ballot.replicas)
        for attempt in [each for each in self.stage if each.replica >= made]:
            del self.stage[attempt]  # of an earlier vote: a start cleans what nobody wants

    # Whoever wishes something

    @precondition(lambda self: self.told)
    @rule(pick=picks)
    def say_it_again(self, pick: int) -> None:
        """But not what our own delivery says, which says it once."""
        if not isinstance(self.told[pick % len(self.told)], Delivered | NameTaken):
            super().say_it_again(pick)

    @rule(event=st.sampled_from([Held(at=NOW, wall=WALL), Released(at=NOW)]))
    def will(self, event: Event) -> None:
        self.handle(event)

    @precondition(lambda self: self.task.state in FINAL)
    @rule(fresh=st.booleans())
    def want_it_again(self, *, fresh: bool) -> None:
        self.handle(Retried(at=NOW, result_name=f"sum.again{self.life}", fresh=fresh))

    @precondition(lambda self: self.task.state is TaskState.FAILED)
    @rule(replica=st.integers(0, 3), more=st.integers(0, 2))
    def decide_a_failed_one(self, replica: int, more: int) -> None:
        name = f"sum.again{self.life}"
        decided = Accepted(at=NOW, replica=replica, result_name=name)
        granted = Granted(at=NOW, replicas=more, result_name=name)
        self.handle(granted if more else decided)

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
            self.stage[an_id(0, 0)] = "copy"
        self.handle(the_first_ended(state, copied=copied))

    @precondition(lambda self: self.task.waits)
    @rule(failed=st.booleans())
    def hear_of_the_predecessor(self, *, failed: bool) -> None:
        self.handle(a_predecessor_failed() if failed else the_predecessors_succeeded())

    # The promises

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        assert all(count <= 1 for count in self.published.values())

    @invariant()
    def what_ended_was_delivered(self) -> None:
        if self.task.state in FINAL:
            assert self.published[self.life] == 1

    @invariant()
    def marks_and_scores_are_the_same(self) -> None:
        """What the vote says of its replicas' hosts goes into their records, no more and no less."""
        if self.life == 0:
            given = sum(sum(each.values()) for each in self.marks.values())
            assert sum(self.scores.values()) == given

    @invariant()
    def the_canonical_result_is_there_and_stays_the_same(self) -> None:
        """Until it is delivered."""
        if self.task.state is TaskState.DELIVERING and self.published[self.life]:
            return
        if self.task.state is not TaskState.DONE:
            super().the_canonical_result_is_there_and_stays_the_same()

    def teardown(self) -> None:
        """Left alone, the task ends, and so does everything that it owes."""
        for _ in range(400):
            if not self.go_on():
                break
        assert self.task.state in FINAL
        assert self.published[self.life] == 1
        assert not self.ballot.asked
        for effect in owed(self.task):
            if isinstance(effect, Discard):
                self.stage.pop(effect.attempt, None)
        kept = {each.staged for each in self.ballot.replicas if each.staged is not None}
        if self.ballot.phase is Phase.AGREED:
            kept = set()
        left = {each for each in self.stage if each.attempt > 0}
        assert left <= kept, "a file is left over"
        assert self.task.state is not TaskState.FAILED or kept <= left, "one is missing"

    def go_on(self) -> bool:
        state = self.task.state
        if not (self.to_do or self.inbox or self.alive):
            if self.task.twin_of is not None:
                self.hear_of_the_first(TaskState.FAILED, copied=False)
                return True
            if self.task.waits:
                self.hear_of_the_predecessor(failed=False)
                return True
            if state is TaskState.HELD:
                self.will(Released(at=NOW))
                return True
            if state is TaskState.DELIVERING:
                self.to_do = list(owed(self.task))
                return True
        return super().go_on()


TestTaskWorld = TaskWorld.TestCase
TestTaskWorld.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None
)
