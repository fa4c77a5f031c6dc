"""Lanes: who has each, and how far it plans to go. Collection: `lanes`."""

from pymongo import ReturnDocument

from service.errors import LaneLost
from service.lanes.ports import Lease, Offsets
from service.mongo.driver import Database, mongo_answers


class Leases:
    """The Leases of service.lanes.ports."""

    def __init__(self, database: Database, group: str) -> None:
        self._lanes = database["lanes"]
        self._group = group

    def _id(self, lane: int) -> str:
        return f"{self._group}-{lane}"

    async def take(self, lane: int) -> Lease:
        async with mongo_answers():
            document = await self._lanes.find_one_and_update(
                {"_id": self._id(lane)},
                {"$inc": {"epoch": 1}, "$setOnInsert": {"plan": [], "committed": []}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return Lease(document["epoch"], dict(document["plan"]), dict(document["committed"]))

    async def plan(self, lane: int, epoch: int, end: Offsets, committed: Offsets) -> None:
        async with mongo_answers():
            result = await self._lanes.update_one(
                {"_id": self._id(lane), "epoch": epoch},
                {"$set": {"plan": list(end.items()), "committed": list(committed.items())}},
            )
        if not result.matched_count:
            raise LaneLost("another worker has raised the lane's epoch")
