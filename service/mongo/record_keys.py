"""Which records there are: of a tenant, of a course; all, some at random, or completed before a time. For commands."""

import re
from collections.abc import AsyncIterator

from contracts.fields import course_key
from rules.values import Instant
from service.mongo.driver import Database, Document, mongo_answers, within

PAGE = 100


def _query(tenant_id: str, course_id: str) -> Document:
    """Records of a tenant and a course; an empty id leaves it open."""
    if tenant_id and course_id:
        return {"course_key": course_key(tenant_id, course_id)}
    if course_id:
        return {"course_key": {"$regex": f"/{re.escape(course_id)}$"}}
    return within(f"{tenant_id}/") if tenant_id else {}


class RecordKeys:
    """The keys in the collection of records. Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._records = database["records"]

    async def count(self, tenant_id: str = "", course_id: str = "") -> int:
        """How many records there are."""
        async with mongo_answers():
            return int(await self._records.count_documents(_query(tenant_id, course_id)))

    async def pages(self, tenant_id: str = "", course_id: str = "", after: str = "") -> AsyncIterator[list[str]]:
        """All of them in order that are greater than `after`, a hundred at a time."""
        query = _query(tenant_id, course_id)
        while page := await self._page({"$and": [query, {"_id": {"$gt": after}}]}, PAGE):
            yield page
            after = page[-1]

    async def sample(self, size: int, tenant_id: str = "", course_id: str = "") -> list[str]:
        """So many of them at random, or all where there are fewer, in order."""
        query, only_key = _query(tenant_id, course_id), {"$project": {"_id": 1}}
        chance = {"$sample": {"size": size}}
        stages = [{"$match": query}, only_key, chance] if query else [chance, only_key]
        async with mongo_answers():
            found = await self._records.aggregate(stages, allowDiskUse=True).to_list(None)
        return sorted({document["_id"] for document in found})

    async def completed_before(self, course: str, before: Instant, after: str, limit: int) -> list[str]:
        """Those greater than `after` of the course's records that were completed before the instant, in order."""
        completed = {"course_key": course, "status": "completed", "completed_at": {"$lt": before}}
        return await self._page({**completed, "_id": {"$gt": after}}, limit)

    async def _page(self, query: Document, limit: int) -> list[str]:
        async with mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(limit).to_list(None)
        return [document["_id"] for document in found]
