"""The store in memory: the same promises as MongoDB's, checked by the same suite."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from contracts.fields import course_key_of
from rules.values import Instant
from service.errors import LaneLost
from service.packed import unpack
from service.ports import History, Lease, Offsets, Page, StoredCourse, StoredRecord


class MemoryStore:
    """The Store of service.ports."""

    def __init__(self) -> None:
        self.records: dict[str, StoredRecord] = {}
        self.pages: dict[str, list[Page]] = {}
        self.courses: dict[str, StoredCourse] = {}
        self.tombstones: set[str] = set()
        self._lanes: dict[int, Lease] = {}

    async def check(self) -> None:
        """It is always there."""

    async def take_lane(self, lane: int) -> Lease:
        lease = self._lanes.get(lane, Lease(0, {}, {}))
        self._lanes[lane] = replace(lease, epoch=lease.epoch + 1)
        return self._lanes[lane]

    async def plan(self, lane: int, epoch: int, end: Offsets, committed: Offsets) -> None:
        if self._lanes[lane].epoch != epoch:
            raise LaneLost("another worker has raised the lane's epoch")
        self._lanes[lane] = Lease(epoch, dict(end), dict(committed))

    async def load_records(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        return {key: self.records[key] for key in keys if key in self.records}

    async def save_records(self, records: Sequence[StoredRecord]) -> bool:
        erased = await self.erased(record.key for record in records if not record.rev)
        hits = [record for record in records if self._rev(record.key) == record.rev and record.key not in erased]
        for record in hits:
            self.records[record.key] = replace(record, rev=record.rev + 1)
        return len(hits) == len(records)

    def _rev(self, key: str) -> int:
        return self.records[key].rev if key in self.records else 0

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        return {key: self._history(key, wanted) for key, wanted in asked.items()}

    def _history(self, key: str, wanted: Collection[str] | None) -> History:
        pages = sorted(self.pages.get(key, ()), key=lambda page: page.rev)
        past = {past.fact.message_id: past for page in pages for past in page.past}
        decisions = {one.message_id: one for page in pages for one in unpack(page.decisions)}
        if wanted is None:
            return History(past, decisions, whole=True)
        return History({id_: past[id_] for id_ in wanted if id_ in past}, decisions)

    async def save_history(self, pages: Sequence[Page]) -> None:
        erased = await self.erased(page.key for page in pages)
        for page in pages:
            if page.key not in erased:
                self.pages.setdefault(page.key, []).append(page)

    async def erased(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if _learner(key) in self.tombstones}

    async def erase_learner(self, tenant_id: str, learner_id: str) -> int:
        """As MongoStore does."""
        self.erect_tombstone(f"{tenant_id}/{learner_id}")
        await asyncio.sleep(0)
        return self.delete_records(f"{tenant_id}/{learner_id}")

    def erect_tombstone(self, learner: str) -> None:
        """The first step of an erasure."""
        self.tombstones.add(learner)

    def delete_records(self, learner: str) -> int:
        """The second one."""
        for key in [key for key in self.pages if _learner(key) == learner]:
            del self.pages[key]
        gone = [key for key in self.records if _learner(key) == learner]
        for key in gone:
            del self.records[key]
        return len(gone)

    async def load_courses(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        return {key: self.courses[key] for key in keys if key in self.courses}

    async def save_course(self, course: StoredCourse) -> bool:
        known = self.courses.get(course.key)
        if (known.rev if known else 0) != course.rev:
            return False
        self.courses[course.key] = replace(course, rev=course.rev + 1)
        return True

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        courses = await self.load_courses(keys)
        return {
            key: (course.newest.version, course.newest.changed_at)
            for key, course in courses.items()
            if course.is_released
        }

    async def courses_to_sweep(self, lane: int) -> list[StoredCourse]:
        return [course for course in self.courses.values() if course.lane == lane and course.sweeping]

    async def records_behind(self, course_key: str, version: int, after: str, limit: int) -> list[str]:
        return sorted(key for key in self._behind(course_key, version) if key > after)[:limit]

    async def count_behind(self, course_key: str, version: int) -> int:
        return len(self._behind(course_key, version))

    def _behind(self, course_key: str, version: int) -> list[str]:
        return [
            key
            for key, stored in self.records.items()
            if course_key_of(key) == course_key
            and stored.record.in_progress
            and stored.record.definition_version < version
        ]


def _learner(key: str) -> str:
    return key.rpartition("/")[0]
