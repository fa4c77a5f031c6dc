"""Which dead letters were sent again, with the number of the batch that each went with. Collection: `replays`."""

from collections.abc import Iterable

from service.mongo.driver import Database, mongo_answers


class Replays:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database, group: str) -> None:
        self._replays = database["replays"]
        self._group = group

    async def prepare(self) -> None:
        """Make the index."""
        await self._replays.create_index(["group", "batch"], name="batches")

    async def forget(self, batch: int) -> None:
        """Those of this batch and later ones never went out."""
        async with mongo_answers():
            await self._replays.delete_many({"group": self._group, "batch": {"$gte": batch}})

    async def last(self) -> int:
        """The number of the last batch that was noted; 0 where there was none."""
        async with mongo_answers():
            found = await self._replays.find({"group": self._group}).sort("batch", -1).limit(1).to_list(None)
        return int(found[0]["batch"]) if found else 0

    async def among(self, letter_ids: Iterable[str]) -> set[str]:
        """Which of these dead letters were replayed."""
        wanted = [f"{self._group}/{letter_id}" for letter_id in letter_ids]
        async with mongo_answers():
            found = await self._replays.find({"_id": {"$in": wanted}}, {"_id": 1}).to_list(None)
        return {document["_id"].rsplit("/", 1)[1] for document in found}

    async def note(self, batch: int, letter_ids: Iterable[str]) -> None:
        """These go out with this batch."""
        documents = [{"_id": f"{self._group}/{id_}", "group": self._group, "batch": batch} for id_ in letter_ids]
        async with mongo_answers():
            await self._replays.insert_many(documents)
