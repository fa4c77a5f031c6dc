"""Work that goes on when who asked has left: each job in a thread of its own, taken up by another after a crash."""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from service.admin.desk import Desk
from service.admin.job_work import Done, Stopped, Watched, do
from service.errors import FixConfiguration, WaitAndRetry
from service.mongo.jobs import FileId, Job, new_id
from service.mongo.store import open_store
from service.settings import PREFIX, Settings

log = logging.getLogger(__name__)
TOGETHER = 2
LOOK_SECONDS = 0.25
BEAT_SECONDS = 1.0
CLEAN_SECONDS = 3600.0
AGAIN_SECONDS = 5.0
AWAY = WaitAndRetry, FixConfiguration
"""The database does not answer, or refuses the user for now, as while a password is changed."""
FAULT = "a fault of Ratchet's own ended it"


async def ask(
    desk: Desk, kind: str, tenant_id: str, by: str, asked: Mapping[str, Any], dry_run: bool, files: Mapping[str, bytes]
) -> Job:
    """Have it done; some process does it soon."""
    kept = {name: await desk.store.jobs.keep_file(content) for name, content in files.items()}
    job = Job(new_id(), kind, tenant_id, by, _now(), asked, dry_run, files=kept)
    await desk.store.jobs.add(job)
    return job


async def confirm(desk: Desk, job: Job, by: str) -> Job:
    """Do what a dry run has told of. A second time gives the same job."""
    handed_in = {name: file for name, file in job.files.items() if name in ("file", "learners")}
    confirmed = Job(_confirmed_id(job), job.kind, job.tenant_id, by, _now(), job.asked, dry_run=False, files=handed_in)
    await desk.store.jobs.add(confirmed)
    return await desk.store.jobs.find(confirmed.id) or confirmed


async def confirmed_by(desk: Desk, job: Job) -> Job | None:
    """The job that does what this one has only told of, once there is one."""
    return await desk.store.jobs.find(_confirmed_id(job)) if job.dry_run else None


def _confirmed_id(job: Job) -> str:
    return f"{job.id}-sent"


def _now() -> datetime:
    """As finely as the database keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@asynccontextmanager
async def doing_jobs(desk: Desk) -> AsyncIterator[None]:
    """Do them while the context lasts."""
    worker = Worker(desk)
    tasks = [asyncio.create_task(worker.run()) for _ in range(TOGETHER)]
    tasks.append(asyncio.create_task(_clean(desk)))
    try:
        yield
    finally:
        worker.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _clean(desk: Desk) -> None:
    while True:
        with contextlib.suppress(*AWAY):
            await desk.store.jobs.forget_old_files()
        await asyncio.sleep(CLEAN_SECONDS)


class Worker:
    """Takes jobs, one after another in each of its tasks."""

    def __init__(self, desk: Desk) -> None:
        self._store = desk.store
        self._settings = desk.settings
        self._name = uuid4().hex
        self._watched: set[Watched] = set()

    def stop(self) -> None:
        """What is going on stops where it can be gone on with."""
        for watched in self._watched:
            watched.stopping = True

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                job = await self._store.jobs.take(self._name)
                if job is not None:
                    await self._do(job)
                    continue
            except AWAY as error:
                log.warning("jobs wait", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def _do(self, job: Job) -> None:
        watched = Watched()
        self._watched.add(watched)
        try:
            working = asyncio.create_task(self._worked(job, watched))
            try:
                while not working.done():
                    await asyncio.wait([working], timeout=BEAT_SECONDS)
                    await self._beat(job, watched)
                await working
            except asyncio.CancelledError:
                watched.stopping = True
                await asyncio.wait([working])
                await self._store.jobs.put_back(job.id, self._name)
                raise
        finally:
            self._watched.discard(watched)

    async def _beat(self, job: Job, watched: Watched) -> None:
        """It is alive; or another one has it by now, and this one stops. Nobody may know for a while."""
        try:
            if not await self._store.jobs.beat(job.id, self._name, watched.total, watched.done, watched.left):
                watched.stopping = True
        except AWAY as error:
            log.warning("jobs wait", extra={"error": str(error)})

    async def _worked(self, job: Job, watched: Watched) -> None:
        """Do it, and keep what came of it."""
        try:
            files = {name: await self._store.jobs.file(file) or b"" for name, file in job.files.items()}
            done = await asyncio.to_thread(_in_thread, self._settings, job, files, watched)
        except Stopped:
            return
        except (FixConfiguration, WaitAndRetry) as error:
            if isinstance(error, WaitAndRetry) or str(error).startswith(PREFIX):
                await self._wait(job, str(error))
            else:
                await self._end(job, watched, Done({}, {}), str(error))
        except Exception as error:  # noqa: BLE001  # whatever a file brought about, it must end this job only
            where = "".join(traceback.format_tb(error.__traceback__)[-6:])
            log.error("a job failed", extra={"job": job.id, "kind": job.kind, "where": where})  # noqa: TRY400
            await self._end(job, watched, Done({}, {}), f"{FAULT}: {type(error).__name__}")
        else:
            await self._end(job, watched, done, None)

    async def _wait(self, job: Job, why: str) -> None:
        """Kafka or the database is away: it is nothing that who asked could mend. Somebody goes on with it later."""
        log.warning("a job waits", extra={"job": job.id, "kind": job.kind, "error": why})
        await asyncio.sleep(AGAIN_SECONDS)
        await self._store.jobs.put_back(job.id, self._name)

    async def _end(self, job: Job, watched: Watched, done: Done, error: str | None) -> None:
        jobs = self._store.jobs
        await jobs.beat(job.id, self._name, watched.total, watched.done, None)
        made: dict[str, FileId] = {name: await jobs.keep_file(content) for name, content in done.files.items()}
        await jobs.end(job.id, self._name, error, done.report if error is None else None, made, done.row_count)


def _in_thread(settings: Settings, job: Job, files: Mapping[str, bytes], watched: Watched) -> Done:
    async def work() -> Done:
        async with open_store(settings) as store:
            return await do(settings, store, job, files, watched)

    return asyncio.run(work())
