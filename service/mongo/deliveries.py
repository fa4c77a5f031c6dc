"""Messages that came over HTTP, so that none goes on twice. Collection: `deliveries`, each kept for a week.

A message is claimed before it is sent and noted once it is. Who dies in between leaves a claim, which runs out: the
message is sent again then, and the workers count it once.
"""

from collections.abc import Iterable, Mapping, Sequence
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

    def is_final(self, digest: str) -> bool:
        """Whether there is nothing to wait for: it is sent, or its id is another message's than the one asked for."""
        return self.sent or self.digest != digest


class Claims(NamedTuple):
    """Ids that are ours to send from now on, and what others have sent, or are sending."""

    ours: Sequence[str]
    others: Mapping[str, Delivery]


class Deliveries:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database["deliveries"]

    async def prepare(self) -> None:
        """Make the index by which they end."""
        await self._deliveries.create_index("at", name="ends", expireAfterSeconds=int(KEPT.total_seconds()))

    async def claim(self, digests: Mapping[str, str]) -> Claims:
        """Claim these messages (id → digest), in the order of their ids, up to one that somebody else is sending.

        Who waits for that one holds only smaller ids; so no two ever wait for each other.
        """
        now = datetime.now(UTC)
        others = {id_: one for id_, one in (await self._find(digests)).items() if one.is_final(digests[id_])}
        ids = sorted(digests.keys() - others.keys())
        free = {"sent": False, "at": {"$lt": now - CLAIM}}
        claims = [
            UpdateOne({"_id": id_, "digest": digests[id_], **free}, {"$set": {"at": now}}, upsert=True) for id_ in ids
        ]
        async with mongo_answers():
            try:
                if claims:
                    await self._deliveries.bulk_write(claims, ordered=True)
            except BulkWriteError as error:
                (problem,) = error.details["writeErrors"]
                if problem["code"] != DUPLICATE:
                    raise
                taken = problem["index"]
                return Claims(ids[:taken], others | await self._find([ids[taken]]))
        return Claims(ids, others)

    async def _find(self, ids: Iterable[str]) -> dict[str, Delivery]:
        async with mongo_answers():
            found = await self._deliveries.find({"_id": {"$in": list(ids)}}).to_list(None)
        return {one["_id"]: Delivery(one["digest"], one["sent"]) for one in found}

    async def release(self, ids: Sequence[str]) -> None:
        """They were claimed, and nothing of them is sent."""
        async with mongo_answers():
            await self._deliveries.delete_many({"_id": {"$in": list(ids)}, "sent": False})

    async def sent(self, ids: Sequence[str]) -> None:
        """They are on their way."""
        async with mongo_answers():
            await self._deliveries.update_many(
                {"_id": {"$in": list(ids)}}, {"$set": {"sent": True, "at": datetime.now(UTC)}}
            )
