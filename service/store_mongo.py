"""The store on MongoDB, and the one file that imports Motor.

Collections: `records` (one document per record, written by compare-and-set on `rev`), `courses`, `lanes`. Writes are
`w: majority, j: true`, reads have read concern majority.
"""

import warnings
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from motor.motor_asyncio import AsyncIOMotorClient
from msgspec.structs import replace
from pymongo import InsertOne, ReplaceOne, ReturnDocument
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from contracts.fields import course_key_of
from rules.values import (
    Certificate,
    Course,
    Decision,
    Fact,
    Instant,
    Order,
    Record,
    Standing,
    Step,
)
from service.errors import FixConfiguration, LaneLost, WaitAndRetry
from service.ports import Lease, Offsets, Pending, StoredCourse, StoredDefinition, StoredRecord

Document = dict[str, Any]
DUPLICATE_KEY = 11000
CALL_SECONDS = 20.0
NOT_ALLOWED = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, and Atlas' word for either."""


def record_document(stored: StoredRecord) -> Document:
    """A record as it is stored, with its next revision. `open`: in progress, for the sweeps."""
    record = stored.record
    plain = msgspec.to_builtins
    return {
        "_id": stored.key,
        "rev": stored.rev + 1,
        "course_key": course_key_of(stored.key),
        "open": record.in_progress,
        "definition_version": record.definition_version,
        "attempt": record.attempt,
        "sequence": record.sequence,
        "course": plain(record.standing.course),
        "certificate": plain(record.standing.certificate),
        "steps": [_step_document(step) for step in record.standing.steps.values()],
        "reassigned": record.reassigned,
        "facts": plain(list(record.facts.values())),
        "overridden": sorted(record.overridden),
        "decisions": [_decision_document(decision) for decision in record.decisions],
        "pending": plain(stored.pending, builtin_types=(bytes,)),
    }


def _step_document(step: Step) -> list[Any]:
    """Session ids may hold dots, which are awkward as field names: sessions are stored as pairs."""
    document: list[Any] = msgspec.to_builtins(replace(step, sessions={}))
    document[_SESSIONS] = [[name, msgspec.to_builtins(value)] for name, value in step.sessions.items()]
    return document


def _step(document: Sequence[Any]) -> Step:
    fields = list(document)
    fields[_SESSIONS] = dict(fields[_SESSIONS])
    return msgspec.convert(fields, Step)


def _decision_document(decision: Decision) -> list[Any]:
    before, after = decision.step_before, decision.step_after
    document: list[Any] = msgspec.to_builtins(replace(decision, step_before=None, step_after=None))
    document[_STEP_BEFORE] = None if before is None else _step_document(before)
    document[_STEP_AFTER] = None if after is None else _step_document(after)
    return document


def _decision(document: Sequence[Any]) -> Decision:
    fields = list(document)
    steps = {place: fields[place] for place in (_STEP_BEFORE, _STEP_AFTER)}
    fields[_STEP_BEFORE] = fields[_STEP_AFTER] = None
    decision = msgspec.convert(fields, Decision)
    before, after = (None if step is None else _step(step) for step in steps.values())
    return replace(decision, step_before=before, step_after=after)


_SESSIONS = Step.__struct_fields__.index("sessions")
_STEP_BEFORE = Decision.__struct_fields__.index("step_before")
_STEP_AFTER = Decision.__struct_fields__.index("step_after")


def stored_record(document: Mapping[str, Any]) -> StoredRecord:
    """The inverse of `record_document`."""
    facts = {fact.message_id: fact for fact in msgspec.convert(document["facts"], list[Fact])}
    newest = next(reversed(facts.values()), None)
    steps = {step.step_id: step for step in map(_step, document["steps"])}
    record = Record(
        document["attempt"],
        Standing(
            steps,
            msgspec.convert(document["course"], Course),
            msgspec.convert(document["certificate"], Certificate | None),
        ),
        facts,
        None if newest is None else (newest.changed_at, newest.message_id),
        msgspec.convert(document["reassigned"], Order | None),
        frozenset(document["overridden"]),
        document["definition_version"],
        document["sequence"],
        tuple(_decision(decision) for decision in document["decisions"]),
    )
    pending = msgspec.convert(document["pending"], tuple[Pending, ...], builtin_types=(bytes,))
    return StoredRecord(document["_id"], document["rev"], record, pending)


