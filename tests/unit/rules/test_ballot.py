"""The vote on one task, from the first placement to its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolmw.model.attempt import Cause
from spoolmw.model.effects import Discard, Judge, StartReplica, Stop
from spoolmw.model.events import Cancelled, Started
from spoolmw.model.host import Mark
from spoolmw.model.redundancy import Validator
from spoolmw.model.replica import Phase, Spot
from spoolmw.model.voting import Accepted, DeadlinePassed, GivenUp, Granted, JudgingFailed
from spoolmw.rules import independence
from spoolmw.rules.ballot import JUDGINGS_AT_MOST, owed, step
from tests.unit.rules.ballots import (
    BY_SIGNAL,
    a_ballot,
    a_class,
    a_judgement,
    a_loss,
    a_placement,
    a_spot,
    a_success,
    a_wish,
    after,
    all_reported,
    an_error,
    an_id,
    placed,
    states,
)
from tests.unit.rules.builders import LOCAL, NOW, TASK


def test_a_task_begins_with_as_many_replicas_as_its_target() -> None:
    assert states(a_ballot(a_wish(2, target=3))) == ["pending"] * 3


def test_results_are_compared_as_soon_as_they_are_enough() -> None:
    ballot = after(placed(a_ballot()), a_success(0))
    assert ballot.phase is Phase.OPEN
    done = step(ballot, a_success(1))
    assert done.ballot.phase is Phase.JUDGING
    assert done.effects == (Judge(TASK, 1, (0, 1)),)


def test_an_agreement_has_verdicts_and_marks() -> None:
    ballot = all_reported(a_ballot())
    done = step(ballot, a_judgement(ballot, a_class(0, 1)))
    assert done.ballot.phase is Phase.AGREED
    assert done.ballot.canonical == 0
    assert states(done.ballot) == ["valid", "valid"]
    assert done.marks == ((0, Mark.VALID), (1, Mark.VALID))
    assert done.effects == (Discard(an_id(1)),)


def test_a_disagreement_makes_a_third_and_all_are_compared_again() -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, a_class(0), a_class(1)))
    assert (ballot.phase, states(ballot)) == (Phase.OPEN, ["reported", "reported", "pending"])
    ballot = all_reported(ballot)
    assert ballot.asked == (0, 1, 2)
    done = step(ballot, a_judgement(ballot, a_class(0), a_class(1, 2)))
    assert done.ballot.canonical == 1
    assert done.marks == ((0, Mark.INVALID), (1, Mark.VALID), (2, Mark.VALID))


def test_what_is_superfluous_is_stopped_and_never_launched() -> None:
    ballot = a_ballot(a_wish(2, target=4))
    ballot = after(ballot, *(a_placement(each) for each in range(3)))
    ballot = after(ballot, a_success(0), a_success(1))
    done = step(ballot, a_judgement(ballot, a_class(0, 1)))
    assert states(done.ballot) == ["valid", "valid", "cancelled", "cancelled"]
    assert Stop(LOCAL, an_id(2), is_wanted=False) in done.effects
    assert not any(isinstance(each, StartReplica) for each in done.effects)


def test_a_replica_that_failed_or_was_late_is_replaced() -> None:
    ballot = placed(a_ballot())
    ballot = after(ballot, an_error(0))
    assert states(ballot) == ["failed", "running", "pending"]
    ballot = after(placed(ballot), DeadlinePassed(at=NOW, attempt=an_id(1)))
    assert states(ballot) == ["failed", "running", "running", "pending"]


def test_what_was_given_up_and_may_run_on_is_stopped_when_others_agree() -> None:
    """It would be compared, which is not worth a host's time."""
    ballot = placed(a_ballot(a_wish(2, target=3)))
    ballot = after(ballot, DeadlinePassed(at=NOW, attempt=an_id(2)), a_loss(2))
    assert states(ballot)[2] == "failed"
    ballot = after(ballot, a_success(0), a_success(1))
    done = step(ballot, a_judgement(ballot, a_class(0, 1)))
    assert Stop(LOCAL, an_id(2), is_wanted=False) in done.effects


