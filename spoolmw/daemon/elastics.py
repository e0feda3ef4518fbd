"""Tells agents that can bring more hosts how much work waits for them.

It costs a task nothing: the lanes of the ready queue are counted, twice a second and when the
first comes or the last goes, and only where there is such an agent.
"""

from __future__ import annotations

from collections.abc import Mapping

from spoolmw.agents.contract import Agent, Elastic
from spoolmw.agents.registry import section_of
from spoolmw.daemon.dispatch import Dispatch
from spoolmw.model.ids import AgentName
from spoolmw.rules.placement import slots_wanted

_LOOK_S = 0.5
_EXACT = 16  #: up to so many slots each number is told; beyond, powers of two


class Elastics:
    """The families of elastic agents, and what each was told last."""

    def __init__(self, agents: Mapping[AgentName, Agent], dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._families: dict[str, list[AgentName]] = {}
        self._speakers: dict[str, Elastic] = {}
        self._told: dict[str, int] = {}
        self._look_at = 0.0
        self._waits = False
        for name, agent in agents.items():
            if isinstance(agent, Elastic):
                section = section_of(name)
                self._families.setdefault(section, []).append(name)
                self._speakers.setdefault(section, agent)

    def turn(self, now: float) -> None:
        """Count what waits, when it is time, and tell who should know."""
        if not self._families:
            return
        waits = self._dispatch.ready.ready_count > 0
        if now < self._look_at and waits == self._waits:
            return
        self._look_at, self._waits = now + _LOOK_S, waits
        for section, names in self._families.items():
            slots = self._wanted(names, self._speakers[section])
            if _kind(slots) != self._told.get(section, 0):
                self._told[section] = _kind(slots)
                self._speakers[section].demand(slots)

    def _wanted(self, names: list[AgentName], speaker: Elastic) -> int:
        rooms = self._dispatch.rooms
        open_names = [name for name in names if not rooms[name].paused]
        if self._dispatch.draining or not open_names:
            return 0
        return slots_wanted(self._dispatch.ready, open_names, speaker.offer())


def _kind(slots: int) -> int:
    """Equal for numbers between which nobody need tell."""
    return slots if slots <= _EXACT else _EXACT + slots.bit_length()
