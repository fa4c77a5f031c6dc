"""Goes past a batch that cannot be read: somebody decides it, the lane does it."""

import asyncio
import time

from service.errors import FixConfiguration, Unreadable
from service.kafka.committed import committed_offset
from service.kafka.unreadable import find_unreadable
from service.lanes.ports import Skip
from service.mongo.store import MongoStore
from service.settings import Settings

LOOK_SECONDS = 0.5
WAIT_SECONDS = 30.0
"""A lane that stands still looks every ten seconds at most."""


async def skip(
    settings: Settings, store: MongoStore, topic: str, partition: int, offset: int, by: str, reason: str
) -> Unreadable:
    """Note that the batch with this offset may be skipped. Raises FixConfiguration where that can be read."""
    found = await find_unreadable(settings, topic, partition)
    if found is None:
        raise FixConfiguration(f"{topic} partition {partition} can be read to its end; there is nothing to skip")
    if not found.start <= offset < found.end:
        raise FixConfiguration(f"OFFSET: {offset} can be read, or is not the lane's next; {found}")
    at = int(time.time() * 1_000_000)
    await store.skips.add(topic.removeprefix(settings.topic_prefix), partition, found.start, Skip(by, reason, at))
    return found


async def has_passed(settings: Settings, skipped: Unreadable) -> bool:
    """Wait for the lane to go past it. False: no worker has, so far."""
    deadline = time.monotonic() + WAIT_SECONDS
    while await committed_offset(settings, skipped.topic, skipped.partition) < skipped.end:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True
