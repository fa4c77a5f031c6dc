"""What a large collection costs: the same messages, among 1,000,000 records and among the 20,000 they are about."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from contracts.fields import course_key_of
from service.lanes.ports import StoredRecord
from service.mongo.documents import record_document
from tests.benchmarks.backlog import Backlog, define
from tests.benchmarks.history import forget_topics
from tests.benchmarks.results import DISK, DOCUMENT, INDEXES, Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.standing import make_standing, new_messages
from tests.benchmarks.subjects import RATCHET
from tests.benchmarks.workloads import record_key
from tests.stack.service import World

INSERTED_TOGETHER = 5_000


class Collection:
    """A collection of 1,000,000 records, and one of 20,000 of them; the messages are about the 20,000."""

    name = "collection"
    facts = 10

    def __init__(self, servers: Servers, scale: float) -> None:
        self._servers = servers
        self._messages = max(1000, round(40_000 * scale))
        large, small = round(1_000_000 * scale), round(20_000 * scale)
        self._records = range(0, large, large // small)
        self._times = itertools.count()
        record = make_standing(self.facts).stored
        self._collections = {}
        for size, numbers in (("1,000,000", range(large)), ("20,000", self._records)):
            world = servers.world()
            asyncio.run(define(world))
            _insert(world, numbers, record)
            self._collections[f"collection of {size} records"] = world.name

    def measure(self, results: Results) -> None:
        """One round, the other one first every time."""
        time = next(self._times)
        for called, database in self._collections.items():
            _note_sizes(self._servers, called, database, results)
        backlog = Backlog(self._servers, new_messages(self.name, self._records, self._messages, time))
        in_turn = list(self._collections.items())
        for called, database in in_turn if time % 2 else reversed(in_turn):
            backlog.measure(RATCHET, results, called, database)
            world = self._servers.world(database=database)
            asyncio.run(forget_topics(world, map(record_key, self._records)))


def _insert(world: World, numbers: Iterable[int], record: StoredRecord) -> None:
    document = record_document(record)
    with MongoClient[dict[str, Any]](world.database.address) as client:
        records = client[world.name].get_collection("records", write_concern=WriteConcern(w=1))
        remaining = iter(numbers)
        while some := list(itertools.islice(remaining, INSERTED_TOGETHER)):
            keys = map(record_key, some)
            documents = [{**document, "_id": key, "course_key": course_key_of(key)} for key in keys]
            records.insert_many(documents, ordered=False)


def _note_sizes(servers: Servers, called: str, database: str, results: Results) -> None:
    """As they are on the disk."""
    with MongoClient[dict[str, Any]](servers.database.address) as client:
        client.admin.command("fsync")
        sizes = client[database].command("collStats", "records")
    per_million = 1_000_000 / sizes["count"] / 2**20
    results.add(called, "ratchet", DOCUMENT, sizes["avgObjSize"])
    results.add(called, "ratchet", DISK, sizes["storageSize"] * per_million)
    results.add(called, "ratchet", INDEXES, sizes["totalIndexSize"] * per_million)