def test_as_many_as_the_target_are_kept_under_way() -> None:
    """Though those that are left would be enough, if they agreed."""
    ballot = after(placed(a_ballot(a_wish(2, target=3))), an_error(0))
    assert states(ballot) == ["failed", "running", "running", "pending"]


def test_a_deadline_is_set_when_an_attempt_is_placed() -> None:
    ballot = placed(a_ballot(a_wish(deadline_s=3600.0)))
    assert [each.until for each in ballot.replicas] == [NOW + 3600] * 2


def test_a_deadline_that_another_one_met_is_on_the_hosts_record_at_once() -> None:
    ballot = after(placed(a_ballot()), a_success(0))
    done = step(ballot, DeadlinePassed(at=NOW, attempt=an_id(1)))
    assert done.marks == ((1, Mark.SILENT),)


def test_one_that_nobody_met_may_be_too_short_and_marks_no_host() -> None:
    ballot = placed(a_ballot())
    first = step(ballot, DeadlinePassed(at=NOW, attempt=an_id(0)))
    second = step(placed(first.ballot), DeadlinePassed(at=NOW, attempt=an_id(1)))
    reported = after(second.ballot, a_success(0))
    third = step(placed(reported), DeadlinePassed(at=NOW, attempt=an_id(2)))
    assert (first.marks, second.marks, third.marks) == ((), (), ())


def test_a_late_result_counts_while_the_vote_is_open() -> None:
    ballot = after(placed(a_ballot()), DeadlinePassed(at=NOW, attempt=an_id(0)))
    ballot = after(placed(ballot), a_success(1), a_success(0))
    assert (ballot.phase, ballot.asked) == (Phase.JUDGING, (0, 1))


def test_after_the_decision_it_is_compared_for_its_hosts_record_only() -> None:
    ballot = placed(a_ballot(a_wish(2, target=3)))
    ballot = after(ballot, a_success(0), a_success(1))
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)))
    done = step(ballot, a_success(2))
    assert done.effects == (Judge(TASK, 2, (0, 2)),)
    end = step(done.ballot, a_judgement(done.ballot, a_class(0), a_class(2)))
    assert (end.ballot.phase, end.ballot.canonical) == (Phase.AGREED, 0)
    assert end.marks == ((2, Mark.INVALID),)
    assert end.effects == (Discard(an_id(2)),)


def test_one_that_cannot_be_compared_any_more_is_forgotten() -> None:
    ballot = placed(a_ballot(a_wish(2, target=3)))
    ballot = after(ballot, a_success(0), a_success(1))
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)), a_success(2))
    gone = JudgingFailed(at=NOW, round=ballot.round, message="the canonical one is delivered")
    done = step(ballot, gone)
    assert (done.marks, states(done.ballot)) == ((), ["valid", "valid", "cancelled"])
    assert done.ballot.phase is Phase.AGREED


def test_where_the_canonical_result_is_gone_no_late_one_is_called_wrong() -> None:
    """It is on its way to its user, so the validator does not find it whole."""
    ballot = placed(a_ballot(a_wish(2, target=3)))
    ballot = after(ballot, a_success(0), a_success(1))
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)), a_success(2))
    unfit = ((0, "its result file is missing"),)
    done = step(ballot, a_judgement(ballot, a_class(2), unfit=unfit))
    assert (done.marks, states(done.ballot)) == ((), ["valid", "valid", "cancelled"])
    assert done.ballot.canonical == 0


def test_too_many_errors_are_the_end_and_it_says_who_returned_what() -> None:
    ballot = placed(a_ballot(a_wish(max_errors=1)))
    ballot = placed(after(ballot, an_error(0)))
    done = step(ballot, an_error(2))
    assert done.ballot.phase is Phase.GIVEN_UP
    assert done.ballot.message == ("2 results must agree, at most 0 did; pc00, pc02: oh")
    assert done.marks == ()
    assert Stop(LOCAL, an_id(1), is_wanted=False) in done.effects


