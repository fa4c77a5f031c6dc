"""After a new definition: asks, record by record, to decide all of its course again, those in progress first.

Before the first request a new version is judged: how many learners would it complete, how many certificates issue?
More than a cap pauses it, until `ratchet courses release` or a newer version; otherwise it is released. A request that
comes while the newest version is not released decides nothing: the sweep that follows the release finds its record
again.

A sweep repeats, each pass once the requests of the last one have been dealt with, until no record carries an
older version. Records written by batches that were in flight are asked for by those batches themselves, where the
version is released; where it is released later, they are stored by then and the sweep finds them. Deciding again is
idempotent, so at least once is enough here; and whoever takes the lane over goes on with what is still behind.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple
from uuid import uuid5

from msgspec.structs import replace

from contracts.fields import course_key_of, split_key
from contracts.inbound import ReevaluationRequested
from contracts.outbound import NAMESPACE
from contracts.topics import REEVALUATION_REQUESTED
from rules.values import Instant, Standing
from service import metrics
from service.errors import FixConfiguration, LaneLost, WaitAndRetry
from service.lanes.bounds import Bounds
from service.lanes.deciding import decide_again
from service.lanes.ports import Log, Outbound, Store, StoredCourse, StoredRecord

log = logging.getLogger(__name__)

PAGE: Final = 1000
JUDGED_TOGETHER: Final = 100
"""So few records at a time that deciding them keeps the lanes, in the same event loop, waiting some milliseconds."""
LOOK_SECONDS: Final = 5.0
"""A release is a write to the database and wakes nobody: look for one so often, and try a failed pass again."""
PASS_SECONDS: Final = 1.0
"""Between two looks at what has become of a pass."""
LOOKS: Final = 600
"""After so many looks a pass is repeated whatever has become of its requests."""


def request(key: str, version: int, changed_at: Instant) -> Outbound:
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
    return Outbound(REEVALUATION_REQUESTED.name, key.encode(), value, ())


def requests_behind(records: Mapping[str, StoredRecord], newest: Mapping[str, tuple[int, Instant]]) -> list[Outbound]:
    """For the records that were decided under an older version of their course than the newest."""
    requests = []
    for key, stored in records.items():
        known = newest.get(course_key_of(key))
        if known is None or stored.record.latest is None:
            continue
        if stored.record.definition_version < known[0]:
            requests.append(request(key, *known))
    return requests


async def pages_behind(store: Store, course_key: str, version: int, page: int) -> AsyncIterator[list[str]]:
    """Keys of the course's records that were decided under an older version, those in progress first."""
    for in_progress in (True, False):
        after = ""
        while keys := await store.records.behind(course_key, version, in_progress, after, page):
            after = keys[-1]
            yield keys


class _New(NamedTuple):
    """What a definition would bring."""

    completions: int
    certificates: int


def _with(new: _New, was: Standing, now: Standing) -> _New:
    completes = was.course.status != now.course.status
    return _New(new.completions + completes, new.certificates + (now.is_certified and not was.is_certified))


def _spelled(new: _New) -> dict[str, int]:
    return {"would_complete": new.completions, "would_certify": new.certificates}


