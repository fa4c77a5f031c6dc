"""Documents say in which format they are: an older one is read and taken over, a newer one refused and left alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from bson.json_util import loads
from pymongo import MongoClient

from service.errors import FixConfiguration
from service.mongo.documents import FORMAT, page_body, stored_course, stored_record
from tests.commands.test_commands import ATTENDED
from tests.stack.service import World
from tests.stack.wire import Wire

OLD: dict[str, list[dict[str, Any]]] = loads((Path(__file__).parent / "formats" / "0.json").read_text("utf-8"))
"""As a worker stored them before documents had a number; two learners of one course, one with a long history."""
FINISHED, LONG = "acme/l-1/c-1", "acme/l-2/c-1"


def test_the_old_documents_have_no_number() -> None:
    assert {name: len(documents) > 0 for name, documents in OLD.items()} == {
        "records": True,
        "record_history": True,
        "courses": True,
    }
    assert not any("format" in document for documents in OLD.values() for document in documents)


def test_old_documents_are_read() -> None:
    records = {record.key: record for record in map(stored_record, OLD["records"])}
    assert set(records) == {FINISHED, LONG}
    assert records[FINISHED].record.standing.course.status == "completed"
    assert [course.newest.version for course in map(stored_course, OLD["courses"])] == [2]
    assert all(page_body(page).past for page in OLD["record_history"])


@pytest.mark.parametrize(
    ("read", "name"), [(stored_record, "records"), (stored_course, "courses"), (page_body, "record_history")]
)
def test_a_newer_document_is_refused(read: Any, name: str) -> None:
    with pytest.raises(FixConfiguration, match=f"format {FORMAT + 1}, and this version reads up to {FORMAT}"):
        read({**OLD[name][0], "format": FORMAT + 1})


async def test_a_database_is_taken_over_and_keeps_what_it_knew(world: World, wire: Wire) -> None:
    with MongoClient[dict[str, Any]](world.database.address) as client:
        database = client[world.name]
        for name, documents in OLD.items():
            database[name].insert_many(documents)
        serving = world.serve().wait_until_ready()
        before = json.loads(world.run("explain", "acme", "l-2", "c-1", "--json").stdout)
        late = {**ATTENDED, "learner_id": "l-2", "message_id": "late", "changed_at": "2026-01-20T09:00:00Z"}
        await wire.send([("attendance-changed", late)])
        await wire.settled()
        after = json.loads(world.run("explain", "acme", "l-2", "c-1", "--json").stdout)
        assert await asyncio.to_thread(serving.stop) == 0
        known = {fact["message_id"] for fact in before["timeline"]}
        assert len(known) > 8 and {fact["message_id"] for fact in after["timeline"]} == known | {"late"}
        formats = {one["_id"]: one.get("format") for one in database["records"].find()}
        assert formats == {FINISHED: None, LONG: FORMAT}


async def test_a_worker_that_meets_a_newer_document_ends_and_touches_nothing(world: World, wire: Wire) -> None:
    with MongoClient[dict[str, Any]](world.database.address) as client:
        database = client[world.name]
        for name, documents in OLD.items():
            database[name].insert_many(documents)
        database["records"].update_one({"_id": FINISHED}, {"$set": {"format": FORMAT + 1}})
        stored = database["records"].find_one({"_id": FINISHED})
        serving = world.serve().wait_until_ready()
        await wire.send([("attendance-changed", {**ATTENDED, "message_id": "late"})])
        assert await asyncio.to_thread(serving.wait) == 2
        assert "start the newer version" in serving.log.read_text()
        assert database["records"].find_one({"_id": FINISHED}) == stored