def test_a_lost_replica_is_no_error_but_uses_up_the_limit() -> None:
    ballot = placed(a_ballot(a_wish(limit=3, max_errors=0)))
    for attempt in (1, 2, 3):
        ballot = placed(after(ballot, a_loss(0, attempt)))
    assert states(ballot) == ["failed", "running", "running"]
    for attempt in (1, 2, 3):
        ballot = after(placed(ballot), a_loss(1, attempt))
    assert ballot.phase is Phase.GIVEN_UP


def test_a_failure_that_the_user_wants_repeated_is_the_same_replicas() -> None:
    ballot = placed(a_ballot(retry=BY_SIGNAL))
    assert states(after(ballot, an_error(0, cause=Cause.SIGNAL))) == ["pending", "running"]


def test_a_result_that_is_none_is_replaced_and_marked_when_others_agree() -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, a_class(1), unfit=((0, "torn"),)))
    assert states(ballot) == ["failed", "reported", "pending"]
    ballot = all_reported(ballot)
    done = step(ballot, a_judgement(ballot, a_class(1, 2)))
    assert set(done.marks) == {(0, Mark.INVALID), (1, Mark.VALID), (2, Mark.VALID)}


def test_two_results_of_one_machine_are_one_vote_whatever_its_name() -> None:
    ballot = a_ballot()
    first = a_spot(0, host="pc01")
    again = a_spot(0, host="pc01.lab.example")
    ballot = after(ballot, a_placement(0, spot=first), a_placement(1, spot=again))
    ballot = after(ballot, a_success(0), a_success(1))
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)))
    assert states(ballot) == ["reported", "reported", "pending"]


# The validator's fault


def test_the_validators_fault_ends_the_vote_and_marks_nobody() -> None:
    ballot = all_reported(a_ballot())
    done = step(ballot, JudgingFailed(at=NOW, round=1, message="it died of SIGSEGV"))
    assert (done.ballot.phase, done.ballot.fault) == (Phase.GIVEN_UP, True)
    assert done.ballot.message == "it died of SIGSEGV"
    assert done.marks == ()
    assert states(done.ballot) == ["reported", "reported"]
    assert done.effects == ()


def test_what_is_so_only_now_is_tried_again_later_and_not_for_ever() -> None:
    ballot = all_reported(a_ballot())
    for number in range(1, JUDGINGS_AT_MOST):
        later = JudgingFailed(at=NOW, round=ballot.round, message="busy", transient=True)
        done = step(ballot, later)
        ballot = done.ballot
        (order,) = done.effects
        assert isinstance(order, Judge)
        assert order.round == number + 1
        assert order.not_before > NOW
    last = JudgingFailed(at=NOW, round=ballot.round, message="busy", transient=True)
    assert after(ballot, last).fault


def test_an_answer_to_an_older_question_is_not_heard() -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, a_class(0), a_class(1)))
    ballot = all_reported(ballot)
    late = a_judgement(ballot, a_class(0, 1), round=1)
    assert step(ballot, late).ballot is ballot


@pytest.mark.parametrize(
    "classes",
    [
        (a_class(0),),
        (a_class(0, 1), a_class(1)),
        (a_class(0, 1, 2),),
        (replace(a_class(0, 1), centre=5),),
    ],
)
def test_an_answer_that_does_not_fit_the_question_is_the_validators_fault(
    classes: tuple[object, ...],
) -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, *classes))  # type: ignore[arg-type]
    assert (ballot.phase, ballot.fault) == (Phase.GIVEN_UP, True)


# One result is enough


def test_a_quorum_of_one_needs_no_validator() -> None:
    ballot = placed(a_ballot(a_wish(1, target=2)))
    done = step(ballot, a_success(1))
    assert (done.ballot.phase, done.ballot.canonical) == (Phase.AGREED, 1)
    assert done.marks == ((1, Mark.ALONE),)
    assert states(done.ballot) == ["cancelled", "valid"]


def test_but_a_function_that_checks_single_results_is_asked() -> None:
    wish = a_wish(1, validator=Validator(kind="python"))
    ballot = after(placed(a_ballot(wish)), a_success(0))
    assert ballot.phase is Phase.JUDGING
    done = step(ballot, a_judgement(ballot, a_class(0)))
    assert done.marks == ((0, Mark.ALONE),)


