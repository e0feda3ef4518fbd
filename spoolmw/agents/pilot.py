"""Agents whose hosts are batch jobs: one for each seat of a section, named `SECTION:NUMBER`.

Whoever sits in a seat is a pilot (`runner.pilot`) that has called the section's link. What an agent
knows of its host it has from that pilot's hello, so a seat is another machine with each pilot.

Rule 1: a seat without a pilot has no slots; why, is its reason.
Rule 2: a pilot that leaves is given nothing more. That it was told so is answered, so that the link
knows when the last launch has come.
Rule 3: what a pilot had that is gone is lost at once; it cannot report any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spoolmw.agents.carried import CarriedAgent, Reach
from spoolmw.agents.carrier.process import Link
from spoolmw.agents.contract import AgentEvent, Sink
from spoolmw.agents.ledger import Loss
from spoolmw.agents.pilotlink.brief import Section
from spoolmw.agents.setup import setup_of
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.model.agent import Capacity, CapacityChanged
from spoolmw.model.attempt import Cause
from spoolmw.model.ids import AgentName
from spoolmw.runner import wire

_LINK = "spoolmw.agents.pilotlink"
_OUR_BYTES = 64 << 20  #: of a pilot's memory, for itself: pilot, keeper and runner


class PilotAgent(CarriedAgent):
    """One seat."""

    engine = "process"

    @classmethod
    def family(
        cls, settings: AgentConfig, root: Path, sink_of: Callable[[AgentName], Sink]
    ) -> Sequence[PilotAgent]:
        """The agents of a section, one for each pilot that there may be. Raises BadConfig."""
        settings = cls.completed(settings)
        section = cls.section_of(settings, root)
        numbers = range(1, section.most + 1)
        link = Link([str(each) for each in numbers], _LINK, cls.environment_of(settings))
        made = []
        for number in numbers:
            name = AgentName(f"{settings.name}:{number}")
            made.append(cls(name, number, link, section, settings, sink_of(name)))
        return made

    @classmethod
    def check(cls, settings: AgentConfig, root: Path) -> None:
        """Raises BadConfig when no pilot could ever call."""
        cls.section_of(cls.completed(settings), root)

    @classmethod
    def completed(cls, settings: AgentConfig) -> AgentConfig:
        """The section, with what follows from its engine's keys."""
        return settings

    @classmethod
    def section_of(cls, settings: AgentConfig, root: Path) -> Section:
        """What the link is told of the section. Raises BadConfig."""
        wish = settings.pilots
        if not wish.listen:
            raise BadConfig(
                f"[agents.{settings.name}] has no address for its pilots to call",
                why="pilots connect to the daemon, and no port is open by itself",
                fix='write listen = "0.0.0.0:9750", a port that the hosts of the jobs reach',
            )
        return Section(
            root=str(root.resolve()),
            name=settings.name,
            engine=cls.engine,
            listen=wish.listen,
            advertise=wish.advertise,
            least=min(wish.least, wish.most),
            most=wish.most,
            slots=settings.slots or 1,
            memory_bytes=settings.memory_bytes,
            gpus=len(settings.gpus),
            idle_s=wish.idle_s,
            lifetime_s=wish.lifetime_s,
            grace_s=wish.vacate_grace_s,
            give_up_s=settings.give_up_s,
            pythons=settings.python,
            options=cls.options_of(settings, root.resolve()),
        )

    @classmethod
    def environment_of(cls, settings: AgentConfig) -> Mapping[str, str]:
        """What the link and the engine find in their environment besides."""
        return {}

    @classmethod
    def options_of(cls, settings: AgentConfig, root: Path) -> dict[str, Any]:
        """What the engine alone is told; JSON can carry it."""
        return {"machine": settings.machine}

    def __init__(
        self,
        name: AgentName,
        number: int,
        link: Link,
        section: Section,
        settings: AgentConfig,
        sink: Sink,
    ) -> None:
        reach = Reach(link, str(number), str(name))
        super().__init__(name, reach, Path(section.root), settings, sink)
        self._number = number
        self._section = section
        self._slots = section.slots
        self._demand = 0
        self._leaves = ""  #: why its pilot takes nothing more
        self._why_down = "no pilot is there"

    def offer(self) -> Capacity:
        """What a further pilot would bring; which Pythons its host has, nobody knows before."""
        section = self._section
        return Capacity(
            slots=section.slots, memory_bytes=section.memory_bytes, gpus=section.gpus
        )

    def demand(self, slots: int) -> None:
        """Tasks for so many slots wait that could run in this section; one of its agents is told."""
        with self._lock:
            self._demand = slots
            self._tell({"do": "demand", "slots": slots})

    def capacity(self) -> Capacity:
        room = super().capacity()
        if self._leaves:
            return replace(room, slots=0, queue=0)
        # What waits here waits while other pilots are on their way: only what is very short may.
        return replace(room, queue=room.queue if room.queue > self._slots else 0)

    def own_slots(self) -> int:
        return self._section.slots

    def _unfit(self) -> str:
        return self._leaves or super()._unfit()

    def _brief(self) -> dict[str, Any]:
        setup = setup_of(self._settings, self.name, self._slots)
        return {
            "seat": self._number,
            "section": asdict(self._section),
            "setup": {
                **setup,
                "linger": self._section.idle_s,
                "memory": _left_by_us(self._section.memory_bytes),
            },
        }

    def _begin(self, stream: wire.Stream) -> None:
        self._leaves = ""  # a new link tells anew who leaves
        super()._begin(stream)
        with self._lock:
            if self._demand:
                self._tell({"do": "demand", "slots": self._demand})

    # -- what the link says

    def _understand(self, told: dict[str, Any]) -> list[AgentEvent]:
        match told["event"]:
            case "hello":
                self._host = self._ledger.host = told["host"] or str(self.name)
            case "draining":
                return self._draining(told["why"])
            case "vacant":
                return self._down(told["why"])
            case "gone":
                return self._gone(told["why"])
            case _:
                pass
        return super()._understand(told)

    def _draining(self, why: str) -> list[AgentEvent]:
        self._leaves = f"its pilot leaves: {why}"
        self._tell({"do": "drained"})
        return [CapacityChanged(agent=self.name, capacity=self.capacity(), reason=self._leaves)]

    def _gone(self, why: str) -> list[AgentEvent]:
        """The seat is empty."""
        self._leaves = ""
        self._facts = {}
        loss = Loss(Cause.CONNECTION, f"{self.name}: {why}", dead=True)
        lost = [str(each) for each in self._ledger.live()]
        events = self._ledger.all_lost((), loss, counts=False)
        self._release(lost)
        return [*self._down(why), *events]


def _left_by_us(memory_bytes: int) -> int:
    """The most that one attempt may use of what a pilot's job asked for; 0: it asked for none.

    More would end the job, with all attempts in it, and so again and again in other pilots.
    """
    return max(memory_bytes // 2, memory_bytes - _OUR_BYTES)
