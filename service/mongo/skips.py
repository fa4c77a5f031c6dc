"""Batches that cannot be read and that somebody has decided to skip. Collection: `skips`."""

from service.lanes.ports import Skip
from service.mongo.driver import Database, mongo_answers


class Skips:
    """The Skips of service.lanes.ports; `add` is for commands."""

    def __init__(self, database: Database, group: str) -> None:
        self._skips = database["skips"]
        self._group = group

    def _id(self, topic: str, partition: int, offset: int) -> str:
        return f"{self._group}/{topic}/{partition}/{offset}"

    async def wanted(self, topic: str, partition: int, offset: int) -> Skip | None:
        async with mongo_answers():
            found = await self._skips.find_one({"_id": self._id(topic, partition, offset)})
        return None if found is None else Skip(found["by"], found["reason"], found["at"])

    async def add(self, topic: str, partition: int, offset: int, skip: Skip) -> None:
        """The first to decide it is remembered."""
        said = {"by": skip.by, "reason": skip.reason, "at": skip.at}
        async with mongo_answers():
            await self._skips.update_one(
                {"_id": self._id(topic, partition, offset)}, {"$setOnInsert": said}, upsert=True
            )
