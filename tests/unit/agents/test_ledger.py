"""The ledger: what frames mean as events, and what is never told twice or too early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spoolmw.agents.kinds import kind_of
from spoolmw.agents.ledger import Ledger, Loss
from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported, Started
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.spec import Checkpoint, Limits, Place, Resources, Run, Spec


def a_launch(number: int = 1, attempt: int = 1, spec: Spec | None = None) -> Launch:
    return Launch(
        attempt=AttemptId(TaskId(f"{number:032x}"), 0, attempt),
        token=f"{number:032x}",
        path=f"active/00/{number}",
        spec=spec or Spec(name="t"),
    )


def a_report(work: Launch, **more: Any) -> dict[str, Any]:
    told = {
        "attempt": str(work.attempt),
        "token": work.token,
        "outcome": "success",
        "cause": "finished",
        "started": 1.0,
        "ended": 1.01,
        "cpu_s": 0.5,
        "memory_bytes": 9,
        "body_bytes": 7,
        "digest": "d",
        "slot": "w1",
    }
    return {**told, **more}


def started(work: Launch) -> dict[str, Any]:
    return {"attempt": str(work.attempt), "slot": "w1", "pid": 5, "started": 1.0}


def test_equal_needs_are_told_once() -> None:
    spec = Spec(name="t")
    groups, _ = Ledger("h").take([a_launch(1, spec=spec), a_launch(2, spec=spec)])
    assert [(kind, len(packets)) for kind, packets in groups] == [
        ({"interpreter": "", "python": ""}, 2)
    ]


def test_other_needs_make_another_group() -> None:
    wide = Spec(name="t", resources=Resources(cpus=2))
    groups, _ = Ledger("h").take([a_launch(1), a_launch(2, spec=wide), a_launch(3)])
    assert [len(packets) for _, packets in groups] == [1, 1, 1]
    assert groups[1][0]["cpus"] == 2


def test_wishes_about_checkpoints_travel_with_the_order() -> None:
    wish = Checkpoint(asked=True, every_s=60.0, exit_code=3, files=("state.*",))
    command = Spec(name="t", run=Run(command=("x",)), checkpoint=wish)
    told = kind_of(a_launch(spec=command))["checkpoint"]
    assert told == {"every": 60.0, "exit_code": 3, "files": ["state.*"]}
    call = Spec(name="t", checkpoint=Checkpoint(asked=True, every_s=0.0))
    assert kind_of(a_launch(spec=call))["checkpoint"] == {"every": 0.0}
    assert "checkpoint" not in kind_of(a_launch())


def test_an_attempt_after_a_fresh_retry_is_told_which_checkpoints_count() -> None:
    spec = Spec(name="t")
    plain, fenced = a_launch(1, spec=spec), a_launch(2, spec=spec)
    groups, _ = Ledger("h").take([plain, replace(fenced, since=4)])
    assert [kind.get("since") for kind, _ in groups] == [None, 4]


def test_what_a_kind_tells() -> None:
    spec = Spec(
        name="t",
        run=Run(command=("x",)),
        resources=Resources(cpus=2, gpus=1),
        limits=Limits(time_s=3.0, output_bytes=10),
        place=Place(interpreter="/x/python"),
    )
    assert kind_of(a_launch(spec=spec)) == {
        "command": True,
        "cpus": 2,
        "gpus": 1,
        "time": 3.0,
        "output": 10,
    }


def test_a_success_becomes_a_report() -> None:
    ledger, work = Ledger("h"), a_launch()
    ledger.take([work])
    [event] = ledger.ended([a_report(work)])
    assert isinstance(event, Reported)
    assert (event.outcome, event.cause, event.blame) == (
        Outcome.SUCCESS,
        Cause.FINISHED,
        Blame.NONE,
    )
    assert (event.token, event.digest, event.body_bytes) == (work.token, "d", 7)
    assert (event.host, event.slot) == ("h", "w1")


def test_a_loss_becomes_a_loss_of_what_is_dead() -> None:
    ledger, work = Ledger("h"), a_launch()
    ledger.take([work])
    told = a_report(work, outcome="lost", cause="vanished", blame="host", message="m")
    [event] = ledger.ended([told])
    assert isinstance(event, Lost)
    assert (event.cause, event.blame, event.message) == (Cause.VANISHED, Blame.HOST, "m")
    assert event.counts
    assert event.dead


def test_a_report_of_what_is_not_live_is_passed_over() -> None:
    assert Ledger("h").ended([a_report(a_launch())]) == []
    assert Ledger("h").started([started(a_launch())]) == []


def test_a_start_is_told_and_seen() -> None:
    ledger, work = Ledger("h"), a_launch()
    ledger.take([work])
    assert not ledger.sightings()[0].running
    [event] = ledger.started([started(work)])
    assert isinstance(event, Started)
    ledger.used([{"attempt": str(work.attempt), "cpu_s": 2.0, "memory_bytes": 3}])
    [sighting] = ledger.sightings()
    assert (sighting.running, sighting.pid, sighting.cpu_s, sighting.memory_bytes) == (
        True,
        5,
        2.0,
        3,
    )
    assert ledger.slot_of(work.attempt) == "w1"


def test_a_successor_is_kept_back_until_the_stopped_one_is_gone() -> None:
    ledger, work, successor = Ledger("h"), a_launch(), a_launch(attempt=2)
    ledger.take([work])
    assert ledger.stop([work.attempt]) == [str(work.attempt)]
    assert ledger.take([successor]) == ([], [])
    assert ledger.stopped([str(work.attempt)]) == [successor]
    groups, _ = ledger.take([successor])
    assert len(groups) == 1


def test_a_successor_that_is_stopped_while_kept_back_never_starts() -> None:
    ledger, work, successor = Ledger("h"), a_launch(), a_launch(attempt=2)
    ledger.take([work])
    ledger.stop([work.attempt])
    ledger.take([successor])
    assert ledger.stop([successor.attempt]) == []
    assert ledger.stopped([str(work.attempt)]) == []


def test_of_all_that_is_lost_only_what_ran_counts() -> None:
    ledger = Ledger("h")
    short, long, waiting = (a_launch(number) for number in (1, 2, 3))
    ledger.take([short, long, waiting])
    ledger.started([started(long)])
    loss = Loss(Cause.CONNECTION, "gone", dead=True)
    events = ledger.all_lost({str(short.attempt)}, loss)
    assert [each.counts for each in events if isinstance(each, Lost)] == [True, True, False]
    assert len(ledger) == 0


def test_the_queue_follows_the_duration_of_attempts() -> None:
    ledger = Ledger("h")
    assert ledger.ahead(2) == 0
    works = [a_launch(number) for number in range(60)]
    ledger.take(works)
    ledger.ended([a_report(each, ended=1.0001) for each in works])
    assert ledger.ahead(2) == 1024
    long = a_launch(100)
    ledger.take([long])
    ledger.started([started(long)])
    assert ledger.ahead(2) <= 2


def test_reports_that_nobody_releases_are_forgotten_in_the_end() -> None:
    ledger = Ledger("h")
    works = [a_launch(number) for number in range(10_010)]
    ledger.take(works)
    ledger.ended([a_report(each) for each in works])
    _, again = ledger.take([works[-1]])
    assert len(again) == 1
    _, again = ledger.take([works[0]])
    assert again == []


def test_starts_and_reports_say_which_machine_it_was() -> None:
    ledger, work = Ledger("pc01", "machine 1"), a_launch()
    ledger.take([work])
    [start] = ledger.started([started(work)])
    [end] = ledger.ended([a_report(work)])
    assert isinstance(start, Started)
    assert isinstance(end, Reported)
    assert (start.machine, end.machine) == ("machine 1", "machine 1")


def of_replica(work: Launch, number: int) -> Launch:
    return replace(work, attempt=work.attempt._replace(replica=number))


def test_replicas_of_one_task_that_are_stopped_keep_nothing_of_each_other_back() -> None:
    ledger = Ledger("h")
    first, second = a_launch(), of_replica(a_launch(), 1)
    again = [
        replace(each, attempt=each.attempt._replace(attempt=2)) for each in (first, second)
    ]
    ledger.take([first, second])
    ledger.stop([first.attempt, second.attempt])
    assert ledger.take(again) == ([], [])
    third, _ = ledger.take([of_replica(a_launch(), 2)])
    assert [len(packets) for _, packets in third] == [1]
    assert ledger.stopped([str(first.attempt)]) == [again[0]]
    assert ledger.stopped([str(second.attempt)]) == [again[1]]


def test_a_report_is_settled_when_it_was_released_and_a_loss_at_once() -> None:
    """A host whose release went astray tells again, and must hear that it may forget."""
    ledger = Ledger("h")
    good, lost = a_launch(1), a_launch(2)
    ledger.take([good, lost])
    assert not ledger.is_settled(str(lost.attempt))
    ledger.ended([a_report(good), a_report(lost, outcome="lost", cause="connection")])
    assert ledger.is_settled(str(lost.attempt))
    assert not ledger.is_settled(str(good.attempt))
    ledger.release([good.attempt])
    assert ledger.is_settled(str(good.attempt))
