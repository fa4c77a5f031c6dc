"""The store on MongoDB: one database, a part for each subject. Writes are `w: majority, j: true`, reads majority.

`MongoStore` is the Store of service.lanes.ports (records, courses, notes, skips); beside it, what only commands need.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from service.errors import FixConfiguration, WaitAndRetry
from service.mongo.audit import Audit
from service.mongo.courses import Courses
from service.mongo.deliveries import Deliveries
from service.mongo.driver import Client, make_client, mongo_answers
from service.mongo.jobs import Jobs
from service.mongo.learners import Learners
from service.mongo.listing import Listing
from service.mongo.notes import Notes
from service.mongo.record_keys import RecordKeys
from service.mongo.records import Records
from service.mongo.replays import Replays
from service.mongo.republished import Republished
from service.mongo.skips import Skips
from service.mongo.tombstones import Tombstones
from service.mongo.uploads import Uploads
from service.settings import Settings


class MongoStore:
    """Made by `connect` or `open_store`."""

    def __init__(self, client: Client, database: str, group: str) -> None:
        self._client = client
        chosen = client.get_database(
            database,
            write_concern=WriteConcern(w="majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self._tombstones = Tombstones(client, chosen)
        self.records = Records(chosen, self._tombstones)
        self.courses = Courses(chosen)
        self.notes = Notes(chosen, group)
        self.keys = RecordKeys(chosen)
        self.learners = Learners(chosen, self._tombstones)
        self.replays = Replays(chosen, group)
        self.republished = Republished(chosen)
        self.skips = Skips(chosen, group)
        self.uploads = Uploads(chosen)
        self.listing = Listing(chosen)
        self.audit = Audit(chosen)
        self.deliveries = Deliveries(chosen)
        self.jobs = Jobs(chosen)

    async def check(self) -> None:
        """Ask for an answer. Raises FixConfiguration where the database is not fit, WaitAndRetry where it is away."""
        async with mongo_answers():
            hello = await self._client.admin.command("hello")
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise FixConfiguration(
                    "RATCHET_MONGODB_URI: names a single server, which cannot give majority guarantees; "
                    "use a replica set, even of one member"
                )

    async def prepare(self) -> None:
        """Check, and make the indexes."""
        await self.check()
        async with mongo_answers():
            prepared = self.records, self.courses, self.replays, self._tombstones
            for part in (*prepared, self.audit, self.deliveries, self.jobs):
                await part.prepare()

    async def close(self) -> None:
        """Close every connection."""
        self._client.close()


def connect(uri: str, database: str, group: str, tls: Mapping[str, Any]) -> MongoStore:
    """A store on this database. Nothing is contacted yet. Raises FixConfiguration for an address that is none."""
    return MongoStore(make_client(uri, tls), database, group)


@asynccontextmanager
async def open_store(settings: Settings, prepared: bool = False) -> AsyncIterator[MongoStore]:
    """The store, while the context lasts; `prepared`: with its indexes.

    Raises FixConfiguration when the database does not answer in time.
    """
    uri = settings.mongodb_uri.get_secret_value()
    store = connect(uri, settings.mongodb_database, settings.group, settings.mongodb_options())
    try:
        try:
            async with asyncio.timeout(settings.start_seconds):
                await (store.prepare() if prepared else store.check())
        except (WaitAndRetry, TimeoutError) as error:
            reason = str(error) or f"nothing within {settings.start_seconds} s"
            raise FixConfiguration(f"RATCHET_MONGODB_URI: no MongoDB answers there: {reason}") from None
        yield store
    finally:
        await store.close()
