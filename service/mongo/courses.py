"""Courses: all versions of each in one document, written by compare-and-set on `rev`. Collection: `courses`."""

from collections.abc import AsyncIterator, Iterable

from pymongo.errors import DuplicateKeyError

from rules.values import Instant
from service.errors import TakeLess
from service.lanes.bounds import COURSES_BYTES
from service.lanes.ports import StoredCourse
from service.mongo.documents import course_document, stored_course
from service.mongo.driver import Database, mongo_answers, within


class Courses:
    """The Courses of service.lanes.ports; `all` and `load_all` are for commands."""

    def __init__(self, database: Database) -> None:
        self._courses = database["courses"]

    async def prepare(self) -> None:
        """Make the index."""
        await self._courses.create_index(["lane"], name="sweeping", partialFilterExpression={"sweeping": True})

    async def load(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        courses: dict[str, StoredCourse] = {}
        size_bytes = 0
        async for course in self._load(keys):
            courses[course.key] = course
            size_bytes += course.size_bytes
            if size_bytes > COURSES_BYTES and len(courses) > 1:
                raise TakeLess(f"{len(courses)} courses have {size_bytes} bytes")
        return courses

    async def load_all(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        """However much they are."""
        return {course.key: course async for course in self._load(keys)}

    async def _load(self, keys: Iterable[str]) -> AsyncIterator[StoredCourse]:
        if wanted := list(keys):
            async with mongo_answers():
                async for document in self._courses.find({"_id": {"$in": wanted}}):
                    yield stored_course(document)

    async def save(self, course: StoredCourse) -> bool:
        document = course_document(course)
        async with mongo_answers():
            if course.rev:
                result = await self._courses.replace_one({"_id": course.key, "rev": course.rev}, document)
                return result.matched_count == 1
            try:
                await self._courses.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    async def all(self, tenant_id: str) -> AsyncIterator[StoredCourse]:
        """Every course of a tenant, or of all where it is empty, by key."""
        query = within(f"{tenant_id}/") if tenant_id else {}
        async with mongo_answers():
            async for document in self._courses.find(query).sort("_id"):
                yield stored_course(document)

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        query = {"_id": {"$in": list(keys)}, "is_released": True}
        async with mongo_answers():
            found = await self._courses.find(query, {"newest": 1}).to_list(None)
        return {document["_id"]: (document["newest"][0], document["newest"][1]) for document in found}

    async def to_sweep(self, lane: int) -> list[str]:
        async with mongo_answers():
            found = await self._courses.find({"lane": lane, "sweeping": True}, {"_id": 1}).to_list(None)
        return [document["_id"] for document in found]
