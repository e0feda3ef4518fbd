"""What redundancy should give, by arithmetic: beside it stands what the simulation gave.

Replicas are drawn from the hosts without putting back, each as often as its host asks for work.
No host is ever paused: so the figures belong to the simulation without pauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from spoolmw.model.redundancy import Redundancy
from spoolmw.rules.trust import TRUSTED_FROM


@dataclass(frozen=True)
class Kind:
    """Hosts of one sort. `asks` is how often one asks for work, a good host being 1."""

    name: str
    count: int
    asks: float = 1.0
    alone_wrong: float = 0.0  #: share of its results that are wrong, each in its own way
    conspires: bool = False  #: all its results are wrong, and the same as its fellows'
    silent: bool = False  #: nothing comes in time


@dataclass(frozen=True)
class Figures:
    """Of all tasks: how many ended wrong, how many without a result; executions for each."""

    wrong: float
    none: float
    executions: float

    def times(self, share: float) -> Figures:
        return Figures(self.wrong * share, self.none * share, self.executions * share)

    def plus(self, other: Figures) -> Figures:
        return Figures(
            self.wrong + other.wrong,
            self.none + other.none,
            self.executions + other.executions,
        )


NOTHING = Figures(0.0, 0.0, 0.0)
Votes = tuple[int, int, int]  #: right ones, the conspiracy's, all


class Lottery:
    """All ways in which a task's replicas may be drawn, each with its probability."""

    def __init__(self, kinds: tuple[Kind, ...], wish: Redundancy) -> None:
        self._kinds = kinds
        self._wish = wish
        self._go_on = cache(self._uncached)

    def figures(self, first: int | None = None) -> Figures:
        """The expected figures; with `first`, when the first replica runs on that kind."""
        left = tuple(kind.count for kind in self._kinds)
        if first is None:
            return self._go_on(left, (0, 0, 0), 0)
        return self._drawn(left, (0, 0, 0), 0, first)

    def _uncached(self, left: tuple[int, ...], votes: Votes, made: int) -> Figures:
        right, plot, _ = votes
        wish = self._wish
        if max(right, plot) >= wish.quorum and right != plot:
            executions = float(max(made, wish.target))
            return Figures(float(plot > right), 0.0, executions)
        if made >= wish.limit or not any(left):
            return Figures(0.0, 1.0, float(made))
        asks = [kind.asks * count for kind, count in zip(self._kinds, left, strict=True)]
        found = NOTHING
        for number, weight in enumerate(asks):
            if weight:
                drawn = self._drawn(left, votes, made, number)
                found = found.plus(drawn.times(weight / sum(asks)))
        return found

    def _drawn(self, left: tuple[int, ...], votes: Votes, made: int, number: int) -> Figures:
        kind = self._kinds[number]
        after = (*left[:number], left[number] - 1, *left[number + 1 :])
        right, plot, count = votes
        if kind.silent:
            return self._go_on(after, votes, made + 1)
        if kind.conspires:
            return self._go_on(after, (right, plot + 1, count + 1), made + 1)
        good = self._go_on(after, (right + 1, plot, count + 1), made + 1)
        bad = self._wrong(after, (right, plot, count + 1), made + 1)
        return good.times(1 - kind.alone_wrong).plus(bad.times(kind.alone_wrong))

    def _wrong(self, left: tuple[int, ...], votes: Votes, made: int) -> Figures:
        """A wrong result that nobody else has: with a quorum of one it is accepted."""
        if self._wish.quorum == 1:
            return Figures(1.0, 0.0, float(max(made, self._wish.target)))
        return self._go_on(left, votes, made)


def alone_share(wrong: float, first: float, jobs: int, audit: float) -> float:
    """The share of a host's first replicas that run alone, over its first `jobs` jobs.

    `wrong` is the share of its results that are wrong, `first` that of its jobs that are the
    first replica of their task. A chain over n, its consecutive valid results, job by job.
    """
    at = {0: 1.0}
    alone_total = 0.0
    for _ in range(max(jobs, 1)):
        after: dict[int, float] = {}
        for n, share in at.items():
            alone = (1 - 1 / n) * (1 - audit) if n >= TRUSTED_FROM else 0.0
            alone_total += share * alone
            compared = share * (1 - first * alone)
            for to, part in (
                (n, share - compared),
                (n + 1, compared * (1 - wrong)),
                (0, compared * wrong),
            ):
                if part > 1e-12:
                    after[to] = after.get(to, 0.0) + part
        at = after
    return alone_total / max(jobs, 1)


def adaptive(kinds: tuple[Kind, ...], wish: Redundancy, tasks: int) -> Figures:
    """The figures with adaptive replication, over the first so many tasks."""
    lottery = Lottery(kinds, wish)
    asks = [kind.asks * kind.count for kind in kinds]
    found = lottery.figures()
    for _ in range(4):  # how many replicas are first ones depends on how many run alone
        new = NOTHING
        for number, kind in enumerate(kinds):
            jobs = round(tasks * found.executions * kind.asks / sum(asks))
            wrong = 1.0 if kind.conspires or kind.silent else kind.alone_wrong
            alone = alone_share(wrong, 1 / found.executions, jobs, wish.audit)
            one = Figures(kind.alone_wrong, 0.0, 1.0).times(alone)
            many = lottery.figures(first=number).times(1 - alone)
            new = new.plus(one.plus(many).times(asks[number] / sum(asks)))
        found = new
    return found