class Sweep:
    """The sweeps of one lane's courses, in the background of the lane."""

    def __init__(self, lane: int, log: Log, store: Store, bounds: Bounds) -> None:
        self.paused_courses = 0
        """Of the lane, as last seen: their newest version waits for its release."""
        self._lane = lane
        self._log = log
        self._store = store
        self._bounds = bounds
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"sweep-{lane}")

    def wake(self) -> None:
        """A course has a new definition, or an earlier owner may have left one unswept."""
        self._wake.set()

    async def stop(self) -> None:
        """End at once; what is left is found again by the next owner."""
        self.task.cancel()
        await asyncio.wait([self.task])
        self._note_paused(0)

    async def _run(self) -> None:
        await self._wake.wait()  # until the lane is open
        while True:
            self._wake.clear()
            try:
                sent = await self._all_passes()
                if sent:
                    await self._until_dealt_with(sent)
                    continue
            except WaitAndRetry as error:
                log.warning("sweep waits", extra={"lane": self._lane, "error": str(error)})
            await self._until_woken()

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _all_passes(self) -> dict[int, int]:
        """One pass over each course that needs it and may have it. Gives how far the requests reach, by partition."""
        sent: dict[int, int] = {}
        paused = pending = 0
        for key in await self._store.courses.to_sweep(self._lane):
            course = (await self._store.courses.load([key]))[key]
            judged = course if course.is_paused or course.is_released else await self._judged(course)
            paused += judged.is_paused
            if judged.is_released:
                pending += await self._store.records.count_behind(judged.key, judged.newest.version)
                metrics.PENDING_REEVALUATIONS.labels(self._lane).set(pending)
                sent |= await self._pass(judged)
        metrics.PENDING_REEVALUATIONS.labels(self._lane).set(pending)
        self._note_paused(paused)
        return sent

    def _note_paused(self, courses: int) -> None:
        self.paused_courses = courses
        metrics.PAUSED_REEVALUATIONS.labels(self._lane).set(courses)

    async def _judged(self, course: StoredCourse) -> StoredCourse:
        """As it was where a record cannot be decided: a fault of ours stops neither the worker nor other courses."""
        try:
            return await self._judge(course)
        except (WaitAndRetry, LaneLost, FixConfiguration):
            raise
        except Exception as error:  # noqa: BLE001
            about = {"lane": self._lane, "course": course.key, "error": type(error).__name__}
            log.error("a fault of Ratchet's own: a new definition could not be judged", extra=about)  # noqa: TRY400
            metrics.INTERNAL_ERRORS.inc()
            return course

    async def _judge(self, course: StoredCourse) -> StoredCourse:
        """Release the newest version, or pause it. As it was where somebody else wrote: the next look judges anew."""
        newest, bounds = course.newest, self._bounds
        new = await self._would_bring(course)
        completes, certifies = (
            new.completions > bounds.max_new_completions,
            new.certificates > bounds.max_new_certificates,
        )
        if completes or certifies:
            judged = replace(
                course,
                would_complete=new.completions if completes else 0,
                would_certify=new.certificates if certifies else 0,
            )
        else:
            judged = replace(course, released=newest.version)
        if not await self._store.courses.save(judged):
            return course
        about = {"lane": self._lane, "course": course.key, "version": newest.version}
        if judged.is_paused:
            at_least = {
                "would_complete_at_least": judged.would_complete,
                "would_certify_at_least": judged.would_certify,
            }
            log.warning("re-evaluation is paused", extra=about | at_least)
        else:
            records = await self._store.records.count_behind(course.key, newest.version)
            log.info("re-evaluation begins", extra=about | {"records": records} | _spelled(new))
        return replace(judged, rev=course.rev + 1)

    async def _would_bring(self, course: StoredCourse) -> _New:
        """What the newest version would bring; counting ends with the first one above a cap."""
        bounds, new = self._bounds, _New(0, 0)
        async for keys in pages_behind(self._store, course.key, course.newest.version, JUDGED_TOGETHER):
            for was, now in await decide_again(self._store, keys, course, course.newest.changed_at):
                new = _with(new, was.record.standing, now.record.standing)
            if new.completions > bounds.max_new_completions:
                return new._replace(completions=bounds.max_new_completions + 1)
            if new.certificates > bounds.max_new_certificates:
                return new._replace(certificates=bounds.max_new_certificates + 1)
            await asyncio.sleep(0)
        return new

    async def _pass(self, course: StoredCourse) -> dict[int, int]:
        """Ask for every record behind, page by page. Where there is none, the course is done."""
        newest = course.newest
        sent: dict[int, int] = {}
        page = min(PAGE, self._bounds.reevaluations_per_second)
        async for keys in pages_behind(self._store, course.key, newest.version, page):
            requests = [request(key, newest.version, newest.changed_at) for key in keys]
            sent |= await self._log.send(REEVALUATION_REQUESTED.name, requests)
            await asyncio.sleep(len(keys) / self._bounds.reevaluations_per_second)
        if not sent and await self._store.courses.save(replace(course, sweeping=False)):
            log.info("re-evaluation is done", extra={"course": course.key, "version": newest.version})
        return sent

    async def _until_dealt_with(self, sent: Mapping[int, int]) -> None:
        for _ in range(LOOKS):
            await asyncio.sleep(PASS_SECONDS)
            if await self._log.has_dealt_with(REEVALUATION_REQUESTED.name, sent):
                return
