"""One record, with all that was ever said of it."""

from service.lanes.deciding import whole_records
from service.lanes.ports import StoredRecord
from service.mongo.store import MongoStore


async def find(store: MongoStore, key: str) -> StoredRecord | None:
    """None where nothing was ever reported."""
    return (await whole_records(store, [key])).get(key)
