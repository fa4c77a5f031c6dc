"""Long work that was asked for over HTTP: what is asked, how far it is, what came of it, with its files.

Who does a job says so every few seconds; one whose worker is silent is taken over by the next that looks. All of it
ends a week after it was asked for, because files name learners. Collections: `jobs`, `job_rows`, `job_files.*`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorGridFSBucket
from pymongo import ReplaceOne, ReturnDocument

from service.mongo.driver import Database, Document, mongo_answers

KEPT = timedelta(days=7)
SILENT = timedelta(seconds=30)
"""After this long without a sign of life a job is taken over."""
FileId = ObjectId
State = Literal["waiting", "running", "done", "failed"]


class Job(NamedTuple):
    """`kind`: what work it is; `asked`: how it is to be done; `files`: by name, those handed in and those made."""

    id: str
    kind: str
    tenant_id: str
    by: str
    created_at: datetime
    asked: Mapping[str, Any]
    dry_run: bool
    state: State = "waiting"
    total: int = 0
    """Rows or learners."""
    done: int = 0
    left: int | None = None
    """Messages that the workers have not decided yet; None: nobody waits for them, or not yet."""
    error: str | None = None
    report: Mapping[str, Any] | None = None
    files: Mapping[str, FileId] = {}
    row_count: int = 0


class RowShown(NamedTuple):
    """One row of a file with its verdict, as a page shows it."""

    line: int
    cells: Sequence[str]
    verdict: str
    why: str
    effect: str


class Jobs:
    """Every method raises WaitAndRetry when the database is away."""

    def __init__(self, database: Database) -> None:
        self._jobs = database["jobs"]
        self._rows = database["job_rows"]
        self._file_documents = database["job_files.files"]
        self._files = AsyncIOMotorGridFSBucket(database, bucket_name="job_files")

    async def prepare(self) -> None:
        """Make the indexes."""
        seconds = int(KEPT.total_seconds())
        await self._jobs.create_index("created_at", name="ends", expireAfterSeconds=seconds)
        await self._rows.create_index("created_at", name="ends", expireAfterSeconds=seconds)
        await self._rows.create_index(["job", "line"], name="lines")
        await self._jobs.create_index(["tenant_id", "created_at"], name="of_tenant")
        await self._jobs.create_index("state", name="to_do", partialFilterExpression={"open": True})

    async def add(self, job: Job) -> None:
        """It waits for somebody to do it. One that is there stays as it is."""
        said = {**_without_id(job), "open": True, "beat_at": job.created_at}
        async with mongo_answers():
            await self._jobs.update_one({"_id": job.id}, {"$setOnInsert": said}, upsert=True)

    async def find(self, job_id: str) -> Job | None:
        """None where there is none, or no more."""
        async with mongo_answers():
            document = await self._jobs.find_one({"_id": job_id})
        return None if document is None else _job(document)

    async def newest(
        self, tenants: Sequence[str] | None, before: str, limit: int, kinds: Collection[str] = ()
    ) -> list[Job]:
        """The newest first; `before`: those behind the one with this id. `tenants` None: of all; no `kinds`: any."""
        query: Document = {} if tenants is None else {"tenant_id": {"$in": list(tenants)}}
        if kinds:
            query |= {"kind": {"$in": list(kinds)}}
        async with mongo_answers():
            if before:
                known = await self._jobs.find_one({"_id": before}, {"created_at": 1})
                if known is None:
                    return []
                at = known["created_at"]
                query |= {"$or": [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": before}}]}
            order = [("created_at", -1), ("_id", -1)]
            found = await self._jobs.find(query).sort(order).limit(limit).to_list(None)
        return [_job(document) for document in found]

    async def take(self, worker: str) -> Job | None:
        """The oldest that nobody does; it is this worker's from now on."""
        now = datetime.now(UTC)
        free = [{"state": "waiting"}, {"state": "running", "beat_at": {"$lt": now - SILENT}}]
        async with mongo_answers():
            document = await self._jobs.find_one_and_update(
                {"open": True, "$or": free},
                {"$set": {"state": "running", "worker": worker, "beat_at": now}},
                sort=[("created_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _job(document)

    async def beat(self, job_id: str, worker: str, total: int, done: int, left: int | None) -> bool:
        """How far it is. False: somebody else has taken it over."""
        said = {"beat_at": datetime.now(UTC), "total": total, "done": done, "left": left}
        async with mongo_answers():
            result = await self._jobs.update_one({"_id": job_id, "worker": worker, "open": True}, {"$set": said})
        return bool(result.matched_count)

    async def put_back(self, job_id: str, worker: str) -> None:
        """This worker stops; the next may go on."""
        async with mongo_answers():
            await self._jobs.update_one({"_id": job_id, "worker": worker, "open": True}, {"$set": {"state": "waiting"}})

    async def end(
        self,
        job_id: str,
        worker: str,
        error: str | None,
        report: Mapping[str, Any] | None,
        files: Mapping[str, FileId],
        row_count: int,
    ) -> None:
        """What came of it; `error` None: it is done."""
        state: State = "done" if error is None else "failed"
        named = {f"files.{name}": file for name, file in files.items()}
        said = {"state": state, "error": error, "report": report, "row_count": row_count, "left": None, **named}
        async with mongo_answers():
            await self._jobs.update_one({"_id": job_id, "worker": worker}, {"$set": said, "$unset": {"open": ""}})

    async def keep_file(self, content: bytes) -> FileId:
        """For a week."""
        async with mongo_answers():
            return await self._files.upload_from_stream("", content)

    async def file(self, file_id: FileId) -> bytes | None:
        """None where it has ended."""
        async with mongo_answers():
            if await self._file_documents.find_one({"_id": file_id}, {"_id": 1}) is None:
                return None
            stream = await self._files.open_download_stream(file_id)
            return bytes(await stream.read())

    async def keep_rows(self, job_id: str, rows: Sequence[RowShown]) -> None:
        """The next ones, to be shown. Two who do the same job keep the same rows."""
        now = datetime.now(UTC)
        kept = [{"_id": f"{job_id}/{row.line}", "job": job_id, "created_at": now, **row._asdict()} for row in rows]
        async with mongo_answers():
            await self._rows.bulk_write(
                [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in kept], ordered=False
            )

    async def forget_rows(self, job_id: str) -> None:
        """A job that is done again shows them anew."""
        async with mongo_answers():
            await self._rows.delete_many({"job": job_id})

    async def rows(self, job_id: str, after: int, limit: int, verdict: str = "") -> list[RowShown]:
        """Those behind a line, of one verdict or of all."""
        query: Document = {"job": job_id, "line": {"$gt": after}, **({"verdict": verdict} if verdict else {})}
        async with mongo_answers():
            found = await self._rows.find(query).sort("line", 1).limit(limit).to_list(None)
        return [RowShown(*(document[name] for name in RowShown._fields)) for document in found]

    async def forget_old_files(self) -> None:
        """Those whose week is over."""
        async with mongo_answers():
            old = {"uploadDate": {"$lt": datetime.now(UTC) - KEPT}}
            async for document in self._file_documents.find(old, {"_id": 1}):
                await self._files.delete(document["_id"])


def new_id() -> str:
    """Nobody guesses it."""
    return uuid4().hex


def _without_id(job: Job) -> Document:
    return {name: value for name, value in job._asdict().items() if name != "id"}


def _job(document: Document) -> Job:
    fields = {name: document[name] for name in Job._fields if name in document}
    return Job(id=document["_id"], **{**fields, "created_at": document["created_at"].replace(tzinfo=UTC)})
