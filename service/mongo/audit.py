"""Who changed what: written before it is done, never changed. Collection: `audit`. It names no learner."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bson import ObjectId
from bson.errors import InvalidId

from service.mongo.driver import Database, Document, mongo_answers


class Entry(NamedTuple):
    """Somebody changed something. `where`: the address that it came from; `about`: ids of what it was about."""

    at: datetime
    who: str
    how: str
    where: str
    what: str
    tenant_id: str
    about: Mapping[str, Any]


class Audit:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._audit = database["audit"]

    async def prepare(self) -> None:
        """Make the index."""
        await self._audit.create_index(["tenant_id", "_id"], name="by_tenant")

    async def add(self, entry: Entry) -> None:
        """Keep it."""
        async with mongo_answers():
            await self._audit.insert_one(entry._asdict())

    async def page(self, tenants: Sequence[str] | None, before: str, limit: int) -> list[tuple[str, Entry]]:
        """The newest first, each with its id; `before`: those older than the one with this id; "": from the newest."""
        query: Document = {} if tenants is None else {"tenant_id": {"$in": list(tenants)}}
        try:
            query |= {"_id": {"$lt": ObjectId(before)}} if before else {}
        except InvalidId:
            return []
        async with mongo_answers():
            found = await self._audit.find(query).sort("_id", -1).limit(limit).to_list(None)
        return [(str(document.pop("_id")), _entry(document)) for document in found]


def _entry(document: Document) -> Entry:
    return Entry(**{**document, "at": document["at"].replace(tzinfo=UTC)})
