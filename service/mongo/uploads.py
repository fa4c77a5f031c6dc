"""How far bulk commands have come that can be interrupted and go on. Collection: `uploads`."""

from pymongo import ReturnDocument

from service.mongo.driver import Database, mongo_answers


class Uploads:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._uploads = database["uploads"]

    async def begin(self, upload_id: str, now: str) -> tuple[str, int]:
        """When an upload first began, RFC 3339, and through which line it has come."""
        async with mongo_answers():
            document = await self._uploads.find_one_and_update(
                {"_id": upload_id},
                {"$setOnInsert": {"started_at": now, "through": 0}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return document["started_at"], document["through"]

    async def find(self, upload_id: str) -> tuple[str, int] | None:
        """Likewise; None for one that has never begun."""
        async with mongo_answers():
            document = await self._uploads.find_one({"_id": upload_id})
        return None if document is None else (document["started_at"], document["through"])

    async def note(self, upload_id: str, line: int) -> None:
        """Everything through this line has been acknowledged."""
        async with mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$max": {"through": line}})

    async def end(self, upload_id: str) -> None:
        """It is through; another one of the same file begins at its first line."""
        async with mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$set": {"through": 0}})

    async def forget(self, upload_id: str) -> None:
        """Done, and the same again is something new."""
        async with mongo_answers():
            await self._uploads.delete_one({"_id": upload_id})
