"""Records with all their facts: the one way for commands to read them."""

from collections.abc import Iterable

from service.ports import StoredRecord
from service.store_mongo import MongoStore


async def whole_records(store: MongoStore, keys: Iterable[str]) -> dict[str, StoredRecord]:
    """Those that exist, by key, with every fact that was ever stored, in the order in which they happened."""
    return await store.load_records(keys)
