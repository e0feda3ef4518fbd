"""The requests about votes and hosts: `adjudicate`, and `pause` and `resume` of a host.

A vote that is open, or that was given up, may be decided by hand: one result is accepted, more
replicas are granted, or it is failed.
"""

from __future__ import annotations

from spoolmw.daemon import adjudicating
from spoolmw.daemon.clock import boot_s
from spoolmw.daemon.control import Peer
from spoolmw.daemon.logs import fields, log
from spoolmw.daemon.picking import Args, answer, the_task, who
from spoolmw.daemon.reactor import Reactor
from spoolmw.errors import SpoolmwError
from spoolmw.format.redundancy import MOST_REPLICAS
from spoolmw.model.host import HostRecord
from spoolmw.model.replica import Ballot
from spoolmw.model.task import FINAL, Task, TaskState
from spoolmw.model.voting import Accepted, GivenUp, Granted
from spoolmw.rules import trust

Decision = Accepted | Granted | GivenUp

_WAYS = "adjudicate takes one of accept (a replica's number), more (how many) and fail (true)."
#: Replicas of one task, with all that were ever granted.
MOST_GRANTED = 500


class Polls:
    """Answers these requests in the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def adjudicate(self, args: Args, peer: Peer) -> object:
        """Decide the vote on one task by hand."""
        task = the_task(self._reactor, args.get("id"))
        decision = _decision(args, who(peer))
        if problem := self._problem(task, decision):
            return answer(task, ok=False, text=problem)
        after = self._decided(task, decision)
        if after is task:
            return answer(task, ok=False, text="that changes nothing")
        log.info("adjudicated %s", fields(task=task.id, how=_told(decision), by=who(peer)))
        return answer(after, ok=True, text=f"{_told(decision)}; it is {after.state.value}")

    def _problem(self, task: Task, decision: Decision) -> str:
        """Why this cannot be decided now; empty when it can."""
        ballot = task.ballot
        if ballot is None:
            return "it has no vote: it did not ask for redundancy"
        reopened = task.state is TaskState.FAILED and not isinstance(decision, GivenUp)
        if not reopened and (task.state in FINAL or task.state is TaskState.DELIVERING):
            return f"it is {task.state.value}"
        if task.state is TaskState.WAITING and not isinstance(decision, GivenUp):
            return "it waits for other tasks; its vote has not begun"
        found = _impossible(ballot, decision)
        if not found and reopened and not isinstance(decision, GivenUp):
            return adjudicating.problem(self._reactor, task, ballot, decision)
        return found

    def _decided(self, task: Task, decision: Decision) -> Task:
        if task.state is TaskState.FAILED and not isinstance(decision, GivenUp):
            return adjudicating.take_up(self._reactor, task, decision)
        return self._reactor.apply(task, decision)

    # -- hosts

    def pause(self, args: Args, peer: Peer) -> object:
        """Give nothing more to a host, whichever agent reaches it, until it is resumed."""
        record = self._host(args)
        self._put(trust.paused_by_hand(record, f"paused by {who(peer)}"))
        return self._told_hosts()

    def resume(self, args: Args, _peer: Peer) -> object:
        """Let a paused host work again; its faults are forgotten, and its trust too."""
        self._put(trust.released(self._host(args)))
        return self._told_hosts()

    def _put(self, record: HostRecord) -> None:
        self._reactor.hosts.put(record)
        log.info("host %s", fields(host=record.name or record.machine, paused=record.paused))

    def _told_hosts(self) -> object:
        records = self._reactor.hosts.records.values()
        return {"paused_hosts": [each.name or each.machine for each in records if each.paused]}

    def _host(self, args: Args) -> HostRecord:
        """The record of the host that is meant by its name or its machine's id."""
        name = str(args.get("host") or "")
        found = {each.machine: each for each in self._reactor.hosts.named(name)}
        for room in self._reactor.dispatch.rooms.values():
            here = room.capacity
            if here.machine and name in (here.machine, here.host):
                found.setdefault(here.machine, HostRecord(machine=here.machine, name=here.host))
        if not found:
            raise SpoolmwError(
                f"No host {name!r} is known.", fix="see which there are: spoolmw-ctl hosts"
            )
        if len(found) > 1:
            raise SpoolmwError(
                f"{len(found)} hosts are called {name!r}.",
                why=f"their machines: {', '.join(found)}",
                fix="give the machine's id",
            )
        return next(iter(found.values()))


def _decision(args: Args, by: str) -> Decision:
    """What is asked for. Raises SpoolmwError."""
    ways = {way: args.get(way) for way in ("accept", "more", "fail")}
    given = [way for way, value in ways.items() if value is not None and value is not False]
    if len(given) != 1:
        raise SpoolmwError(_WAYS)
    number = ways[given[0]]
    if given[0] == "fail":
        return GivenUp(at=boot_s(), by=by)
    if not isinstance(number, int) or isinstance(number, bool):
        raise SpoolmwError(_WAYS, why=f"{given[0]} is {number!r}")
    if given[0] == "accept":
        return Accepted(at=boot_s(), replica=number, by=by)
    if not 1 <= number <= MOST_REPLICAS:
        raise SpoolmwError(f"more is a number from 1 to {MOST_REPLICAS}.")
    return Granted(at=boot_s(), replicas=number, by=by)


def _impossible(ballot: Ballot, decision: Decision) -> str:
    """Why the vote, as it is, cannot be decided so; empty when it can."""
    match decision:
        case Accepted(replica=number):
            return _not_acceptable(ballot, number)
        case Granted(replicas=more) if len(ballot.replicas) + more > MOST_GRANTED:
            return f"it has {len(ballot.replicas)} replicas; {MOST_GRANTED} is the most"
        case _:
            return ""


def _not_acceptable(ballot: Ballot, number: int) -> str:
    with_result = [each.number for each in ballot.replicas if each.staged is not None]
    if number in with_result:
        return ""
    have = ", ".join(map(str, with_result)) or "none"
    if not 0 <= number < len(ballot.replicas):
        return f"there is no replica {number}; results are there of: {have}"
    return f"replica {number} has returned no result; results are there of: {have}"


def _told(decision: Decision) -> str:
    match decision:
        case Accepted(replica=number):
            return f"the result of replica {number} was accepted"
        case Granted(replicas=more):
            return f"{more} more replica{'' if more == 1 else 's'} may run"
        case GivenUp():
            return "it was failed"
