"""After a new definition: asks, record by record, to decide those in progress again.

A sweep repeats until no record in progress carries an older version. Records written by batches that were in flight
are asked for by those batches themselves. Deciding again is idempotent, so at least once is enough here.
"""

import asyncio
import logging
from typing import Final
from uuid import uuid5

from msgspec.structs import replace

from contracts.fields import split_key
from contracts.inbound import ReevaluationRequested
from contracts.outbound import NAMESPACE
from contracts.topics import REEVALUATION_REQUESTED
from rules.values import Instant
from service.errors import WaitAndRetry
from service.ports import Log, Outbound, Store, StoredCourse
from service.translate import partition_of

log = logging.getLogger(__name__)

PAGE: Final = 1000
PASS_SECONDS: Final = 1.0
"""Between two passes over a course, and before a failed one is tried again; doubled up to the limit."""
PASS_LIMIT_SECONDS: Final = 30.0


def request(key: str, version: int, changed_at: Instant, partition: int) -> Outbound:
    """A request to decide a record again. The same for the same record and version."""
    tenant_id, learner_id, course_id = split_key(key)
    message = ReevaluationRequested.model_construct(
        message_id=str(uuid5(NAMESPACE, f"reevaluation/{key}/{version}")),
        tenant_id=tenant_id,
        learner_id=learner_id,
        course_id=course_id,
        changed_at=changed_at,
        definition_version=version,
    )
    value = message.model_dump_json().encode()
    return Outbound(REEVALUATION_REQUESTED.name, key.encode(), value, (), partition)


class Sweep:
    """The sweeps of one lane's courses, in the background of the lane."""

    def __init__(self, lane: int, partitions: int, log: Log, store: Store) -> None:
        self._lane = lane
        self._partitions = partitions
        self._log = log
        self._store = store
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"sweep-{lane}")

    def wake(self) -> None:
        """A course has a new definition, or an earlier owner may have left one unswept."""
        self._wake.set()

    async def stop(self) -> None:
        """End at once; what is left is found again by the next owner."""
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _run(self) -> None:
        delay_seconds = PASS_SECONDS
        while True:
            await self._wake.wait()
            self._wake.clear()
            if await self._all_passes():
                await asyncio.sleep(delay_seconds)
                delay_seconds = min(2 * delay_seconds, PASS_LIMIT_SECONDS)
                self._wake.set()
            else:
                delay_seconds = PASS_SECONDS

    async def _all_passes(self) -> bool:
        """One pass over each course that needs it. True: another round must look."""
        try:
            courses = await self._store.courses_to_sweep(self._lane)
            return any([await self._pass(course) for course in courses])
        except WaitAndRetry as error:
            log.warning("sweep waits", extra={"lane": self._lane, "error": str(error)})
            return True

    async def _pass(self, course: StoredCourse) -> bool:
        """Ask for every record behind, page by page. True: there were some, so that another pass must look."""
        newest = course.versions[-1]
        after, found = "", False
        while keys := await self._store.records_behind(course.key, newest.version, after, PAGE):
            found, after = True, keys[-1]
            await self._log.send(
                [
                    request(key, newest.version, newest.changed_at, partition_of(key.encode(), self._partitions))
                    for key in keys
                ]
            )
        if not found:
            await self._store.save_course(replace(course, sweeping=False))
        return found
