"""The vote on a task's results: whether enough agree, more are needed, or it is hopeless.

The rules are BOINC's (sched/transitioner.cpp, sched/validator.cpp, sched/validate_util2.cpp):

1. `target` replicas are made at first; each that fails or misses its deadline is replaced.
2. When all are there and do not agree, as many more are made as the largest class lacks.
3. One voter (host, owner or slot, as the wish says) has one vote, counted when results are
   judged: where a replica ran may only be known then.
4. More errors than `max_errors`, or no way left to the quorum within `limit`, is the end.
5. A missed deadline is no error, but it uses up the limit; the replica may report late.

Where we differ, and why: BOINC takes the first class that is large enough. Here a class must
be larger than all others: two that are equally large prove nothing, and one more replica
decides. A voter that returned two different results has no vote at all. BOINC finds that there
is no way left only when it has made a replica beyond its limit; here it is not made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from spoolmw.model.redundancy import Redundancy
from spoolmw.model.replica import Class


class Reason(Enum):
    """Why a vote is given up."""

    ERRORS = "errors"  #: more replicas failed than the wish allows
    LIMIT = "limit"  #: within the limit no quorum can be reached any more


@dataclass(frozen=True, slots=True)
class Agreed:
    """Enough results agree; `canonical` is the number of the replica that stands for the task.

    `valid` are all whose results equal the canonical one, `invalid` those whose do not.
    """

    canonical: int
    valid: tuple[int, ...]
    invalid: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NeedMore:
    """No agreement yet; 0 replicas: those that are under way may bring it."""

    replicas: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There will be no agreement."""

    reason: Reason


Decision = Agreed | NeedMore | GiveUp


def decide(
    wish: Redundancy,
    classes: Sequence[Class],
    live: int,
    made: int,
    *,
    errors: int = 0,
    voters: Mapping[int, str] | None = None,
) -> Decision:
    """Decide from the validator's classes of the results that were judged.

    `live` replicas may still bring a result (pending, running in time, or reported and not yet
    judged), `made` is how many there are at all, `errors` how many failed. `voters` says of a
    replica who cast its vote; a replica that it lacks votes for itself.
    """
    votes = counted(classes, voters or {})
    tally = [sum(each in votes for each in one.members) for one in classes]
    most = max(tally, default=0)
    if most >= wish.quorum and tally.count(most) == 1:
        return _agreed(classes, classes[tally.index(most)], votes)
    if errors > wish.max_errors:
        return GiveUp(Reason.ERRORS)
    lacking = max(wish.quorum - most, 1)  # 1: two classes are equally large
    room = max(wish.limit - made, 0)
    if live + room < lacking:
        return GiveUp(Reason.LIMIT)
    wanted = max(wish.target - len(votes), lacking) - live
    return NeedMore(min(max(wanted, 0), room))


def counted(classes: Sequence[Class], voters: Mapping[int, str]) -> frozenset[int]:
    """The replicas whose votes count: the first of each voter, none of one that contradicts itself."""
    first: dict[object, tuple[int, int]] = {}
    torn: set[object] = set()
    for number, one in enumerate(classes):
        for replica in one.members:
            voter = voters.get(replica, replica)
            known = first.setdefault(voter, (replica, number))
            if known[1] != number:
                torn.add(voter)
            elif replica < known[0]:
                first[voter] = (replica, number)
    return frozenset(replica for voter, (replica, _) in first.items() if voter not in torn)


def _agreed(classes: Sequence[Class], best: Class, votes: frozenset[int]) -> Agreed:
    canonical = best.centre
    valid = {*best.members, *best.near}
    if canonical not in votes:
        # Somebody else of the class must stand for it; what is near was near to the centre.
        canonical = min(each for each in best.members if each in votes)
        valid = set(best.members)
    everyone = {replica for one in classes for replica in one.members}
    return Agreed(canonical, tuple(sorted(valid)), tuple(sorted(everyone - valid)))


def told(
    wish: Redundancy,
    classes: Sequence[Class],
    names: Mapping[int, str],
    failed: Mapping[int, str],
) -> str:
    """Who returned what, in one line for people; `names` are the hosts of replicas."""
    parts = [
        f"result {_letter(number)} came from {_listed(one.members, names)}"
        for number, one in enumerate(classes)
    ]
    reasons: dict[str, list[int]] = {}
    for replica, why in failed.items():
        reasons.setdefault(why or "nothing came", []).append(replica)
    parts += [f"{_listed(who, names)}: {why}" for why, who in reasons.items()]
    most = max((len(one.members) for one in classes), default=0)
    return f"{wish.quorum} results must agree, at most {most} did; " + (
        "; ".join(parts) or "there was none"
    )


def _listed(replicas: Sequence[int], names: Mapping[int, str]) -> str:
    count = Counter(names.get(each) or f"replica {each}" for each in replicas)
    return ", ".join(name if n == 1 else f"{name} ({n} times)" for name, n in count.items())


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)
