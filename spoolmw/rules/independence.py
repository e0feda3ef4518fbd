"""Who casts a replica's vote, and where a further replica may not run.

Two agents that reach the same machine are one host: what counts is the machine's id. A machine
whose id nobody knows is taken for one and the same, so that the unknown has one vote in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from spoolmw.model.replica import Ballot, Replica, ReplicaState, Spot

_ORDINALS: Final = (
    *("first", "second", "third", "fourth", "fifth"),
    *("sixth", "seventh", "eighth", "ninth", "tenth"),
)


class Apart(NamedTuple):
    """Where a replica may run so that it is independent of its task's others.

    Equal for many tasks, so that they can be placed, or passed over, together.
    """

    distinct: str  #: "host", "owner" or "slot"
    taken: frozenset[str]  #: voters that the task's other replicas have
    platform: str = ""  #: the only one whose results can be compared; "" for any

    def seat(self, spot: Spot, slots: int) -> Spot | None:
        """The place at `spot`, a machine with so many slots; None where there is none.

        Where `distinct` is "slot" a machine seats as many of a task's replicas as it has slots.
        """
        if self.platform and spot.platform != self.platform and not _is_open(spot):
            return None
        if self.distinct != "slot":
            return spot if voter(self.distinct, spot) not in self.taken else None
        seats = (replace(spot, slot=str(number)) for number in range(1, slots + 1))
        return next((each for each in seats if voter("slot", each) not in self.taken), None)


def apart(ballot: Ballot, replica: int) -> Apart:
    """Where `replica` may run, beside the others of its task."""
    others = frozenset(taken(ballot, replica))
    return Apart(ballot.wish.distinct, others, wanted_platform(ballot, replica))


def voter(distinct: str, spot: Spot) -> str:
    """What two replicas may not share, as one text: the host, its owner, or a slot of it."""
    match distinct:
        case "owner":
            return f"owner {spot.owner}" if spot.owner else f"host {spot.machine}"
        case "slot":
            return f"slot {spot.slot} of {spot.machine}"
        case _:
            return f"host {spot.machine}"


def voters(ballot: Ballot) -> Mapping[int, str]:
    """Who casts the vote of each replica that has run."""
    return {
        each.number: voter(ballot.wish.distinct, each.spot)
        for each in ballot.replicas
        if each.spot is not None
    }


def names(ballot: Ballot) -> Mapping[int, str]:
    """The hosts of replicas, for people."""
    return {
        each.number: each.spot.host or each.spot.machine
        for each in ballot.replicas
        if each.spot is not None
    }


def taken(ballot: Ballot, replica: int) -> Mapping[str, str]:
    """The voters that `replica` may not run at, each with its name for people.

    That is wherever another replica of the task runs or ran, also in vain: what failed there
    once would most likely fail again. One that was lost or stopped, and cannot report any more,
    has left its host.
    """
    return {
        voter(ballot.wish.distinct, each.spot): _name(ballot.wish.distinct, each.spot)
        for each in ballot.replicas
        if each.number != replica and each.spot is not None and not _has_left(each)
    }


def hosts_to_avoid(ballot: Ballot, replica: int) -> tuple[str, ...]:
    """The names of hosts that `replica` may not run at, for an engine that chooses the host itself.

    None where several slots of one host count as several.
    """
    if ballot.wish.distinct == "slot":
        return ()
    others = (each for each in ballot.replicas if each.number != replica)
    found = {e.spot.host for e in others if e.spot is not None and not _has_left(e)}
    return tuple(sorted(found - {""}))


def may_run(ballot: Ballot, replica: int, spot: Spot) -> bool:
    """Whether `replica` would be independent of the others at `spot`, and comparable with them."""
    platform = wanted_platform(ballot, replica)
    if platform and spot.platform != platform:
        return False
    return voter(ballot.wish.distinct, spot) not in taken(ballot, replica)


def wanted_platform(ballot: Ballot, replica: int) -> str:
    """The platform that `replica` must run on; "" while none is fixed.

    The first result fixes it. Until then one that runs already is followed: its result will
    most likely be the first.
    """
    if not ballot.wish.alike:
        return ""
    if ballot.platform:
        return ballot.platform
    running = (
        each.spot.platform
        for each in ballot.replicas
        if each.number != replica
        and each.state is ReplicaState.RUNNING
        and each.spot is not None
    )
    return next(running, "")


def why(ballot: Ballot, replica: int) -> str:
    """Why `replica` finds no place though there is room: one line."""
    tried = taken(ballot, replica)
    platform = wanted_platform(ballot, replica)
    kind = ballot.wish.distinct
    article = "an" if kind == "owner" else "a"
    needs = f"needs {article} {kind}"
    if tried:
        needs = f"needs {_ordinal(len(tried) + 1)} {kind}"
    if platform:
        needs += f" of platform {platform}"
    return f"{needs}: tried {', '.join(sorted(tried.values()))}" if tried else needs


def _is_open(spot: Spot) -> bool:
    """Whether it is not known yet where it runs: whoever chooses the machine is told the platform."""
    return not spot.machine and not spot.platform


def _has_left(replica: Replica) -> bool:
    gone = replica.state in (ReplicaState.PENDING, ReplicaState.CANCELLED)
    return gone and not any(ran.token for ran in replica.history)


def _name(distinct: str, spot: Spot) -> str:
    host = spot.host or spot.machine or "one that is still to be found"
    if distinct == "owner" and spot.owner:
        return spot.owner
    return f"{host}/{spot.slot}" if distinct == "slot" else host


def _ordinal(number: int) -> str:
    word = _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"
    return f"an {word}" if word == "eighth" else f"a {word}"
