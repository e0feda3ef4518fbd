"""A daemon and a pool of HTCondor, and tasks that tell where they run. All is an ordinary user's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from tests.support.condor import give, user
from tests.support.daemon import Daemon, end
from tests.support.people import Person
from tests.support.pool import Pool
from tests.support.scene import Held, Scene
from tests.support.stepdown import being, being_root_again
from tests.support.waiting import wait_until

CONFIG = """\
[intake]
settle_s = 0.1
[agents.pool]
kind = "condor"
schedd = "{schedd}"
condor_config = "{config}"
request_memory = "64MiB"
request_disk = "1MiB"
lease = "20s"
{more}
[agents.pool.submit]
keep_claim_idle = 20
{lines}
{others}"""


class Site(Scene):
    """A daemon whose tasks run in a pool. While it is open this process is the pool's user."""

    def __init__(
        self,
        pool: Pool,
        *,
        name: str = "site",
        more: str = "",
        lines: str = "",
        others: str = "",
        is_remote: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`more` are further keys of the agent, `lines` of its jobs, `others` further agents.

        `is_remote`: we are who we are and have a token, and the schedd sees nothing of the spool.
        """
        self.pool = pool
        self.shared = pool.shared
        self._being = contextlib.ExitStack()
        self._person = Person(os.geteuid(), os.getegid()) if is_remote else user()
        home = give(pool.user_folder / name)
        if is_remote:
            os.chown(home, os.geteuid(), os.getegid())
            more = f"remote = true\n{more}"
        with being(self._person):
            config = CONFIG.format(
                schedd=pool.schedd_name,
                config=pool.by_token if is_remote else pool.by_user,
                more=more,
                lines=lines,
                others=others,
            )
            self.daemon = Daemon(home, config=config, env=env)

    def open(self) -> None:
        self._being.enter_context(being(self._person))
        super().open()
        self.wait_for_pool()

    def close(self) -> None:
        try:
            end(self.daemon)
            self.run("condor_rm", "-all", check=False)
            self.run("condor_rm", "-forcex", "-all", check=False)
        finally:
            self._being.close()

    def wait_for_pool(self) -> None:
        """The agent has found the schedd."""
        wait_until(lambda: self.agent()["slots"], last=self.daemon.log_text)

    def agent(self) -> Mapping[str, object]:
        return self.agents()["pool"]

    def hold(self, number: int = 0, **options: object) -> HeldInPool:
        """A task that runs until it is let go."""
        return HeldInPool(self, number, options)

    def run(self, verb: str, *argv: str, check: bool = True) -> str:
        """What one of HTCondor's programs says that is asked about the schedd."""
        with being_root_again():
            return self.pool.run(verb, "-name", self.pool.schedd_name, *argv, check=check)

    def queue(self, *attributes: str) -> list[list[str]]:
        """These attributes of all jobs in the queue."""
        told = self.run("condor_q", "-allusers", "-af", *attributes)
        return [line.split() for line in told.splitlines()]

    def tokens(self) -> list[str]:
        """The token of every job that there is or was, each as often as there was one.

        A schedd that is killed while it writes its history has a job in it twice.
        """
        names = ("ClusterId", "ProcId", "SpoolmwToken")
        past = [line.split() for line in self.run("condor_history", "-af", *names).splitlines()]
        return sorted(token for _, _, token in {tuple(e) for e in [*past, *self.queue(*names)]})


class HeldInPool(Held):
    """One in a job of the pool."""

    def __init__(self, site: Site, number: int, options: dict[str, object]) -> None:
        super().__init__(site, number, options)
        self._site = site

    def job(self) -> str:
        """The job that it is, once it is in the queue."""

        def found() -> list[str]:
            rows = self._site.queue("ClusterId", "ProcId", "SpoolmwAttempt")
            return [f"{c}.{p}" for c, p, a in rows if a.startswith(f"{self.task.id}.")]

        return str(wait_until(found, last=self._site.daemon.log_text)[-1])
