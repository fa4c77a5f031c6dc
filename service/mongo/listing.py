"""Records as lists show them: found by what is said of them, counted by how they stand. For commands and pages."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contracts.fields import course_key
from rules.values import Instant
from service.mongo.driver import Database, Document, mongo_answers, within

PAGE_MAX = 1000
LIST_SECONDS = 20
"""No list takes longer: who asks is told to ask for less."""


class Wanted(NamedTuple):
    """Which records; what is None, or "", is left open. `tenants`: None, of every tenant; a learner needs one."""

    tenants: Sequence[str] | None
    course_id: str = ""
    learner_id: str = ""
    status: str | None = None
    evidence: str | None = None
    completed_via: str | None = None
    completed_after: Instant | None = None
    completed_before: Instant | None = None

    def query(self, after: str) -> Document:
        """Those with keys greater than `after`."""
        parts: list[Document] = [{"_id": {"$gt": after}}]
        if self.tenants is not None:
            parts.append({"$or": [self._of(tenant_id) for tenant_id in self.tenants]} if self.tenants else {"_id": ""})
        elif self.course_id:
            parts.append({"course_key": {"$regex": f"/{re.escape(self.course_id)}$"}})
        for name in ("status", "evidence", "completed_via"):
            value = getattr(self, name)
            if value is not None:
                parts.append({name: value})
        for operator, instant in (("$gt", self.completed_after), ("$lt", self.completed_before)):
            if instant is not None:
                parts.append({"completed_at": {operator: instant}})
        return {"$and": parts}

    def _of(self, tenant_id: str) -> Document:
        if self.course_id:
            return {"course_key": course_key(tenant_id, self.course_id)}
        return within(f"{tenant_id}/{self.learner_id}/" if self.learner_id else f"{tenant_id}/")


class Listed(NamedTuple):
    """What a list shows of a record. Times: microseconds since 1970."""

    key: str
    attempt: int
    status: str
    completed_via: str | None
    completed_at: Instant | None
    evidence: str | None


class Listing:
    """Over the collection of records. Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._records = database["records"]

    async def records(self, wanted: Wanted, after: str, limit: int) -> list[Listed]:
        """The next ones, in order of their keys."""
        shown = dict.fromkeys(Listed._fields[1:], 1)
        async with mongo_answers():
            found = self._records.find(wanted.query(after), shown).sort("_id").limit(min(limit, PAGE_MAX))
            return [_listed(document) for document in await found.max_time_ms(LIST_SECONDS * 1000).to_list(None)]

    async def standings(self, course: str) -> Mapping[tuple[str, str | None], int]:
        """How many of a course's records stand so: by status and evidence."""
        stages: list[Mapping[str, Any]] = [
            {"$match": {"course_key": course}},
            {"$group": {"_id": {"status": "$status", "evidence": "$evidence"}, "records": {"$sum": 1}}},
        ]
        counted: Counter[tuple[str, str | None]] = Counter()
        async with mongo_answers():
            async for document in self._records.aggregate(stages, maxTimeMS=LIST_SECONDS * 1000):
                counted[document["_id"]["status"], document["_id"].get("evidence")] = document["records"]
        return counted

    async def learners(self, tenant_id: str, begins: str, limit: int) -> list[str]:
        """Learners whose ids begin so, in order: each is one look into the index, however many records there are."""
        found: list[str] = []
        first, end = f"{tenant_id}/{begins}", f"{tenant_id}/{begins}\U0010ffff"
        if not begins:
            end = f"{tenant_id}0"
        async with mongo_answers():
            while len(found) < limit:
                query = {"_id": {"$gte": first, "$lt": end}}
                documents = await self._records.find(query, {"_id": 1}).sort("_id").limit(1).to_list(None)
                if not documents:
                    break
                learner_id = documents[0]["_id"].split("/")[1]
                found.append(learner_id)
                first = f"{tenant_id}/{learner_id}0"  # what follows a slash is a zero
        return found


def _listed(document: Mapping[str, Any]) -> Listed:
    return Listed(document["_id"], *(document.get(name) for name in Listed._fields[1:]))  # type: ignore[arg-type]
