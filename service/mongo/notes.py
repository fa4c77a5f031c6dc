"""Where lanes stood when they were last idle. Collection: `lanes`."""

from pymongo.errors import DuplicateKeyError

from service.lanes.progress import Offsets
from service.mongo.driver import Database, mongo_answers


class Notes:
    """The Notes of service.lanes.ports."""

    def __init__(self, database: Database, group: str) -> None:
        self._lanes = database["lanes"]
        self._group = group

    def _id(self, lane: int) -> str:
        return f"{self._group}-{lane}"

    async def committed(self, lane: int) -> Offsets:
        async with mongo_answers():
            document = await self._lanes.find_one({"_id": self._id(lane)})
        return {} if document is None else dict(document["committed"])

    async def note(self, lane: int, committed: Offsets) -> None:
        """Each of a lane's offsets only rises, so their sum says which of two notes is the later one."""
        total = sum(committed.values())
        async with mongo_answers():
            try:
                await self._lanes.update_one(
                    {"_id": self._id(lane), "total": {"$lt": total}},
                    {"$set": {"committed": list(committed.items()), "total": total}},
                    upsert=True,
                )
            except DuplicateKeyError:
                return  # somebody has noted as much
