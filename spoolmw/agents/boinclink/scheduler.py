"""Answers scheduler requests: what the desk decides is made durable, and then said in a client's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spoolmw.agents.boinclink import reply, request, signing
from spoolmw.agents.boinclink.application import BUNDLED
from spoolmw.agents.boinclink.callers import TooMany
from spoolmw.agents.boinclink.desk import Visit
from spoolmw.agents.boinclink.holdings import Job
from spoolmw.agents.boinclink.listing import Listed
from spoolmw.agents.boinclink.project import OUTPUT, Outbox, Project
from spoolmw.agents.boinclink.records import RecordsTrouble, Row
from spoolmw.agents.carrier import giving
from spoolmw.errors import AgentError
from spoolmw.runner import boincslot, results

DOWNLOAD, UPLOAD = "download/", "upload/file_upload_handler"
_STRANGER_S = 60.0  #: before one without a good key calls again
_FULL_S = 3600.0
_LONG_BYTES = 128 << 10  #: of a request: some 150 reports
_LEAST_BOUND_S = (
    30 * 86400.0
)  #: a client aborts what computes longer; our runner knows the limit
_UNPACKED_BYTES = 400 << 20  #: of a Python that travels
_RUNNER_BYTES = 64 << 20

Going = tuple[Row, Listed]


class Scheduler:
    """One project's."""

    def __init__(self, project: Project, outbox: Outbox, land: Callable[[str], None]) -> None:
        self._project = project
        self._outbox = outbox
        self._land = land
        self._who = reply.Project(url=project.brief.url, name=project.brief.project)

    def knows(self, body: bytes) -> bool:
        """Whether the caller shows a good key; how a request begins is enough."""
        accounts = self._project.accounts
        accounts.look()
        return accounts.of_key(request.key_of(body)) is not None

    async def answer(self, body: bytes) -> tuple[bytes, bool]:
        """The body of the answer, and whether the caller showed a good key. Raises RecordsTrouble."""
        project = self._project
        if project.records.trouble:
            raise RecordsTrouble(project.records.trouble)
        project.accounts.look()
        account = project.accounts.of_key(request.key_of(body))
        if account is None:
            text = "Invalid or missing account key. Attach to this project with a key that is good."
            return reply.refusal(self._who, text, delay_s=_STRANGER_S), False
        asked, now = await self._read(body), time.time()
        try:
            visit = project.desk.visit(asked, account, now)
        except TooMany as error:
            return reply.refusal(self._who, str(error), delay_s=_FULL_S), True
        # At once: it counts as heard, and is not heard again when what follows fails.
        self._outbox.put(*visit.told, *(self._landing(each) for each in visit.landed))
        self._look_at_key(asked, visit)
        going = await self._again(visit)
        has_program = project.application.can_serve(visit.host, project.brief.bundle)
        if has_program and self._fits_key(asked):
            going += await self._send(asked, visit, account.owner, now)
        await project.records.settled()
        return self._reply(asked, visit, account.name, going), True

    async def _read(self, body: bytes) -> request.Asked:
        """What is asked; a long request takes long to read, and others are served meanwhile."""
        if len(body) < _LONG_BYTES:
            return request.parse(body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._project.disk, request.parse, body)

    # -- jobs

    async def _send(
        self, asked: request.Asked, visit: Visit, owner: str, now: float
    ) -> list[Going]:
        """Jobs that the host gets now."""
        desk, holdings = self._project.desk, self._project.holdings
        jobs = desk.choose(asked, visit, owner, now)
        going: list[Going] = []
        try:
            for job, listed in await self._list(jobs):
                if job.attempt in holdings.jobs:  # else it was stopped meanwhile
                    row = desk.send(job, visit.host, listed, now)
                    self._outbox.put(desk.started(row, owner))
                    going.append((row, listed))
        finally:
            for job in jobs:
                if job.attempt not in holdings.rows and not job.is_told:
                    holdings.waits_again(job)
        return going

    async def _list(self, jobs: Sequence[Job]) -> list[tuple[Job, Listed]]:
        """What each of them needs; what cannot be made is told."""
        found: list[tuple[Job, Listed]] = []
        if not jobs:
            return found
        loop, lister = asyncio.get_running_loop(), self._project.lister
        asked = [
            loop.run_in_executor(self._project.disk, lister.list_up, each.given, each.packet)
            for each in jobs
        ]
        for job, done in zip(
            jobs, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(done, Listed):
                found.append((job, done))
            elif isinstance(done, Exception):  # one odd task shall not hold up all others
                self._cannot_be_made(job, done)
            else:
                raise done
        return found

    def _cannot_be_made(self, job: Job, error: Exception) -> None:
        """Its files are not there: that is no host's fault."""
        if job.attempt not in self._project.holdings.jobs:
            return
        job.is_told = True
        why = results.one_line(_words_of(error))
        self._outbox.put(("ended", giving.unlaunched(job.given, why)))

    async def _again(self, visit: Visit) -> list[Going]:
        """What the client does not speak of, as it was sent the first time."""
        found: list[Going] = []
        loop = asyncio.get_running_loop()
        for row in visit.again:
            known = await loop.run_in_executor(
                self._project.disk, self._project.records.job_of, row.attempt
            )
            if known is not None:  # else it is on its way to the disk
                found.append((row, Listed.of(*known)))
        return found

    def _landing(self, attempt: str) -> Callable[[], None]:
        return lambda: self._land(attempt)

    # -- words

    def _look_at_key(self, asked: request.Asked, visit: Visit) -> None:
        if not self._fits_key(asked):
            text = (
                "This project signs its programs with another key than it did when this computer"
                " was attached. Remove the project here and add it again."
            )
            visit.messages.append(("notice", text))

    def _fits_key(self, asked: request.Asked) -> bool:
        return asked.code_sign_key.split() in ([], self._project.key_text.split())

    def _reply(
        self, asked: request.Asked, visit: Visit, user: str, going: Sequence[Going]
    ) -> bytes:
        project, host = self._project, visit.host
        plan = project.application.plan_of(host, project.brief.bundle)
        url = project.brief.url + DOWNLOAD
        cores = {row.attempt: self._cores(row) for row, _ in going}
        versions = {
            each: project.application.version(plan, each, host, url)
            for each in sorted(set(cores.values()))
        }
        return reply.write(
            reply.Reply(
                project=self._who,
                host_id=host.id if visit.gave_id else 0,
                user=user,
                user_id=1,
                code_sign_key="" if asked.code_sign_key else project.key_text,
                messages=tuple(visit.messages),
                next_rpc_s=project.brief.poll_s,
                app_versions=tuple(versions.values()),
                jobs=tuple(self._job(each, versions[cores[each[0].attempt]]) for each in going),
                acks=visit.acks,
                aborts=tuple(visit.aborts),
                preferences=project.brief.preferences,
                acks_trickles=asked.has_trickles,
            )
        )

    def _kind(self, row: Row) -> Mapping[str, Any]:
        job = self._project.holdings.jobs.get(row.attempt)
        return job.given.kind if job is not None else {}  # it was stopped this very moment

    def _cores(self, row: Row) -> int:
        return max(1, int(self._kind(row).get("cpus", 1)))

    def _job(self, going: Going, version: reply.AppVersion) -> reply.Job:
        row, listed = going
        brief = self._project.brief
        kind = self._kind(row)
        name = f"{OUTPUT}{row.attempt}"
        bound_s = max(_LEAST_BOUND_S, 4 * brief.deadline_s, 4 * float(kind.get("time", 0)))
        disk = max(brief.request_disk_bytes, int(kind.get("output", 0)))
        travels = _UNPACKED_BYTES if version.plan_class.startswith(BUNDLED) else 0
        return reply.Job(
            name=row.attempt,
            version=version.number,
            platform=version.platform,
            plan_class=version.plan_class,
            inputs=tuple(
                reply.InputFile(
                    name=each.name,
                    url=f"{brief.url}{DOWNLOAD}{each.name}",
                    md5=each.md5,
                    nbytes=each.nbytes,
                    open_name=each.open_name,
                    is_copied=each.is_copied,
                )
                for each in listed.files
            ),
            output=reply.OutputFile(
                name=name,
                open_name=boincslot.OUTPUT,
                max_nbytes=row.most_bytes,
                upload_url=brief.url + UPLOAD,
                token=signing.upload_token(self._project.secret, name),
            ),
            est_fpops=brief.estimate_s * version.flops,
            bound_fpops=bound_s * version.flops,
            memory_bytes=int(kind.get("memory", 0)) or brief.request_memory_bytes,
            disk_bytes=disk + 2 * listed.size_bytes + travels + _RUNNER_BYTES,
            deadline=row.deadline,
        )


def _words_of(error: Exception) -> str:
    if isinstance(error, AgentError):
        return "; ".join(each for each in (error.what, error.why, error.fix) if each)
    return f"its job cannot be made: {type(error).__name__}: {error}"
