"""Where a lane stands, written in the same transaction as what it announces, and read back from there.

The group's committed offsets say the same, for everybody outside. But they are told from the memory of the group's
coordinator, and that can forget: after all brokers of a cluster were killed at once, Kafka 4.1.1 has told offsets that
were six minutes old, for good. What is in a log that is kept by several brokers does not depend on anybody's memory.
"""

from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from contracts.topics import LANE_PROGRESS
from service.lanes.ports import Outbound
from service.lanes.progress import Progress, read_done

LOOK_BACK = 50
"""So many records before the end of the partition are looked at first; then sixteen times as many, and so on."""
POLL_MILLISECONDS = 1000


class _Topic(Struct):
    offset: int
    metadata: str


class _Progress(Struct):
    topics: dict[str, _Topic]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Progress).decode


def key_of(group: str, lane: int) -> bytes:
    """Under which a lane's progress stands; one topic may serve several groups."""
    return f"{group}/{lane}".encode()


def progress_message(group: str, lane: int, progress: Progress) -> Outbound:
    """By topic, the offset and what goes with it, as they are committed."""
    value = _Progress({topic: _Topic(done.offset, done.metadata) for topic, done in progress.items()})
    return Outbound(LANE_PROGRESS.name, key_of(group, lane), _encode(value), (), lane)


def fence_message(group: str, lane: int) -> Outbound:
    """What comes behind everything that earlier owners have written."""
    return Outbound(LANE_PROGRESS.name, key_of(group, lane) + b"/fence", _encode(_Progress({})), (), lane)


async def last_progress(
    make_reader: Callable[[], AIOKafkaConsumer], place: TopicPartition, key: bytes, fence: int
) -> Progress | None:
    """What stands last under the key, before the fence at this offset; None where nothing does.

    The fence is read too, so nothing before it can have been missed. Raises what the reader raises.
    """
    reader = make_reader()
    await reader.start()
    try:
        reader.assign([place])
        begin, back = (await reader.beginning_offsets([place]))[place], LOOK_BACK
        while True:
            start = max(begin, fence - back)
            reader.seek(place, start)
            found = await _last_before(reader, place, key, fence)
            if found is not None or start == begin:
                return None if found is None else _read(found)
            back *= 16
    finally:
        await reader.stop()


async def _last_before(reader: AIOKafkaConsumer, place: TopicPartition, key: bytes, fence: int) -> bytes | None:
    found: bytes | None = None
    while await reader.position(place) <= fence:
        for record in (await reader.getmany(place, timeout_ms=POLL_MILLISECONDS)).get(place, ()):
            if record.key == key and record.offset < fence:
                found = record.value
    return found


def _read(value: bytes) -> Progress:
    return {topic: read_done(one.offset, one.metadata) for topic, one in _decode(value).topics.items()}
