"""How far bulk commands have come that can be interrupted and go on. Collection: `uploads`."""

from typing import NamedTuple

from pymongo import ReturnDocument

from service.mongo.driver import Database, Document, mongo_answers


class Begun(NamedTuple):
    """When an upload first began, RFC 3339; through which line it has come; whether it has come to its end once."""

    started_at: str
    through: int
    ended: bool


class Uploads:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._uploads = database["uploads"]

    async def begin(self, upload_id: str, now: str) -> Begun:
        """It begins now, unless it has begun before."""
        async with mongo_answers():
            document = await self._uploads.find_one_and_update(
                {"_id": upload_id},
                {"$setOnInsert": {"started_at": now, "through": 0}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return _begun(document)

    async def find(self, upload_id: str) -> Begun | None:
        """None for one that has never begun."""
        async with mongo_answers():
            document = await self._uploads.find_one({"_id": upload_id})
        return None if document is None else _begun(document)

    async def note(self, upload_id: str, line: int) -> None:
        """Everything through this line has been acknowledged."""
        async with mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$max": {"through": line}})

    async def end(self, upload_id: str) -> None:
        """It is through; another one of the same file begins at its first line."""
        async with mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$set": {"through": 0, "ended": True}})

    async def forget(self, upload_id: str) -> None:
        """Done, and the same again is something new."""
        async with mongo_answers():
            await self._uploads.delete_one({"_id": upload_id})


def _begun(document: Document) -> Begun:
    return Begun(document["started_at"], document["through"], document.get("ended", False))
