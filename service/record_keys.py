"""Which records there are: of a tenant, of a course, of a learner; all, or some at random. For commands."""

import re
from collections.abc import AsyncIterator
from typing import Any

from contracts.fields import course_key
from service.mongo_errors import mongo_answers

PAGE = 100
Query = dict[str, Any]


def _query(tenant_id: str, course_id: str) -> Query:
    """Records of a tenant and a course; an empty id leaves it open."""
    if tenant_id and course_id:
        return {"course_key": course_key(tenant_id, course_id)}
    if course_id:
        return {"course_key": {"$regex": f"/{re.escape(course_id)}$"}}
    return within(f"{tenant_id}/") if tenant_id else {}


def within(prefix: str) -> Query:
    """Ids that begin with this, which ends with a slash. What follows a slash is a zero."""
    return {"_id": {"$gte": prefix, "$lt": f"{prefix[:-1]}0"}}


class RecordKeys:
    """The keys in the collection of records. Every method raises WaitAndRetry when the database is away."""

    def __init__(self, records: Any) -> None:
        self._records = records

    async def count(self, tenant_id: str = "", course_id: str = "") -> int:
        """How many records there are."""
        async with mongo_answers():
            return int(await self._records.count_documents(_query(tenant_id, course_id)))

    async def pages(self, tenant_id: str = "", course_id: str = "") -> AsyncIterator[list[str]]:
        """All of them in order, a hundred at a time."""
        query, after = _query(tenant_id, course_id), ""
        while page := await self._page({"$and": [query, {"_id": {"$gt": after}}]}):
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

    async def of_learner(self, tenant_id: str, learner_id: str) -> list[str]:
        """All of one learner, in order."""
        async with mongo_answers():
            query = within(f"{tenant_id}/{learner_id}/")
            return [
                document["_id"] for document in await self._records.find(query, {"_id": 1}).sort("_id").to_list(None)
            ]

    async def _page(self, query: Query) -> list[str]:
        async with mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(PAGE).to_list(None)
        return [document["_id"] for document in found]
