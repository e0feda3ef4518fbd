"""What a user asks for who wants several independent replicas to agree: the section [redundancy].

The words are BOINC's, with one difference: here `quorum` is the number of results that agree.
BOINC's `min_quorum` is the number of results that it waits for, of which more than half must
agree; what it calls 3 is `quorum = 2, target = 3` here. For 2 both are the same.
"""

from __future__ import annotations

from dataclasses import field
from typing import Final

from spoolmw.model.record import record

#: What BOINC's create_work takes where nobody says (tools/create_work.cpp): its
#: max_success_results for a quorum of 2; its max_total_results is 10. Ours is one number
#: for both, so it is the smaller.
DEFAULT_LIMIT: Final = 6
#: A limit grows with the target, in the proportion of these defaults.
LIMIT_PER_TARGET: Final = 3
#: As math.isclose has it.
DEFAULT_RTOL: Final = 1e-9


@record(frozen=True, slots=True, kw_only=True)
class Validator:
    """What sorts results into classes of equal ones.

    `kind` is "exact", "close", "files", "python" or "command". `rtol` and `atol` belong to
    "close", `command` (its words; two paths are put behind them) to "command".
    """

    kind: str = "exact"
    rtol: float = DEFAULT_RTOL
    atol: float = 0.0
    command: tuple[str, ...] = ()


@record(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """How many must agree, out of how many, and who says what agreeing is.

    The defaults are those of a task without the section: one replica, whose word counts.
    """

    quorum: int = 1  #: results that must agree
    target: int = 1  #: replicas made at first
    limit: int = DEFAULT_LIMIT  #: replicas made at most, whatever became of them
    max_errors: int = 0  #: failed replicas that are borne; one more is the end
    deadline_s: float = 0.0  #: of one replica, from its assignment; 0: none
    distinct: str = "host"  #: what two replicas may not share: "host", "owner" or "slot"
    validator: Validator = field(default_factory=Validator)
    adaptive: bool = False  #: a host that has earned it may run a replica alone
    audit: float = 0.0  #: share of results accepted alone that are run again elsewhere, 0 to 1
    alike: str = (
        ""  #: "platform": only replicas of one platform are compared ("class" in a file)
    )

    code_bytes: int = 0  #: of "python": its pickled functions, at the end of the task's body

    @property
    def is_wished(self) -> bool:
        """Whether one replica alone is not enough, or may be replaced by another one."""
        several = self.quorum > 1 or self.target > 1 or self.deadline_s > 0
        return several or self.validator.kind == "python"
