"""Erased learners: tombstones without personal data, and why what was erased does not come back.

A tombstone's `_id` is the HMAC-SHA-256 of tenant and learner under a random key of this database; beside it stands when
it was erected, and, until those downstream are told, of which courses there were records (`untold`). Collections:
`erased` (tombstones), `secrets` (the key), `gates`.

An erasure writes the tombstone, touches every gate, and deletes the records, in this order. A new record is inserted by
a transaction that touches one gate, finds no tombstone, and inserts. MongoDB lets no two writes of a gate overlap: if
the erasure's comes first, the transaction reads what was written before it, the tombstone; if the transaction's comes
first, the record is there for the erasure to delete. So nothing depends on who inserts and when, not even on a worker
that was paused past its session and dies right after. Looking before and after the insert would, by such a worker.
Records that exist are replaced by compare-and-set on their revision, which a deleted one does not meet.
"""

import hmac
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from service.mongo.driver import Client, Collection, Database, Document

GATES = 64
"""So many inserts can go on at once without getting into each other's way."""
COLLISIONS = {112, 11000}
"""WriteConflict, DuplicateKey: somebody else was first."""


class Tombstones:
    """What a store knows of erased learners. Raises the driver's errors."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._erased = database["erased"]
        self._secrets = database["secrets"]
        self._gates = database["gates"]
        self._gate = secrets.randbelow(GATES)
        self._key = b""

    async def prepare(self) -> None:
        """Make the gates that are missing, all of them in a new database; and the collection of tombstones.

        A transaction can read no collection that is made while it goes on.
        """
        await self._erased.create_index("erased_at", name="erased_at")
        gates = [UpdateOne({"_id": gate}, {"$setOnInsert": {"touched": 0}}, upsert=True) for gate in range(GATES)]
        await self._gates.bulk_write(gates, ordered=False)

    async def among(self, keys: Iterable[str]) -> set[str]:
        """Those of these records' keys whose learner was erased."""
        by_id = await self._by_id(keys)
        if not by_id:
            return set()
        found = await self._erased.find({"_id": {"$in": list(by_id)}}, {"_id": 1}).to_list(None)
        return {key for document in found for key in by_id[document["_id"]]}

    async def erect(self, tenant_id: str, learner_id: str) -> datetime:
        """From here on no record of this learner is inserted, and whatever was inserted before can be seen.

        Gives when it was erected first, in UTC.
        """
        erected = await self._erased.find_one_and_update(
            await self._one(tenant_id, learner_id),
            {"$setOnInsert": {"erased_at": datetime.now(UTC)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        await self._gates.update_many({}, {"$inc": {"touched": 1}})
        at: datetime = erected["erased_at"]
        return at.replace(tzinfo=UTC)

    async def leave_untold(self, tenant_id: str, learner_id: str, course_ids: Sequence[str]) -> list[str]:
        """Keep of which courses records are about to go. Gives all of these that nobody was told of yet, in order."""
        kept = await self._erased.find_one_and_update(
            await self._one(tenant_id, learner_id),
            {"$addToSet": {"untold": {"$each": course_ids}}},
            return_document=ReturnDocument.AFTER,
        )
        return sorted(kept.get("untold", ()))

    async def forget_untold(self, tenant_id: str, learner_id: str) -> None:
        """Those downstream were told."""
        await self._erased.update_one(await self._one(tenant_id, learner_id), {"$unset": {"untold": ""}})

    async def _one(self, tenant_id: str, learner_id: str) -> Document:
        """The learner's own."""
        (id_,) = await self._by_id([f"{tenant_id}/{learner_id}/"])
        return {"_id": id_}

    async def insert(self, records: Collection, documents: Sequence[Document]) -> bool:
        """Insert new records, or pages of their history, all or none.

        False: one exists already, or belongs to an erased learner; look again.
        """
        ids = list(await self._by_id(document["_id"] for document in documents))
        self._gate = (self._gate + 1) % GATES
        options = ReadConcern("snapshot"), WriteConcern(w="majority", j=True)
        try:
            async with await self._client.start_session() as session, session.start_transaction(*options):
                # The gate first: the transaction sees the database as it is at its first operation.
                touched = await self._gates.update_one({"_id": self._gate}, {"$inc": {"touched": 1}}, session=session)
                if touched.matched_count and not await self._erased.find_one({"_id": {"$in": ids}}, session=session):
                    await records.insert_many(documents, ordered=False, session=session)
                    return True
        except BulkWriteError as error:
            if any(problem["code"] not in COLLISIONS for problem in error.details["writeErrors"]):
                raise
        except OperationFailure as error:
            if error.code not in COLLISIONS:
                raise
        else:
            if not touched.matched_count:
                await self.prepare()
        return False

    async def _by_id(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Keys of records, or what begins with one, by the id of their learner's tombstone."""
        by_id: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            learner = "/".join(key.split("/", 2)[:2])
            digest = hmac.digest(self._key or await self._read_key(), learner.encode(), "sha256")
            by_id[digest.hex()].append(key)
        return by_id

    async def _read_key(self) -> bytes:
        """The key of this database; made when it is first asked for, the same for all."""
        document = await self._secrets.find_one_and_update(
            {"_id": "tombstones"},
            {"$setOnInsert": {"key": secrets.token_bytes(32)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        self._key = bytes(document["key"])
        return self._key
