"""All that is kept about one learner: which records, and how it is erased."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from contracts.fields import record_key, split_key
from service.mongo.driver import Database, mongo_answers, within
from service.mongo.tombstones import Tombstones


class Erased(NamedTuple):
    """How many records there were, when the learner was erased first, and keys of records that nobody was told of."""

    records: int
    at: datetime
    untold: list[str]


class Learners:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database, tombstones: Tombstones) -> None:
        self._records = database["records"]
        self._history = database["record_history"]
        self._tombstones = tombstones

    async def keys(self, tenant_id: str, learner_id: str) -> list[str]:
        """Of the learner's records, in order."""
        async with mongo_answers():
            found = await self._records.find(within(f"{tenant_id}/{learner_id}/"), {"_id": 1}).sort("_id").to_list(None)
        return [document["_id"] for document in found]

    async def known(self, learners: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these tenants' learners who have a record."""
        queries = [within(f"{tenant_id}/{learner_id}/") for tenant_id, learner_id in learners]
        async with mongo_answers():
            found = await self._records.find({"$or": queries}, {"_id": 1}).to_list(None) if queries else []
        keys = (split_key(document["_id"]) for document in found)
        return {(tenant_id, learner_id) for tenant_id, learner_id, _ in keys}

    async def erase(self, tenant_id: str, learner_id: str) -> Erased:
        """Delete all that is kept about a learner, for good (tombstones)."""
        one = tenant_id, learner_id
        about = within(f"{tenant_id}/{learner_id}/")
        async with mongo_answers():
            erased_at = await self._tombstones.erect(*one)
            courses = [split_key(key)[2] for key in await self.keys(*one)]
            untold = await self._tombstones.leave_untold(*one, courses)
            # Every collection whose _id begins with a record's key belongs here.
            await self._history.delete_many(about)
            records = int((await self._records.delete_many(about)).deleted_count)
        return Erased(records, erased_at, [record_key(*one, course_id) for course_id in untold])

    async def told(self, tenant_id: str, learner_id: str) -> None:
        """Those downstream know that all of it is gone."""
        async with mongo_answers():
            await self._tombstones.forget_untold(tenant_id, learner_id)
