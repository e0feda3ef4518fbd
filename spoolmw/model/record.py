"""Records: dataclasses that nobody changes. Their type says so (mypy refuses an assignment).

At run time they are plain ones with slots: a frozen dataclass sets each field by a call, so that
to make one takes three times as long, and a dozen are made on each task's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool, kw_only: bool = False) -> Any:
        """As `dataclass`, for records: frozen, so they can be compared and be keys."""
        assert frozen, "a record is frozen; what changes is a dataclass"
        return dataclass(unsafe_hash=True, slots=slots, kw_only=kw_only)


__all__ = ["record"]
