"""One vote in a hostile world: crashes, lost hosts, late, forged and contradicting results.

The world is small but honest: a journal that keeps what was committed, a stage that survives a
crash, hosts whose attempts may survive it too, messages that come in any order or twice, hosts
that lie, alone or together, a validator that fails, contradicts the question, or answers late,
and people who adjudicate. Whatever happens: nothing is accepted that a quorum of different hosts
did not return, no host is marked twice for one result, no file is thrown away that is still
needed, and left alone the vote ends.

`SPOOLMW_FUZZ=100000 pytest tests/unit/rules/test_ballot_world.py` takes so many steps.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoolmw.model.attempt import Cause
from spoolmw.model.effects import Discard, Judge, StartReplica, Stop
from spoolmw.model.events import Cancelled, Lost
from spoolmw.model.host import Mark
from spoolmw.model.ids import AttemptId
from spoolmw.model.replica import Class, Phase, Replica, ReplicaState
from spoolmw.model.spec import Retry
from spoolmw.model.voting import (
    Accepted,
    DeadlinePassed,
    GivenUp,
    Granted,
    Judged,
    JudgingFailed,
)
from spoolmw.rules import ballot as rules
from spoolmw.rules.closing import Effect
from spoolmw.rules.independence import may_run, voters
from tests.unit.rules.ballots import (
    a_ballot,
    a_loss,
    a_placement,
    a_spot,
    a_success,
    a_wish,
    an_error,
)
from tests.unit.rules.builders import NOW, token

STEPS = 50
EXAMPLES = int(os.environ.get("SPOOLMW_FUZZ", "10000")) // STEPS
HOSTS = range(6)
PLATFORMS = ("linux-x86_64", "linux-aarch64")
picks = st.integers(0, 1_000)
values = st.sampled_from(["right", "right", "wrong", "conspiracy", "torn"])
by_hand = (Accepted, Granted, GivenUp, Cancelled)


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ballot = a_ballot()  # as committed
        self.to_do: list[Effect] = []  # committed, not yet performed
        self.inbox: list[rules.Event] = []  # told, not yet handled
        self.told: list[rules.Event] = []
        self.alive: dict[AttemptId, int] = {}  # attempts that run, each on its host
        self.stage: dict[AttemptId, str] = {}  # what lies there
        self.ever: dict[AttemptId, str] = {}  # what any attempt returned
        self.marks: dict[int, Counter[Mark]] = defaultdict(Counter)
        self.hand = False  # somebody decided something
        self.granted = 0
        self.agreed_on: int | None = None

    @initialize(
        quorum=st.integers(1, 3),
        more=st.integers(0, 2),
        limit=st.integers(0, 3),
        errors=st.integers(0, 2),
        adaptive=st.booleans(),
        alike=st.sampled_from(["", "", "platform"]),
        retry=st.sampled_from([Retry(max=0), Retry(max=1, on=("signal",))]),
    )
    def accept(
        self,
        quorum: int,
        more: int,
        limit: int,
        errors: int,
        adaptive: bool,
        alike: str,
        retry: Retry,
    ) -> None:
        wish = a_wish(
            quorum,
            target=quorum + more,
            limit=quorum + more + limit,
            max_errors=errors,
            adaptive=adaptive and quorum > 1,
            alike=alike,
        )
        self.ballot = a_ballot(wish, retry)

    # The daemon

    def handle(self, event: rules.Event) -> None:
        before = self.ballot
        done = rules.step(before, event)
        self.ballot = done.ballot
        self.to_do += done.effects
        for replica, mark in done.marks:
            self.marks[replica][mark] += 1
        if isinstance(event, Judged | JudgingFailed) and event.round != before.round:
            assert done == rules.Step(before), "an answer to an older question was heard"
        if done.ballot is not before:
            self.hand |= isinstance(event, by_hand)
            owed = rules.owed(done.ballot)
            for effect in done.effects:
                assert isinstance(effect, Stop) or effect in owed, "a crash would lose it"

    @precondition(lambda self: self.inbox)
    @rule(pick=picks)
    def hear(self, pick: int) -> None:
        event = self.inbox.pop(pick % len(self.inbox))
        self.told.append(event)
        self.handle(event)

    def pending(self) -> list[Replica]:
        if self.ballot.phase not in (Phase.OPEN, Phase.JUDGING):
            return []
        return [each for each in self.ballot.replicas if each.state is ReplicaState.PENDING]

    @precondition(lambda self: self.pending())
    @rule(pick=picks, host=st.sampled_from(HOSTS), trusted=st.booleans(), blind=st.booleans())
    def place(self, pick: int, host: int, trusted: bool, blind: bool) -> None:
        """A `blind` engine learns late where it ran: two replicas may meet on one host."""
        waiting = self.pending()
        replica = waiting[pick % len(waiting)]
        spot = a_spot(host, platform=PLATFORMS[host % 2])
        if blind or may_run(self.ballot, replica.number, spot):
            number = replica.attempt + 1
            self.handle(a_placement(replica.number, number, spot=spot, trusted=trusted))

    @precondition(lambda self: self.to_do)
    @rule()
    def act(self) -> None:
        match self.to_do.pop(0):
            case StartReplica(replica):
                if self.ballot.replicas[replica.number].lease == replica.lease:
                    assert replica.spot is not None
                    host = int(replica.spot.machine.removeprefix("machine"))
                    if replica.attempt_id not in self.ever:
                        self.alive[replica.attempt_id] = host
            case Stop(_, attempt):
                self.alive.pop(attempt, None)
            case Discard(attempt):
                self.stage.pop(attempt, None)
            case Judge() as order:
                self.judge(order)

    def judge(self, order: Judge, how: str = "") -> None:
        if order.round != self.ballot.round or not self.ballot.asked:
            return  # an order of yesterday
        classes: dict[str, list[int]] = {}
        unfit = []
        for number in order.replicas:
            staged = self.ballot.replicas[number].staged
            assert staged in self.stage, "a result that is to be compared was thrown away"
            value = self.stage[staged]
            if value == "torn":
                unfit.append((number, "torn"))
            else:
                classes.setdefault(value, []).append(number)
        found = tuple(Class(tuple(each), each[0]) for each in classes.values())
        self.inbox.append(Judged(at=NOW, round=order.round, classes=found, unfit=tuple(unfit)))

    @precondition(lambda self: self.ballot.asked)
    @rule(transient=st.booleans())
    def validation_fails(self, transient: bool) -> None:
        failed = JudgingFailed(
            at=NOW, round=self.ballot.round, message="it died", transient=transient
        )
        self.inbox.append(failed)

    @precondition(lambda self: self.ballot.asked)
    @rule(
        numbers=st.lists(st.integers(0, 6), min_size=1, max_size=4),
        together=st.booleans(),
        late=st.integers(0, 1),
    )
    def validation_talks_nonsense(self, numbers: list[int], together: bool, late: int) -> None:
        """It leaves results out, has one twice, or answers an older question."""
        classes = tuple(Class((each,), each) for each in numbers)
        if together:
            classes = (Class(tuple(numbers), numbers[0]),)
        if late:
            classes = (Class(self.ballot.asked, self.ballot.asked[0]),)
        elif sorted(numbers) == sorted(self.ballot.asked):
            return  # that would make sense
        self.inbox.append(Judged(at=NOW, round=self.ballot.round - late, classes=classes))

    @rule(performed=st.integers(0, 3), survive=st.booleans())
    def crash_and_start_again(self, performed: int, survive: bool) -> None:
        """The journal and the stage stay; attempts may go on on other machines."""
        for _ in range(min(performed, len(self.to_do))):
            self.act()
        self.to_do, self.inbox = [], []
        if not survive:
            for attempt in list(self.alive):
                del self.alive[attempt]
                lost = a_loss(attempt.replica, attempt.attempt, counts=False, dead=True)
                self.handle(replace(lost, cause=Cause.CONNECTION))
        self.inbox += [self.report(each) for each in self.ever]  # agents repeat themselves
        self.to_do = list(rules.owed(self.ballot))

    # Hosts

    def report(self, attempt: AttemptId) -> rules.Event:
        return a_success(attempt.replica, attempt.attempt, digest=self.ever[attempt])

    def some_attempt(self, pick: int) -> AttemptId:
        return sorted(self.alive)[pick % len(self.alive)]

    @precondition(lambda self: self.alive)
    @rule(pick=picks, value=values)
    def finish(self, pick: int, value: str) -> None:
        attempt = self.some_attempt(pick)
        host = self.alive.pop(attempt)
        self.ever[attempt] = f"wrong{host}" if value == "wrong" else value
        self.stage[attempt] = self.ever[attempt]
        self.inbox.append(self.report(attempt))

    @precondition(lambda self: self.alive)
    @rule(pick=picks, cause=st.sampled_from([Cause.SIGNAL, Cause.EXCEPTION]))
    def fail(self, pick: int, cause: Cause) -> None:
        attempt = self.some_attempt(pick)
        del self.alive[attempt]
        self.inbox.append(an_error(attempt.replica, attempt.attempt, cause))

    @precondition(lambda self: self.leased())
    @rule(pick=picks, dead=st.booleans(), counts=st.booleans())
    def lose(self, pick: int, dead: bool, counts: bool) -> None:
        """Contact is lost; where it is not said to be dead, the attempt goes on.

        It may have reported already: then the two cross each other.
        """
        attempt = self.leased()[pick % len(self.leased())]
        if dead:
            self.alive.pop(attempt, None)
        self.inbox.append(a_loss(attempt.replica, attempt.attempt, dead=dead, counts=counts))

    @precondition(lambda self: self.alive)
    @rule(pick=picks)
    def miss_the_deadline(self, pick: int) -> None:
        self.inbox.append(DeadlinePassed(at=NOW, attempt=self.some_attempt(pick)))

    # Whoever wishes us ill, or well

    @precondition(lambda self: self.told)
    @rule(pick=picks)
    def say_it_again(self, pick: int) -> None:
        event = self.told[pick % len(self.told)]
        if not isinstance(event, by_hand):
            self.inbox.append(event)

    @precondition(lambda self: self.leased())
    @rule(pick=picks, later=st.integers(0, 1), secret=st.sampled_from(["", "f" * 32]))
    def forge(self, pick: int, later: int, secret: str) -> None:
        mark = self.leased()[pick % len(self.leased())]
        forged = a_success(mark.replica, mark.attempt + later, token=secret, digest="forged")
        self.inbox.append(forged)

    def leased(self) -> list[AttemptId]:
        """The attempts that the daemon believes to run."""
        return [each.attempt_id for each in self.ballot.replicas if each.lease is not None]

    @precondition(lambda self: self.alive)
    @rule(pick=picks, replica=st.integers(0, 6))
    def vote_for_another(self, pick: int, replica: int) -> None:
        """A host that knows its own token uses it for another replica."""
        mine = self.some_attempt(pick)
        if mine.replica != replica and self.attempt_of(replica) != mine.attempt:
            stolen = a_success(replica, self.attempt_of(replica), token=token(mine.attempt))
            self.inbox.append(replace(stolen, digest="forged"))

    def attempt_of(self, replica: int) -> int:
        known = replica < len(self.ballot.replicas)
        return self.ballot.replicas[replica].attempt if known else 1

    @precondition(lambda self: len(self.told) > 12)
    @rule(
        event=st.sampled_from(
            [
                *(Accepted(at=NOW, replica=each) for each in range(3)),
                Granted(at=NOW, replicas=1),
                GivenUp(at=NOW),
                Cancelled(at=NOW),
            ]
        )
    )
    def adjudicate(self, event: rules.Event) -> None:
        before = self.ballot
        self.handle(event)
        if isinstance(event, Granted) and self.ballot is not before:
            self.granted += event.replicas

    @rule(
        hosts=st.one_of(
            st.lists(st.sampled_from(HOSTS), min_size=1, max_size=8),
            st.sampled_from(HOSTS).map(lambda host: [host] * 8),  # a blind engine's favourite
        ),
        returned=st.lists(values, min_size=1, max_size=8),
        newest_first=st.booleans(),
        blind=st.booleans(),
    )
    def go_on_for_a_while(
        self, hosts: list[int], returned: list[str], newest_first: bool, blind: bool
    ) -> None:
        """The common course of things, so that what is rare meets votes that are far on."""
        for host, value in zip(hosts, returned, strict=False):
            if self.pending():
                self.place(0, host, trusted=False, blind=blind)
            for _ in range(3):
                if self.to_do:
                    self.act()
            if self.alive:
                self.finish(len(self.alive) - 1 if newest_first else 0, value)
            if self.inbox:
                self.hear(len(self.inbox) - 1 if newest_first else 0)

    # The promises

    def returned(self, replica: Replica) -> str:
        assert replica.staged is not None
        return self.ever[replica.staged]

    @invariant()
    def what_is_accepted_was_returned_by_a_quorum_of_different_hosts(self) -> None:
        ballot = self.ballot
        if ballot.phase is not Phase.AGREED or self.hand or ballot.alone:
            return
        assert ballot.canonical is not None
        right = self.returned(ballot.replicas[ballot.canonical])
        who = voters(ballot)
        same = {
            who[each.number]
            for each in ballot.replicas
            if each.staged is not None and self.returned(each) == right
        }
        assert len(same) >= ballot.wish.quorum
        assert right != "forged"

    @invariant()
    def the_canonical_result_is_there_and_stays_the_same(self) -> None:
        ballot = self.ballot
        assert (ballot.canonical is not None) == (ballot.phase is Phase.AGREED)
        if ballot.canonical is not None:
            assert ballot.replicas[ballot.canonical].staged in self.stage
            assert self.agreed_on in (None, ballot.canonical)
            self.agreed_on = ballot.canonical

    @invariant()
    def verdicts_are_true(self) -> None:
        ballot = self.ballot
        if ballot.canonical is None or self.hand:
            return
        right = self.returned(ballot.replicas[ballot.canonical])
        for each in ballot.replicas:
            if each.state in (ReplicaState.VALID, ReplicaState.INVALID):
                assert (each.state is ReplicaState.VALID) == (self.returned(each) == right)

    @invariant()
    def nobody_is_marked_twice_for_one_result(self) -> None:
        for marks in self.marks.values():
            assert sum(marks[each] for each in Mark if each is not Mark.SILENT) <= 1
            assert marks[Mark.SILENT] <= 1

    @invariant()
    def a_single_result_proves_nothing(self) -> None:
        single = self.ballot.alone or self.ballot.wish.quorum == 1
        if self.ballot.phase is Phase.AGREED and single and not self.hand:
            for marks in self.marks.values():
                assert set(+marks) <= {Mark.SILENT, Mark.ALONE}

    @invariant()
    def where_nothing_was_agreed_nobody_is_marked(self) -> None:
        if self.ballot.phase is not Phase.AGREED:
            for marks in self.marks.values():
                assert set(+marks) <= {Mark.SILENT}

    @invariant()
    def no_more_replicas_are_made_than_allowed(self) -> None:
        assert len(self.ballot.replicas) <= self.ballot.wish.limit + self.granted
        for number, each in enumerate(self.ballot.replicas):
            assert each.number == number

    @invariant()
    def only_an_open_vote_has_somebody_under_way(self) -> None:
        busy = (ReplicaState.PENDING, ReplicaState.RUNNING)
        if self.ballot.phase not in (Phase.OPEN, Phase.JUDGING):
            assert not any(each.state in busy for each in self.ballot.replicas)

    @invariant()
    def an_open_vote_has_somebody_to_wait_for(self) -> None:
        if self.ballot.phase is Phase.OPEN:
            assert any(
                each.state is ReplicaState.PENDING
                or (each.state is ReplicaState.RUNNING and not each.overdue)
                for each in self.ballot.replicas
            ), "what is overdue must be replaced"
        assert (self.ballot.phase is Phase.JUDGING) <= bool(self.ballot.asked)

    def teardown(self) -> None:
        """Left alone, the vote ends, and so does everything that it owes."""
        for _ in range(400):
            if not self.go_on():
                break
        assert self.ballot.phase in (Phase.AGREED, Phase.GIVEN_UP, Phase.WITHDRAWN)
        assert not self.ballot.asked
        kept = {each.staged for each in self.ballot.replicas if each.staged is not None}
        if self.ballot.phase is Phase.AGREED:
            kept = {self.ballot.replicas[self.ballot.canonical or 0].staged}
        for effect in rules.owed(self.ballot):
            assert isinstance(effect, Discard)
            self.stage.pop(effect.attempt, None)
        assert set(self.stage) == kept, "a file is left over, or one is missing"

    def go_on(self) -> bool:
        if self.to_do:
            self.act()
        elif self.inbox:
            self.hear(0)
        elif self.alive:
            self.finish(0, "right")
        elif self.pending():
            replica = self.pending()[0]
            number = replica.attempt + 1
            spot = a_spot(100 + replica.number, machine="machine1" + f"{replica.number:02}")
            spot = replace(spot, platform=self.ballot.platform or PLATFORMS[0])
            self.handle(a_placement(replica.number, number, spot=spot))
        elif any(each.lease is not None for each in self.ballot.replicas) or self.ballot.asked:
            self.lose_what_is_forgotten()
        else:
            return False
        return True

    def lose_what_is_forgotten(self) -> None:
        """The agents say of attempts that nobody has seen that they are gone."""
        if self.ballot.asked:
            self.to_do = [each for each in rules.owed(self.ballot) if isinstance(each, Judge)]
        for each in self.ballot.replicas:
            if each.lease is not None:
                lost: Lost = a_loss(each.number, each.attempt, dead=True, counts=False)
                self.inbox.append(lost)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
