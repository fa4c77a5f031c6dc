"""What goes out, read from positions that a reader keeps: every change of the two output topics, as it is committed."""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition

from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from service.kafka import batches, topics
from service.kafka.clients import make_reader, started
from service.settings import Settings

OUT = (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
Place = tuple[str, int]
"""Short name of the topic, and partition."""
POLL_SECONDS = 5.0
FETCH_BYTES = 256 * 1024
"""Of a partition at once: many may read at the same time."""


class Out(NamedTuple):
    """A change as it stands in Kafka; `offset` is that of the next one in its place."""

    topic: str
    place: Place
    offset: int
    key: bytes | None
    value: bytes | None


async def read(settings: Settings, positions: Mapping[Place, int]) -> AsyncIterator[list[Out]]:
    """Changes from these positions on, for ever; an empty list at first, and every few seconds without any.

    Where a position is gone it begins at what is left, and where there is none, at the beginning. Raises
    FixConfiguration where Kafka does not answer.
    """
    batches.install()
    places = await _places(settings)
    by_name = {settings.topic_prefix + topic.name: topic for topic in OUT}
    consumer = make_reader(settings, max_partition_fetch_bytes=FETCH_BYTES)
    async with started(settings, consumer):
        consumer.assign(list(places))
        begins, ends = await consumer.beginning_offsets(list(places)), await consumer.end_offsets(list(places))
        for tp, place in places.items():
            consumer.seek(tp, min(max(positions.get(place, 0), begins[tp]), ends[tp]))
        yield []
        while True:
            polled = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000))
            yield [
                Out(by_name[record.topic].name, places[tp], record.offset + 1, record.key, record.value)
                for tp, records in polled.items()
                for record in records
            ]


async def positions_now(settings: Settings) -> dict[Place, int]:
    """Where what comes next will stand."""
    places, consumer = await _places(settings), make_reader(settings)
    async with started(settings, consumer):
        ends = await consumer.end_offsets(list(places))
        return {places[tp]: end for tp, end in ends.items()}


async def _places(settings: Settings) -> dict[TopicPartition, Place]:
    counts = await topics.partitions(settings)
    return {
        TopicPartition(settings.topic_prefix + topic.name, number): (topic.short, number)
        for topic in OUT
        for number in range(counts[topic.name])
    }
