"""After a new definition: asks, record by record, to decide those in progress again.

A sweep repeats, each pass once the requests of the last one have been dealt with, until no record in progress carries
an older version. Records written by batches that were in flight are asked for by those batches themselves. Deciding
again is idempotent, so at least once is enough here.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final
from uuid import uuid5

from msgspec.structs import replace

from contracts.fields import course_key_of, split_key
from contracts.inbound import ReevaluationRequested
from contracts.outbound import NAMESPACE
from contracts.topics import REEVALUATION_REQUESTED
from rules.values import Instant
from service.errors import WaitAndRetry
from service.ports import Log, Outbound, Store, StoredCourse, StoredRecord
from service.translate import partition_of

log = logging.getLogger(__name__)

PAGE: Final = 1000
PASS_SECONDS: Final = 1.0
"""Between two looks at what has become of a pass, and before a failed one is tried again."""
LOOKS: Final = 600
"""After so many looks a pass is repeated whatever has become of its requests."""


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


def requests_behind(
    records: Mapping[str, StoredRecord], newest: Mapping[str, tuple[int, Instant]], partition: int
) -> list[Outbound]:
    """For the records in progress that were decided under an older version of their course than the newest."""
    requests = []
    for key, stored in records.items():
        known = newest.get(course_key_of(key))
        if known is None or stored.record.latest is None or not stored.record.in_progress:
            continue
        if stored.record.definition_version < known[0]:
            requests.append(request(key, *known, partition))
    return requests


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
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                sent = await self._all_passes()
                if not sent:
                    continue
                await self._until_dealt_with(sent)
            except WaitAndRetry as error:
                log.warning("sweep waits", extra={"lane": self._lane, "error": str(error)})
                await asyncio.sleep(PASS_SECONDS)
            self._wake.set()

    async def _all_passes(self) -> dict[int, int]:
        """One pass over each course that needs it. Gives how far the requests reach, by partition."""
        sent: dict[int, int] = {}
        for course in await self._store.courses_to_sweep(self._lane):
            sent |= await self._pass(course)
        return sent

    async def _pass(self, course: StoredCourse) -> dict[int, int]:
        """Ask for every record behind, page by page. Where there is none, the course is done."""
        newest = course.versions[-1]
        after = ""
        sent: dict[int, int] = {}
        while keys := await self._store.records_behind(course.key, newest.version, after, PAGE):
            after = keys[-1]
            requests = [
                request(key, newest.version, newest.changed_at, partition_of(key.encode(), self._partitions))
                for key in keys
            ]
            sent |= await self._log.send(REEVALUATION_REQUESTED.name, requests)
        if not sent:
            await self._store.save_course(replace(course, sweeping=False))
        return sent

    async def _until_dealt_with(self, sent: Mapping[int, int]) -> None:
        for _ in range(LOOKS):
            await asyncio.sleep(PASS_SECONDS)
            if await self._log.has_dealt_with(REEVALUATION_REQUESTED.name, sent):
                return