def _course_document(course: StoredCourse) -> Document:
    return {
        "_id": course.key,
        "rev": course.rev + 1,
        "lane": course.lane,
        "sweeping": course.sweeping,
        "newest": [course.versions[-1].version, course.versions[-1].changed_at],
        "versions": msgspec.to_builtins(course.versions),
    }


def _stored_course(document: Mapping[str, Any]) -> StoredCourse:
    versions = msgspec.convert(document["versions"], tuple[StoredDefinition, ...])
    return StoredCourse(document["_id"], document["rev"], document["lane"], versions, document["sweeping"])


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
        self._courses = chosen["courses"]
        self._lanes = chosen["lanes"]

    async def prepare(self) -> None:
        """Make the indexes. Raises FixConfiguration where the database is not fit, WaitAndRetry where it is away."""
        async with _mongo_answers():
            hello = await self._client.admin.command("hello")
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise FixConfiguration(
                    "RATCHET_MONGODB_URI: names a single server, which cannot give majority guarantees; "
                    "use a replica set, even of one member"
                )
            await self._records.create_index(
                ["course_key", "definition_version", "_id"],
                name="in_progress",
                partialFilterExpression={"open": True},
            )
            await self._courses.create_index(["lane"], name="sweeping", partialFilterExpression={"sweeping": True})

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
        documents = [record_document(record) for record in records]
        writes: list[InsertOne[Document] | ReplaceOne[Document]] = [
            ReplaceOne({"_id": stored.key, "rev": stored.rev}, document) if stored.rev else InsertOne(document)
            for stored, document in zip(records, documents, strict=True)
        ]
        async with _mongo_answers():
            try:
                result = await self._records.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                if any(problem["code"] != DUPLICATE_KEY for problem in error.details["writeErrors"]):
                    raise
                return False
        return bool(result.matched_count + result.inserted_count == len(writes))

    async def load_courses(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        wanted = list(keys)
        if not wanted:
            return {}
        async with _mongo_answers():
            documents = await self._courses.find({"_id": {"$in": wanted}}).to_list(None)
        return {document["_id"]: _stored_course(document) for document in documents}

    async def save_course(self, course: StoredCourse) -> bool:
        document = _course_document(course)
        async with _mongo_answers():
            if course.rev:
                result = await self._courses.replace_one({"_id": course.key, "rev": course.rev}, document)
                return result.matched_count == 1
            try:
                await self._courses.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        async with _mongo_answers():
            found = await self._courses.find({"_id": {"$in": list(keys)}}, {"newest": 1}).to_list(None)
        return {document["_id"]: (document["newest"][0], document["newest"][1]) for document in found}

    async def courses_to_sweep(self, lane: int) -> list[StoredCourse]:
        async with _mongo_answers():
            documents = await self._courses.find({"lane": lane, "sweeping": True}).to_list(None)
        return [_stored_course(document) for document in documents]

    async def records_behind(self, course_key: str, version: int, after: str, limit: int) -> list[str]:
        query = {
            "course_key": course_key,
            "open": True,
            "definition_version": {"$lt": version},
            "_id": {"$gt": after},
        }
        async with _mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(limit).to_list(None)
        return [document["_id"] for document in found]


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
    except (PyMongoError, ValueError, UserWarning) as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None
    return MongoStore(client, database, group)


@asynccontextmanager
async def _mongo_answers() -> AsyncIterator[None]:
    """Turns MongoDB's errors into ours."""
    try:
        yield
    except ConfigurationError as error:
        raise FixConfiguration(f"RATCHET_MONGODB_URI: {error}") from None
    except OperationFailure as error:
        if error.code in NOT_ALLOWED:
            raise FixConfiguration(f"RATCHET_MONGODB_URI: MongoDB refuses the user: {_short(error)}") from None
        raise WaitAndRetry(f"MongoDB could not do it: {_short(error)}") from None
    except PyMongoError as error:
        raise WaitAndRetry(f"MongoDB is away: {_short(error)}") from None


def _short(error: PyMongoError) -> str:
    """The error without the documents and topology that it quotes: they may hold learners' data."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"