def test_one_that_came_meanwhile_is_checked_too_and_still_nothing_is_proven() -> None:
    wish = a_wish(1, target=2, validator=Validator(kind="python"))
    ballot = after(placed(a_ballot(wish)), a_success(0), a_success(1))
    assert ballot.asked == (0,)
    ballot = after(ballot, a_judgement(ballot, a_class(0)))
    assert ballot.asked == (0, 1)
    done = step(ballot, a_judgement(ballot, a_class(1), unfit=((0, "torn"),)))
    assert (done.ballot.canonical, done.marks[-1]) == (1, (1, Mark.ALONE))


def test_on_a_trusted_host_one_replica_does() -> None:
    ballot = a_ballot(a_wish(adaptive=True))
    assert states(ballot) == ["pending"]
    ballot = after(ballot, a_placement(0, trusted=True))
    assert states(ballot) == ["running"]
    done = step(ballot, a_success(0))
    assert (done.ballot.phase, done.marks) == (Phase.AGREED, ((0, Mark.ALONE),))


def test_on_another_the_rest_is_made_at_once() -> None:
    ballot = after(a_ballot(a_wish(adaptive=True)), a_placement(0, trusted=False))
    assert states(ballot) == ["running", "pending"]


def test_the_next_host_is_asked_anew_when_the_trusted_one_was_lost() -> None:
    ballot = after(a_ballot(a_wish(adaptive=True)), a_placement(0, trusted=True), a_loss(0))
    assert states(ballot) == ["pending"]
    ballot = after(ballot, a_placement(0, 2, trusted=False))
    assert states(ballot) == ["running", "pending"]


def test_and_also_when_it_failed_there() -> None:
    """One is enough to ask: the rest is made when it is known that nobody trusts its host."""
    failed = after(a_ballot(a_wish(adaptive=True)), a_placement(0, trusted=True), an_error(0))
    assert states(failed) == ["failed", "pending"]
    trusted = after(failed, a_placement(1, trusted=True))
    assert states(trusted) == ["failed", "running"]
    other = after(failed, a_placement(1, trusted=False))
    assert states(other) == ["failed", "running", "pending"]


def test_a_trusted_host_that_was_too_late_is_one_vote_like_any() -> None:
    late = after(
        a_ballot(a_wish(adaptive=True)),
        a_placement(0, trusted=True),
        DeadlinePassed(at=NOW, attempt=an_id(0)),
    )
    assert after(late, a_success(0)).phase is Phase.OPEN


def test_a_trusted_host_beside_others_is_one_vote_like_any() -> None:
    ballot = after(
        a_ballot(a_wish(adaptive=True)), a_placement(0), a_placement(1, trusted=True)
    )
    assert after(ballot, a_success(1)).phase is Phase.OPEN


# By hand


def test_somebody_may_accept_a_result_where_none_agreed() -> None:
    ballot = all_reported(a_ballot(a_wish(limit=2)))
    ballot = after(ballot, a_judgement(ballot, a_class(0), a_class(1)))
    assert ballot.phase is Phase.GIVEN_UP
    done = step(ballot, Accepted(at=NOW, replica=1, by="ann"))
    assert (done.ballot.phase, done.ballot.canonical) == (Phase.AGREED, 1)
    assert done.ballot.message == "accepted by ann"
    assert done.marks == ((0, Mark.INVALID), (1, Mark.VALID))


def test_only_a_result_that_is_there_can_be_accepted() -> None:
    ballot = placed(a_ballot())
    assert step(ballot, Accepted(at=NOW, replica=1)).ballot is ballot
    assert step(ballot, Accepted(at=NOW, replica=7)).ballot is ballot


def test_somebody_may_grant_more_replicas_beyond_the_limit() -> None:
    ballot = all_reported(a_ballot(a_wish(limit=2)))
    ballot = after(ballot, a_judgement(ballot, a_class(0), a_class(1)))
    ballot = all_reported(after(ballot, Granted(at=NOW, replicas=1)))
    assert after(ballot, a_judgement(ballot, a_class(0, 2), a_class(1))).canonical == 0


