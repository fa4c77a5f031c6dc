"""The store on MongoDB, and the one file that imports Motor.

Collections: `records` (one document per record, written by compare-and-set on `rev`), `record_history` (the facts that
have moved out of records, those that went together in one document), `courses`, `lanes`, `replays` (of dead letters),
`uploads`, and those of service.tombstones. Writes are `w: majority, j: true`, reads have read concern majority.
"""

import warnings
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReplaceOne, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from rules.values import Instant
from rules.window import Past
from service.documents import (
    Document,
    course_document,
    page_document,
    record_document,
    stored_course,
    stored_record,
    unpack_page,
)
from service.errors import FixConfiguration, LaneLost
from service.mongo_errors import mongo_answers as _mongo_answers
from service.packed import Packed, unpack
from service.ports import (
    History,
    Lease,
    Offsets,
    Page,
    StoredCourse,
    StoredRecord,
)
from service.record_keys import RecordKeys, within
from service.tombstones import Tombstones

CALL_SECONDS = 20.0


def _behind(course_key: str, version: int) -> Document:
    """Records of a course in progress that were decided under an older version; the index `behind` finds them."""
    return {"course_key": course_key, "open": True, "definition_version": {"$lt": version}}


class MongoStore:
    """The Store of service.ports. Made by `connect`."""

    def __init__(self, client: AsyncIOMotorClient[Document], database: str, group: str) -> None:
        self._client = client
        self._group = group
        chosen = client.get_database(
            database,
            write_concern=WriteConcern(w="majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self._records = chosen["records"]
        self._history = chosen["record_history"]
        self._courses = chosen["courses"]
        self._lanes = chosen["lanes"]
        self._replays = chosen["replays"]
        self._uploads = chosen["uploads"]
        self._tombstones = Tombstones(client, chosen)
        self.keys = RecordKeys(self._records)

    async def check(self) -> None:
        """Ask for an answer. Raises FixConfiguration where the database is not fit, WaitAndRetry where it is away."""
        async with _mongo_answers():
            hello = await self._client.admin.command("hello")
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise FixConfiguration(
                    "RATCHET_MONGODB_URI: names a single server, which cannot give majority guarantees; "
                    "use a replica set, even of one member"
                )

    async def prepare(self) -> None:
        """Check, and make the indexes."""
        await self.check()
        async with _mongo_answers():
            await self._records.create_index(
                ["course_key", "open", "_id", "definition_version"],  # answers pages and counts without the records
                name="behind",
                partialFilterExpression={"open": True},
            )
            await self._records.create_index(
                ["course_key", "_id"], name="completed", partialFilterExpression={"status": "completed"}
            )
            await self._history.create_index(["facts"], name="facts")
            await self._replays.create_index(["group", "batch"], name="batches")
            await self._courses.create_index(["lane"], name="sweeping", partialFilterExpression={"sweeping": True})
            await self._tombstones.prepare()

    async def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _lane_id(self, lane: int) -> str:
        return f"{self._group}-{lane}"

    async def take_lane(self, lane: int) -> Lease:
        async with _mongo_answers():
            document = await self._lanes.find_one_and_update(
                {"_id": self._lane_id(lane)},
                {"$inc": {"epoch": 1}, "$setOnInsert": {"plan": [], "committed": []}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return Lease(document["epoch"], dict(document["plan"]), dict(document["committed"]))

    async def plan(self, lane: int, epoch: int, end: Offsets, committed: Offsets) -> None:
        async with _mongo_answers():
            result = await self._lanes.update_one(
                {"_id": self._lane_id(lane), "epoch": epoch},
                {"$set": {"plan": list(end.items()), "committed": list(committed.items())}},
            )
        if not result.matched_count:
            raise LaneLost("another worker has raised the lane's epoch")

    async def load_records(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        wanted = list(keys)
        if not wanted:
            return {}
        async with _mongo_answers():
            documents = await self._records.find({"_id": {"$in": wanted}}).to_list(None)
        return {document["_id"]: stored_record(document) for document in documents}

    async def save_records(self, records: Sequence[StoredRecord]) -> bool:
        new = [record_document(record) for record in records if not record.rev]
        known = [
            ReplaceOne({"_id": record.key, "rev": record.rev}, record_document(record))
            for record in records
            if record.rev
        ]
        async with _mongo_answers():
            hit = not new or await self._tombstones.insert(self._records, new)
            if known:
                result = await self._records.bulk_write(known, ordered=False)
                hit &= result.matched_count == len(known)
        return hit

    async def erased(self, keys: Iterable[str]) -> set[str]:
        async with _mongo_answers():
            return await self._tombstones.among(keys)

    async def erase_learner(self, tenant_id: str, learner_id: str) -> int:
        """Delete all that is kept about a learner, for good (service.tombstones). Gives how many records there were."""
        about = within(f"{tenant_id}/{learner_id}/")
        async with _mongo_answers():
            await self._tombstones.erect(tenant_id, learner_id)
            # Every collection whose _id begins with a record's key belongs here.
            await self._history.delete_many(about)
            return int((await self._records.delete_many(about)).deleted_count)

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        """A page's `_id` begins with its record's key and a slash, its facts' with that too."""
        ids = [f"{key}/{message_id}" for key, message_ids in asked.items() for message_id in message_ids or ()]
        queries: list[Document] = [{"facts": {"$in": ids}}] if ids else []
        whole = [key for key, message_ids in asked.items() if message_ids is None]
        queries += [within(f"{key}/") for key in whole]
        past: dict[str, dict[str, Past]] = {key: {} for key in asked}
        decisions: dict[str, dict[str, Packed]] = {key: {} for key in asked}
        async with _mongo_answers():
            pages = await self._history.find({"$or": queries}).sort("_id").to_list(None) if queries else []
        for page in pages:
            key = page["_id"].rpartition("/")[0]
            body, wanted = unpack_page(page["body"]), asked[key]
            known = {one.fact.message_id: one for one in body.past}
            past[key].update({id_: one for id_, one in known.items() if wanted is None or id_ in wanted})
            decisions[key].update({one.message_id: one for one in unpack(body.decisions)})
        return {key: History(past[key], decisions[key], message_ids is None) for key, message_ids in asked.items()}

    async def save_history(self, pages: Sequence[Page]) -> None:
        """New documents about learners, like new records: none of an erased one is inserted (service.tombstones)."""
        documents = {document["_id"]: document for document in map(page_document, pages)}
        async with _mongo_answers():
            while documents and not await self._tombstones.insert(self._history, list(documents.values())):
                there = await self._history.find({"_id": {"$in": list(documents)}}, {"_id": 1}).to_list(None)
                for gone in {document["_id"] for document in there} | await self._tombstones.among(documents):
                    del documents[gone]

    async def load_courses(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        wanted = list(keys)
        if not wanted:
            return {}
        async with _mongo_answers():
            documents = await self._courses.find({"_id": {"$in": wanted}}).to_list(None)
        return {document["_id"]: stored_course(document) for document in documents}

    async def save_course(self, course: StoredCourse) -> bool:
        document = course_document(course)
        async with _mongo_answers():
            if course.rev:
                result = await self._courses.replace_one({"_id": course.key, "rev": course.rev}, document)
                return result.matched_count == 1
            try:
                await self._courses.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    async def all_courses(self, tenant_id: str) -> AsyncIterator[StoredCourse]:
        """Every course of a tenant, or of all where it is empty, by key."""
        query = within(f"{tenant_id}/") if tenant_id else {}
        async with _mongo_answers():
            async for document in self._courses.find(query).sort("_id"):
                yield stored_course(document)

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        query = {"_id": {"$in": list(keys)}, "is_released": True}
        async with _mongo_answers():
            found = await self._courses.find(query, {"newest": 1}).to_list(None)
        return {document["_id"]: (document["newest"][0], document["newest"][1]) for document in found}

    async def courses_to_sweep(self, lane: int) -> list[StoredCourse]:
        async with _mongo_answers():
            documents = await self._courses.find({"lane": lane, "sweeping": True}).to_list(None)
        return [stored_course(document) for document in documents]

    async def records_behind(self, course_key: str, version: int, after: str, limit: int) -> list[str]:
        query = {**_behind(course_key, version), "_id": {"$gt": after}}
        async with _mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(limit).to_list(None)
        return [document["_id"] for document in found]

    async def count_behind(self, course_key: str, version: int) -> int:
        async with _mongo_answers():
            return int(await self._records.count_documents(_behind(course_key, version)))

    # -- replays of dead letters (service.admin.dead_letters) ---------------------------------------------------

    async def forget_replays(self, batch: int) -> None:
        """Those of this batch and later ones never went out."""
        async with _mongo_answers():
            await self._replays.delete_many({"group": self._group, "batch": {"$gte": batch}})

    async def last_replay(self) -> int:
        """The number of the last batch that was noted; 0 where there was none."""
        async with _mongo_answers():
            found = await self._replays.find({"group": self._group}).sort("batch", -1).limit(1).to_list(None)
        return int(found[0]["batch"]) if found else 0

    async def replays(self, letter_ids: Iterable[str]) -> set[str]:
        """Which of these dead letters were replayed."""
        wanted = [f"{self._group}/{letter_id}" for letter_id in letter_ids]
        async with _mongo_answers():
            found = await self._replays.find({"_id": {"$in": wanted}}, {"_id": 1}).to_list(None)
        return {document["_id"].rsplit("/", 1)[1] for document in found}

    async def note_replays(self, batch: int, letter_ids: Iterable[str]) -> None:
        """These go out with this batch."""
        documents = [{"_id": f"{self._group}/{id_}", "group": self._group, "batch": batch} for id_ in letter_ids]
        async with _mongo_answers():
            await self._replays.insert_many(documents)

    # -- bulk commands that can be interrupted (service.admin) ----------------------------------------------------

    async def begin_upload(self, upload_id: str, now: str) -> tuple[str, int]:
        """When an upload first began, RFC 3339, and through which line it has come."""
        async with _mongo_answers():
            document = await self._uploads.find_one_and_update(
                {"_id": upload_id},
                {"$setOnInsert": {"started_at": now, "through": 0}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return document["started_at"], document["through"]

    async def find_upload(self, upload_id: str) -> tuple[str, int] | None:
        """Likewise; None for one that has never begun."""
        async with _mongo_answers():
            document = await self._uploads.find_one({"_id": upload_id})
        return None if document is None else (document["started_at"], document["through"])

    async def note_upload(self, upload_id: str, line: int) -> None:
        """Everything through this line has been acknowledged."""
        async with _mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$max": {"through": line}})

    async def forget_upload(self, upload_id: str) -> None:
        """Done, and the same again is something new."""
        async with _mongo_answers():
            await self._uploads.delete_one({"_id": upload_id})

    async def completed_before(self, course_key: str, before: Instant, after: str, limit: int) -> list[str]:
        """Keys, in order and greater than `after`, of the course's records that were completed before the instant."""
        query = {
            "course_key": course_key,
            "status": "completed",
            "completed_at": {"$lt": before},
            "_id": {"$gt": after},
        }
        async with _mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(limit).to_list(None)
        return [document["_id"] for document in found]

    async def end_upload(self, upload_id: str) -> None:
        """It is through; another one of the same file begins at its first line."""
        async with _mongo_answers():
            await self._uploads.update_one({"_id": upload_id}, {"$set": {"through": 0}})


def connect(uri: str, database: str, group: str, tls: Mapping[str, Any]) -> MongoStore:
    """A store on this database. Nothing is contacted yet. Raises FixConfiguration for an address that is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # how the driver tells of options that it does not know
            client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
                uri,
                appname="ratchet",
                serverSelectionTimeoutMS=int(CALL_SECONDS * 250),
                timeoutMS=int(CALL_SECONDS * 1000),
                retryWrites=True,
                **tls,
            )
    except OSError as error:
        names = "RATCHET_MONGODB_CA_FILE, RATCHET_MONGODB_CERTIFICATE_KEY_FILE"
        raise FixConfiguration(f"{names}: {error}") from None
    except (PyMongoError, ValueError, UserWarning) as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None
    return MongoStore(client, database, group)
