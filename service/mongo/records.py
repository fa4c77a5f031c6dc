"""Records, one document each, written by compare-and-set on `rev`; and what has moved out of them.

Collections: `records`, and `record_history` (facts that have moved away, those that went together in one document).
"""

from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence

from pymongo import ReplaceOne

from rules.window import Past
from service.lanes.packed import Packed, unpack
from service.lanes.ports import History, Page, StoredRecord
from service.mongo.documents import page_body, page_document, record_document, revision_of, stored_record
from service.mongo.driver import Database, Document, mongo_answers, within
from service.mongo.tombstones import Tombstones


def _behind(course_key: str, version: int) -> Document:
    """Records of a course that were decided under an older version; the index `behind` finds them."""
    return {"course_key": course_key, "definition_version": {"$lt": version}}


class Records:
    """The Records of service.lanes.ports."""

    def __init__(self, database: Database, tombstones: Tombstones) -> None:
        self._records = database["records"]
        self._history = database["record_history"]
        self._tombstones = tombstones

    async def prepare(self) -> None:
        """Make the indexes."""
        await self._records.create_index(
            ["course_key", "open", "_id", "definition_version"],  # answers pages and counts without the records
            name="behind",
        )
        await self._records.create_index(
            ["course_key", "_id"], name="completed", partialFilterExpression={"status": "completed"}
        )
        await self._history.create_index(["facts"], name="facts")

    async def load(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        wanted = list(keys)
        if not wanted:
            return {}
        async with mongo_answers():
            documents = await self._records.find({"_id": {"$in": wanted}}).to_list(None)
        return {document["_id"]: stored_record(document) for document in documents}

    async def save(self, records: Sequence[StoredRecord]) -> bool:
        new = [record_document(record) for record in records if not record.rev]
        known = [
            ReplaceOne({"_id": record.key, "rev": record.rev}, record_document(record))
            for record in records
            if record.rev
        ]
        async with mongo_answers():
            hit = not new or await self._tombstones.insert(self._records, new)
            if known:
                result = await self._records.bulk_write(known, ordered=False)
                hit &= result.matched_count == len(known)
        return hit

    async def erased(self, keys: Iterable[str]) -> set[str]:
        async with mongo_answers():
            return await self._tombstones.among(keys)

    async def history(self, asked: Mapping[str, Some[str] | None]) -> dict[str, History]:
        """A page's `_id` begins with its record's key and a slash, its facts' with that too."""
        ids = [f"{key}/{message_id}" for key, message_ids in asked.items() for message_id in message_ids or ()]
        queries: list[Document] = [{"facts": {"$in": ids}}] if ids else []
        whole = [key for key, message_ids in asked.items() if message_ids is None]
        queries += [within(f"{key}/") for key in whole]
        past: dict[str, dict[str, Past]] = {key: {} for key in asked}
        decisions: dict[str, dict[str, Packed]] = {key: {} for key in asked}
        revs = dict.fromkeys(asked, 0)
        async with mongo_answers():
            pages = await self._history.find({"$or": queries}).sort("_id").to_list(None) if queries else []
        for page in pages:
            key = page["_id"].rpartition("/")[0]
            body, wanted = page_body(page), asked[key]
            revs[key] = revision_of(page)  # pages come in order of their revisions
            known = {one.fact.message_id: one for one in body.past}
            past[key].update({id_: one for id_, one in known.items() if wanted is None or id_ in wanted})
            decisions[key].update({one.message_id: one for one in unpack(body.decisions)})
        return {key: History(past[key], decisions[key], asked[key] is None, revs[key]) for key in asked}

    async def save_history(self, pages: Sequence[Page]) -> None:
        """New documents about learners, like new records: none of an erased one is inserted (tombstones)."""
        documents = {document["_id"]: document for document in map(page_document, pages)}
        async with mongo_answers():
            while documents and not await self._tombstones.insert(self._history, list(documents.values())):
                there = await self._history.find({"_id": {"$in": list(documents)}}, {"_id": 1}).to_list(None)
                for gone in {document["_id"] for document in there} | await self._tombstones.among(documents):
                    del documents[gone]

    async def behind(self, course_key: str, version: int, in_progress: bool, after: str, limit: int) -> list[str]:
        query = {**_behind(course_key, version), "open": in_progress, "_id": {"$gt": after}}
        async with mongo_answers():
            found = await self._records.find(query, {"_id": 1}).sort("_id").limit(limit).to_list(None)
        return [document["_id"] for document in found]

    async def count_behind(self, course_key: str, version: int) -> int:
        async with mongo_answers():
            asked = {**_behind(course_key, version), "open": {"$in": [True, False]}}
            return int(await self._records.count_documents(asked))
