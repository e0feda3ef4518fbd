"""A daemon's parts with the fake agent and without threads of their own, moved on tick by tick."""

from __future__ import annotations

from pathlib import Path

from spoolmw.agents.fake import FakeAgent
from spoolmw.config import AgentConfig, Config, Intake
from spoolmw.daemon.control import Peer, Request
from spoolmw.daemon.parts import Parts
from spoolmw.format.resultfile import read_trailer
from spoolmw.model.ids import AgentName
from spoolmw.spooldir.layout import prepare
from tests.support.waiting import wait_until

CONFIG = Config(
    agents=(AgentConfig(name="lab", kind="fake", slots=2),), intake=Intake(settle_s=0.0)
)
LAB = AgentName("lab")


class Bench:
    """A daemon's parts without its threads: a test moves it on by `ticks`."""

    def __init__(self, home: Path, config: Config = CONFIG) -> None:
        self.config = config
        self.layout = prepare(home / "spool")
        self.answers: list[object] = []
        self.start()

    def start(self) -> None:
        """Start, also again after `close`."""
        self.parts = Parts(self.layout, self.config)
        self.parts.start()
        self.parts.serve(reload=list, stop=lambda: None)
        agent = self.parts.agents[LAB]
        assert isinstance(agent, FakeAgent)
        self.agent = agent

    def drop(self, name: str, text: str = "#!/bin/sh\ntrue\n") -> None:
        (self.layout.incoming / name).write_text(text, encoding="utf-8")

    def ticks(self, number: int = 8) -> None:
        for _ in range(number):
            self.parts.reactor.tick(self.parts.reactor.timeout_s() and 0.006)

    def until(self, condition: object) -> None:
        def ticked() -> bool:
            self.ticks(1)
            return bool(condition()) if callable(condition) else False

        wait_until(ticked, timeout_s=30, last=lambda: list(self.parts.table))

    def ask(self, verb: str, **args: object) -> object:
        self.parts.inbox.put(Request(verb, args, Peer(1, 0, 0), self.answers.append))
        self.until(lambda: self.answers)
        return self.answers.pop()

    def trailer(self, name: str) -> dict[str, object]:
        return read_trailer(self.layout.results / f"{name}.result")

    def delivered(self, name: str) -> bool:
        return (self.layout.results / f"{name}.result").exists()

    def only_id(self) -> str:
        [task] = self.parts.table
        return task.id

    def close(self) -> None:
        for agent in self.parts.agents.values():
            agent.close(0)
        self.parts.close()
