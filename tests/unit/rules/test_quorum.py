"""The vote's arithmetic: sentences first, then every small case there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Class
from spoolmw.rules.quorum import (
    Agreed,
    Decision,
    GiveUp,
    NeedMore,
    Reason,
    counted,
    decide,
    told,
)
from tests.unit.rules.ballots import a_class, a_wish


def test_two_that_agree_are_a_quorum_of_two() -> None:
    assert decide(a_wish(), [a_class(0, 1)], 0, 2) == Agreed(0, (0, 1), ())


def test_who_returned_something_else_is_invalid() -> None:
    classes = [a_class(0), a_class(1, 2)]
    assert decide(a_wish(), classes, 0, 3) == Agreed(1, (1, 2), (0,))


def test_two_that_disagree_need_a_third() -> None:
    assert decide(a_wish(), [a_class(0), a_class(1)], 0, 2) == NeedMore(1)


def test_while_others_run_nothing_is_added() -> None:
    assert decide(a_wish(target=3), [a_class(0), a_class(1)], 1, 3) == NeedMore(0)


def test_three_that_all_disagree_need_two_more_for_a_quorum_of_three() -> None:
    classes = [a_class(0), a_class(1), a_class(2)]
    assert decide(a_wish(3), classes, 0, 3) == NeedMore(2)


def test_a_replica_that_failed_is_replaced() -> None:
    assert decide(a_wish(), [], 1, 2, errors=1) == NeedMore(1)


def test_as_many_errors_as_allowed_are_borne_and_one_more_is_the_end() -> None:
    wish = a_wish(max_errors=1)
    assert decide(wish, [], 1, 2, errors=1) == NeedMore(1)
    assert decide(wish, [], 1, 3, errors=2) == GiveUp(Reason.ERRORS)


def test_agreement_counts_more_than_errors() -> None:
    agreed = decide(a_wish(max_errors=0), [a_class(1, 2)], 0, 3, errors=1)
    assert agreed == Agreed(1, (1, 2), ())


def test_the_limit_is_never_exceeded() -> None:
    classes = [a_class(0), a_class(1), a_class(2)]
    assert decide(a_wish(limit=3), classes, 0, 3) == GiveUp(Reason.LIMIT)
    assert decide(a_wish(limit=3), classes[:2], 0, 2) == NeedMore(1)


def test_no_replica_is_made_that_could_not_bring_the_quorum() -> None:
    """BOINC makes it, and gives up after it."""
    classes = [a_class(0), a_class(1), a_class(2)]
    assert decide(a_wish(3, limit=4), classes, 0, 3) == GiveUp(Reason.LIMIT)


def test_those_that_run_may_still_bring_the_quorum_when_the_limit_is_reached() -> None:
    assert decide(a_wish(limit=3), [a_class(0), a_class(1)], 1, 3) == NeedMore(0)


def test_two_classes_of_one_size_prove_nothing_and_one_more_decides() -> None:
    """BOINC takes the first it finds."""
    tie = [a_class(0, 1), a_class(2, 3)]
    assert decide(a_wish(), tie, 0, 4) == NeedMore(1)
    assert decide(a_wish(), [a_class(0, 1), a_class(2, 3, 4)], 0, 5) == Agreed(
        2, (2, 3, 4), (0, 1)
    )
    assert decide(a_wish(limit=4), tie, 0, 4) == GiveUp(Reason.LIMIT)


def test_one_host_has_one_vote() -> None:
    same = {0: "pc01", 1: "pc01"}
    assert decide(a_wish(), [a_class(0, 1)], 0, 2, voters=same) == NeedMore(1)
    assert counted([a_class(0, 1)], same) == {0}


def test_a_host_that_contradicts_itself_has_no_vote_at_all() -> None:
    torn = {0: "pc01", 1: "pc02", 2: "pc01"}
    classes = [a_class(0, 1), a_class(2)]
    assert counted(classes, torn) == {1}
    assert decide(a_wish(), classes, 0, 3, voters=torn) == NeedMore(1)


def test_the_results_of_a_host_without_a_vote_still_get_their_verdict() -> None:
    torn = {0: "pc01", 1: "pc02", 2: "pc01", 3: "pc03"}
    decision = decide(a_wish(), [a_class(0, 1, 3), a_class(2)], 0, 4, voters=torn)
    assert decision == Agreed(1, (0, 1, 3), (2,))


def test_what_is_near_to_the_canonical_result_is_valid_without_having_voted() -> None:
    classes = [a_class(0, 1, near=(2,)), a_class(2)]
    assert decide(a_wish(), classes, 0, 3) == Agreed(0, (0, 1, 2), ())


def test_what_is_near_to_one_that_has_no_vote_is_not_near_to_who_stands_for_it() -> None:
    same = {0: "pc01", 1: "pc01", 2: "pc02", 3: "pc03"}
    classes = [Class((0, 1, 2), 1, near=(3,)), a_class(3)]
    assert decide(a_wish(), classes, 0, 4, voters=same) == Agreed(0, (0, 1, 2), (3,))


def test_boincs_two_out_of_three_is_a_quorum_of_two_and_a_target_of_three() -> None:
    wish = a_wish(2, target=3)
    assert decide(wish, [], 3, 3) == NeedMore(0)
    assert decide(wish, [a_class(0, 2), a_class(1)], 0, 3) == Agreed(0, (0, 2), (1,))


def test_what_is_told_says_who_returned_what() -> None:
    text = told(
        a_wish(),
        [a_class(0), a_class(1, 2)],
        {0: "pc01", 1: "pc02", 2: "pc02"},
        {3: "exit code 1"},
    )
    assert text == (
        "2 results must agree, at most 2 did; result A came from pc01; result B came from"
        " pc02 (2 times); replica 3: exit code 1"
    )


# Every small case


def partitions(numbers: tuple[int, ...]) -> Iterator[list[list[int]]]:
    """All ways to sort these numbers into classes."""
    if not numbers:
        yield []
        return
    first, rest = numbers[0], numbers[1:]
    for smaller in partitions(rest):
        yield [[first], *smaller]
        for index, part in enumerate(smaller):
            yield [*smaller[:index], [first, *part], *smaller[index + 1 :]]


def wishes(most: int) -> Iterator[Redundancy]:
    for quorum in range(1, most + 1):
        for target in range(quorum, most + 1):
            for limit in range(target, most + 2):
                for errors in (0, 1):
                    yield Redundancy(
                        quorum=quorum, target=target, limit=limit, max_errors=errors
                    )


def cases() -> Iterator[tuple[list[Class], dict[int, str]]]:
    """All classes of up to four results by up to three voters."""
    for count in range(5):
        numbers = tuple(range(count))
        for parts in partitions(numbers):
            classes = [a_class(*part) for part in parts]
            for who in itertools.product("abc", repeat=count):
                yield classes, dict(zip(numbers, who, strict=True))


def best_possible(classes: list[Class], votes: frozenset[int], more: int) -> int:
    return max((sum(m in votes for m in each.members) for each in classes), default=0) + more


@pytest.mark.parametrize("wish", list(wishes(3)), ids=repr)
def test_every_small_case_keeps_the_rules(wish: Redundancy) -> None:
    for classes, voters in cases():
        votes = counted(classes, voters)
        for live, failed in itertools.product(range(3), range(3)):
            made = len(voters) + live + failed
            if made > wish.limit:
                continue
            decision = decide(wish, classes, live, made, errors=failed, voters=voters)
            check(wish, classes, votes, decision, (live, made, failed))


def check(
    wish: Redundancy,
    classes: list[Class],
    votes: frozenset[int],
    decision: Decision,
    numbers: tuple[int, int, int],
) -> None:
    live, made, failed = numbers
    sizes = sorted((sum(m in votes for m in each.members) for each in classes), reverse=True)
    enough = bool(sizes) and sizes[0] >= wish.quorum and sizes[:2].count(sizes[0]) == 1
    assert isinstance(decision, Agreed) == enough
    match decision:
        case Agreed(canonical, valid, invalid):
            assert canonical in votes
            assert canonical in valid
            everybody = sorted(m for each in classes for m in each.members)
            assert sorted((*valid, *invalid)) == everybody
            assert len(votes & {*valid}) == sizes[0]
        case NeedMore(more):
            assert failed <= wish.max_errors
            assert made + more <= wish.limit
            assert live + more > 0  # somebody is under way, or will be
            assert best_possible(classes, votes, live + more) >= wish.quorum
            if more:  # none of them is one too many
                assert len(votes) + live + more <= max(wish.target, len(votes) + wish.quorum)
        case GiveUp(reason):
            room = live + wish.limit - made
            hopeless = best_possible(classes, votes, room) < wish.quorum or not room
            assert hopeless if reason is Reason.LIMIT else failed > wish.max_errors


# Every small history: replicas end one after the other, each in one of a few ways


def play(wish: Redundancy, endings: tuple[str, ...]) -> tuple[Decision, int, str]:
    """The vote when replicas end like this, in the order in which they were made."""
    made, used = wish.target, ""
    classes: dict[str, list[int]] = {}
    errors = 0
    while True:
        live = made - len(used)
        found = [a_class(*members) for members in classes.values()]
        decision = decide(wish, found, live, made, errors=errors)
        if not isinstance(decision, NeedMore):
            return decision, made, used
        made += decision.replicas
        assert made > len(used), "nobody is under way, and nobody is made"
        ending = endings[len(used)]
        if ending in "AB":
            classes.setdefault(ending, []).append(len(used))
        errors += ending == "e"
        used += ending


@pytest.mark.parametrize("wish", list(wishes(3)), ids=repr)
def test_every_small_history_ends_and_ends_right(wish: Redundancy) -> None:
    """A and B are results, e an error, s silence."""
    for endings in itertools.product("ABes", repeat=wish.limit):
        decision, made, used = play(wish, endings)
        assert made <= wish.limit
        most = max(used.count("A"), used.count("B"))
        if isinstance(decision, Agreed):
            assert most >= wish.quorum
            assert used[decision.canonical] in "AB"
            assert used.count(used[decision.canonical]) == most
            assert len(decision.valid) == most
        else:
            assert used.count("A") < wish.quorum or used.count("A") == used.count("B")
