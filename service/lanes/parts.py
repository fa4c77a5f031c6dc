"""A large batch, some of it at a time: so that nothing waits long for the event loop, and the memory is bounded."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from service.lanes.ports import Received
from service.lanes.translate import Item, translate

PARTS_AT_WORK = 3
"""One decides while the others wait for the database."""
TRANSLATED_TOGETHER = 500

ByKey = Mapping[bytes | None, Sequence[Received]]
Ready = TypeVar("Ready")
Done = TypeVar("Done")


async def translate_all(
    messages: Iterable[Received], partition_of: Callable[[bytes], int], prefix: str
) -> list[tuple[Received, Item]]:
    """Each message with what it asks for; heartbeats need not wait for all of them."""
    translated = []
    remaining = iter(messages)
    while some := list(islice(remaining, TRANSLATED_TOGETHER)):
        translated += [(message, translate(message, partition_of, prefix)) for message in some]
        await asyncio.sleep(0)
    return translated


async def in_parts(
    messages: ByKey,
    keys: int,
    get_ready: Coroutine[None, None, Ready],
    prepare: Callable[[ByKey, asyncio.Task[Ready]], Coroutine[None, None, Done]],
) -> tuple[Ready, list[Done]]:
    """Have so many keys' messages at a time prepared; each part waits by itself for what gets ready beside the first.

    The first failure ends all of it.
    """
    turns = asyncio.Semaphore(PARTS_AT_WORK)

    async def prepare_part(part: ByKey) -> Done:
        async with turns:
            return await prepare(part, ready)

    # Not a task group: before Python 3.11.4 a timeout takes the cancellation that a failure there leaves for its own.
    ready = asyncio.create_task(get_ready)
    parts = [asyncio.create_task(prepare_part(part)) for part in _parts(messages, keys)]
    try:
        await asyncio.gather(ready, *parts)
    finally:
        for task in (ready, *parts):
            task.cancel()
        await asyncio.wait([ready, *parts])
    return ready.result(), [part.result() for part in parts]


def _parts(messages: ByKey, keys: int) -> Iterator[ByKey]:
    remaining = iter(messages.items())
    while part := dict(islice(remaining, keys)):
        yield part
