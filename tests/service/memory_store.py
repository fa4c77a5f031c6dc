"""The store in memory: the same promises as MongoDB's, checked by the same suite."""

import asyncio
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from contracts.fields import course_key_of
from rules.values import Instant
from service.errors import LaneLost
from service.ports import Lease, Offsets, StoredCourse, StoredRecord


class MemoryStore:
    """The Store of service.ports."""

    def __init__(self) -> None:
        self.records: dict[str, StoredRecord] = {}
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
        return {key: (course.versions[-1].version, course.versions[-1].changed_at) for key, course in courses.items()}

    async def courses_to_sweep(self, lane: int) -> list[StoredCourse]:
        return [course for course in self.courses.values() if course.lane == lane and course.sweeping]

    async def records_behind(self, course_key: str, version: int, after: str, limit: int) -> list[str]:
        behind = sorted(
            key
            for key, stored in self.records.items()
            if course_key_of(key) == course_key
            and stored.record.in_progress
            and stored.record.definition_version < version
            and key > after
        )
        return behind[:limit]


def _learner(key: str) -> str:
    return key.rpartition("/")[0]
