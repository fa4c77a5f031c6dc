"""Messages that came over HTTP, so that none goes on twice. Collection: `deliveries`, each kept for a week.

A message is claimed before it is sent and noted once it is. Who dies in between leaves a claim, which runs out: the
message is sent again then, and the workers count it once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from service.mongo.driver import Database, mongo_answers

KEPT = timedelta(days=7)
CLAIM = timedelta(seconds=90)
"""Longer than a send may take."""
DUPLICATE = 11000


class Delivery(NamedTuple):
    """Of a message: what is in it (a digest), whether it is sent."""

    digest: str
    sent: bool


class Deliveries:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database["deliveries"]

    async def prepare(self) -> None:
        """Make the index by which they end."""
        await self._deliveries.create_index("at", name="ends", expireAfterSeconds=int(KEPT.total_seconds()))

    async def claim(self, digests: Mapping[str, str]) -> dict[str, Delivery]:
        """Claim these messages (id → digest). Gives those that somebody else has: sent, or being sent."""
        now = datetime.now(UTC)
        free = {"sent": False, "at": {"$lt": now - CLAIM}}
        claims = [
            UpdateOne({"_id": id_, "digest": digest, **free}, {"$set": {"at": now}}, upsert=True)
            for id_, digest in digests.items()
        ]
        taken: list[str] = []
        async with mongo_answers():
            try:
                await self._deliveries.bulk_write(claims, ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
                if any(problem["code"] != DUPLICATE for problem in problems):
                    raise
                ids = list(digests)
                taken = [ids[problem["index"]] for problem in problems]
            found = await self._deliveries.find({"_id": {"$in": taken}}).to_list(None) if taken else []
        return {one["_id"]: Delivery(one["digest"], one["sent"]) for one in found}

    async def sent(self, ids: Sequence[str]) -> None:
        """They are on their way."""
        async with mongo_answers():
            await self._deliveries.update_many(
                {"_id": {"$in": list(ids)}}, {"$set": {"sent": True, "at": datetime.now(UTC)}}
            )
