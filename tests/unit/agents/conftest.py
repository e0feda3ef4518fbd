"""A running local agent for tests of how attempts end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw.agents.local import LocalAgent
from spoolmw.config import AgentConfig
from spoolmw.model.agent import Launch
from spoolmw.model.events import Lost, Reported
from spoolmw.model.ids import AgentName
from tests.support.attempts import Bench


class Local(Bench):
    """A spool with a local agent of two slots on it."""

    def __init__(self, root: Path, **settings: object) -> None:
        super().__init__(root)
        config = AgentConfig(name="local", **{"slots": 2, **settings})  # type: ignore[arg-type]
        self.agent = LocalAgent(AgentName("local"), root, config, self.heard)

    def run(self, work: Launch) -> Reported | Lost:
        """Launch one attempt and wait for its end."""
        self.agent.launch([work])
        return self.heard.end_of(work)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One agent for all tests of a module: each leaves it as it found it."""
    local = Local(tmp_path_factory.mktemp("local") / "spool", gpus=("0", "1"))
    yield local
    local.agent.close(0.0)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """An agent of this test's own."""
    made = Local(tmp_path / "spool")
    yield made
    made.agent.close(0.0)