def test_somebody_may_give_up_or_cancel_and_all_is_stopped() -> None:
    given_up = step(placed(a_ballot()), GivenUp(at=NOW, by="ann"))
    assert (given_up.ballot.phase, given_up.ballot.message) == (Phase.GIVEN_UP, "failed by ann")
    assert given_up.effects[:2] == (Stop(LOCAL, an_id(0), is_wanted=False), Discard(an_id(0)))
    ballot = after(placed(a_ballot()), a_success(0))
    done = step(ballot, Cancelled(at=NOW, by="ann"))
    assert (done.ballot.phase, states(done.ballot)) == (
        Phase.WITHDRAWN,
        ["cancelled", "cancelled"],
    )
    assert Discard(an_id(0)) in done.effects


def test_what_is_agreed_stays_agreed() -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)))
    for event in (
        Accepted(at=NOW, replica=1),
        Granted(at=NOW, replicas=1),
        GivenUp(at=NOW),
        Cancelled(at=NOW),
    ):
        assert step(ballot, event).ballot is ballot


# Independence


def test_two_replicas_never_share_a_machine() -> None:
    ballot = after(a_ballot(), a_placement(0))
    assert not independence.may_run(ballot, 1, a_spot(0, host="another name", slot="7"))
    assert independence.may_run(ballot, 1, a_spot(1))


def test_they_may_share_it_where_only_slots_must_differ() -> None:
    ballot = after(a_ballot(a_wish(distinct="slot")), a_placement(0))
    assert independence.may_run(ballot, 1, a_spot(0, slot="2"))
    assert not independence.may_run(ballot, 1, a_spot(0))


def test_or_not_even_an_owner() -> None:
    ballot = after(a_ballot(a_wish(distinct="owner")), a_placement(0))
    assert not independence.may_run(ballot, 1, a_spot(1))
    assert independence.may_run(ballot, 1, a_spot(1, owner="ann"))


def test_hosts_whose_owner_nobody_named_are_each_their_own() -> None:
    ballot = a_ballot(a_wish(distinct="owner"))
    ballot = after(ballot, a_placement(0, spot=a_spot(0, owner="")))
    assert independence.may_run(ballot, 1, a_spot(1, owner=""))
    assert not independence.may_run(ballot, 1, a_spot(0, owner=""))


def test_where_one_failed_none_is_tried_again_but_a_lost_one_has_left() -> None:
    ballot = placed(a_ballot())
    failed = after(ballot, an_error(0))
    assert not independence.may_run(failed, 2, a_spot(0))
    left = after(ballot, a_loss(0, dead=True))
    assert independence.may_run(left, 1, a_spot(0))
    may_report = after(ballot, a_loss(0))
    assert not independence.may_run(may_report, 1, a_spot(0))
    assert independence.may_run(may_report, 0, a_spot(0))


def test_one_that_was_stopped_when_the_vote_was_given_up_has_left() -> None:
    ballot = after(placed(a_ballot()), GivenUp(at=NOW), Granted(at=NOW, replicas=2))
    assert independence.may_run(ballot, 2, a_spot(0))
    assert independence.may_run(ballot, 3, a_spot(1))
    ballot = after(placed(a_ballot()), a_success(0), GivenUp(at=NOW))
    ballot = after(ballot, Granted(at=NOW, replicas=2))
    assert not independence.may_run(ballot, 2, a_spot(0))  # its result is there yet


def test_why_names_what_is_missing_and_what_was_tried() -> None:
    ballot = all_reported(a_ballot())
    ballot = after(ballot, a_judgement(ballot, a_class(0), a_class(1)))
    assert independence.why(ballot, 2) == "needs a third host: tried pc00, pc01"


def test_the_first_result_fixes_the_platform_and_others_are_not_compared() -> None:
    arm, intel = a_spot(0, platform="linux-aarch64"), a_spot(1, platform="linux-x86_64")
    ballot = a_ballot(a_wish(alike="platform"))
    ballot = after(ballot, a_placement(0, spot=arm), a_placement(1, spot=intel))
    ballot = after(ballot, a_success(1))
    assert ballot.platform == "linux-x86_64"
    done = step(ballot, a_success(0))
    assert states(done.ballot) == ["cancelled", "reported", "pending"]
    assert Discard(an_id(0)) in done.effects
    assert not independence.may_run(done.ballot, 2, a_spot(2, platform="linux-aarch64"))
    assert independence.why(done.ballot, 2) == (
        "needs a second host of platform linux-x86_64: tried pc01"
    )


