"""The store in memory: the same promises as MongoDB's, checked by the same suite."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from contracts.fields import course_key_of
from rules.values import Instant
from service.errors import TakeLess
from service.lanes.bounds import COURSES_BYTES
from service.lanes.packed import unpack
from service.lanes.ports import History, Page, Skip, StoredCourse, StoredRecord
from service.lanes.progress import Offsets
from service.mongo.learners import Erased


class MemoryRecords:
    """The Records of service.lanes.ports. `tombstones`: learners that were erased."""

    def __init__(self) -> None:
        self.by_key: dict[str, StoredRecord] = {}
        self.pages: dict[str, list[Page]] = {}
        self.tombstones: set[str] = set()

    async def load(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        return {key: self.by_key[key] for key in keys if key in self.by_key}

    async def save(self, records: Sequence[StoredRecord]) -> bool:
        erased = await self.erased(record.key for record in records if not record.rev)
        hits = [record for record in records if self._rev(record.key) == record.rev and record.key not in erased]
        for record in hits:
            self.by_key[record.key] = replace(record, rev=record.rev + 1)
        return len(hits) == len(records)

    def _rev(self, key: str) -> int:
        return self.by_key[key].rev if key in self.by_key else 0

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        return {key: self._history(key, wanted) for key, wanted in asked.items()}

    def _history(self, key: str, wanted: Collection[str] | None) -> History:
        pages = sorted(self.pages.get(key, ()), key=lambda page: page.rev)
        past = {past.fact.message_id: past for page in pages for past in page.past}
        decisions = {one.message_id: one for page in pages for one in unpack(page.decisions)}
        if wanted is None:
            return History(past, decisions, True, max((page.rev for page in pages), default=0))
        holding = [page for page in pages if {one.fact.message_id for one in page.past} & set(wanted)]
        found = {id_: past[id_] for id_ in wanted if id_ in past}
        return History(found, decisions, False, max((page.rev for page in holding), default=0))

    async def save_history(self, pages: Sequence[Page]) -> None:
        erased = await self.erased(page.key for page in pages)
        for page in pages:
            if page.key not in erased:
                self.pages.setdefault(page.key, []).append(page)

    async def erased(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if _learner(key) in self.tombstones}

    async def behind(self, course_key: str, version: int, in_progress: bool, after: str, limit: int) -> list[str]:
        behind = self._behind(course_key, version)
        return sorted(key for key in behind if key > after and self.by_key[key].record.in_progress == in_progress)[
            :limit
        ]

    async def count_behind(self, course_key: str, version: int) -> int:
        return len(self._behind(course_key, version))

    def _behind(self, course_key: str, version: int) -> list[str]:
        return [
            key
            for key, stored in self.by_key.items()
            if course_key_of(key) == course_key and stored.record.definition_version < version
        ]


class MemoryLearners:
    """As service.mongo.learners erases, in the same two steps."""

    def __init__(self, records: MemoryRecords) -> None:
        self._records = records
        self.untold: dict[str, list[str]] = {}

    async def erase(self, tenant_id: str, learner_id: str) -> Erased:
        """Always at the same time."""
        learner = f"{tenant_id}/{learner_id}"
        self.erect_tombstone(learner)
        await asyncio.sleep(0)
        gone = self.delete_records(learner)
        self.untold[learner] = sorted({*self.untold.get(learner, ()), *gone})
        return Erased(len(gone), datetime(2026, 1, 1, tzinfo=UTC), self.untold[learner])

    async def told(self, tenant_id: str, learner_id: str) -> None:
        """Those downstream know."""
        self.untold.pop(f"{tenant_id}/{learner_id}", None)

    def erect_tombstone(self, learner: str) -> None:
        """The first step of an erasure."""
        self._records.tombstones.add(learner)

    def delete_records(self, learner: str) -> list[str]:
        """The second one. Gives their keys."""
        pages, by_key = self._records.pages, self._records.by_key
        for key in [key for key in pages if _learner(key) == learner]:
            del pages[key]
        gone = [key for key in by_key if _learner(key) == learner]
        for key in gone:
            del by_key[key]
        return gone


class MemoryCourses:
    """The Courses of service.lanes.ports."""

    def __init__(self) -> None:
        self.by_key: dict[str, StoredCourse] = {}

    async def load(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        found = {key: self.by_key[key] for key in keys if key in self.by_key}
        if len(found) > 1 and sum(course.size_bytes for course in found.values()) > COURSES_BYTES:
            raise TakeLess
        return found

    async def save(self, course: StoredCourse) -> bool:
        known = self.by_key.get(course.key)
        if (known.rev if known else 0) != course.rev:
            return False
        self.by_key[course.key] = replace(course, rev=course.rev + 1)
        return True

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        courses = await self.load(keys)
        return {
            key: (course.newest.version, course.newest.changed_at)
            for key, course in courses.items()
            if course.is_released
        }

    async def to_sweep(self, lane: int) -> list[str]:
        return [course.key for course in self.by_key.values() if course.lane == lane and course.sweeping]


class MemoryNotes:
    """The Notes of service.lanes.ports."""

    def __init__(self) -> None:
        self.by_lane: dict[int, Offsets] = {}

    async def committed(self, lane: int) -> Offsets:
        return self.by_lane.get(lane, {})

    async def note(self, lane: int, committed: Offsets) -> None:
        if sum(committed.values()) > sum(self.by_lane.get(lane, {}).values()):
            self.by_lane[lane] = dict(committed)


class MemorySkips:
    """The Skips of service.lanes.ports."""

    def __init__(self) -> None:
        self.by_place: dict[tuple[str, int, int], Skip] = {}

    async def wanted(self, topic: str, partition: int, offset: int) -> Skip | None:
        return self.by_place.get((topic, partition, offset))


class MemoryStore:
    """The Store of service.lanes.ports, and what erasures need."""

    def __init__(self) -> None:
        self.records = MemoryRecords()
        self.courses = MemoryCourses()
        self.notes = MemoryNotes()
        self.skips = MemorySkips()
        self.learners = MemoryLearners(self.records)

    async def check(self) -> None:
        """It is always there."""


def _learner(key: str) -> str:
    return key.rpartition("/")[0]