def test_a_platform_that_no_sound_result_fixed_is_free_again() -> None:
    ballot = a_ballot(a_wish(alike="platform"))
    intel = [a_spot(number, platform="linux-x86_64") for number in (0, 1)]
    ballot = after(ballot, *(a_placement(n, spot=spot) for n, spot in enumerate(intel)))
    ballot = after(ballot, a_success(0), a_success(1))
    ballot = after(ballot, a_judgement(ballot, unfit=((0, "torn"), (1, "torn"))))
    assert states(ballot) == ["failed", "failed", "pending", "pending"]
    assert independence.may_run(ballot, 2, a_spot(2, platform="linux-aarch64"))


def test_a_platform_is_followed_before_its_result_is_there() -> None:
    ballot = after(
        a_ballot(a_wish(alike="platform")),
        a_placement(0, spot=a_spot(0, platform="linux-x86_64")),
    )
    assert not independence.may_run(ballot, 1, a_spot(1, platform="linux-aarch64"))


def test_whose_platform_nobody_knows_yet_may_take_it_and_is_told_which() -> None:
    ballot = after(
        a_ballot(a_wish(alike="platform")),
        a_placement(0, spot=a_spot(0, platform="linux-x86_64")),
    )
    needs = independence.apart(ballot, 1)
    assert needs.seat(Spot(machine=""), 1) == Spot(machine="")
    assert needs.seat(a_spot(1, platform="linux-aarch64"), 1) is None


def test_at_an_agent_that_is_not_trusted_no_replica_runs_alone() -> None:
    ballot = a_ballot(a_wish(adaptive=True))
    event = a_placement(0, trusted=True, agent_trusted=False)
    assert not after(ballot, event).alone
    assert after(ballot, replace(event, agent_trusted=True)).alone


# After a crash


def test_a_state_owes_what_led_to_it() -> None:
    ballot = placed(a_ballot(a_wish(2, target=3)))
    assert owed(ballot) == tuple(StartReplica(each) for each in ballot.replicas)
    ballot = after(ballot, a_success(0), a_success(1))
    assert owed(ballot) == (StartReplica(ballot.replicas[2]), Judge(TASK, 1, (0, 1)))
    ballot = after(ballot, a_judgement(ballot, a_class(0, 1)))
    assert owed(ballot) == (Discard(an_id(1)),)


def test_an_engine_is_told_the_hosts_of_the_other_replicas() -> None:
    ballot = placed(a_ballot())
    assert independence.hosts_to_avoid(ballot, 0) == ("pc01",)
    assert independence.hosts_to_avoid(ballot, 1) == ("pc00",)
    failed = after(ballot, an_error(0))
    assert independence.hosts_to_avoid(failed, 2) == ("pc00", "pc01")
    left = after(ballot, a_loss(0, dead=True))
    assert independence.hosts_to_avoid(left, 1) == ()


def test_a_host_that_nobody_knows_yet_is_one_for_all() -> None:
    """So the second replica waits in an engine's room until the first has begun somewhere."""
    unknown = a_spot(machine="", host="")
    ballot = after(a_ballot(), a_placement(0, spot=unknown))
    assert independence.hosts_to_avoid(ballot, 1) == ()
    assert not independence.may_run(ballot, 1, unknown)
    begun = after(
        ballot,
        Started(
            at=NOW,
            attempt=an_id(0),
            started_at=NOW,
            host="host1.test",
            slot="slot1_1",
            machine="condor host1.test",
        ),
    )
    assert independence.may_run(begun, 1, unknown)
    assert independence.hosts_to_avoid(begun, 1) == ("host1.test",)


def test_slots_of_one_host_are_apart_without_avoiding_it() -> None:
    ballot = after(a_ballot(a_wish(distinct="slot")), a_placement(0))
    assert independence.hosts_to_avoid(ballot, 1) == ()
